"""What the scripts about the server itself are called with, by name: as in `verbs`."""

from __future__ import annotations

from typing import NamedTuple


class NoteServer(NamedTuple):
    """Let a tenant's decisions know how its server evicts keys. `evicts`: its maxmemory-policy; empty: it does not."""

    evicts: str

"""What the script of proposals is called with, by name: as in `verbs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from aegis_core.store.arguments import Given


class PutProposal(NamedTuple):
    """Bring a proposal from one revision to the next.

    Attributes:
        revision: that it has; 0 of a new one.
        record: the fields of a `StoredProposal`.
        act: what becomes of the policy. ``begin``: the `document` of this `digest` is tried in sessions `below` so
            much of 2^32;
            ``widen``: in more; ``keep``: it is put in force; ``stop``: it is tried no longer; ``revert``: the parent of
            what was kept is put in force again.
        told: the event: its kind, the state, the logarithm of the e-value, of how many sessions, and why.
        keep: how many versions of the policy are kept.
    """

    proposal: str
    revision: int
    record: Sequence[Any]
    act: Literal["begin", "widen", "keep", "stop", "revert"] | None
    document: Given
    digest: Given
    below: int
    told: Sequence[Any] | None
    author: str
    keep: int

"""What a person asks of a store that no program does: where it is, and by which versions it was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aegis_core.store.address import hide_password
from aegis_core.store.embedded import server_status
from aegis_core.store.layout import SCHEMA
from aegis_core.store.schema import FIELDS

__all__ = ["FIELDS", "SCHEMA", "embedded_status", "hide_password"]


def embedded_status(data_dir: Path | None) -> dict[str, Any]:
    """How the embedded server stands: ``running``, ``pid``, ``directory``, ``answers``, ``in_use``, ``log``."""
    return server_status(data_dir)

"""Fixtures that the tests of all adapters share."""

from __future__ import annotations

from .ledger import s2, s2_aegis

__all__ = ["s2", "s2_aegis"]

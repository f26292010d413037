"""A lock is held while its tool runs, and free after it."""

from __future__ import annotations

import pytest

from aegis_core.testing.contract.base import Base


class Locks(Base):
    """Where two agents want the same wallet, one waits."""

    def test_a_lock_is_held_during_the_tool(self) -> None:
        """And free after it, also when the tool raises."""
        self.need("tools")
        self.need("locks")
        pytest.skip("no adapter takes a lock for a tool yet")

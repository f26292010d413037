"""Which sessions have a change that is tried. `store/lua/lib/records.lua` draws the same where it is decided."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha1

WHOLE = 2**32


@lru_cache(maxsize=16_384)
def place_of(proposal: str, session: str) -> int:
    """Where a session stands among all, from 0 up to `WHOLE`: the same for ever, and another one for each proposal."""
    return int(sha1(f"{proposal}:{session}".encode(), usedforsecurity=False).hexdigest()[:8], 16)


def in_cohort(proposal: str, session: str, below: int) -> bool:
    """Whether a session has the change. Who has it keeps it while the share grows."""
    return place_of(proposal, session) < below


def below_of(percent: int) -> int:
    """The places of so many percent of the sessions."""
    return WHOLE * percent // 100

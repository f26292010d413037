"""Who holds a lock and waits for others at the same time stands in nobody's way for ever."""

from __future__ import annotations

import pytest

from aegis_core import Settings
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.store.ledger import SessionProof
from aegis_core.store.lock_records import Lien
from aegis_core.store.locks import Found, LockClaim, LockStore
from aegis_core.testing import virtual_governor

NUMBERS = {"x-c": 1, "y-b": 2, "z-a": 3, "y-a": 4, "y-c": 5, "x-a": 6}


@pytest.mark.leaves("leases")
async def test_a_lease_that_is_gained_while_waiting_elsewhere_closes_no_cycle(settings: Settings) -> None:
    async with virtual_governor(settings) as (governor, clock, _):
        assert isinstance(governor.port, ResourceGovernor)
        book = LockStore(governor.port._ledger)
        for agent in "xyz":
            await governor.handshake(agent)

        def token(name: str) -> str:
            return f"lk_{NUMBERS[name]:032x}"

        async def acquire(name: str, *within: str) -> Found:
            agent, lock = name.split("-")
            outer = tuple(Lien(each[2:], token(each)) for each in within)
            claim = LockClaim(agent, (lock,), token(name), 5, 60_000, None, 1, "exclusive", None, None, outer)
            found = await book.acquire(claim, SessionProof(), "~nobody", queue=True)
            await clock.advance(milliseconds=1)
            return found

        assert [(await acquire(name)).state for name in ("x-c", "y-b", "z-a")] == ["held"] * 3
        assert [(await acquire(name, "y-b")).state for name in ("y-a", "y-c")] == ["waiting"] * 2
        await book.release(SessionProof(), "z", "a", token("z-a"), None)  # y gets a while it waits for c
        assert (await acquire("x-a", "x-c")).state == "waiting"
        await clock.advance(milliseconds=100)
        assert (await acquire("x-a", "x-c")).state == "held", "x came first, and y only waits for what x holds"


@pytest.mark.leaves("leases")
async def test_who_is_handed_a_lock_as_the_lease_around_it_expires_holds_it_by_itself(settings: Settings) -> None:
    """Nobody looked at the expired lease before: its end is found in the step in which the lock is handed over."""
    async with virtual_governor(settings) as (governor, clock, _):
        assert isinstance(governor.port, ResourceGovernor)
        book = LockStore(governor.port._ledger)
        for agent in ("ann", "kim"):
            await governor.handshake(agent)

        async def acquire(agent: str, lock: str, number: int, *within: tuple[str, int], ttl: int = 60_000) -> str:
            outer = tuple(Lien(held, f"lk_{at:032x}") for held, at in within)
            claim = LockClaim(agent, (lock,), f"lk_{number:032x}", 5, ttl, None, 1, "exclusive", None, None, outer)
            return (await book.acquire(claim, SessionProof(), "~nobody", queue=True)).state

        assert await acquire("kim", "page", 1) == "held"
        assert await acquire("ann", "desk", 2, ttl=5_000) == "held"
        assert await acquire("ann", "tray", 3, ("desk", 2)) == "held"
        for number, within in ((4, [("desk", 2)]), (5, [("desk", 2), ("tray", 3)])):
            assert await acquire("ann", "page", number, *within) == "waiting"
        await clock.advance(milliseconds=6_001)
        await book.release(SessionProof(), "kim", "page", f"lk_{1:032x}", None)
        # The one within the tray still waits for the page, so the holder of the page must not wait for the tray.
        assert await acquire("ann", "tray", 6, ("page", 4)) == "wounded"

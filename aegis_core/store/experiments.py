"""Shadow experiments as they lie in Redis."""

from __future__ import annotations

import asyncio
import re
from typing import Any, NamedTuple

from aegis_core.store import experiment_verbs, layout
from aegis_core.store.experiment_records import ClosedTally, Pair, Tally
from aegis_core.store.ledger import Ledger
from aegis_core.store.packing import decode, unpack

_NUMBER = re.compile(rb"[0-9]+")


class StoredExperiment(NamedTuple):
    """One experiment. `about`: its terms as JSON; `last` number that was given, `next` to be counted; `day`: of the
    last counted pair (-1: none); `closed`: how it stood when the day before was over; `proof`: what was decided on;
    times in ms."""

    name: str
    state: str
    why: str
    about: str
    made: int
    until: int
    ended: int
    margin: float
    last: int
    next: int
    day: int
    tally: Tally
    closed: ClosedTally | None
    proof: str
    basis: str


_FIELDS = (
    "state", "why", "about", "made", "until", "ended", "margin", "last", "next", "day", "tally", "closed", "proof",
    "basis",
)  # fmt: skip


class ExperimentStore:
    """The experiments of one tenant."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._scripts = ledger, ledger.store.scripts

    async def note(self, order: experiment_verbs.NotePair) -> tuple[str, int, bool]:
        """Number or score a pair; answers the state of its experiment, its number (0: none) and whether it is known
        already.

        Raises:
            NotFoundError: no such experiment, or no such pair of it.
        """
        _, state, number, known, more = await self._ledger.call(self._scripts.note_pair, order)
        if more:
            await self.count(order.experiment)
        return state.decode(), int(number), bool(known)

    async def count(self, name: str) -> None:
        """Count what is known by now, pairs whose time is over among it."""
        order, more = experiment_verbs.NotePair(name, "", "count", 0, 0, 0), 1
        while more:
            *_, more = await self._ledger.call(self._scripts.note_pair, order)

    async def put(self, order: experiment_verbs.PutExperiment) -> tuple[str, bool]:
        """Begin or change one; answers its state, and whether that is what this call did.

        Raises:
            NotFoundError: no such experiment. ConflictError: there are too many.
        """
        _, state, done = await self._ledger.call(self._scripts.put_experiment, order)
        return state.decode(), bool(done)

    async def all(self) -> list[StoredExperiment]:
        """Every experiment that is kept, the oldest first."""
        names = await self._ledger.store.command("SMEMBERS", layout.key(self._ledger.tenant, "kx"))
        found = await asyncio.gather(*(self.one(name.decode()) for name in names))
        return sorted((each for each in found if each is not None), key=lambda each: (each.made, each.name))

    async def one(self, name: str) -> StoredExperiment | None:
        """One of them; None: it is not kept."""
        values = await self._ledger.store.command("HMGET", layout.key(self._ledger.tenant, f"kx:{name}"), *_FIELDS)
        said = dict(zip(_FIELDS, values, strict=True))
        if said["state"] is None:
            return None
        texts = {key: (said[key] or b"").decode() for key in ("state", "why", "about", "proof", "basis")}
        numbers = {key: int(said[key] or 0) for key in ("made", "until", "ended", "last", "next", "day")}
        closed = decode(ClosedTally, unpack(said["closed"])) if said["closed"] else None
        return StoredExperiment(
            name=name, margin=float(said["margin"]), tally=decode(Tally, unpack(said["tally"])), closed=closed,
            **texts, **numbers,  # pyright: ignore[reportArgumentType]
        )  # fmt: skip

    async def pairs(self, name: str) -> list[tuple[int, Pair]]:
        """Its pairs by their numbers."""
        fields: Any = await self._ledger.store.command("HGETALL", layout.key(self._ledger.tenant, f"kx:{name}"))
        rows: list[tuple[bytes, bytes]] = list(dict(fields).items())
        return sorted((int(key), decode(Pair, unpack(value))) for key, value in rows if _NUMBER.fullmatch(key))

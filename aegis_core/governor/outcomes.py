"""The tenant's table of outcomes as this process last read it: what the choice of models learns from."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from aegis_core.arbiter.evidence import NO_EVIDENCE, DecayedSums, Evidence
from aegis_core.governor.budgets import at_ms
from aegis_core.store.operators import OperatorStore
from aegis_core.store.packing import decode
from aegis_core.store.pipeline import UnreachableError
from aegis_core.store.schema import HALF_LIFE_MS, VERSION_ROW, Score

FRESH_SECONDS = 10.0
"""How old a reading may be. It is evidence, not a limit: what is decided by an older one is right, too."""


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """How well a model did, for tasks of a type, or for an agent at a declared density; or over all (both absent).

    `mean` is of scores of 0 to 1, `outcomes` how many it rests on; both faded until `at`, the last one.
    """

    model: str
    mean: float
    outcomes: float
    at: datetime
    task_type: str | None = None
    agent_id: str | None = None
    logic_density: int | None = None


class Outcomes:
    """Reads the table, at most every `FRESH_SECONDS`."""

    def __init__(self, registry: OperatorStore, tier_of: Callable[[str], int | None]) -> None:
        self._registry, self._tier_of = registry, tier_of
        self._until = 0.0
        self._version = "-"
        self.evidence: Evidence = NO_EVIDENCE

    @property
    def stale(self) -> bool:
        """True when `refresh` is due."""
        return time.monotonic() >= self._until

    async def refresh(self) -> Evidence:
        """Read the table again, if an outcome was counted since. It is advice: on a cut line the last read stays, and
        whether the store answers, the decision itself finds out."""
        self._until = time.monotonic() + FRESH_SECONDS
        try:
            version = await self._registry.outcomes_version()
            rows = await self._registry.read_outcomes() if version != self._version else {}
        except UnreachableError:
            return self.evidence
        if version != self._version:
            self._version = rows.pop(VERSION_ROW, "0")
            self.evidence = Evidence.of(_faded(rows), int(self._version), self._tier_of)
        return self.evidence

    async def export(self) -> tuple[int, list[OutcomeRow]]:
        """The version of the table, and its rows by key."""
        rows = await self._registry.read_outcomes()
        version = int(rows.pop(VERSION_ROW, "0"))
        return version, [_row(key, value) for key, value in sorted(rows.items())]

    async def reset(self, *, author: str) -> int:
        """Forget all outcomes; answers how many rows there were."""
        count = await self._registry.reset_outcomes(author)
        self._until = 0.0
        return count


def _faded(rows: dict[str, str]) -> dict[str, DecayedSums]:
    """Every row as of the newest outcome in the table."""
    read = {key: _score(value) for key, value in rows.items()}
    newest = max((score.at for score in read.values()), default=0.0)
    found: dict[str, DecayedSums] = {}
    for key, score in read.items():
        left = 0.5 ** ((newest - score.at) / HALF_LIFE_MS)
        found[key] = DecayedSums(score.good * left, score.total * left)
    return found


def _score(text: str) -> Score:
    return decode(Score, [float(value) for value in text.split(" ")[: len(Score._fields)]])


def _row(key: str, value: str) -> OutcomeRow:
    kind, *names, model = key.split("\t")
    score = _score(value)
    row = OutcomeRow(model, score.good / score.total, score.total, at_ms(int(score.at)))
    if kind == "t":
        return OutcomeRow(row.model, row.mean, row.outcomes, row.at, task_type=names[0])
    if kind == "a":
        return OutcomeRow(row.model, row.mean, row.outcomes, row.at, agent_id=names[0], logic_density=int(names[1]))
    return row

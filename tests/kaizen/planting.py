"""Days that hold one kind of waste, or none, made of plain calls."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import count
from typing import Any

from aegis_core.kaizen.detectors.registry import DETECTORS
from aegis_core.kaizen.facts import DAY_MS, Call, Day, LockUse, Rates
from aegis_core.kaizen.judging import judge
from aegis_core.protocol.kaizen import Finding

NAMES = tuple(detector.name for detector in DETECTORS)
MONDAY = 1_764_547_200_000
"""2025-12-01 00:00 UTC."""
RATES = Rates(2_500_000_000, 10_000_000_000, 1_250_000_000)
CENT = 10_000_000
_numbers = count(1)


def call(at: int = 0, cents: int = 1, **given: Any) -> Call:
    """A call of a model, so many ms after midnight, settled a second later."""
    number = next(_numbers)
    filled: dict[str, Any] = {
        "id": f"gr_{number}", "at": MONDAY + at, "agent": "ann", "session": "s1", "model": "gpt-4o",
        "ended_at": MONDAY + at + 1_000, "reserved": cents * CENT, "charged": cents * CENT, "rates": RATES,
        "events": (f"{number}-0",),
    }  # fmt: skip
    return Call(**filled | given)


def tool(at: int, name: str, arguments: str = "a1", **given: Any) -> Call:
    """A call of a tool, which costs nothing."""
    said: dict[str, Any] = {"resource": "api_call", "tool": name, "arguments": arguments, "model": "", "rates": None}
    return call(at, 0, **said | given)


def use(kind: str, at: int, agent: str, *, lock: str = "db", waited: int = 0, held: int = 0) -> LockUse:
    """Something that became of a lock."""
    return LockUse(kind, MONDAY + at, agent, lock, 1, waited, held, f"{next(_numbers)}-1")


def day(calls: Sequence[Call], **given: Any) -> Day:
    """Calls of one day, in the order of their times."""
    ordered = tuple(sorted(calls, key=lambda each: each.at))
    filled: dict[str, Any] = {"name": "2025-12-01", "start": MONDAY, "end": MONDAY + DAY_MS, "calls": ordered}
    return Day(**filled | given)


def found(name: str, of: Day) -> Finding:
    """What one detector says."""
    return next(each for each in judge(of).findings if each.detector == name)


def cents(finding: Finding) -> Decimal | None:
    """The amount."""
    return None if finding.amount_usd is None else finding.amount_usd * 100

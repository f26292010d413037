"""What a detector is, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from aegis_core.kaizen.facts import Call, Day
from aegis_core.protocol.kaizen import Currency


class Loss(NamedTuple):
    """What was lost at one place: by a call, or (without one) by an agent at a lock.

    Attributes:
        unit: what is drawn by the bootstrap, a session or an agent.
        nanos: dollars lost.
        about: the agent, the model or lock, the type of task, and the tool.
        events: ids that prove it.
        ms: time that was waited.
        call: the id of the request that it is of.
    """

    unit: str
    nanos: int
    about: tuple[str, str, str, str]
    events: tuple[str, ...]
    ms: int = 0
    call: str = ""

    @classmethod
    def of(cls, call: Call, nanos: int, ms: int = 0) -> Loss:
        """Of one call."""
        about = (call.agent, call.model, call.task_type, call.tool or "")
        return cls(unit_of(call), nanos, about, call.events, ms, call.id)


def unit_of(call: Call) -> str:
    """The session of a call; where it has none, the call itself."""
    return f"{call.agent}\t{call.session or call.id}"


@dataclass(slots=True)
class Found:
    """What a detector saw.

    Attributes:
        evidence: how much of what it needs there was, to be held against the least that it may judge by.
        losses: what was lost, place by place.
        unknown: why it cannot be known, where it cannot.
        facts: numbers beside the amount.
    """

    evidence: int
    losses: Sequence[Loss] = ()
    unknown: str | None = None
    facts: dict[str, int | float | str] = field(default_factory=dict[str, int | float | str])


@dataclass(frozen=True, slots=True)
class Detector:
    """One kind of waste.

    Attributes:
        name: as reports and ids have it.
        title: for people.
        currency: what is lost; sums of different ones are never added.
        minimum: evidence below which it says nothing.
        counted: what its evidence is.
        find: looks for it.
        avoidable: the amount could have been saved; else it only says what something cost.
        bound: the amount is at most that.
        itself: its evidence is the waste itself, so that none of it is no waste, not too little to say.
    """

    name: str
    title: str
    currency: Currency
    minimum: int
    counted: str
    find: Callable[[Day], Found]
    avoidable: bool = True
    bound: bool = False
    itself: bool = False

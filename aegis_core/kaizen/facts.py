"""What happened in a day, as detectors read it: calls, uses of locks, and what held. Whole numbers throughout.

Money is in nano-dollars, times in ms since 1970, rates in nano-dollars a million tokens. None is what nobody knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from aegis_core.protocol.experiments import Experiment

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
End = Literal["open", "settled", "released", "expired", "declined", "timed_out", "rejected"]


class Rates(NamedTuple):
    """What a model costs, in nano-dollars a million tokens; `cached` is None where its price list has no such price."""

    input: int
    output: int
    cached: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, from its question to its end.

    Attributes:
        id: of the request, once for all its events.
        at: when it was asked; `ended_at` when it ended.
        session: the session of its agent; a run of a trace.
        tool: the tool; None for a call of a model. `arguments` is a hash of what it was called with.
        end: how it ended, `open` where it did not.
        reserved: what was reserved, or asked of a refused one; `charged` what it cost, refunds taken off.
        counts: its charge is of this day, not one of an earlier day that is only corrected.
        input, output, cached: tokens, as the provider reported them; `cached` are some of `input`.
        prompt: a keyed hash of the prompt.
        attempt: from 1; None where its caller did not say. `parent` names the request that it belongs to.
        outcome: how well its task was done, 0 to 1.
        stopped_by: name of the budget, rule or ceiling in the way; `short` is what a budget lacked.
        asked: a person was asked; `answered_at` and `shown_at` are when that person answered and first saw it.
        rates: what its model costs.
        events: ids of the events that tell of it.
    """

    id: str
    at: int
    agent: str
    session: str
    model: str = ""
    task_type: str = ""
    resource: str = "llm_tokens"
    tool: str | None = None
    arguments: str | None = None
    end: End = "settled"
    ended_at: int | None = None
    reserved: int = 0
    charged: int = 0
    counts: bool = True
    estimated: bool = False
    late: bool = False
    input: int | None = None
    output: int | None = None
    cached: int = 0
    prompt: str | None = None
    prefix: str | None = None
    max_output: int | None = None
    temperature: float | None = None
    attempt: int | None = None
    parent: str | None = None
    error: str | None = None
    outcome: float | None = None
    code: str = ""
    rule: str = ""
    stopped_by: str = ""
    short: int = 0
    asked: bool = False
    approved: bool | None = None
    answered_at: int | None = None
    shown_at: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    rates: Rates | None = None
    events: tuple[str, ...] = ()

    @property
    def spent(self) -> int:
        """What it cost on this day."""
        return self.charged if self.counts else 0

    @property
    def is_model(self) -> bool:
        """Whether a model was called."""
        return self.tool is None and self.resource == "llm_tokens"


class LockUse(NamedTuple):
    """Something that became of a lock, or of a wait for it: an event ``lock_KIND``."""

    kind: str
    at: int
    agent: str
    lock: str
    fence: int | None
    waited_ms: int
    held_ms: int
    event: str


class RuleUse(NamedTuple):
    """Of a rule in force: its effect, in how many requests of `days` days it was judged, and how many it decided."""

    effect: str
    days: int
    judged: int
    decided: int


class Certified(NamedTuple):
    """A cheaper model that was shown to do a type of task as well, and what it costs."""

    model: str
    rates: Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """Everything that detectors may look at.

    Attributes:
        name: the date in the tenant's zone, or the name of a trace.
        start, end: in ms; `end` is not part of it.
        calls: in the order in which they were asked.
        locks: in the order in which they happened.
        missed: so many events were gone before they were read.
        corrections: by how much this day changed what earlier days had charged; below 0 where less was due.
        rules: rules in force by name; None where nobody counted.
        certified: by type of task and model; `experiments` as they stood when it was closed.
        hours: by agent and hour of the week (0 to 167) what it spent in such hours of earlier weeks.
        saving: what Kaizen's changes were measured to save on this day.
    """

    name: str
    start: int
    end: int
    calls: tuple[Call, ...]
    locks: tuple[LockUse, ...] = ()
    missed: int = 0
    corrections: int = 0
    rules: Mapping[str, RuleUse] | None = None
    certified: Mapping[tuple[str, str], Certified] = field(default_factory=dict[tuple[str, str], Certified])
    experiments: tuple[Experiment, ...] = ()
    hours: Mapping[tuple[str, int], tuple[int, ...]] = field(default_factory=dict[tuple[str, int], tuple[int, ...]])
    saving: int = 0
    notes: tuple[str, ...] = ()

    @property
    def spent(self) -> int:
        """What all its calls cost."""
        return sum(call.spent for call in self.calls)

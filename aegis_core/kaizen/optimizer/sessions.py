"""What events say of a canary: which sessions had the change, how each went, and what they cost.

A session counts once: by the requests of its first while, when that is over. So its number does not change any more,
and reading all events again gives the same guards, whoever was killed when.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, NamedTuple

from aegis_core.kaizen.optimizer.guards import Guards
from aegis_core.policy.cohorts import below_of, place_of
from aegis_core.protocol.events import Event
from aegis_core.protocol.money import to_nanos

_ASKED = frozenset({"granted", "pending", "rejected"})
_ENDED = frozenset({"settled", "overrun", "released", "expired"})


class Trial(NamedTuple):
    """A change that is tried: the proposal, its version and its parent's, and which percent of the sessions had it from
    when (ms) on."""

    proposal: str
    version: int
    parent: int
    stages: Sequence[tuple[int, int]]


class Saving(NamedTuple):
    """What the change saved against the sessions without it: nano-dollars with their 95 % interval, of so many settled
    calls; None where it cannot be said."""

    nanos: int
    low: int
    high: int
    calls: int


@dataclass(slots=True)
class _Call:
    kind: str
    charged: int = 0
    overrun: bool = False
    expired: bool = False
    failed: bool = False
    ended: bool = False
    settled: bool = False
    outcome: float | None = None
    latency: float | None = None


@dataclass(slots=True)
class _Session:
    at: int
    changed: bool
    omitted: bool = False
    calls: dict[str, _Call] = field(default_factory=dict[str, _Call])


class Sessions:
    """The sessions of one canary, as far as its events were read."""

    def __init__(self, trial: Trial, window_ms: int) -> None:
        self.trial, self._window = trial, window_ms
        self._sessions: dict[str, _Session] = {}
        self._of: dict[str, tuple[_Session, str]] = {}
        self._ended: list[tuple[bool, bool]] = []
        self.unknowing = 0
        """Sessions that should have had the change and did not: their process knows nothing of canaries."""

    def add(self, events: Iterable[Event]) -> None:
        """Take events in, in their order."""
        for event in events:
            facts = event.facts
            if event.kind in _ASKED and facts.get("session_id"):
                self._asked(event, facts)
            elif event.kind in _ENDED or event.kind == "approved":
                self._went_on(event, facts)

    def guards(self, now: int) -> Guards:
        """The evidence by now: sessions whose while is over, in the order in which they began, and ended calls."""
        found = Guards()
        for session in self._counted(now):
            found.session(_values(session), changed=session.changed)
        for failed, changed in self._ended:
            found.call(failed=failed, changed=changed)
        return found

    def saving(self, now: int) -> Saving | None:
        """What a settled call cost less with the change than without, times those with it."""
        costs: dict[bool, list[float]] = {True: [], False: []}
        calls = 0
        for session in self._counted(now):
            settled = [call.charged for call in session.calls.values() if call.settled]
            if settled:
                costs[session.changed].append(sum(settled) / len(settled))
                calls += len(settled) if session.changed else 0
        if min(map(len, costs.values())) < 2:
            return None
        means = {arm: sum(found) / len(found) for arm, found in costs.items()}
        error = sqrt(sum(_variance(found, means[arm]) / len(found) for arm, found in costs.items()))
        gap = means[False] - means[True]
        return Saving(
            round(gap * calls), round((gap - 1.96 * error) * calls), round((gap + 1.96 * error) * calls), calls
        )

    def _counted(self, now: int) -> list[_Session]:
        return [each for each in self._sessions.values() if not each.omitted and each.at + self._window <= now]

    def _asked(self, event: Event, facts: Mapping[str, Any]) -> None:
        at, name, version = round(event.at.timestamp() * 1000), str(facts["session_id"]), facts.get("policy_version")
        trial = self.trial
        if version not in {trial.version, trial.parent}:
            return
        changed = version == trial.version
        session = self._sessions.get(name)
        if session is None:
            session = self._sessions[name] = _Session(at, changed)
        if not changed and place_of(trial.proposal, name) < below_of(self._percent(at)) and not session.omitted:
            session.omitted, self.unknowing = True, self.unknowing + 1
        if session.changed != changed:
            session.omitted = True  # it has the change since the share grew
        grant = str(facts.get("grant_id", event.id))
        self._of[grant] = session, grant
        if at < session.at + self._window:
            session.calls.setdefault(grant, _Call(event.kind)).kind = event.kind

    def _percent(self, at: int) -> int:
        return max((percent for since, percent in self.trial.stages if since <= at), default=0)

    def _went_on(self, event: Event, facts: Mapping[str, Any]) -> None:
        session, grant = self._of.get(str(facts.get("grant_id")), (None, ""))
        call = session.calls.get(grant) if session else None
        if session is None or call is None or event.kind == "approved":
            return
        if round(event.at.timestamp() * 1000) >= session.at + self._window:
            return
        call.expired |= event.kind == "expired"
        call.overrun |= event.kind == "overrun"
        call.failed |= bool(facts.get("error_class")) or event.kind == "expired"
        call.settled |= event.kind in {"settled", "overrun"}
        call.charged = to_nanos(facts.get("charged_usd", 0))
        call.outcome = facts.get("outcome", call.outcome)
        call.latency = facts.get("latency_ms", call.latency)
        if not call.ended and not session.omitted:
            self._ended.append((call.failed, session.changed))
        call.ended = True


def _values(session: _Session) -> dict[str, float | None]:
    calls = list(session.calls.values())
    settled = [call for call in calls if call.settled]
    return {
        "refused": _share([call.kind == "rejected" for call in calls]),
        "asked": _share([call.kind == "pending" for call in calls]),
        "expired": _share([call.expired for call in calls]),
        "overrun": _share([call.overrun for call in calls]),
        "outcome": _share([1 - call.outcome for call in calls if call.outcome is not None]),
        "cost": _share([call.charged for call in settled]),
        "latency": _share([call.latency for call in calls if call.latency is not None]),
    }


def _share(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _variance(values: Sequence[float], mean: float) -> float:
    return sum((each - mean) ** 2 for each in values) / max(1, len(values) - 1)

"""Whether a change does harm: its sessions against those that run at the same time without it.

The unit is a session, because requests of one session are alike: with requests as units and eight agents, a change
without any effect was rolled back in 38 % of simulated canaries. Sessions of both arms are paired as they begin; of
each pair d = (with - without) - 1 point, and bets on d win only if the harm is above one point (see
`kaizen.experiments.betting`). The error of 5 % is split over the metrics.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log, log1p

from aegis_core.kaizen.experiments.betting import BETS, bets, log_mean

METRICS = ("refused", "asked", "expired", "overrun", "outcome", "cost", "latency")
"""Of each session a number from 0 (good) to 1, or nothing where nobody knows."""
MARGIN = 0.01
HARM = log(len(METRICS) / 0.05)
"""The logarithm of an e-value from which a metric is evidence of harm."""
CERTIFIED_FROM = 400
"""Sessions of each arm below which "no harm was seen" is not evidence that there is none."""
_LEAST_D = 1 + MARGIN
LAST, ERRORS, USUAL = 20, 12, 5
"""Of the last calls with the change so many errors are too many at once, where without it there are few."""


@dataclass(slots=True)
class Metric:
    """The evidence of harm in one metric. Sessions wait in `ahead` or `without` until there is one to hold against."""

    n: int = 0
    logs: list[float] = field(default_factory=lambda: [0.0] * BETS)
    ahead: deque[float] = field(default_factory=deque[float])
    without: list[float] = field(default_factory=list[float])

    def add(self, value: float, *, changed: bool) -> None:
        """Take in one session."""
        if changed and self.without:
            self._bet(value, sum(self.without) / len(self.without))
            self.without.clear()
        elif changed:
            self.ahead.append(value)
        elif self.ahead:
            self._bet(self.ahead.popleft(), value)
        else:
            self.without.append(value)

    def _bet(self, changed: float, unchanged: float) -> None:
        d = changed - unchanged - MARGIN
        self.n += 1
        for at, bet in enumerate(_BETS):
            self.logs[at] += log1p(bet * d)

    @property
    def log_e(self) -> float:
        """The logarithm of its e-value."""
        return log_mean(self.logs)


_BETS = bets(_LEAST_D)


class Guards:
    """The evidence of one canary. Sessions are taken in the order in which they began."""

    def __init__(self) -> None:
        self.metrics = {name: Metric() for name in METRICS}
        self.sessions = {True: 0, False: 0}
        self._usual: dict[str, tuple[float, int]] = {"cost": (0.0, 0), "latency": (0.0, 0)}
        self._errors = {True: deque[bool](maxlen=LAST), False: deque[bool](maxlen=LAST)}

    def session(self, values: Mapping[str, float | None], *, changed: bool) -> None:
        """Take in a session: shares from 0 to 1, and `cost` and `latency` in any unit."""
        self.sessions[changed] += 1
        for name, metric in self.metrics.items():
            value = values.get(name)
            if value is None:
                continue
            if (usual := self._usual.get(name)) is not None:
                total, n = usual
                if not changed:
                    self._usual[name] = total + value, n + 1
                if n < _USUAL_FROM or total <= 0:
                    continue  # only what was seen before says what is usual, else the bet would know its outcome
                value = min(1.0, value * n / total / _TIMES)
            metric.add(value, changed=changed)

    def call(self, *, failed: bool, changed: bool) -> None:
        """Take in one call that ended."""
        self._errors[changed].append(failed)

    @property
    def failing(self) -> bool:
        """Whether of the last calls with the change too many failed."""
        return sum(self._errors[True]) >= ERRORS and sum(self._errors[False]) <= USUAL

    @property
    def worst(self) -> tuple[str, float]:
        """The metric with the most evidence of harm, and the logarithm of its e-value."""
        name = max(METRICS, key=lambda each: self.metrics[each].log_e)
        return name, self.metrics[name].log_e

    @property
    def harm(self) -> str:
        """Why the change must be taken back; empty: nothing says so."""
        if self.failing:
            return f"{sum(self._errors[True])} of the last {LAST} calls with it failed"
        name, log_e = self.worst
        return f"{name} is worse than without it (e-value {_power(log_e)})" if log_e >= HARM else ""

    @property
    def certified(self) -> bool:
        """Whether there were enough sessions for the lack of evidence to say something."""
        return min(self.sessions.values()) >= CERTIFIED_FROM


_USUAL_FROM = 5
_TIMES = 4.0
"""Cost and latency are held against so many times the usual, so that they lie between 0 and 1."""


def _power(log_e: float) -> str:
    return f"{log_e / log(10):.1f} in powers of ten"

"""What is stored of shadow experiments, by name. Part of what `schema` declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from aegis_core.protocol.kaizen import OWN_AGENT
from aegis_core.store.kinds import Kind

EXPERIMENTS: Mapping[str, Any] = {
    "MOST_EXPERIMENTS": 200,  # of a tenant, those that ended and are still kept among them
    "KEPT_EXPERIMENT": 400 * 86_400_000,  # ms for which one that ended is kept
    "PAIRS_AT_ONCE": 200,  # pairs that one call counts
    "MISSING_FROM": 100,  # pairs from which it is looked at how many are missing
    "OWN_AGENT": OWN_AGENT,
    "KEPT_FOR_OTHERS": 5,  # of each shared budget Kaizen leaves a fifth to the others
    "NEVER_SHADOWED": "pii=",  # labels of agents whose prompts are sent to nobody else
    "MISSING_ONE_IN": 50,  # more than one in so many missing, and the experiment is void
}
"""What scripts may name besides, as in `schema.CONSTANTS`."""


class Pair(NamedTuple):
    """One request that both models answer. `deadline`: until when it may be open (ms); `day`: of its sampling, counted
    in the tenant's zone from 1970; `state`: ``open``, ``score``, ``missing`` or ``skip``; then the scores, 0 to 1."""

    deadline: int
    day: int
    state: str
    present: float
    candidate: float


class Tally(NamedTuple):
    """What the counted pairs say; see `kaizen.experiments.betting`.

    Attributes:
        days: how many days had passed when the last pair was counted.
        stakes, against: natural logarithms, one for each bet, for the candidate and against it.
        labels: how many labelled pairs, with their own `labelled` stakes.
    """

    n: int
    total: float
    squares: float
    missing: int
    skipped: int
    days: int
    stakes: list[float]
    against: list[float]
    labels: int
    labelled: list[float]


class ClosedTally(NamedTuple):
    """The same when a day was over: which day, how many before it, pairs, and the logarithms of both e-values."""

    day: int
    days: int
    n: int
    log_e: float
    labels: int
    log_labels: float


EXPERIMENT_STATES = (
    "running", "paused", "suggested", "certified", "refuted", "undecided", "void", "stopped", "lapsed",
)  # fmt: skip
EXPERIMENT_KINDS = tuple(f"kaizen_{state}" for state in EXPERIMENT_STATES)
"""The events that say which state an experiment came into."""


class KaizenExperiment(NamedTuple):
    """The body of an event: an experiment came into a state. `log_e` is the logarithm of its e-value, of `n` pairs."""

    at: int
    experiment: str
    task_type: str
    present: str
    candidate: str
    state: str
    n: int
    log_e: float
    why: str
    author: str


STORED = (Kind("PAIR", Pair), Kind("TALLY", Tally), Kind("CLOSED", ClosedTally))
"""Those that `schema` lists."""

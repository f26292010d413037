"""Shadow experiments as people and programs read them, and what they may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from aegis_core.protocol.fields import Identifier
from aegis_core.protocol.parsing import Message

ExperimentState = Literal[
    "running", "paused", "suggested", "certified", "refuted", "undecided", "void", "stopped", "lapsed"
]
JudgeName = Literal[
    "outcome",
    "verifier",
    "exact",
    "json",
    "tool-call",
    "exact-agreement",
    "json-agreement",
    "tool-call-agreement",
    "llm",
]
TRUE_JUDGES: frozenset[JudgeName] = frozenset({"outcome", "verifier", "exact", "json", "tool-call"})
"""Judges that hold answers against what is right. The others have an opinion, which can only suggest."""
AGREEING: frozenset[JudgeName] = frozenset({"exact-agreement", "json-agreement", "tool-call-agreement"})
"""Those that only know whether both models answer alike; who differs may be right, so they refute nothing."""

Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
ExperimentId = Annotated[str, Field(pattern=r"^x-[0-9a-f]{8}(-[0-9]{1,4})?$")]


class ExperimentStart(Message):
    """Begin an experiment: whether `candidate` does the tasks of a type as well as `present`, which does them now.

    Only what an operator starts is ever shadowed: this is the consent to send prompts of that type of task to the
    candidate's provider. `share`: of the requests that are sampled. `judge` and `judge_version`: who scores; another
    one is another experiment. `attenuation`: of a pairwise judge, how much of a true preference it shows, as measured
    on pairs of known order (the lower end).
    """

    task_type: Identifier
    present: Identifier
    candidate: Identifier
    judge: JudgeName = "outcome"
    judge_version: Identifier = "1"
    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.1
    most_pairs: Annotated[int, Field(ge=100, le=6_000)] = 3_000
    days: Annotated[int, Field(ge=2, le=90)] = 30
    without_labels: bool = False
    attenuation: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0


class ExperimentChange(Message):
    """What an operator does with an experiment. ``confirm``: a suggestion counts as a certificate without labelled
    pairs, on the operator's word, which the log keeps."""

    act: Literal["pause", "resume", "stop", "confirm"]
    reason: Annotated[str, Field(max_length=500)] = ""


class PairPost(Message):
    """One request that both models answered, with its scores; `labelled`: they are true ones, not a judge's."""

    experiment_id: ExperimentId
    request_id: Identifier
    present: Score
    candidate: Score
    labelled: bool = False


@dataclass(slots=True)
class Forecast:
    """How many more pairs it probably takes: in half, and in nine of ten experiments that look like this one."""

    half: int
    most: int


@dataclass(slots=True)
class Experiment:
    """An experiment as it stands.

    Attributes:
        experiment_id: `aegis kaizen explain` takes it.
        state: ``undecided`` is over without evidence either way, which is not failed; ``suggested``: a judge's word, to
            be confirmed by labels.
        margin: how much of the present model's score is enough.
        pairs: counted ones; `open_pairs` are sampled and not scored, or wait for one of those; `missing` were never
            judged, `skipped` were not asked.
        labels: pairs with true scores.
        log_e: the natural logarithm of the e-value for the candidate, `log_against` against it, `log_labels` of labels.
        needed: what `log_e` must reach at the close of a day, as experiments stand now.
        whole_days: days that are counted whole; two are needed.
        forecast: None: it will probably not be certified, or there are too few pairs.
        certified_until: when its certificate lapses at the latest.
    """

    experiment_id: str
    task_type: str
    present: str
    candidate: str
    judge: JudgeName
    judge_version: str
    state: ExperimentState
    why: str
    share: float
    margin: float
    made_at: datetime
    until: datetime
    pairs: int
    open_pairs: int
    missing: int
    skipped: int
    labels: int
    log_e: float
    log_against: float
    log_labels: float
    needed: float
    whole_days: int
    forecast: Forecast | None = None
    certified_until: datetime | None = None


@dataclass(slots=True)
class EvidencePoint:
    """After so many pairs: the ratio of the mean scores, its lower bound (one-sided, as the decision is), and the
    logarithm of the e-value."""

    pairs: int
    ratio: float
    at_least: float
    log_e: float


@dataclass(slots=True)
class ExperimentExplanation:
    """An experiment and its course."""

    experiment: Experiment
    course: tuple[EvidencePoint, ...]


@dataclass(slots=True)
class PairNoted:
    """What became of a posted pair: its number, and whether it changed anything; an ended experiment takes none."""

    experiment_id: str
    number: int
    counted: bool
    state: ExperimentState


@dataclass(slots=True)
class Experiments:
    """All of a tenant that are kept, the newest first."""

    experiments: tuple[Experiment, ...]

"""Who scores answers, from 0 to 1. A judge's name and version are part of an experiment: another one is another.

Those of `protocol.experiments.TRUE_JUDGES` hold answers against what is right. The others have an opinion: whether both
models answer alike, which is a lower bound of how well the candidate does, or what a third model prefers.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

from aegis_core.kaizen.experiments.betting import least_ratio
from aegis_core.protocol.canonical import canonical_json
from aegis_core.protocol.experiments import JudgeName

_log = logging.getLogger("aegis.kaizen")


@dataclass(frozen=True, slots=True)
class Task:
    """What both models were asked. `expected`: what is right, where it is known. `payer`: answers Aegis's own agent, as
    the `aegis=` of a governed model by which a judge asks a third one: that is paid from the trials' budget."""

    request_id: str
    task_type: str
    prompt: object = None
    expected: object = None
    payer: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What one model said. Tools that it calls are only proposed, never run: `calls` are names and JSON arguments.

    `outcome`: how well it did, where somebody told. `failed`: an error, a time-out, a refusal: it scores 0. `version`:
    by which name its provider says that it answered, where it does.
    """

    model: str
    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    outcome: float | None = None
    failed: bool = False
    version: str = ""


class Abstain:
    """A judge's word that it does not know."""


ABSTAIN = Abstain()
Scores = tuple[float, ...]


class Judge(Protocol):
    """Scores the answers to one task, in their order, or abstains. What it raises counts as that."""

    @property
    def name(self) -> JudgeName: ...

    @property
    def version(self) -> str: ...

    async def score(self, task: Task, answers: tuple[Answer, ...]) -> Scores | Abstain: ...


async def scored(judge: Judge, task: Task, present: Answer, candidate: Answer) -> tuple[float, float] | None:
    """The scores of both answers; None: the judge does not know. A candidate that failed is not shown to it."""
    try:
        if candidate.failed:
            if judge.name == "llm":
                return 1.0, 0.0
            shown = await judge.score(task, (present,))
            return None if isinstance(shown, Abstain) else (_checked(shown, 1)[0], 0.0)
        both = await judge.score(task, (present, candidate))
        return None if isinstance(both, Abstain) else cast("tuple[float, float]", _checked(both, 2))
    except Exception as error:  # noqa: BLE001 - a judge is the program's own code, or another model
        _log.warning("the judge %s failed on a pair: %s", judge.name, type(error).__name__)
        return None


def _checked(scores: Sequence[float], wanted: int) -> Scores:
    if len(scores) != wanted:
        raise ValueError(f"{len(scores)} scores for {wanted} answers")
    found = tuple(float(each) for each in scores)
    if not all(math.isfinite(each) and 0 <= each <= 1 for each in found):
        raise ValueError(f"scores must be from 0 to 1, not {found}")
    return found


@dataclass(frozen=True)
class Outcome:
    """What was told of each answer by `settle(outcome=…)` or with a posted pair."""

    name: Literal["outcome"] = "outcome"
    version: str = "1"

    async def score(self, task: Task, answers: tuple[Answer, ...]) -> Scores | Abstain:  # noqa: ARG002
        """Abstains where nothing was told."""
        told = [each.outcome for each in answers]
        return ABSTAIN if None in told else tuple(each for each in told if each is not None)


@dataclass(frozen=True)
class Verifier:
    """A function of the program that knows what is right: it answers a score, or None where it does not know."""

    check: Callable[[Task, Answer], float | bool | Awaitable[float | bool | None] | None]
    version: str = "1"
    name: Literal["verifier"] = "verifier"

    async def score(self, task: Task, answers: tuple[Answer, ...]) -> Scores | Abstain:
        """Each answer by itself."""
        found: list[float] = []
        for each in answers:
            said = self.check(task, each)
            if isinstance(said, Awaitable):
                said = await said
            if said is None:
                return ABSTAIN
            found.append(float(said))
        return tuple(found)


@dataclass(frozen=True)
class _Compared:
    """Holds answers against what is expected; without that, the candidate's against the present model's."""

    agreement: bool = False
    version: str = "1"

    async def score(self, task: Task, answers: tuple[Answer, ...]) -> Scores | Abstain:
        """An agreeing judge gives the first answer 1, and the others as far as they are like it."""
        if self.agreement:
            return (1.0, *(self._alike(each, answers[0]) for each in answers[1:]))
        if task.expected is None:
            return ABSTAIN
        return tuple(self._right(each, task.expected) for each in answers)

    def _right(self, answer: Answer, expected: object) -> float:
        raise NotImplementedError

    def _alike(self, answer: Answer, other: Answer) -> float:
        raise NotImplementedError


class Exact(_Compared):
    """The same text, but for white space at its ends and capitals."""

    @property
    def name(self) -> Literal["exact", "exact-agreement"]:
        """Whether it knows what is right."""
        return "exact-agreement" if self.agreement else "exact"

    def _right(self, answer: Answer, expected: object) -> float:
        return float(answer.text.strip().casefold() == str(expected).strip().casefold())

    def _alike(self, answer: Answer, other: Answer) -> float:
        return self._right(answer, other.text)


class JsonMatch(_Compared):
    """The share of the fields of a JSON object that are the same; 0 for what is no JSON object. Fields that nobody
    expects count against it."""

    @property
    def name(self) -> Literal["json", "json-agreement"]:
        """Whether it knows what is right."""
        return "json-agreement" if self.agreement else "json"

    def _right(self, answer: Answer, expected: object) -> float:
        wanted, found = _fields(expected), _fields(answer.text)
        if wanted is None or found is None:
            return 0.0
        names = wanted.keys() | found.keys()
        same = sum(name in wanted and name in found and wanted[name] == found[name] for name in names)
        return same / len(names) if names else 1.0

    def _alike(self, answer: Answer, other: Answer) -> float:
        return self._right(answer, other.text)


class ToolCallMatch(_Compared):
    """The same tools with the same arguments are proposed, in the same order. Nothing is run."""

    @property
    def name(self) -> Literal["tool-call", "tool-call-agreement"]:
        """Whether it knows what is right."""
        return "tool-call-agreement" if self.agreement else "tool-call"

    def _right(self, answer: Answer, expected: object) -> float:
        wanted = tuple(cast("Sequence[tuple[str, str]]", expected))
        return float(_spelt(answer.calls) == _spelt(wanted))

    def _alike(self, answer: Answer, other: Answer) -> float:
        return self._right(answer, other.calls)


@dataclass(frozen=True)
class LlmJudge:
    """A third model, asked in both orders: where its words differ, it is a tie.

    `prefers` asks it, and answers 1 (the first answer), 2 (the second) or 0 (neither); it pays from the same budget as
    the trial where it asks by a model governed with ``aegis=task.payer()``. What it prefers can only suggest, and how
    far it is to be believed is measured: the experiment's `attenuation`, by the function of that name.
    """

    prefers: Callable[[Task, Answer, Answer], Awaitable[int]]
    version: str
    name: Literal["llm"] = "llm"

    async def score(self, task: Task, answers: tuple[Answer, ...]) -> Scores | Abstain:
        """½ (1 ± x), x from -1 to 1."""
        one, two = answers
        first, second = await self.prefers(task, one, two), await self.prefers(task, two, one)
        if not {first, second} <= {0, 1, 2}:
            return ABSTAIN
        won = {0: 0, 1: 1, 2: -1}
        x = (won[first] - won[second]) / 2 if won[first] == -won[second] else 0.0
        return (1 + x) / 2, (1 - x) / 2


async def attenuation(judge: Judge, canaries: Sequence[tuple[Task, Answer, Answer]]) -> float:
    """How much of a true preference a judge of pairs shows, at least (95 %, one-sided); 0: perhaps none.

    Args:
        judge: such as `LlmJudge`; where it abstains or fails, it prefers nothing.
        canaries: tasks with a better and a worse answer; about 300 are worth it.
    """
    found = list[tuple[float, float]]()
    for task, better, worse in canaries:
        scores = await scored(judge, task, better, worse)
        found.append((1.0, 0.5 if scores is None else (1 + scores[0] - scores[1]) / 2))
    return max(0.0, 2 * least_ratio(found) - 1)


def _fields(said: object) -> Mapping[str, Any] | None:
    try:
        value: object = json.loads(said) if isinstance(said, str) else said
    except ValueError:
        return None
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else None


def _spelt(calls: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, _canonical(arguments)) for name, arguments in calls]


def _canonical(arguments: str) -> str:
    try:
        return canonical_json(json.loads(arguments))
    except ValueError:
        return arguments

"""Asks the candidate after the answer and off its path. What goes wrong here is nobody's answer.

A request is sampled by a hash of its id, so that whoever sees it again samples the same; it is numbered before the
candidate is asked, and scored once. A process that ends in between leaves a pair that is missing when its time is over.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, NamedTuple, Protocol

from aegis_core.kaizen.experiments.judges import Answer, Judge, Task, scored
from aegis_core.protocol.errors import AegisError
from aegis_core.protocol.experiments import ExperimentStart

REFRESH_SECONDS = 5.0
LIMIT_SECONDS = 3_600.0
"""How often it is looked at which experiments run, and how much they may spend."""
ANSWER_SECONDS = 120.0
"""How long a candidate may take; then it has failed."""
PAIR_MS = 900_000
"""How long a pair may stay open."""
PAUSE_SECONDS = 60.0
"""For how long a provider is left alone that said 429."""
MOST_AT_ONCE = 64
_Model = Literal["present", "candidate"]

_log = logging.getLogger("aegis.kaizen")


class NotAskedError(Exception):
    """The candidate was not asked: there was no money for it, or it is not at hand here. That is no pair."""


class Asked(NamedTuple):
    """What a candidate answered; `rate_limited`: its provider wants to be left alone."""

    answer: Answer
    rate_limited: bool = False


class Arm(NamedTuple):
    """The candidate that is to be asked; in which experiment, and with which chance it is asked."""

    candidate: str
    experiment: str
    propensity: float


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that the present model has answered.

    Attributes:
        task, answer: of it; `model` by the name under which it was priced.
        agent: whose request it is.
        ask: asks a candidate the same, and pays as Aegis's own agent.
        basis: a hash of the template of its prompt.
    """

    task: Task
    answer: Answer
    model: str
    agent: str
    ask: Callable[[Arm], Awaitable[Asked]]
    basis: str = ""


class Trial(NamedTuple):
    """An experiment that samples, or, `certified`, what it has shown: that is watched for a change of its models or its
    template."""

    name: str
    start: ExperimentStart
    certified: bool = False


class ShadowPort(Protocol):
    """The experiments of a tenant. `governor.experiments` implements it on Redis."""

    async def running(self) -> Sequence[Trial]:
        """Those that sample now, and certificates."""
        ...

    async def renew_limit(self) -> bool:
        """Set how much may be spent until tomorrow; false: nothing."""
        ...

    async def open_pair(
        self, name: str, request_id: str, *, milliseconds: int, basis: str = "", agent: str | None = None,
        version: str = "",
    ) -> int:  # fmt: skip
        """Number a request; 0: it is not to be asked."""
        ...

    async def score(
        self, name: str, request_id: str, scores: tuple[float, float] | None, *, asked: bool = True, version: str = ""
    ) -> bool:
        """Score it, once."""
        ...

    async def see(self, name: str, model: Literal["present", "candidate"], *, basis: str, version: str) -> bool:
        """Say with what a model of a certificate was seen; false: it lapsed."""
        ...


class Shadow:
    """The shadow of one program's model calls, with one judge. All its methods belong to one event loop."""

    def __init__(self, port: ShadowPort, judge: Judge) -> None:
        self._port, self._judge = port, judge
        self._running: dict[tuple[str, str], list[Trial]] = {}
        self._certified: dict[tuple[str, str], list[tuple[str, _Model]]] = {}
        self._seen: dict[tuple[str, _Model], tuple[str, str]] = {}
        self._looked = self._limited = -float("inf")
        self._paused: dict[str, float] = {}
        self._tasks = set[asyncio.Task[None]]()
        self._looking = asyncio.Lock()

    def offer(self, answered: Answered) -> None:
        """Take a request that was answered; perhaps a candidate is asked the same. Raises and waits for nothing."""
        if len(self._tasks) < MOST_AT_ONCE:  # how busy it is says nothing of the candidate
            task = asyncio.get_running_loop().create_task(self._look_at(answered))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Wait until nothing is on its way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def aclose(self) -> None:
        """Give up what is on its way: those pairs will be missing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look_at(self, answered: Answered) -> None:
        try:
            for name, start, _ in await self._experiments(answered):
                await self.pair(name, start, answered)
            await self._watch(answered)
        except AegisError as error:
            _log.warning("a shadow of %s was given up: %s", answered.model, error.message)
        except Exception:  # noqa: BLE001 - the answer was given; nobody waits for this
            _log.exception("a shadow of %s was given up", answered.model)

    async def _experiments(self, answered: Answered) -> list[Trial]:
        """Those that would sample this request now."""
        async with self._looking:
            now = time.monotonic()
            if now - self._looked >= REFRESH_SECONDS:
                found: dict[tuple[str, str], list[Trial]] = defaultdict(list)
                certified: dict[tuple[str, str], list[tuple[str, _Model]]] = defaultdict(list)
                for trial in await self._port.running():
                    start = trial.start
                    if trial.certified:
                        certified[start.task_type, start.present].append((trial.name, "present"))
                        certified[start.task_type, start.candidate].append((trial.name, "candidate"))
                    elif (start.judge, start.judge_version) == (self._judge.name, self._judge.version):
                        found[start.task_type, start.present].append(trial)
                if found and now - self._limited >= LIMIT_SECONDS:
                    if not await self._port.renew_limit():
                        found.clear()
                    else:
                        self._limited = now
                self._running, self._certified, self._looked = dict(found), dict(certified), now
        task = answered.task
        return [
            each
            for each in self._running.get((task.task_type, answered.model), ())
            if sampled(task.request_id, each.name, each.start.share)
            and self._paused.get(each.start.candidate, 0) <= now
        ]

    async def _watch(self, answered: Answered) -> None:
        """Say with what the models of certificates are seen, where that is new here."""
        said = answered.basis, answered.answer.version
        for each in self._certified.get((answered.task.task_type, answered.model), ()):
            if self._seen.get(each) != said:
                self._seen[each] = said
                await self._port.see(*each, basis=answered.basis, version=answered.answer.version)

    async def pair(self, name: str, start: ExperimentStart, answered: Answered) -> None:
        """Number the request, ask the candidate, judge both answers, and score the pair."""
        task = answered.task
        number = await self._port.open_pair(
            name, task.request_id, milliseconds=PAIR_MS, basis=answered.basis, agent=answered.agent,
            version=answered.answer.version,
        )  # fmt: skip
        if not number:
            return
        try:
            asked = await asyncio.wait_for(answered.ask(Arm(start.candidate, name, start.share)), ANSWER_SECONDS)
        except NotAskedError:
            await self._port.score(name, task.request_id, None, asked=False)
            return
        except Exception as error:  # noqa: BLE001 - however it failed, it is no answer
            _log.info("a candidate failed: %s", type(error).__name__)
            asked = Asked(Answer(start.candidate, failed=True))
        if asked.rate_limited:
            self._paused[start.candidate] = time.monotonic() + PAUSE_SECONDS
        scores = await scored(self._judge, task, answered.answer, asked.answer)
        await self._port.score(name, task.request_id, scores, version=asked.answer.version)


def sampled(request_id: str, experiment: str, share: float) -> bool:
    """Whether a request is in the sample of an experiment: by a hash of both, so the same whoever asks."""
    drawn = int.from_bytes(blake2b(f"{experiment}\0{request_id}".encode(), digest_size=8).digest())
    return drawn < share * 2**64

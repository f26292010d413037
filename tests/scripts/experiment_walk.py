"""A walk through one experiment at random, beside a model that says what its pairs must have come to.

The model is written from the promise alone: pairs count once, in the order of their numbers, up to the first that is
open; what is overdue is missing; whole days stand apart; and what ended takes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any
from uuid import uuid4

from aegis_core.connect import open_governor
from aegis_core.governor.experiments import TenantExperiments
from aegis_core.kaizen.experiments.betting import ENOUGH, LABELLED_MARGIN, MARGIN, Evidence
from aegis_core.protocol.errors import AegisError, ConflictError, NotFoundError, StoreError
from aegis_core.protocol.experiments import Experiment, ExperimentChange, ExperimentStart, PairPost
from aegis_core.store import layout
from aegis_core.store.experiments import StoredExperiment
from aegis_core.testing import private_settings

from .bench import DAY, MINUTE, Bench

START = 1_774_612_800_000  # noon
PAIR_MS = 30 * MINUTE
WISH = ExperimentStart(task_type="t", present="gpt-4o", candidate="gpt-4o-mini", share=1, days=2, most_pairs=110)
OPEN = {"running", "paused"}


@dataclass
class Sampled:
    day: int
    deadline: int
    state: str = "open"
    scores: tuple[float, float] = (0, 0)


@dataclass
class Model:
    """What was sampled, and the state that follows from it."""

    now: int = START
    state: str = "running"
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    pairs: list[Sampled] = field(default_factory=list[Sampled])
    labelled: set[int] = field(default_factory=set[int])
    labels: Evidence = field(default_factory=lambda: Evidence(LABELLED_MARGIN))
    basis: str = ""
    present: str = ""
    candidate: str = ""

    @property
    def counted(self) -> list[Sampled]:
        """Those before the first that is open."""
        waiting = (at for at, pair in enumerate(self.pairs) if pair.state == "open")
        return self.pairs[: next(waiting, len(self.pairs))]

    def evidence(self) -> Evidence:
        found = Evidence(MARGIN)
        for pair in self.counted:
            if pair.state == "score":
                found.add(*pair.scores)
        return found

    def see(self) -> None:
        """What is overdue is missing, and evidence ends it."""
        if self.state not in OPEN:
            return
        while (at := len(self.counted)) < len(self.pairs) and self.pairs[at].deadline <= self.now:
            self.pairs[at].state = "missing"
        missing = sum(pair.state == "missing" for pair in self.counted)
        evidence = self.evidence()
        if evidence.n + missing >= 100 and missing * 50 > evidence.n + missing:
            self.state = "void"
        elif evidence.log_against >= ENOUGH:
            self.state = "refuted"

    def whole_days(self) -> int:
        days = [pair.day for pair in self.counted]
        return sum(after > before for before, after in pairwise(days))

    def closed(self) -> tuple[int, float] | None:
        """How many pairs there were before the day of the last counted one, and their evidence."""
        counted = self.counted
        turns = [at for at in range(1, len(counted)) if counted[at].day > counted[at - 1].day]
        if not turns:
            return None
        found = Evidence(MARGIN)
        for pair in counted[: turns[-1]]:
            if pair.state == "score":
                found.add(*pair.scores)
        return found.n, found.log_e


class ExperimentWalk:
    """One tenant with one experiment on a bench's server."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench, self.random, self.model = bench, Random(seed), Model()
        self.tenant = f"x-{uuid4().hex[:12]}"
        self.asked = 0
        self.worse = seed % 3 == 2
        """In every third walk the candidate is worse than it may be."""
        self.weights = (2, 12, 3, 1) if self.worse else (12, 2, 3, 1)

    def walk(self, acts: int) -> None:
        """Begin it, and do so many things at random."""
        self._at(START)
        settings = private_settings(url=self.bench.settings.url, tenant=self.tenant, timezone="UTC")
        self.port: Any = self.bench.run(open_governor(self.bench.store, settings))
        self.of: TenantExperiments = self.port.experiments
        try:
            self.name = self.bench.run(self.of.start(WISH, author="ada")).experiment_id
            choices = (self._open, self._open, self._score, self._score, self._score, self._burst, self._burst,
                       self._again, self._gone, self._label, self._time, self._pause, self._other)  # fmt: skip
            for _ in range(acts):
                self.random.choice(choices)()
                self._check()
        finally:
            self.bench.run(self.port.aclose())
            if keys := self.bench.plain.keys(f"ae:{{{self.tenant}}}:*"):
                self.bench.plain.delete(*keys)

    def _at(self, now: int) -> None:
        self.model.now = now
        self.bench.plain.set(layout.CLOCK_KEY, now)

    def _open(self, request: str = "", basis: str = "", version: str = "") -> int:
        model = self.model
        if not request:
            self.asked += 1
            request = f"r{self.asked}"
        number: int = self.bench.run(
            self.of.open_pair(self.name, request, milliseconds=PAIR_MS, basis=basis, version=version)
        )
        wanted = 0
        if model.state in OPEN and request in model.numbers:
            known = model.numbers[request]
            wanted = known if model.pairs[known - 1].state == "open" else 0
        elif model.state == "running" and len(model.pairs) < WISH.most_pairs and model.now < START + WISH.days * DAY:
            wanted = len(model.pairs) + 1
            if basis and model.basis not in {"", basis}:
                wanted = 0
            else:
                model.basis = model.basis or basis
                if version and model.present not in {"", version}:
                    wanted, model.state = 0, "void"
                model.present = model.present or version
            if wanted:
                model.numbers[request] = wanted
                model.pairs.append(Sampled(model.now // DAY, model.now + PAIR_MS))
        assert number == wanted, f"number {number}, not {wanted}"
        return number

    def _score(self, number: int = 0, scores: tuple[float, float] | None = (0, 0), version: str = "") -> None:
        model = self.model
        waiting = [at for at, pair in enumerate(model.pairs, 1) if pair.state == "open"]
        if not number:
            if not waiting:
                return
            number = self.random.choice(waiting)
            scores = self.random.choices([(1.0, 1.0), (1.0, 0.0), (0.5, 1.0), None], self.weights)[0]
        request = next(name for name, each in model.numbers.items() if each == number)
        asked = scores is not None or self.random.random() < 0.5
        done = self._tried(self.of.score(self.name, request, scores, asked=asked, version=version))
        pair = model.pairs[number - 1]
        wanted = model.state in OPEN and pair.state == "open"
        assert done == wanted, f"{'taken' if done else 'not taken'}: pair {number} in {model.state}"
        if not wanted:
            return
        if version and model.candidate not in {"", version}:
            model.state = "void"
            return
        model.candidate = model.candidate or version
        pair.state, pair.scores = "score" if scores else "missing" if asked else "skip", scores or (0, 0)
        model.see()

    def _burst(self) -> None:
        """Many that both do alike, or that the candidate does not do."""
        for _ in range(15):
            if number := self._open():
                self._score(number, (1.0, 0.0) if self.worse else (1.0, 1.0))

    def _again(self) -> None:
        """What is known already changes nothing."""
        if self.model.pairs:
            number = self.random.randrange(len(self.model.pairs)) + 1
            if self.model.pairs[number - 1].state != "open" or self.model.state not in OPEN:
                self._score(number, (1.0, 0.0))
            self._open(next(name for name, each in self.model.numbers.items() if each == number))

    def _gone(self) -> None:
        code = self._tried(self.of.score(self.name, "never sampled", (1, 1)))
        assert code == (NotFoundError if self.model.state in OPEN else False), code

    def _label(self) -> None:
        model = self.model
        if not model.pairs or model.state not in OPEN:
            return
        number = self.random.randrange(len(model.pairs)) + 1
        request = next(name for name, each in model.numbers.items() if each == number)
        post = PairPost(experiment_id=self.name, request_id=request, present=1, candidate=0.95, labelled=True)
        noted = self._tried(self._posted(post))
        wanted = number not in model.labelled
        assert noted == wanted, f"a label is {'' if noted else 'not '}taken"
        if wanted:
            model.labelled.add(number)
            model.labels.add(1, 0.95)
            model.see()

    async def _posted(self, post: PairPost) -> bool:
        """As a judge with an opinion has it."""
        from aegis_core.store.experiment_verbs import NotePair

        order = NotePair(self.name, self.of._hashed(post.request_id), "label", post.present, post.candidate, 0)
        return not (await self.of._store.note(order))[2]

    def _time(self) -> None:
        self._at(self.model.now + self.random.choice((1, MINUTE, 20 * MINUTE, 6 * 60 * MINUTE, DAY, DAY, -DAY)))

    def _pause(self) -> None:
        act, into, froms = self.random.choice((("pause", "paused", "running"), ("resume", "running", "paused")))
        done = self._tried(self.of.change(self.name, ExperimentChange(act=act), author="ada"))
        if self.model.state == froms:
            self.model.state = into
        else:
            assert done is ConflictError or self.model.state == into, done

    def _other(self) -> None:
        """Prompts of another template, now and then; a model of another version ends it."""
        if self.random.random() < 0.3 and self.model.state == "running":
            self._open(version=self.random.choice(("v1", "v1", "v1", "v2")))
        else:
            self._open(basis=self.random.choice("ab"))

    def _tried(self, doing: Any) -> Any:
        try:
            return self.bench.run(doing)
        except StoreError:
            raise  # a script that fails is not an answer
        except AegisError as error:
            return type(error)

    def _check(self) -> None:
        """All that is counted is the model's."""
        model = self.model
        if model.state in OPEN:
            self.bench.run(self.of._store.count(self.name))
            model.see()
        found: Experiment = self.bench.run(self.of.one(self.name))
        assert found.state == model.state, f"{found.state}, not {model.state}"
        if model.state == "void":
            return  # what was open then stays so
        evidence, counted = model.evidence(), model.counted
        assert (found.pairs, found.open_pairs) == (evidence.n, len(model.pairs) - len(counted))
        lost = [sum(pair.state == each for pair in counted) for each in ("missing", "skip")]
        assert [found.missing, found.skipped, found.labels] == [*lost, len(model.labelled)]
        for one, other in ((found.log_e, evidence.log_e), (found.log_against, evidence.log_against),
                           (found.log_labels, model.labels.log_e)):  # fmt: skip
            assert abs(one - other) < 1e-6, f"evidence {one}, not {other}"
        assert found.whole_days == model.whole_days()
        stored: StoredExperiment = self.bench.run(self.of._store.one(self.name))
        closed = stored.closed and (stored.closed.n, round(stored.closed.log_e, 6))
        wanted = model.closed()
        assert closed == (wanted and (wanted[0], round(wanted[1], 6))), f"whole days {closed}, not {wanted}"

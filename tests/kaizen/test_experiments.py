"""Experiments on Redis: pairs count once and in the order of their numbers, and only whole days decide."""

from __future__ import annotations

import asyncio
import json
import random
from decimal import Decimal
from math import log
from pathlib import Path
from typing import Any, Literal

import pytest

from aegis_core import Governor
from aegis_core.governor.experiments import TenantExperiments
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.kaizen.days import DayCloser
from aegis_core.kaizen.experiments.betting import Evidence
from aegis_core.kaizen.experiments.judges import Answer, LlmJudge, Task, attenuation
from aegis_core.kaizen.prices import rates_of
from aegis_core.metering.price_book import PriceBook
from aegis_core.metering.price_file import read_price_file
from aegis_core.protocol.errors import ConflictError, InvalidRequestError, NotFoundError
from aegis_core.protocol.experiments import ExperimentChange, ExperimentStart, PairPost
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock

Virtual = tuple[Governor, FakeClock, Store]
WISH = ExperimentStart(task_type="draft", present="gpt-4o", candidate="gpt-4o-mini", share=1)
MINUTE = 60_000
USAGE = {"model": "gpt-4o", "input_tokens": 1_000, "output_tokens": 100}


def experiments(governor: Governor) -> TenantExperiments:
    assert isinstance(governor.port, ResourceGovernor)
    return governor.port.kaizen.experiments


async def begun(governor: Governor, **said: Any) -> tuple[TenantExperiments, str]:
    found = experiments(governor)
    return found, (await found.start(WISH.model_copy(update=said), author="ada")).experiment_id


async def pair(of: TenantExperiments, name: str, request: str, scores: tuple[float, float] | None) -> bool:
    await of.open_pair(name, request, milliseconds=MINUTE)
    return await of.score(name, request, scores)


def drawn(count: int, seed: int = 1) -> list[tuple[float, float]]:
    """Pairs of a candidate that is as good: both right in 80 %, each alone in 5 %."""
    draws = random.Random(seed)
    return [draws.choices([(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)], (80, 5, 5, 10))[0] for _ in range(count)]


async def many(of: TenantExperiments, name: str, scores: list[tuple[float, float]], first: int = 0) -> None:
    for at in range(0, len(scores), 100):
        part = list(enumerate(scores[at : at + 100], first + at))
        taken = await asyncio.gather(*(of.open_pair(name, f"r{number}", milliseconds=MINUTE) for number, _ in part))
        part = [each for each, number in zip(part, taken, strict=True) if number]
        await asyncio.gather(*(of.score(name, f"r{number}", each) for number, each in part))


async def test_pairs_count_once_and_in_the_order_of_their_numbers(virtual: Virtual) -> None:
    governor, _, _ = virtual
    of, name = await begun(governor)
    scores = drawn(300)
    numbers = [await of.open_pair(name, f"r{at}", milliseconds=MINUTE) for at in range(300)]
    assert numbers == list(range(1, 301))
    assert await of.open_pair(name, "r7", milliseconds=MINUTE) == 8, "the same request has the same number"
    late = list(range(300))
    random.Random(2).shuffle(late)
    for at in late:
        assert await of.score(name, f"r{at}", scores[at])
        assert not await of.score(name, f"r{at}", (0, 1)), "the first word on a pair stands"
        found = await of.one(name)
        assert found.pairs + found.open_pairs == 300
    evidence = Evidence()
    for each in scores:
        evidence.add(*each)
    found = await of.one(name)
    assert (found.pairs, found.open_pairs) == (300, 0)
    assert found.log_e == pytest.approx(evidence.log_e, abs=1e-9)
    assert found.log_against == pytest.approx(evidence.log_against, abs=1e-9)


async def test_failures_that_come_late_change_nothing(virtual: Virtual) -> None:
    governor, _, _ = virtual
    scores = drawn(400, seed=5)
    values: list[float] = []
    for version, late in (("1", 0), ("2", 150)):
        of, name = await begun(governor, judge_version=version)
        await asyncio.gather(*(of.open_pair(name, f"r{at}", milliseconds=MINUTE) for at in range(400)))
        for at in sorted(range(400), key=lambda at: at + late * (scores[at][1] == 0)):
            await of.score(name, f"r{at}", scores[at])
        values.append((await of.one(name)).log_e)
    assert values[0] == values[1]


async def test_only_whole_days_decide_and_the_report_names_the_model(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    of, name = await begun(governor)
    closer = DayCloser(governor.port.kaizen)  # type: ignore[attr-defined]
    for day in range(4):
        agent = await governor.handshake("ann")
        granted = await agent.request(
            "Work", model="gpt-4o", task_type="draft", prompt_bytes=4_000, max_output_tokens=500
        )
        await agent.settle(str(granted.grant_id), usage=USAGE)
        await many(of, name, [(1.0, 1.0)] * 230, first=1_000 * day)
        found = await of.one(name)
        assert found.state == "running"
        assert found.whole_days == max(0, day)
        await closer.look()
        assert (await of.one(name)).state == "running", "it is decided at the close of a day"
        await clock.advance(hours=24)
        await closer.look()
        if (await of.one(name)).state != "running":
            break
    found = await of.one(name)
    assert (found.state, found.whole_days, found.pairs) == ("certified", 2, 690)
    assert found.log_e >= log(20)
    assert (await of.certified())["draft", "gpt-4o"].model == "gpt-4o-mini"
    assert not await pair(of, name, "later", (0, 0)), "an ended experiment takes no pair"
    told = (await governor.find_events(kind="kaizen_running,kaizen_certified")).events
    assert [event.kind for event in told] == ["kaizen_running", "kaizen_certified"]
    agent = await governor.handshake("ann")
    granted = await agent.request("Work", model="gpt-4o", task_type="draft", prompt_bytes=4_000, max_output_tokens=500)
    await agent.settle(str(granted.grant_id), usage={"model": "gpt-4o", "input_tokens": 1_000, "output_tokens": 100})
    await clock.advance(hours=24)
    await closer.look()
    report = await governor.kaizen_report()
    strong = next(each for each in report.findings if each.detector == "over-strong")
    assert (strong.state, strong.count) == ("found", 1)
    assert "substitute" in {each.verb for each in report.proposals}
    assert [(each.experiment_id, each.state) for each in report.experiments] == [(name, "certified")]
    await clock.advance(days=31)
    assert await of.decide() == 1
    found = await of.one(name)
    assert (found.state, found.why) == ("lapsed", "it is older than 30 days")
    assert await of.certified() == {}


async def test_how_far_a_judge_is_to_be_believed_is_measured() -> None:
    def judge(share: float) -> LlmJudge:
        draws = random.Random(7)

        async def prefers(_: Task, one: Answer, two: Answer) -> int:
            better = 1 if one.text > two.text else 2
            return better if draws.random() < share else 1

        return LlmJudge(prefers, "1")

    canaries = [(Task(f"r{at}", "t"), Answer("a", "good"), Answer("b", "bad")) for at in range(300)]
    assert await attenuation(judge(1), canaries) > 0.95
    assert 0.5 < await attenuation(judge(0.8), canaries) < 0.8
    assert await attenuation(judge(0), canaries) == 0, "who always names the first shows nothing"


async def test_a_worse_candidate_is_refuted_at_once(virtual: Virtual) -> None:
    governor, _, _ = virtual
    of, name = await begun(governor)
    await many(of, name, [(1.0, 1.0), (1.0, 0.0)] * 20)
    found = await of.one(name)
    assert found.state == "refuted"
    assert found.pairs < 40
    other, agreeing = await begun(governor, judge="exact-agreement")
    await many(other, agreeing, [(1.0, 0.0)] * 40)
    assert (await other.one(agreeing)).state == "running", "who only differs may be right"


async def test_pairs_that_nobody_judges_make_it_void(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    of, name = await begun(governor)
    await many(of, name, [(1.0, 1.0)] * 97)
    for at in range(2):
        await of.open_pair(name, f"lost{at}", milliseconds=MINUTE)
    await pair(of, name, "after", (1.0, 1.0))
    assert (await of.one(name)).open_pairs == 3, "one that is open keeps the next one waiting"
    await clock.advance(minutes=2)
    assert await pair(of, name, "skipped", None)
    found = await of.one(name)
    assert (found.pairs, found.missing, found.state) == (98, 3, "void")


async def test_what_was_not_asked_is_no_pair(virtual: Virtual) -> None:
    governor, _, _ = virtual
    of, name = await begun(governor)
    for at in range(150):
        await of.open_pair(name, f"r{at}", milliseconds=MINUTE)
        await of.score(name, f"r{at}", None, asked=False)
    found = await of.one(name)
    assert (found.pairs, found.missing, found.skipped, found.state) == (0, 0, 150, "running")


async def test_a_judge_only_suggests_and_labels_certify(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    of, name = await begun(governor, judge="llm", attenuation=1.0)
    for day in range(3):
        await many(of, name, [(1.0, 1.0)] * 200, first=1_000 * day)
        await clock.advance(hours=24)
    assert await of.decide() == 1
    assert (await of.one(name)).state == "suggested"
    for at in range(60):
        noted = await of.post(PairPost(experiment_id=name, request_id=f"r{at}", present=1, candidate=1, labelled=True))
        assert noted.counted
        again = await of.post(PairPost(experiment_id=name, request_id=f"r{at}", present=0, candidate=1, labelled=True))
        assert not again.counted
    assert (await of.one(name)).labels == 60
    assert await of.decide() == 1
    assert (await of.one(name)).state == "certified"


async def test_a_judge_that_always_names_the_first_suggests_nothing(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    of, name = await begun(governor, judge="llm")
    for day in range(3):
        await many(of, name, [(0.5, 0.5)] * 300, first=1_000 * day)  # both orders disagree: a tie
        await clock.advance(hours=24)
    await of.decide()
    found = await of.one(name)
    assert (found.state, found.margin, found.log_e) == ("running", 1, 0)


async def test_an_operator_pauses_resumes_confirms_and_stops(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    of, name = await begun(governor, judge="llm", attenuation=1.0)
    again = await of.start(WISH.model_copy(update={"judge": "llm", "attenuation": 1.0}), author="b")
    assert again.experiment_id == name
    await of.open_pair(name, "r", milliseconds=MINUTE)
    paused = await of.change(name, ExperimentChange(act="pause", reason="busy"), author="ada")
    assert (paused.state, paused.why) == ("paused", "busy")
    assert await of.open_pair(name, "other", milliseconds=MINUTE) == 0
    assert await of.score(name, "r", (1, 1)), "what was sampled before is still counted"
    with pytest.raises(ConflictError, match="is paused; it cannot confirm"):
        await of.change(name, ExperimentChange(act="confirm"), author="ada")
    await of.change(name, ExperimentChange(act="resume"), author="ada")
    for day in range(3):
        await many(of, name, [(1.0, 1.0)] * 200, first=1_000 * day + 1)
        await clock.advance(hours=24)
    await of.decide()
    confirmed = await of.change(name, ExperimentChange(act="confirm"), author="ada")
    assert (confirmed.state, confirmed.why) == ("certified", "confirmed without labels")
    (event,) = (await governor.find_events(kind="kaizen_certified")).events
    assert (event.facts["by"], event.facts["reason"]) == ("ada", "confirmed without labels")
    with pytest.raises(ConflictError):
        await of.change(name, ExperimentChange(act="stop"), author="ada")
    anew = await of.start(WISH.model_copy(update={"judge": "llm"}), author="ada")
    assert anew.experiment_id == f"{name}-2"
    assert (await of.change(anew.experiment_id, ExperimentChange(act="stop"), author="ada")).state == "stopped"


async def test_what_cannot_be_is_said(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    of, name = await begun(governor, most_pairs=100)
    with pytest.raises(InvalidRequestError, match="candidate: has no price"):
        await begun(governor, candidate="nobody-knows-it")
    with pytest.raises(InvalidRequestError, match="is the present model"):
        await begun(governor, candidate="gpt-4o")
    with pytest.raises(NotFoundError, match="There is no experiment"):
        await of.change("x-00000000", ExperimentChange(act="stop"), author="ada")
    with pytest.raises(NotFoundError, match="was not sampled"):
        await of.score(name, "unknown", (1, 1))
    await of.open_pair(name, "r", milliseconds=MINUTE)
    for scores in ((1.5, 0), (0, -0.1), (float("nan"), 1)):
        with pytest.raises(InvalidRequestError, match="must be a score from 0 to 1"):
            await of.score(name, "r", scores)
    await of.score(name, "r", (1, 1))
    assert await of.open_pair(name, "t", milliseconds=MINUTE, basis="a") == 2
    assert await of.open_pair(name, "u", milliseconds=MINUTE, basis="b") == 0, "another template is another experiment"
    await clock.advance(days=-3)  # a clock that goes back holds nobody up
    assert await of.open_pair(name, "v", milliseconds=MINUTE, basis="a") == 3
    await many(of, name, [(0.0, 0.0)] * 120, first=1_000)
    await of.score(name, "t", (0, 0))
    await of.score(name, "v", (0, 0))
    await clock.advance(hours=24)
    assert (await of.one(name)).pairs == 100
    assert await of.decide() == 1
    found = await of.one(name)
    assert found.state == "undecided", "which is not failed"


async def test_experiments_are_decided_on_together(virtual: Virtual) -> None:
    """One of four needs an e-value of 80, alone 20 would do."""
    governor, clock, _ = virtual
    of, name = await begun(governor)
    for version in ("2", "3", "4"):
        await begun(governor, judge_version=version)
    for day in range(3):
        await many(of, name, [(1.0, 1.0)] * 66, first=1_000 * day)
        await clock.advance(hours=24)
    found = await of.one(name)
    assert log(20) < found.log_e < log(80)
    assert found.needed == pytest.approx(log(80))
    assert await of.decide() == 0
    await many(of, name, [(1.0, 1.0)] * 60, first=9_000)
    await clock.advance(hours=24)
    assert await of.decide() == 1
    assert (await of.one(name)).state == "certified"


async def test_its_course_is_explained(virtual: Virtual) -> None:
    governor, _, _ = virtual
    of, name = await begun(governor)
    await many(of, name, drawn(400, seed=3))
    found = await of.explain(name)
    assert [point.pairs for point in found.course] == list(range(20, 401, 20))
    last = found.course[-1]
    assert last.log_e == pytest.approx(found.experiment.log_e, abs=1e-6)
    assert 0.8 < last.at_least < last.ratio < 1.1
    assert found.experiment.forecast is not None


async def certificate(virtual: Virtual, of: TenantExperiments) -> str:
    """What an experiment has shown in three days, of models and a template that are known."""
    name = (await of.start(WISH, author="ada")).experiment_id
    for day in range(3):
        for at in range(4):
            said = {"milliseconds": MINUTE, "basis": "t", "version": "gpt-4o-1"}
            assert await of.open_pair(name, f"r{day} {at}", **said)
            await of.score(name, f"r{day} {at}", (0, 1), version="mini-1")
        await virtual[1].advance(hours=24)
    assert await of.decide() == 1
    assert (await of.one(name)).state == "certified"
    return name


@pytest.mark.parametrize(
    ("model", "basis", "version", "why"),
    [
        ("present", "t", "gpt-4o-2", "the version of its present model changed: gpt-4o-2"),
        ("candidate", "t", "mini-2", "the version of its candidate model changed: mini-2"),
        ("present", "u", "gpt-4o-1", "its prompts have another template"),
    ],
)
async def test_a_certificate_lapses_with_what_it_was_shown_of(
    virtual: Virtual, model: Literal["present", "candidate"], basis: str, version: str, why: str
) -> None:
    of = experiments(virtual[0])
    name = await certificate(virtual, of)
    for each, said in (("present", "gpt-4o-1"), ("candidate", "mini-1"), ("candidate", "")):
        assert await of.see(name, each, basis="t", version=said)  # type: ignore[arg-type]
    assert not await of.see(name, model, basis=basis, version=version)
    found = await of.one(name)
    assert (found.state, found.why, await of.certified()) == ("lapsed", why, {})
    (event,) = (await virtual[0].find_events(kind="kaizen_lapsed")).events
    assert event.facts["reason"] == why


@pytest.mark.parametrize(("model", "times", "lapses"), [
    ("gpt-4o-mini", "1.11", True), ("gpt-4o-mini", "1.09", False), ("gpt-4o", "1.11", True), ("gpt-4o", "1.09", False),
])  # fmt: skip
async def test_a_certificate_lapses_with_a_price_that_changed_by_more_than_a_tenth(
    virtual: Virtual, tmp_path: Path, model: str, times: str, *, lapses: bool
) -> None:
    of = experiments(virtual[0])
    name = await certificate(virtual, of)
    rates = rates_of(of._prices(), model)
    assert rates is not None
    prices = {"input_usd": Decimal(rates.input) * Decimal(times), "output_usd": rates.output,
              "cached_input_usd": rates.cached}  # fmt: skip
    stated = {kind: str(Decimal(nanos or 0).scaleb(-9)) for kind, nanos in prices.items()}
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({f"openai:{model}": stated}))
    book = PriceBook(stated=read_price_file(path))
    later = TenantExperiments(of._ledger, lambda: book)
    assert (await later.certified() == {}) is lapses
    assert await later.decide() == lapses
    found = await later.one(name)
    assert found.state == ("lapsed" if lapses else "certified")
    assert found.why == (f"a price of {model} changed by more than 10 %" if lapses else "")


@pytest.mark.parametrize("of_whom", ["present", "candidate"])
async def test_another_version_voids_an_experiment(virtual: Virtual, of_whom: str) -> None:
    governor, _, _ = virtual
    of, name = await begun(governor)
    for at, version in enumerate(("1", "", "1", "2")):
        said = {"present": "", "candidate": ""} | {of_whom: version}
        number = await of.open_pair(name, f"r{at}", milliseconds=MINUTE, version=said["present"])
        assert number == (0 if (version, of_whom) == ("2", "present") else at + 1)
        await of.score(name, f"r{at}", (1, 1), version=said["candidate"])
    found = await of.one(name)
    assert (found.state, found.pairs) == ("void", 3)
    assert found.why == f"the version of its {of_whom} model changed: 2"

"""A cheaper model is asked after the answer and off its path: from samples to scores, on loopback providers."""

from __future__ import annotations

import asyncio
import json
import random
from decimal import Decimal
from typing import Any

import pytest
from aegis_langchain import GovernedChatModel
from langchain_openai import ChatOpenAI
from loopback import Providers, providers
from loopback.answering import Asked, Said

from aegis_core import Governor
from aegis_core.governor.experiments import TenantExperiments
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.kaizen.experiments import shadow
from aegis_core.kaizen.experiments.judges import Answer, LlmJudge, Task, Verifier
from aegis_core.kaizen.experiments.shadow import sampled
from aegis_core.protocol.errors import AuthError
from aegis_core.protocol.experiments import ExperimentStart
from aegis_core.protocol.messages import Handshake
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock

Virtual = tuple[Governor, FakeClock, Store]
PRESENT, CHEAP = "gpt-4", "gpt-4.1-nano"
WISH = ExperimentStart(task_type="sum", present=PRESENT, candidate=CHEAP, judge="verifier", share=1)


def right(task: Task, answer: Answer) -> bool:
    """Whether the number that was asked for is in the answer."""
    prompt: Any = task.prompt
    return prompt[-1]["content"].split()[-1] in answer.text.split()


def reply(asked: Asked) -> Said:
    """The present model is right in 85 %; of the others the candidate is right in a third, and elsewhere it is as good
    but for as many. By the number of the task, so that both models know which it is."""
    number = asked.text.split()[-1]
    draw = random.Random(f"{number}").random()
    wrong = draw >= 0.85 if asked.model == PRESENT else draw < 0.05 or draw >= 0.90
    return Said("I do not know" if wrong else f"It is {number}", sent=10, made=20)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "REFRESH_SECONDS", 0.02)


def resources(governor: Governor) -> ResourceGovernor:
    assert isinstance(governor.port, ResourceGovernor)
    return governor.port


def experiments(governor: Governor) -> TenantExperiments:
    return resources(governor).experiments


def openai(url: str, model: str) -> ChatOpenAI:
    return ChatOpenAI(model=model, base_url=url, api_key="none", max_retries=0, max_tokens=64)  # type: ignore[arg-type]


async def spent_before(governor: Governor) -> None:
    """Nine dollars, of which 2 % may be spent on trials."""
    agent = await governor.handshake("rich")
    for _ in range(3):
        granted = await agent.request("Work", estimated_cost_usd=3)
        await agent.settle(str(granted.grant_id), cost_usd=3)


async def begun(governor: Governor) -> str:
    """An experiment, and money for it."""
    await spent_before(governor)
    return (await experiments(governor).start(WISH, author="ada")).experiment_id


async def shadowed(governor: Governor, at: Providers, agent: str = "ann", **said: Any) -> GovernedChatModel:
    options: dict[str, Any] = {
        "task_type": "sum",
        "shadow_models": {CHEAP: openai(at.openai, CHEAP)},
        "judge": Verifier(right),
    }
    options["models"] = {PRESENT: openai(at.openai, PRESENT)}
    return GovernedChatModel(aegis=await governor.handshake(agent), **(options | said))


async def asked(model: GovernedChatModel, *words: str, streams: bool = False) -> None:
    """Ask, and wait for what follows, one after the other."""
    for each in words:
        if streams:
            assert [part.text async for part in model.astream(each)]
        else:
            await model.ainvoke(each)
        await asyncio.sleep(0)
        await model._shadow.shadow.drain()  # type: ignore[union-attr]


@pytest.mark.parametrize("streams", [False, True])
async def test_a_cheaper_model_is_asked_after_the_answer(virtual: Virtual, *, streams: bool) -> None:
    governor, _, _ = virtual
    name = await begun(governor)
    with providers(reply) as at:
        await asked(await shadowed(governor, at), *(f"Say the number {each}" for each in range(40)), streams=streams)
        found = await experiments(governor).one(name)
        assert (found.pairs, found.open_pairs, found.missing) == (40, 0, 0)
        assert at.models == [PRESENT, CHEAP] * 40
        explained = await experiments(governor).explain(name)
    truth = [random.Random(f"{at}").random() for at in range(40)]
    present, candidate = (sum(draw < 0.85 for draw in truth), sum(0.05 <= draw < 0.9 for draw in truth))
    assert explained.course[-1].ratio == pytest.approx(candidate / present, abs=1e-6)
    assert len((await governor.find_events(kind="settled", agent="kaizen")).events) == 40
    own = (await governor.find_events(kind="granted", agent="kaizen")).events
    assert own[0].facts["labels"] == {"purpose": "kaizen"}
    evidence = own[0].facts["request"]
    assert (evidence["experiment_arm"], evidence["propensity"]) == (name, 1)
    (limit,) = [each for each in (await governor.budget("kaizen")).budgets if each.scope == "agent"]
    assert Decimal("0.18") <= limit.limit_usd < Decimal("0.181"), "2 % of what was spent"


async def test_what_must_not_be_shadowed_is_not(virtual: Virtual) -> None:
    governor, _, _ = virtual
    name = await begun(governor)
    with providers(reply) as at:

        async def called(agent: str, words: str, **said: Any) -> list[str]:
            before = len(at.models)
            await asked(await shadowed(governor, at, agent, **said), words)
            return at.models[before:]

        assert await called("ann", "Say 1") == [PRESENT, CHEAP]
        assert await called("ann", "Say 1", task_type="other") == [PRESENT]
        assert await called("ann", "my key is sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD, say 2") == [PRESENT]
        assert await called("ann", "Say 3", judge=Verifier(right, version="2")) == [PRESENT], "another judge"
        await governor.handshake("doctor")
        await governor.label_agent("doctor", {"pii": "yes"})
        assert await called("doctor", "Say 4") == [PRESENT]
        model, before = await shadowed(governor, at), len(at.models)
        async for _ in model.astream("Say 6 with more than one word"):
            break  # whoever leaves a stream has no whole answer
        await asked(model, "Say 1")
        assert at.models[before:] == [PRESENT, PRESENT, CHEAP]
        await governor.set_budget("tenant", governor.tenant, "day", "11")  # of which 9 are spent
        assert await called("ann", "Say 5") == [PRESENT]
    found = await experiments(governor).one(name)
    assert (found.pairs, found.skipped, found.open_pairs) == (2, 1, 0)


async def test_whatever_the_candidate_does_is_a_pair(virtual: Virtual, monkeypatch: pytest.MonkeyPatch) -> None:
    governor, _, _ = virtual
    name = await begun(governor)
    monkeypatch.setattr(shadow, "ANSWER_SECONDS", 0.3)

    def failing(asked: Asked) -> Said:
        if asked.model == PRESENT or asked.text.endswith("0"):
            return reply(asked)
        return (
            Said(status=500)
            if asked.text.endswith("1")
            else Said(status=429)
            if asked.text.endswith("3")
            else Said("late", seconds=0.6)
        )

    with providers(failing) as at:
        model = await shadowed(governor, at, judge=Verifier(lambda *_: 1))
        await asked(model, *(f"Say {number}" for number in range(5)))
    found = await experiments(governor).explain(name)
    assert (found.experiment.pairs, found.experiment.missing) == (4, 0), "after a 429 its provider is left alone"
    assert found.course[-1].ratio == 0.25


async def test_a_judge_that_fails_leaves_the_pair_without_scores(virtual: Virtual) -> None:
    governor, _, _ = virtual
    name = await begun(governor)
    said: list[Any] = [1, 2.5, float("nan"), None, 1]

    def judge(*_: object) -> Any:
        if not said:
            raise RuntimeError("no more")
        return said.pop(0)

    with providers(reply) as at:
        await asked(await shadowed(governor, at, judge=Verifier(judge)), *(f"Say {number}" for number in range(4)))
    found = await experiments(governor).one(name)
    assert (found.pairs, found.missing) == (0, 4)


async def test_a_model_that_judges_is_paid_from_the_budget_of_trials(virtual: Virtual) -> None:
    governor, _, _ = virtual
    await spent_before(governor)
    wish = WISH.model_copy(update={"judge": "llm", "attenuation": 1.0})
    name = (await experiments(governor).start(wish, author="ada")).experiment_id
    with providers(reply) as at:

        async def prefers(task: Task, one: Answer, two: Answer) -> int:
            assert task.payer is not None
            model = GovernedChatModel(aegis=task.payer(), models={"gpt-4o": openai(at.openai, "gpt-4o")})
            await model.ainvoke(f"Which is better, {one.text} or {two.text}?")
            return 2 if two.model == CHEAP else 1

        await asked(await shadowed(governor, at, judge=LlmJudge(prefers, "1")), "Say 1", "Say 2")
        assert at.models == [PRESENT, CHEAP, "gpt-4o", "gpt-4o"] * 2
    assert (await experiments(governor).one(name)).pairs == 2
    own = (await governor.find_events(kind="settled", agent="kaizen")).events
    assert [event.facts["model"] for event in own] == [CHEAP, "gpt-4o", "gpt-4o"] * 2


@pytest.mark.parametrize("changed", ["present", "candidate", "template"])
async def test_a_certificate_is_watched_where_its_models_are_called(virtual: Virtual, changed: str) -> None:
    """What answers under another version, or prompts of another template, end it; the candidate as who took over."""
    governor, clock, _ = virtual
    name, versions = await begun(governor), {PRESENT: "one", CHEAP: "one"}

    def versioned(asked: Asked) -> Said:
        return Said("It is 1" if asked.model == CHEAP else "No", sent=10, made=20, version=versions[asked.model])

    with providers(versioned) as at:
        for _ in range(3):
            await asked(await shadowed(governor, at), *["Say 1"] * 4)
            await clock.advance(hours=24)
            await spent_before(governor)
        assert await experiments(governor).decide() == 1
        others = {PRESENT: openai(at.openai, PRESENT)}, {CHEAP: openai(at.openai, CHEAP)}
        for models in (others[0], others[1]):
            await asked(await shadowed(governor, at, models=models), "Say 1")
        assert (await experiments(governor).one(name)).state == "certified"
        models = others[1] if changed == "candidate" else others[0]
        if changed == "template":
            model, words = await shadowed(governor, at), [("system", "Be brief"), ("user", "Say 1")]
            await model.ainvoke(words)
            await model._shadow.shadow.drain()  # type: ignore[union-attr]
        else:
            versions[next(iter(models))] = "two"
            await asked(await shadowed(governor, at, models=models), "Say 1")
    assert (await experiments(governor).one(name)).state == "lapsed"


async def test_nobody_from_outside_is_kaizen(virtual: Virtual) -> None:
    from aegis_core.governor.credentials import Entrance

    governor, _, _ = virtual
    with pytest.raises(AuthError, match="Aegis's own agent"):
        await resources(governor).handshake(Handshake(agent_id="kaizen"), entry=Entrance(trusted=False))


def test_samples_are_the_same_whoever_draws() -> None:
    drawn = [sampled(f"r{at}", "x-1", 0.3) for at in range(4_000)]
    assert drawn == [sampled(f"r{at}", "x-1", 0.3) for at in range(4_000)]
    assert 0.27 < sum(drawn) / 4_000 < 0.33
    assert drawn != [sampled(f"r{at}", "x-2", 0.3) for at in range(4_000)]
    assert json.dumps(sampled("r", "x", 1)) == "true"

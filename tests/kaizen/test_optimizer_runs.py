"""Whole runs: from traffic and pairs to a change that is kept, over Telegram; and one that turns bad.

All of it on a real server, on the clock of the test.
"""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime

from asking import on_telegram
from botapi import ANA, BotApi, bot_api

from aegis_core import Governor, Settings
from aegis_core.channels.registry import open_channels
from aegis_core.channels.runner import running
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.proposal_making import OptimizerTerms
from aegis_core.kaizen.days import DayCloser
from aegis_core.observe.pace import Pace
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.experiments import ExperimentStart, PairPost
from aegis_core.replay.backtest import Backtests
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock, virtual_governor
from tests.kaizen.test_optimizer import port

Virtual = tuple[Governor, FakeClock, Store]
HOUR = 3_600_000
START = datetime(2026, 3, 27, 12, tzinfo=UTC)
STRONG, CHEAP = "gpt-4.1", "gpt-4o-mini"
TOKENS = {"input_tokens": 1_000, "output_tokens": 200}
QUICK = Pace(lease=6.0, send=4.0, first_retry=0.05, longest_retry=0.2, most_attempts=3)


async def certified(of: ResourceGovernor, clock: FakeClock) -> None:
    """Two experiments that whole days certify: both models right in 80 %, only the cheap one in 12 %."""
    names: list[str] = []
    for task_type in ("draft", "mail"):
        wish = ExperimentStart(task_type=task_type, present=STRONG, candidate=CHEAP, judge="verifier", share=1)
        names.append((await of.experiments.start(wish, author="ada")).experiment_id)
    draws = random.Random(7)
    for day in range(3):
        for at in range(80):
            present, candidate = draws.choices([(1.0, 1.0), (0.0, 1.0), (0.0, 0.0)], (80, 12, 8))[0]
            for name in names:
                pair = PairPost(experiment_id=name, request_id=f"{day}-{at}", present=present, candidate=candidate)
                await of.experiments.post(pair)
        await clock.advance(days=1)
    await of.experiments.decide()
    assert [(await of.experiments.one(name)).state for name in names] == ["certified", "certified"]


async def work(governor: Governor, sessions: int, task_type: str, *, bad: bool = False) -> None:
    """Sessions whose agents use the model that is recommended, and settle by its tokens; some with the cheap one, where
    a change is tried."""
    tried = {each.state for each in (await port(governor).proposals.all()).proposals} & {"canary"}
    number = cheap = 0
    while number < sessions or (tried and cheap < 4):
        number += 1
        agent = await governor.handshake(f"agent-{number % 8}")
        for _ in range(2):
            verdict = await agent.request(
                f"Write a {task_type}", task_type=task_type, resource_type="llm_tokens", logic_density=9,
                prompt_tokens=1_000, max_output_tokens=300,
            )  # fmt: skip
            model = verdict.recommended_model
            assert verdict.grant_id is not None
            assert model is not None
            cheap += model == CHEAP
            outcome = 0.0 if bad and model == CHEAP else 1.0
            await agent.settle(verdict.grant_id, usage={"model": model, **TOKENS}, outcome=outcome)


async def test_from_a_finding_to_kept_by_a_press_and_another_is_rolled_back_of_itself(settings: Settings) -> None:
    with bot_api() as telegram:
        wanted = on_telegram(settings, telegram).model_copy(update={"timezone": "UTC", "events_kept": 20_000})
        async with virtual_governor(wanted, start=START) as (governor, clock, _):
            of = port(governor)
            of.optimizer.terms, of.optimizer.backtest = OptimizerTerms(stage_ms=2 * HOUR), Backtests(settings)
            await of.publish_policy(load_policy('{"schema": 1, "rules": []}'), author="ada")
            await of.operator.people.add("ana", "operator", telegram=ANA, author="operator")
            channels = open_channels(wanted, of, pace=QUICK)
            async with running(channels, of, pace=QUICK):
                await run(governor, of, clock, telegram)


async def pressed(of: ResourceGovernor, telegram: BotApi, number: int, task_type: str) -> str:
    """The proposal about a type of task, approved on Telegram."""
    message = await asyncio.to_thread(telegram.announced, number)
    if task_type not in message.text:
        return await pressed(of, telegram, number + 1, task_type)
    assert "policy.apply" in message.text
    said = await asyncio.to_thread(telegram.press, message, "APPROVE", ANA)
    assert said.startswith("Approved by ana")
    await of.optimizer.look()
    (running_,) = [each for each in (await of.proposals.all()).proposals if each.state == "canary"]
    assert (running_.evidence["task_type"], running_.why) == (task_type, "approved by ana")
    return running_.proposal_id


async def run(governor: Governor, of: ResourceGovernor, clock: FakeClock, telegram: BotApi) -> None:
    await certified(of, clock)
    await work(governor, 10, "draft")
    await clock.advance(days=1)
    await DayCloser(of.kaizen).look()
    report = await governor.kaizen_report()
    finding = next(each for each in report.findings if each.detector == "over-strong")
    assert finding.state == "found"
    first = await pressed(of, telegram, 1, "draft")
    for _ in range(3):
        await work(governor, 40, "draft")
        await clock.advance(hours=2)
        await of.optimizer.look()
    kept = await of.proposals.one(first)
    assert (kept.state, kept.why) == ("kept", "no harm was seen; not certified, because there were few sessions")
    assert kept.backtest is not None
    assert (kept.backtest.granted, kept.backtest.refused) == (20, 0)
    assert kept.canary is not None
    assert kept.canary.low_usd is not None
    assert kept.canary.low_usd > 0
    await clock.advance(days=1)
    await DayCloser(of.kaizen).look()
    assert any(f"Kept: {first}" in note for note in (await governor.kaizen_report()).notes)
    # The other one was made for the policy before, so it is asked again for the one that is in force now.
    second = await pressed(of, telegram, 3, "mail")
    before = await of.operator.policy_version()
    for _ in range(4):
        await work(governor, 50, "mail", bad=True)
        await clock.advance(hours=1, seconds=1)
        await of.optimizer.look()
    back = await of.proposals.one(second)
    assert back.state == "rolled_back"
    assert back.why.startswith("outcome is worse than without it")
    after = await of.operator.policy_version()
    assert (after[0], after[1].digest) == (before[0], before[1].digest)

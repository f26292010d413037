"""The part of the demonstration in which waste is found and mended: from a finding to a policy that is kept.

It runs on a governor of its own, whose clock is turned, so that days pass in seconds.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from aegis_core.cli.demo_page import Page
from aegis_core.cli.proposals import saving_of, state_of
from aegis_core.protocol.experiments import ExperimentStart, PairPost
from aegis_core.protocol.messages import Usage
from aegis_core.protocol.proposals import PolicyProposal, ProposalAct
from aegis_core.settings import EMBEDDED

if TYPE_CHECKING:
    from aegis_core.client.agent import Governor
    from aegis_core.governor.governor import ResourceGovernor
    from aegis_core.testing import FakeClock

_STRONG, _CHEAP, _TASK = "gpt-4.1", "gpt-4o-mini", "draft"
_TOKENS = (1_000, 200)
_STAGE_HOURS = 2
_SEED = 7


async def mend(page: Page) -> bool:
    """Find, prove, propose, try and keep a cheaper model; true when it was kept.

    Args:
        page: where it is shown.
    """
    from aegis_core.governor.governor import ResourceGovernor
    from aegis_core.governor.proposal_making import OptimizerTerms
    from aegis_core.replay.backtest import Backtests
    from aegis_core.testing import private_settings, virtual_governor

    await page.scene(
        "8  Waste is found, and mended", "On a governor of its own, whose clock is turned: five days in a few seconds."
    )
    settings = private_settings(
        url=EMBEDDED, use_fake_redis=True, embedded_stay=False, data_dir=None, pepper=None, timezone="UTC",
        tenant="demo-kaizen", agent_day_usd=10, tenant_day_usd=1_000, events_kept=100_000, reservation="strict",
    )  # fmt: skip
    async with virtual_governor(settings) as (governor, clock, _):
        of = governor.port
        assert isinstance(of, ResourceGovernor)
        of.optimizer.terms = OptimizerTerms(stage_ms=_STAGE_HOURS * 3_600_000)
        of.optimizer.backtest = Backtests(settings)
        await _prove(of, clock, page)
        await _work(governor, 10)
        await clock.advance(days=1)
        await _find(of, page)
        (proposal,) = (await of.proposals.all()).proposals
        return await _try(governor, of, clock, page, proposal)


async def _prove(of: ResourceGovernor, clock: FakeClock, page: Page) -> None:
    wish = ExperimentStart(task_type=_TASK, present=_STRONG, candidate=_CHEAP, judge="verifier", share=1)
    name = (await of.experiments.start(wish, author="demo")).experiment_id
    draws = random.Random(_SEED)  # noqa: S311 - no secret: the part that the models play
    for day in range(3):
        for at in range(120):
            present, candidate = draws.choices([(1.0, 1.0), (0.0, 1.0), (0.0, 0.0)], (80, 12, 8))[0]
            pair = PairPost(experiment_id=name, request_id=f"{day}-{at}", present=present, candidate=candidate)
            await of.experiments.post(pair)
        await clock.advance(days=1)
    await of.experiments.decide()
    found = await of.experiments.one(name)
    page.say(f"Shadow experiment: {_CHEAP} beside {_STRONG} for {_TASK}, {found.pairs} pairs in 3 days: {found.state}.")
    await page.pause()


async def _find(of: ResourceGovernor, page: Page) -> None:
    from aegis_core.kaizen.days import DayCloser
    from aegis_core.protocol.kaizen import KaizenQuery

    await DayCloser(of.kaizen).look()
    report = await of.kaizen_report(KaizenQuery())
    for finding in report.findings:
        if finding.detector == "over-strong":
            page.say(f"Found on {report.day}: {finding.title}, ${finding.amount_usd} in {finding.count} calls.")
    await page.pause()


async def _try(
    governor: Governor, of: ResourceGovernor, clock: FakeClock, page: Page, proposal: PolicyProposal
) -> bool:
    name, test = proposal.proposal_id, proposal.backtest
    page.say(f"Proposed: {name}, {proposal.title}.")
    if test is not None:
        page.say(f"Backtest: of {test.granted} granted requests of the events {test.refused} would be refused.", "dim")
    await page.pause()
    told = await of.proposals.act(name, ProposalAct(act="approve"), author="demo")
    page.say(f"Approved by a person, {told.approval_id}. Now it is tried.")
    for _ in range(3):
        told = await of.proposals.one(name)
        page.say(f"  {told.canary.percent if told.canary else 0} % of the sessions have it.")
        await _work(governor, 24, until=_CHEAP)
        await clock.advance(hours=_STAGE_HOURS)
        await of.optimizer.look()
        await page.pause()
    told = await of.proposals.one(name)
    page.say(f"{state_of(told).capitalize()}: {told.why}.", "green" if told.state == "kept" else "bold red")
    page.say(f"{saving_of(told).capitalize()}.")
    return told.state == "kept"


async def _work(governor: Governor, sessions: int, until: str = "") -> None:
    """So many sessions, and more where no call was to be made to the model `until`."""
    used = set[str]()
    number = 0
    while number < sessions or (until and until not in used):
        agent = await governor.handshake(f"writer-{number % 8}")
        number += 1
        verdict = await agent.request(
            "Write a draft", task_type=_TASK, resource_type="llm_tokens", logic_density=9, prompt_tokens=1_000,
            max_output_tokens=300,
        )  # fmt: skip
        if verdict.grant_id:
            model = verdict.recommended_model or _STRONG
            used.add(model)
            usage = Usage(model=model, input_tokens=_TOKENS[0], output_tokens=_TOKENS[1])
            await agent.settle(verdict.grant_id, usage=usage, outcome=1)

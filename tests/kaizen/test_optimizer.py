"""A proposal from a finding to a policy that is kept, or taken back, on a real server and the clock of the test."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from aegis_core import Governor
from aegis_core.connect import open_governor
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.proposal_making import Draft, OptimizerTerms
from aegis_core.policy.engine import Policy
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.errors import AuthError, ConflictError
from aegis_core.protocol.experiments import ExperimentStart
from aegis_core.protocol.messages import PermissionRequest, SettleRequest
from aegis_core.protocol.parsing import parse
from aegis_core.protocol.proposals import Backtest, PolicyProposal, ProposalAct
from aegis_core.replay.backtest import Backtests
from aegis_core.settings import Settings
from aegis_core.store.experiment_verbs import PutExperiment
from aegis_core.store.experiments import ExperimentStore
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock

Virtual = tuple[Governor, FakeClock, Store]
HOUR = 3_600_000
RULES = '{"schema": 1, "rules": [{"name": "cap", "type": "max_cost", "effect": "deny", "limit_usd": %s}]}'
TIGHTER = Draft(
    "loosen", "Move the limit of cap", "ceiling.cap",
    ({"name": "cap", "type": "max_cost", "effect": "deny", "limit_usd": "0.9"},), {"requests": 300},
)  # fmt: skip


def port(governor: Governor) -> ResourceGovernor:
    assert isinstance(governor.port, ResourceGovernor)
    return governor.port


async def ready(governor: Governor, settings: Settings | None = None) -> ResourceGovernor:
    """With a policy of one rule, and (with `settings`) the real replay."""
    of = port(governor)
    of.optimizer.terms = OptimizerTerms(stage_ms=2 * HOUR)
    of.optimizer.backtest = Backtests(settings) if settings else passed
    await of.publish_policy(load_policy(RULES % 1), author="ada")
    return of


async def passed(asked: Sequence[object], parent: Policy, changed: Policy) -> Backtest:
    return Backtest(len(asked), len(asked), 0, 0)


async def proposed(of: ResourceGovernor, draft: Draft = TIGHTER) -> str:
    version, parent = await of.operator.policy_version()
    name = await of.optimizer.propose(draft, version, parent)
    assert name is not None
    return name


async def traffic(governor: Governor, sessions: int, *, bad: bool = False, cost: str = "0.01", first: int = 0) -> None:
    """Sessions of three calls each, and more until one has the change that is tried. `bad`: what those do fails."""
    of = port(governor)
    tried = {each.state for each in (await of.proposals.all()).proposals} & {"canary"}
    number, seen = first, False
    while number < first + sessions or (tried and not seen):
        number += 1
        agent = await governor.handshake(f"agent-{number % 8}")
        for _ in range(3):
            verdict = await of.request_permission(
                request(agent.session.agent_id, agent.session.session_id, cost), token=None
            )
            if verdict.grant_id:
                changed = of._rules.held(agent.session.session_id).trial is not False  # pyright: ignore[reportPrivateUsage]
                seen = seen or changed
                outcome = 0.0 if bad and changed else 1.0
                await of.settle(verdict.grant_id, SettleRequest(cost_usd=cost, outcome=outcome))  # type: ignore[arg-type]


def request(agent: str, session: str, cost: str) -> Any:
    return parse(PermissionRequest, agent_id=agent, session_id=session, task_intent="Draft a letter",
                 resource_type="compute", estimated_cost_usd=cost)  # fmt: skip


async def approve(of: ResourceGovernor, name: str) -> PolicyProposal:
    return await of.proposals.act(name, ProposalAct(act="approve"), author="ada")


async def test_a_change_is_tested_asked_about_tried_and_kept(virtual: Virtual, settings: Settings) -> None:
    governor, clock, _ = virtual
    of = await ready(governor, settings)
    await traffic(governor, 20)
    name = await proposed(of)
    assert await of.optimizer.look() == 2
    told = await of.proposals.one(name)
    assert (told.state, told.backtest and told.backtest.requests) == ("asked", 60)
    (question,) = await of.approvals.list()
    assert (question.agent_id, question.tool, question.approver_roles) == ("kaizen", "policy.apply", ("operator",))
    await clock.advance(days=3)  # the question outlives the session in which it was asked
    assert (await approve(of, name)).state == "canary"
    for at in range(3):
        await traffic(governor, 30, first=30 * at)
        await clock.advance(hours=2)
        await of.optimizer.look()
    kept = await of.proposals.one(name)
    assert kept.state == "kept", kept
    assert kept.canary is not None
    assert kept.canary.changed >= 3
    version, policy = await of.operator.policy_version()
    assert (version, policy.digest) == (kept.version, kept.digest)
    back = await of.proposals.act(name, ProposalAct(act="rollback"), author="ada")
    assert back.state == "rolled_back"
    assert (await of.operator.policy_version())[1].digest == load_policy(RULES % 1).digest


async def test_harm_no_data_and_a_newer_policy_take_a_change_back(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    of = await ready(governor)
    for reason in ("outcome is worse", "nobody knows what it does", "was published meanwhile"):
        name = await proposed(of)
        await of.optimizer.look()
        assert (await approve(of, name)).state == "canary"
        parent = await of.operator.policy_version()
        if reason == "was published meanwhile":
            parent = (await of.publish_policy(load_policy(RULES % 5), author="bo"), load_policy(RULES % 5))
        elif reason == "outcome is worse":
            for at in range(3):
                await traffic(governor, 60, bad=True, first=60 * at)
                await clock.advance(hours=1, seconds=1)
                await of.optimizer.look()
        else:
            await clock.advance(hours=2)
        await of.optimizer.look()
        told = await of.proposals.one(name)
        assert told.state == "rolled_back"
        assert reason in told.why
        version, policy = await of.operator.policy_version()
        assert (version, policy.digest) == (parent[0], parent[1].digest)
        # The same change to the same policy is not proposed again, so the next one starts from a policy of its own.
        await of.publish_policy(load_policy(RULES % (2 + version)), author="ada")


async def test_persons_say_later_never_and_no_and_an_old_parent_ends_a_question(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    of = await ready(governor)
    name = await proposed(of)
    await of.optimizer.look()
    later = await of.proposals.act(name, ProposalAct(act="later"), author="ada")
    assert (later.state, await of.approvals.list()) == ("later", ())
    await clock.advance(days=7)
    assert await of.optimizer.look() == 2
    asked = await of.proposals.one(name)
    assert asked.state == "asked"
    await of.publish_policy(load_policy(RULES % 3), author="bo")
    with pytest.raises(ConflictError, match="in force instead of"):
        await approve(of, name)
    assert (await of.proposals.one(name)).state == "declined"
    assert await of.approvals.list() == ()
    name = await proposed(of)
    await of.optimizer.look()
    assert (await of.proposals.act(name, ProposalAct(act="never", reason="no"), author="ada")).why == "never: no"
    await of.publish_policy(load_policy(RULES % 4), author="bo")
    version, parent = await of.operator.policy_version()
    assert await of.optimizer.propose(TIGHTER, version, parent) is None
    with pytest.raises(ConflictError, match="it cannot rollback"):
        await of.proposals.act(name, ProposalAct(act="rollback"), author="ada")


async def test_two_engines_and_words_that_are_said_twice_take_each_step_once(
    virtual: Virtual, settings: Settings
) -> None:
    governor, clock, store = virtual
    of = await ready(governor)
    other = await open_governor(store, settings)
    other.optimizer.terms, other.optimizer.backtest = of.optimizer.terms, passed
    try:
        name = await proposed(of)

        async def look() -> None:
            await asyncio.gather(of.optimizer.look(), other.optimizer.look())

        await look()
        assert len(await of.approvals.list()) == 1
        said = await asyncio.gather(approve(of, name), approve(other, name))
        assert {each.state for each in said} == {"canary"}
        assert (await approve(of, name)).state == "canary"
        for at in range(3):
            await traffic(governor, 20, first=20 * at)
            await clock.advance(hours=2)
            await look()
        assert (await approve(other, name)).state == "kept"
        kinds = "kaizen_tested,kaizen_asked,kaizen_canary,kaizen_kept,policy_published"
        told = Counter(event.kind for event in (await governor.find_events(kind=kinds, limit=500)).events)
        assert told == {
            "kaizen_tested": 1, "kaizen_asked": 1, "kaizen_canary": 3, "kaizen_kept": 1, "policy_published": 2
        }  # fmt: skip
        back = [await of.proposals.act(name, ProposalAct(act="rollback"), author="ada") for _ in range(2)]
        assert [each.state for each in back] == ["rolled_back"] * 2
    finally:
        await other.aclose()


async def test_evidence_that_is_too_old_ends_a_proposal_whatever_a_person_says(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    of = await ready(governor)
    wish = ExperimentStart(task_type="draft", present="gpt-4.1", candidate="gpt-4o-mini", judge="verifier")
    experiment = (await of.experiments.start(wish, author="ada")).experiment_id
    certify = PutExperiment(experiment, "certified", ("running",), False, True, "20", "", "ada")
    await ExperimentStore(of._ledger).put(certify)  # pyright: ignore[reportPrivateUsage]
    await of.optimizer.look()
    (found,) = (await of.proposals.all()).proposals
    assert (found.state, found.kind) == ("asked", "substitute")
    lapse = PutExperiment(experiment, "lapsed", ("certified",), False, True, None, "the model is another one", "kaizen")
    await ExperimentStore(of._ledger).put(lapse)  # pyright: ignore[reportPrivateUsage]
    assert found.approval_id is not None
    await of.approvals.decide(found.approval_id, "approve", by="operator")  # it comes too late
    await of.optimizer.look()
    ended = await of.proposals.one(found.proposal_id)
    assert (ended.state, ended.why) == ("declined", "gpt-4o-mini is no longer certified for draft")
    name = await proposed(of)
    await clock.advance(days=60)
    await of.optimizer.look()
    assert (await of.proposals.one(name)).why == "its evidence is older than 30 days"


async def test_who_may_let_a_change_through_and_what_goes_by_itself(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    of = await ready(governor)
    people = of.operator.people
    await people.add("vic", "approver", author="operator")
    await people.add("ada", "operator", author="operator")
    await people.add("olga", "owner", author="operator")
    of.optimizer.terms = replace(of.optimizer.terms, auto=frozenset({"tighten"}))
    name = await proposed(of, TIGHTER._replace(kind="tighten"))
    await of.optimizer.look()
    assert (await of.proposals.one(name)).state == "observed"
    await clock.advance(hours=1)
    await of.optimizer.look()
    told = await of.proposals.one(name)
    assert (told.state, told.why, await of.approvals.list()) == ("canary", "of itself, as its owner allows", ())
    await of.proposals.act(name, ProposalAct(act="rollback"), author="ada")
    # What asks less, takes a person, and an owner.
    higher = {**TIGHTER.rules[0], "limit_usd": "1.1"}
    name = await proposed(of, TIGHTER._replace(rules=(higher,)))
    await of.optimizer.look()
    (question,) = await of.approvals.list()
    assert question.approver_roles == ("owner",)
    for who in ("vic", "ada"):
        with pytest.raises(AuthError):
            await of.proposals.act(name, ProposalAct(act="approve"), author=who)
    assert (await of.proposals.act(name, ProposalAct(act="approve"), author="olga")).by == "olga"
    await of.proposals.act(name, ProposalAct(act="rollback"), author="ada")
    # Where rules only observe, nobody is asked, and nothing is changed.
    await of.operator.set_mode("observe", author="ada")
    lower = {**TIGHTER.rules[0], "limit_usd": "0.8"}
    name = await proposed(of, TIGHTER._replace(rules=(lower,)))
    await of.optimizer.look()
    told = await of.proposals.one(name)
    assert (told.state, told.why.startswith("nobody could be asked")) == ("later", True)

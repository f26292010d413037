"""Bounds for ceilings, the guards of canaries, and what is proposed of what was asked; seeds fixed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from aegis_core import Governor, Settings
from aegis_core.governor.proposal_making import OptimizerTerms, amounts_under, ceilings
from aegis_core.kaizen.optimizer.ceilings import least_needed, next_ceiling, tolerance_bound
from aegis_core.kaizen.optimizer.guards import ERRORS, LAST, Guards
from aegis_core.kaizen.optimizer.recorded import Recorded
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.ceilings import bounds_of
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock
from benchmarks.kaizen_optimizer import azure, canary
from benchmarks.kaizen_optimizer import ceilings as exceeded
from tests.kaizen.test_optimizer import approve, ready

Virtual = tuple[Governor, FakeClock, Store]
POLICY = '{"schema": 1, "rules": [{"name": "cap", "type": "max_cost", "effect": "deny", "limit_usd": %s}]}'
BILLION = 1_000_000_000


def asked(*amounts: float) -> list[Recorded]:
    return [Recorded(at, "a", "s", "Work", "compute", round(each * BILLION)) for at, each in enumerate(amounts)]


def test_a_ceiling_takes_as_many_amounts_as_its_share_needs() -> None:
    assert [least_needed(share) for share in (0.01, 0.02, 0.05)] == [299, 149, 59]
    assert tolerance_bound(range(298), 0.01) is None
    assert tolerance_bound(range(299), 0.01) == 298  # the largest
    assert tolerance_bound(range(1_000), 0.01) == 995
    assert tolerance_bound(range(59), 0.05) == 58


def test_a_ceiling_moves_by_a_tenth_in_a_step_and_by_three_in_a_week_within_its_bounds() -> None:
    assert next_ceiling(100, 10, 0, 1_000) == 90
    assert next_ceiling(100, 1_000, 0, 1_000) == 110
    assert next_ceiling(100, 10, 95, 1_000) == 95
    assert next_ceiling(100, 10, 0, 1_000, week_ago=130) == 91
    assert next_ceiling(75, 10, 0, 1_000, week_ago=110) == 77


def test_what_is_proposed_for_a_ceiling() -> None:
    policy, terms = load_policy(POLICY % 1), OptimizerTerms(bounds={"cap": (BILLION // 2, 2 * BILLION)})
    small = asked(*[0.2] * 400)
    (lower,) = ceilings(policy, small, terms)
    assert (lower.kind, lower.rules[0]["limit_usd"]) == ("tighten", "0.9")
    (raise_,) = ceilings(policy, asked(*[0.2] * 300, *[3.0] * 100), terms)  # refused ones were asked for, too
    assert (raise_.kind, raise_.rules[0]["limit_usd"]) == ("loosen", "1.1")
    assert ceilings(policy, small[:200], terms) == []  # of 200 nobody can say it
    assert ceilings(policy, small, OptimizerTerms()) == []  # its owner gave no bounds
    assert len(amounts_under(policy, "cap", small)) == 400
    assert bounds_of("cap=0.5..2,other=1..1") == {"cap": (BILLION // 2, 2 * BILLION), "other": (BILLION, BILLION)}
    for wrong in ("cap", "cap=2..1", "cap=a..b", "cap=1"):
        with pytest.raises((ValueError, InvalidRequestError)):
            bounds_of(wrong)


def test_canaries_are_rarely_wrong() -> None:
    ended = {harm: [canary(run, harm).harm for run in range(16)] for harm in (0.0, 0.2)}
    assert not any(ended[0.0])
    assert all(each.startswith("outcome") for each in ended[0.2])


def test_many_errors_at_once_are_harm_where_there_are_few_without_the_change() -> None:
    guards = Guards()
    for _ in range(LAST):
        guards.call(failed=False, changed=False)
    for _ in range(ERRORS):
        assert not guards.harm
        guards.call(failed=True, changed=True)
    assert guards.harm == f"{ERRORS} of the last 20 calls with it failed"
    for _ in range(LAST):
        guards.call(failed=True, changed=False)
    assert not guards.harm  # a provider that is down is down for all


def test_dearer_calls_are_harm() -> None:
    draws, guards = random.Random(3), Guards()
    for number in range(400):
        changed = number % 2 == 1
        guards.session({"cost": draws.uniform(80, 120) * (1.5 if changed else 1)}, changed=changed)
    assert guards.worst[0] == "cost"
    assert guards.harm
    assert not guards.certified  # 200 of each


def test_ceilings_of_a_recorded_hour(shared_data: Path) -> None:
    found = exceeded(azure(shared_data))
    assert found["tolerance bound"]["exceeded"] <= 0.01
    assert found["mean x 1.2"]["exceeded"] > 0.4
    assert found["with 200 calls"] is None


async def test_a_lower_ceiling_is_proposed_of_real_requests(virtual: Virtual, settings: Settings) -> None:
    governor, clock, _ = virtual
    of = await ready(governor, settings)
    of.optimizer.terms = OptimizerTerms(bounds=bounds_of("cap=0.5..2"))
    agent = await governor.handshake("writer")

    async def work(count: int, cost: str) -> None:
        for _ in range(count):
            verdict = await agent.request("Work", estimated_cost_usd=cost)
            assert verdict.grant_id is not None
            await agent.release(verdict.grant_id)

    await work(300, "0.01")
    await of.optimizer.look()
    (found,) = (await of.proposals.all()).proposals
    assert (found.state, found.why) == ("observed", "its rules watch, and refuse nothing")
    await work(20, "0.95")  # granted still
    await clock.advance(hours=12)
    await of.optimizer.look()
    found = await of.proposals.one(found.proposal_id)
    assert found.why == "observed: it would have stopped 20 of 20 requests that were granted"
    await of.publish_policy(load_policy(POLICY % 1.5), author="bo")
    await work(300, "0.01")
    await of.optimizer.look()
    await work(20, "0.01")
    await clock.advance(hours=12)
    await of.optimizer.look()
    found = (await of.proposals.all()).proposals[0]
    assert (found.state, found.kind, found.rules[0]["limit_usd"]) == ("asked", "tighten", "1.35")
    assert found.evidence["requests"] == 620
    assert found.backtest is not None
    assert (found.backtest.requests, found.backtest.differing) == (620, 0)
    assert (await approve(of, found.proposal_id)).state == "canary"
    await of.optimizer.look()
    assert len((await of.proposals.all()).proposals) == 2

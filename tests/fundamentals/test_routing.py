"""Every grant for a model says why this model; reported outcomes teach which tier a task really needs."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

import aegis_core
from aegis_core import GovernedAgent, Governor, Settings, Usage
from aegis_core.arbiter.catalog import load_catalog
from aegis_core.arbiter.routing.fitting import fit, read
from aegis_core.arbiter.routing.outcomes import Outcome, Pair
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.policy import load_policy
from aegis_core.protocol.errors import ConfigurationError

pytestmark = pytest.mark.leaves("grants")

CATALOG = load_catalog()
SIZES = {"prompt_bytes": 4_000, "max_output_tokens": 500}


def port(governor: Governor) -> ResourceGovernor:
    assert isinstance(governor.port, ResourceGovernor)
    return governor.port


def tier_of(model: str | None) -> int:
    return CATALOG.by_name[model or ""].tier


async def report(agent: GovernedAgent, task_type: str, density: int, outcome: float, times: int) -> None:
    for _ in range(times):
        verdict = await agent.request("Work", task_type=task_type, logic_density=density, estimated_cost_usd="0.0001")
        assert verdict.grant_id, verdict.reason
        await agent.settle(verdict.grant_id, cost_usd="0.0001", outcome=outcome)


async def test_a_grant_says_why_this_model(governor: Governor) -> None:
    agent = await governor.handshake("a")
    verdict = await agent.request("Summarise", logic_density=4, **SIZES)
    why = verdict.routing
    assert why is not None
    assert why.model == verdict.recommended_model
    assert (why.evidence, why.outcomes, why.degraded) == ("prior", 0, False)
    assert "weak prior" in why.note
    assert 0 < why.quality_bound < why.expected_quality < 1
    assert 0 < why.expected_cost_usd < why.strongest_cost_usd
    assert tier_of(why.strongest_model) == 5
    assert why.price_version.startswith("genai-prices ")


async def test_a_repeated_request_says_the_same(governor: Governor) -> None:
    agent = await governor.handshake("a")
    first = await agent.request("Summarise", request_id="one", **SIZES)
    assert (await agent.request("Summarise", request_id="one", **SIZES)).routing == first.routing


async def test_what_is_not_a_model_has_no_reasons(governor: Governor) -> None:
    agent = await governor.handshake("a")
    verdict = await agent.request("Call", resource_type="api_call", estimated_cost_usd="0.01")
    assert verdict.routing is None


async def test_outcomes_lower_the_tier_of_a_task_that_cheap_models_do_well(governor: Governor) -> None:
    agent = await governor.handshake("a")
    await report(agent, "classify", 1, 1.0, 120)
    await port(governor).outcomes.refresh()
    port(governor).outcomes._until = 0
    verdict = await agent.request("Classify", task_type="classify", logic_density=8, **SIZES)
    assert tier_of(verdict.recommended_model) == 1
    assert verdict.routing is not None
    assert verdict.routing.evidence == "task_type"
    assert verdict.routing.outcomes == 120
    assert "keeps 97%" in verdict.routing.note
    other = await agent.request("Prove", task_type="prove", logic_density=8, **SIZES)
    assert tier_of(other.recommended_model) == 4, "of another type nothing is known"


async def test_a_few_good_outcomes_are_not_enough(governor: Governor) -> None:
    agent = await governor.handshake("a")
    await report(agent, "classify", 1, 1.0, 20)
    await port(governor).outcomes.refresh()
    verdict = await agent.request("Classify", task_type="classify", logic_density=8, **SIZES)
    assert tier_of(verdict.recommended_model) == 4


async def test_outcomes_raise_the_tier_of_a_task_that_cheap_models_fail(governor: Governor) -> None:
    agent = await governor.handshake("a")
    await report(agent, "prove", 1, 0.2, 60)
    await report(agent, "prove", 8, 1.0, 60)
    port(governor).outcomes._until = 0
    verdict = await agent.request("Prove", task_type="prove", logic_density=1, **SIZES)
    assert tier_of(verdict.recommended_model) == 4
    assert verdict.routing is not None
    assert "falls short" in verdict.routing.note


async def test_the_density_of_an_agent_that_inflates_is_calibrated_by_its_own_outcomes(governor: Governor) -> None:
    """It always says 8; what it asks for is done as well by the cheap model that its operator's policy tried."""
    house = port(governor)
    cheap = {"schema": 1, "rules": [{"name": "try", "type": "model_override", "model": "gpt-4.1-nano"}]}
    before = house._rules.policy
    await house.publish_policy(load_policy(json.dumps(cheap), "test"), author="ops")
    boaster, modest = await governor.handshake("boaster"), await governor.handshake("modest")
    for _ in range(120):
        verdict = await boaster.request("Work", logic_density=8, estimated_cost_usd="0.0001")
        assert verdict.grant_id
        await boaster.settle(verdict.grant_id, cost_usd="0.0001", outcome=1)
    await house.publish_policy(before, author="ops")
    house.outcomes._until = 0
    verdict = await boaster.request("Work", logic_density=8, **SIZES)
    assert verdict.routing is not None
    assert (tier_of(verdict.recommended_model), verdict.routing.evidence) == (1, "agent")
    assert tier_of((await modest.request("Work", logic_density=8, **SIZES)).recommended_model) == 4


async def test_a_repeated_settlement_counts_its_outcome_once(governor: Governor) -> None:
    agent = await governor.handshake("a")
    verdict = await agent.request("Work", task_type="t", **SIZES)
    for _ in range(3):
        await agent.settle(verdict.grant_id or "", cost_usd="0.0001", outcome=0.5)
    version, rows = await port(governor).outcomes.export()
    assert version == 1
    assert [(row.task_type, row.agent_id, row.mean, row.outcomes) for row in rows] == [
        (None, None, 0.5, 1), (None, "a", 0.5, 1), ("t", None, 0.5, 1),
    ]  # fmt: skip


async def test_a_reset_forgets_and_is_an_event(governor: Governor) -> None:
    agent = await governor.handshake("a")
    await report(agent, "t", 1, 1.0, 2)
    outcomes = port(governor).outcomes
    assert await outcomes.reset(author="ops") == 3
    version, rows = await outcomes.export()
    assert (version, rows) == (3, [])
    event = (await governor.latest_events(1))[0]
    assert (event.kind, event.facts) == ("outcomes_reset", {"rows": 3, "by": "ops"})


async def test_a_verified_cheap_answer_reserves_both_calls(governor: Governor) -> None:
    agent = await governor.handshake("a")
    alone = await agent.request("Prove", logic_density=8, **SIZES)
    both = await agent.request("Prove", logic_density=8, verify="cheap_first", **SIZES)
    assert both.routing is not None
    assert tier_of(both.recommended_model) < 4
    assert both.routing.escalation_model == alone.recommended_model
    assert both.routing.note.startswith(f"Its answer is to be verified, and {alone.recommended_model} called when")
    assert both.reserved_usd > alone.reserved_usd
    assert alone.routing is not None
    assert both.routing.expected_cost_usd < alone.routing.expected_cost_usd
    usage = Usage(model=both.recommended_model or "", input_tokens=1_000, output_tokens=500)
    again = Usage(model=both.routing.escalation_model or "", input_tokens=1_000, output_tokens=500)
    receipt = await agent.settle(both.grant_id or "", usage=usage, escalation_usage=again)
    assert 0 < receipt.charged_usd <= both.reserved_usd
    _, rows = await port(governor).outcomes.export()
    assert [(row.model, row.mean) for row in rows if row.agent_id] == [(both.recommended_model, 0.0)]


async def test_money_that_runs_out_degrades_only_where_the_policy_lists_cheaper_models(governor: Governor) -> None:
    agent = await governor.handshake("a")
    await governor.set_budget("agent", "a", "day", "0.005")
    refused = await agent.request("Prove", logic_density=8, **SIZES)
    assert (refused.status, refused.code) == ("REJECTED", "budget_exceeded")
    rule = {"name": "may-degrade", "type": "model_override", "models": ["gpt-4.1", "gpt-4.1-mini"]}
    house = port(governor)
    await house.publish_policy(load_policy(json.dumps({"schema": 1, "rules": [rule]}), "test"), author="ops")
    verdict = await agent.request("Prove", logic_density=8, request_id="two", **SIZES)
    assert (verdict.status, verdict.recommended_model) == ("GRANTED", "gpt-4.1-mini")
    assert verdict.routing is not None
    assert verdict.routing.degraded
    assert verdict.routing.note.startswith("Degraded from tier 4 to tier 2, as the policy allows")


async def test_a_ceiling_below_the_cheapest_model_refuses(governor: Governor) -> None:
    agent = await governor.handshake("a")
    verdict = await agent.request("Prove", requirements={"ceiling_usd": Decimal("0.000001")}, **SIZES)
    assert (verdict.status, verdict.code, verdict.routing) == ("REJECTED", "no_model", None)
    assert "below the cheapest possibility" in verdict.reason


async def test_an_outcome_is_that_of_the_model_that_answered_not_of_the_recommended_one(governor: Governor) -> None:
    """Else what a strong model does well, which an agent chose for itself, would speak for a cheap one."""
    agent = await governor.handshake("a")
    for task_type, said, told in (
        ("named", {"model": "openai/gpt-4o"}, {"cost_usd": "0.0001"}),
        ("dated", {}, {"usage": Usage(model="gpt-4o-2024-08-06", input_tokens=10)}),
        ("outside", {"model": "gpt-4"}, {"usage": Usage(model="gpt-4", input_tokens=10)}),
        ("followed", {}, {"cost_usd": "0.0001"}),
    ):
        verdict = await agent.request("Work", task_type=task_type, logic_density=1, **said, **SIZES)
        assert tier_of(verdict.recommended_model) == 1
        await agent.settle(verdict.grant_id or "", outcome=1, **told)
    _, rows = await port(governor).outcomes.export()
    assert {row.task_type: row.model for row in rows if row.task_type} == {
        "named": "gpt-4o", "dated": "gpt-4o", "outside": "gpt-4", "followed": "gemini-2.5-flash-lite",
    }  # fmt: skip


async def test_a_verified_cheap_answer_that_passes_is_an_outcome_of_the_cheap_model(governor: Governor) -> None:
    agent = await governor.handshake("a")
    verdict = await agent.request("Prove", logic_density=8, verify="cheap_first", **SIZES)
    await agent.settle(verdict.grant_id or "", cost_usd="0.0001", outcome=1)
    _, rows = await port(governor).outcomes.export()
    assert {(row.model, row.mean) for row in rows} == {(verdict.recommended_model, 1.0)}
    assert tier_of(verdict.recommended_model) < 4


def fitted_for(path: Path, weak: str, strong: str) -> Path:
    """A text model for which the weak one writes letters as well as the strong one, and fails at proofs."""
    made: list[Outcome] = []
    for number in range(400):
        kind, gain = ("proof of the lemma", 1.0) if number % 2 else ("letter to the customer", 0.0)
        made.append(Outcome(str(number), "", f"A {kind}, number {number}", 1.0 - gain, 1.0))
    path.write_text(fit(read(made), Pair(weak, strong, 0.1)).dump())
    return path


async def test_a_fitted_text_model_lowers_the_tier_of_what_the_weak_model_does_as_well(
    settings: Settings, tmp_path: Path
) -> None:
    given = fitted_for(tmp_path / "routing.json", "gpt-4o-mini", "gpt-4o")
    async with aegis_core.connect(settings=settings.model_copy(update={"routing_file": given})) as governor:
        agent = await governor.handshake("a")
        letter = await agent.request("A letter to the customer, number 7", logic_density=8, **SIZES)
        proof = await agent.request("A proof of the lemma, number 7", logic_density=8, **SIZES)
        beyond = await agent.request("A letter to the customer, number 8", logic_density=10, **SIZES)
    assert letter.routing is not None
    assert (tier_of(letter.recommended_model), letter.routing.evidence) == (1, "text")
    assert "fitted text model" in letter.routing.note
    assert tier_of(proof.recommended_model) == 4
    assert tier_of(beyond.recommended_model) == 5, "of a tier above its strong model it knows nothing"


@pytest.mark.parametrize(
    ("weak", "strong", "words"),
    [
        ("mixtral-8x7b", "gpt-4o", "the catalog has no mixtral-8x7b"),
        ("gpt-4o", "gpt-4o-mini", "gpt-4o of tier 4 and gpt-4o-mini of tier 1"),
    ],
)
async def test_a_text_model_that_could_never_speak_is_refused_at_start(
    settings: Settings, tmp_path: Path, weak: str, strong: str, words: str
) -> None:
    given = fitted_for(tmp_path / "routing.json", weak, strong)
    with pytest.raises(ConfigurationError, match=f"routing.json.*{words}"):
        async with aegis_core.connect(settings=settings.model_copy(update={"routing_file": given})):
            pass

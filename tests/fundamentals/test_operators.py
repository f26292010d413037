"""What operators say bounds what agents may claim, at the very next request, in every process."""

from __future__ import annotations

from decimal import Decimal

import pytest

import aegis_core
from aegis_core import Governor, Settings
from aegis_core.governor.credentials import Entrance
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.operators import Operator
from aegis_core.protocol.errors import AuthError
from aegis_core.protocol.messages import Handshake, PermissionRequest, ReleaseRequest, SettleRequest
from aegis_core.protocol.profiles import Profile, ProfileSet

pytestmark = pytest.mark.leaves("grants", "questions")

OVER_HTTP = Entrance(trusted=False)


def resources(governor: Governor) -> ResourceGovernor:
    assert isinstance(governor.port, ResourceGovernor)
    return governor.port


def operator(governor: Governor) -> Operator:
    return resources(governor).operator


async def test_a_profile_bounds_a_handshake_that_claims_more(governor: Governor) -> None:
    profile = Profile(match="crew-*", max_priority=3, capabilities=("web_search",), budgets={"day": Decimal(2)})
    await operator(governor).set_profile(profile, author="ops")
    agent = await governor.handshake(
        "crew-1", max_priority=10, capabilities=["web_search", "deploy"], session_budget_usd=99
    )
    assert (agent.session.max_priority, agent.session.capabilities) == (3, ("web_search",))
    assert agent.session.remaining_budget_usd == Decimal(2)
    refused = await agent.request("Work", estimated_cost_usd="0.10", priority=4)
    assert refused.code == "priority_above_maximum"
    assert (await agent.request("Deploy", estimated_cost_usd=0, capability="deploy")).code == "missing_capability"
    assert (await agent.request("Work", estimated_cost_usd="2.01", priority=1)).code == "budget_exceeded"


async def test_a_profile_reaches_agents_that_are_running_in_other_processes(settings: Settings) -> None:
    async with aegis_core.connect(settings=settings) as one, aegis_core.connect(settings=settings) as two:
        agent = await one.handshake("a", max_priority=9)
        assert (await agent.request("Work", estimated_cost_usd=1, priority=9)).granted
        await operator(two).set_profile(Profile(match="a", max_priority=2, labels={"team": "blue"}), author="ops")
        await two.set_budget("label", "team=blue", "day", "0.50")
        assert (await agent.request("Work", estimated_cost_usd=0, priority=9)).code == "priority_above_maximum"
        assert (await agent.request("Work", estimated_cost_usd=1, priority=2)).code == "budget_exceeded"


@pytest.mark.parametrize(
    ("agent", "expected"), [("crew-7", "exact"), ("crew-70", "long"), ("crew-x", "short"), ("other", "any")]
)
def test_the_exact_name_wins_then_the_longest_pattern(agent: str, expected: str) -> None:
    profiles = ProfileSet(
        profiles=tuple(
            Profile(match=match, labels={"kind": kind})
            for match, kind in {"*": "any", "crew-*": "short", "crew-7*": "long", "crew-7": "exact"}.items()
        )
    )
    assert profiles.of(agent).labels == {"kind": expected}


async def test_priority_10_every_capability_and_fresh_names_gain_nothing(governor: Governor) -> None:
    await governor.set_budget("tenant", "-", "day", 20)
    await operator(governor).set_profile(Profile(match="*", max_priority=4, capabilities=()), author="ops")
    granted = 0
    for number in range(50):
        agent = await governor.handshake(
            f"fresh-{number}", max_priority=10, capabilities=["everything"], session_budget_usd=1000
        )
        assert (await agent.request("Work", estimated_cost_usd=0, priority=10)).code == "priority_above_maximum"
        granted += (await agent.request("Work", estimated_cost_usd=5, priority=4)).granted
    assert granted == 4, "fifty names spent more than their tenant has"


async def test_a_handshake_never_raises_or_resets_a_budget(governor: Governor) -> None:
    agent = await governor.handshake("a", session_budget_usd=5)
    assert (await agent.request("Work", estimated_cost_usd=4)).granted
    again = await governor.handshake("a", session_budget_usd=1_000)
    assert again.session.remaining_budget_usd == Decimal(6)
    assert (await again.request("Work", estimated_cost_usd="4.99")).granted
    assert (await again.request("Work", estimated_cost_usd="1.02")).code == "budget_exceeded"


async def test_what_an_untrusted_agent_reports_can_add_to_a_charge_and_never_lower_it(governor: Governor) -> None:
    port = resources(governor)
    opened = await port.handshake(Handshake(agent_id="http"), entry=OVER_HTTP)

    async def ask() -> str:
        request = PermissionRequest(
            agent_id="http", task_intent="Work", resource_type="llm_tokens", estimated_cost_usd=Decimal("0.50")
        )
        return (await port.request_permission(request, token=opened.session_token)).grant_id or ""

    cheap = await port.settle(await ask(), SettleRequest(cost_usd=Decimal(0)), token=opened.session_token)
    assert (cheap.charged_usd, cheap.returned_usd) == (Decimal("0.50"), Decimal(0))
    dear = await port.settle(await ask(), SettleRequest(cost_usd=Decimal("0.70")), token=opened.session_token)
    assert dear.charged_usd == Decimal("0.70")
    unused = await port.release(await ask(), ReleaseRequest(), token=opened.session_token)
    assert (unused.charged_usd, unused.state) == (Decimal("0.50"), "released")
    assert (await governor.budget("http")).budgets[0].spent_usd == Decimal("1.70")
    await operator(governor).set_profile(Profile(match="http", settlement="trusted"), author="ops")
    believed = await port.settle(await ask(), SettleRequest(cost_usd=Decimal("0.10")), token=opened.session_token)
    assert believed.charged_usd == Decimal("0.10")


async def test_a_live_agent_is_taken_over_only_with_a_token_of_its_own(governor: Governor) -> None:
    port = resources(governor)
    mine = await port.handshake(Handshake(agent_id="a"), entry=Entrance(trusted=False, guarded=True))
    other = await port.handshake(Handshake(agent_id="b"), entry=Entrance(trusted=False, guarded=True))
    for token in (None, other.session_token):
        with pytest.raises(AuthError, match="has an open session"):
            await port.handshake(Handshake(agent_id="a"), entry=Entrance(trusted=False, guarded=True, token=token))
    again = await port.handshake(
        Handshake(agent_id="a"), entry=Entrance(trusted=False, guarded=True, token=mine.session_token)
    )
    assert again.session_id != mine.session_id


async def test_blocking_an_agent_stops_it_declines_its_questions_and_lets_its_grants_settle(governor: Governor) -> None:
    agent, other = await governor.handshake("a"), await governor.handshake("b")
    live = await agent.request("Work", estimated_cost_usd=1)
    asked = await agent.request("Work", estimated_cost_usd=6, request_id="question")
    assert asked.status == "PENDING"
    listed = await operator(governor).block("a", author="ops")
    assert {(row.state, row.amount_usd) for row in listed} == {("live", Decimal(1)), ("declined", Decimal(6))}
    assert (await agent.request("Work", estimated_cost_usd=1)).code == "agent_blocked"
    assert (await agent.request("Work", estimated_cost_usd=6, request_id="question")).code == "declined"
    with pytest.raises(AuthError, match="blocked by its operator"):
        await governor.handshake("a")
    assert (await agent.settle(live.grant_id or "", cost_usd="0.40")).charged_usd == Decimal("0.40")
    assert (await other.request("Work", estimated_cost_usd=1)).granted
    await operator(governor).unblock("a", author="ops")
    assert (await agent.request("Work", estimated_cost_usd=1)).remaining_budget_usd == Decimal("8.60")


async def test_halting_a_tenant_stops_every_agent_of_it_and_of_no_other(settings: Settings) -> None:
    elsewhere = settings.model_copy(update={"tenant": settings.tenant + "-b"})
    async with aegis_core.connect(settings=settings) as here, aegis_core.connect(settings=elsewhere) as there:
        mine, theirs = await here.handshake("a"), await there.handshake("a")
        await operator(here).halt(author="ops")
        assert (await mine.request("Work", estimated_cost_usd=1)).code == "tenant_halted"
        assert (await theirs.request("Work", estimated_cost_usd=1)).granted
        await operator(here).resume(author="ops")
        assert (await mine.request("Work", estimated_cost_usd=1)).granted
        assert {settings.tenant, elsewhere.tenant} <= set(await operator(here).tenants())


async def test_questions_of_one_agent_never_hold_more_than_half_of_what_is_shared(governor: Governor) -> None:
    flood, other = await governor.handshake("flood"), await governor.handshake("other")
    await governor.set_budget("agent", "flood", "day", 1_000)
    held = [await flood.request("Work", estimated_cost_usd=20) for _ in range(4)]
    assert [verdict.status for verdict in held] == ["PENDING", "PENDING", "REJECTED", "REJECTED"]
    assert (held[-1].code, held[-1].retry_after_seconds) == ("too_much_pending", 60)
    assert "more than its share of a budget that others need" in held[-1].reason
    assert (await other.request("Work", estimated_cost_usd=5)).granted
    await flood.release(held[0].grant_id or "")
    assert (await flood.request("Work", estimated_cost_usd=20)).status == "PENDING"


async def test_a_tenant_that_only_observes_grants_and_says_what_would_be(governor: Governor) -> None:
    agent = await governor.handshake("a")
    await operator(governor).set_mode("observe", author="ops")
    denied = await agent.request("drop database", estimated_cost_usd=1)
    assert (denied.status, denied.would_be, denied.rule) == ("GRANTED", "REJECTED", "no-database-drop")
    asked = await agent.request("Work", estimated_cost_usd=6)
    assert (asked.status, asked.would_be) == ("GRANTED", "PENDING")
    beyond = await agent.request("Work", estimated_cost_usd=5)
    assert (beyond.status, beyond.would_be, beyond.rule) == ("GRANTED", "REJECTED", "budget_exceeded")
    assert (await agent.budget()).budgets[0].reserved_usd == Decimal(12)
    assert (await governor.events())[-1].facts["would_be"] == "REJECTED"
    await operator(governor).set_mode("enforce", author="ops")
    assert (await agent.request("drop database", estimated_cost_usd=0)).status == "REJECTED"
    await operator(governor).block("a", author="ops")
    await operator(governor).set_mode("observe", author="ops")
    assert (await agent.request("Work", estimated_cost_usd=0)).code == "agent_blocked", "integrity is never observed"


async def test_keys_are_shown_once_stored_hashed_and_end_at_once(governor: Governor) -> None:
    desk = operator(governor)
    assert await desk.keys_in_force() == 0
    key = await desk.create_key("agent", name="ci", author="ops")
    assert key.secret is not None
    assert await desk.role_of(key.secret) == "agent"
    assert [listed.secret for listed in await desk.keys()] == [None]
    store = resources(governor)._ledger.store
    stored = [await store.command("GET", name) for name in await store.command("KEYS", f"*{governor.tenant}*:k:*")]
    assert key.secret.encode() not in b"".join(stored)
    assert key.secret[30:60].encode() not in b"".join(stored)
    rotated = await desk.rotate_key(key.key_id, author="ops")
    assert rotated.secret is not None
    assert await desk.role_of(rotated.secret) == "agent"
    for wrong in (key.secret, rotated.secret[:-1] + "x", rotated.secret + "-other", "aegis_key_", ""):
        with pytest.raises(AuthError, match="API key is wrong or was revoked"):
            await desk.role_of(wrong)
    assert await desk.keys_in_force() == 1


async def test_the_history_of_the_policy_says_who_and_from_what(governor: Governor) -> None:
    from aegis_core.policy.loading import load_policy

    port, desk = resources(governor), operator(governor)
    await port.publish_policy(load_policy('{"schema": 1, "rules": []}'), author="ada")
    history = await desk.policy_history()
    assert (history[0].version, history[0].author, history[0].parent, history[0].rules) == (2, "ada", 1, 0)
    assert history[1].rules > 5
    version, first = await desk.policy_version(1)
    await port.publish_policy(first, author="ada")
    assert version == 1
    assert (await desk.policy_history())[0].digest == first.digest


async def test_forgetting_an_agent_removes_its_words(governor: Governor) -> None:
    agent, other = await governor.handshake("a"), await governor.handshake("b")
    await agent.request("my private words", estimated_cost_usd=1)
    await other.request("other words", estimated_cost_usd=1)
    before = [(event.kind, event.number) for event in await governor.events()]
    assert await operator(governor).forget("a", author="ops") == 1
    assert [(event.kind, event.number) for event in await governor.events()][:-1] == before
    text = repr(await governor.events())
    assert "private" not in text
    assert "other words" in text
    assert (await governor.events())[-1].kind == "agent_forgotten"
    assert (await agent.budget()).remaining_budget_usd == Decimal(9)

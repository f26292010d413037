"""Persons: several credentials, one vote; what one may is read when it counts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aegis_core import Governor, Settings
from aegis_core.client.agent import GovernedAgent
from aegis_core.connect import open_governor
from aegis_core.governor.approvals import HITLManager
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.operators import Operator
from aegis_core.governor.people import People
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.approvals import EnvelopeRequest
from aegis_core.protocol.errors import AuthError, ConflictError, InvalidRequestError, NotFoundError
from aegis_core.protocol.people import PersonChange, fold
from aegis_core.store.layout import key
from aegis_core.store.packing import pack, unpack
from aegis_core.store.people import Key
from aegis_core.store.schema import Tenant
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("grants", "questions")]


@pytest.fixture
async def agent(governor: Governor) -> GovernedAgent:
    made = await governor.handshake("payer")
    for scope, name in (("agent", "payer"), ("tenant", "-")):
        await governor.set_budget(scope, name, "day", 100_000)
    return made


@pytest.fixture
def port(governor: Governor) -> ResourceGovernor:
    assert isinstance(governor.port, ResourceGovernor)
    return governor.port


@pytest.fixture
def desk(port: ResourceGovernor) -> Operator:
    return port.operator


@pytest.fixture
def people(desk: Operator) -> People:
    return desk.people


@pytest.fixture
def approvals(port: ResourceGovernor) -> HITLManager:
    return port.approvals


async def rule(port: ResourceGovernor, **asking: Any) -> None:
    """Every request for more than $5 asks on these terms."""
    dear = {"name": "dear", "type": "max_cost", "limit_usd": 5, "asking": asking}
    await port.publish_policy(load_policy(json.dumps({"schema": 1, "rules": [dear]})), author="tests")


async def asked(agent: GovernedAgent, cost: float = 7) -> str:
    verdict = await agent.request("Pay the invoice", resource_type="api_call", estimated_cost_usd=cost)
    return verdict.escalation_id or ""


async def test_a_quorum_counts_persons_whatever_their_credentials(
    port: ResourceGovernor, agent: GovernedAgent, people: People, approvals: HITLManager
) -> None:
    await rule(port, quorum=2)
    await people.add("ada", "approver", telegram=1, terminal="ada", author="olga")
    await people.add("bob", "approver", telegram=2, author="olga")
    one = await asked(agent)
    for by in ("ada", "telegram:1", "cli:ada"):
        approval = await approvals.decide(one, "approve", by=by)
        assert (approval.status, approval.missing) == ("open", 1), by
    assert [(vote.operator, vote.credential) for vote in approval.votes] == [("ada", None)]
    done = await approvals.decide(one, "approve", by="telegram:2")
    assert (done.status, done.decided_by) == ("approved", "bob")
    assert [(vote.operator, vote.credential) for vote in done.votes] == [("ada", None), ("bob", "telegram:2")]
    event = (await port.latest_events(1))[0]
    assert event.facts["votes"] == [
        {"by": "ada", "decision": "approve"}, {"by": "bob", "decision": "approve", "credential": "telegram:2"},
    ]  # fmt: skip


async def test_a_credential_that_is_nobodys_counts_in_no_quorum_beside_persons(
    port: ResourceGovernor, agent: GovernedAgent, people: People, approvals: HITLManager
) -> None:
    await people.add("ada", "approver", author="olga")
    await rule(port)
    assert (await approvals.decide(await asked(agent), "approve", by="telegram:9")).decided_by == "telegram:9"
    await rule(port, quorum=2)
    one = await asked(agent)
    with pytest.raises(AuthError) as refused:
        await approvals.decide(one, "approve", by="telegram:9")
    assert refused.value.code == "nobodys_credential"
    await people.link("ada", "telegram:9", author="olga")
    assert (await approvals.decide(one, "approve", by="telegram:9")).votes[0].operator == "ada"


async def test_what_a_person_may_is_read_when_it_counts(
    port: ResourceGovernor, agent: GovernedAgent, people: People, approvals: HITLManager
) -> None:
    await rule(port, quorum=2)
    for name in ("ada", "bob", "cyd", "dee"):
        await people.add(name, "approver", author="olga")
    one = await asked(agent)
    changes = {
        "ada": lambda: people.remove("ada", author="olga"),
        "bob": lambda: people.change("bob", PersonChange(role="viewer"), author="olga"),
        "cyd": lambda: people.change("cyd", PersonChange(approve_up_to_usd=6), author="olga"),  # type: ignore[arg-type]
    }
    for name, change in changes.items():
        assert (await approvals.decide(one, "approve", by=name)).status == "open"
        await change()
    approval = await approvals.decide(one, "approve", by="dee")
    assert (approval.status, [vote.operator for vote in approval.votes]) == ("open", ["dee"])
    codes = []
    for name in changes:
        with pytest.raises(AuthError) as refused:
            await approvals.decide(one, "approve", by=name)
        codes.append(refused.value.code)
    assert codes == ["person_removed", "role_needed", "above_operator_limit"]
    await people.change("bob", PersonChange(role="approver"), author="olga")
    assert (await approvals.decide(one, "approve", by="bob")).status == "approved"


async def test_a_limit_holds_for_every_credential(
    port: ResourceGovernor, agent: GovernedAgent, people: People, approvals: HITLManager
) -> None:
    await rule(port)
    await people.add("ada", "approver", telegram=1, approve_up_to_usd=6, author="olga")
    one = await asked(agent)
    for by in ("ada", "telegram:1"):
        with pytest.raises(AuthError, match=r"this person may approve up to \$6.00"):
            await approvals.decide(one, "approve", by=by)
        wish = EnvelopeRequest(agent_id="payer", tool="pay", limit_usd=7)  # type: ignore[arg-type]
        with pytest.raises(AuthError, match=r"this person may approve up to \$6.00"):
            await approvals.approve_ahead(wish, by=by)
    with pytest.raises(AuthError) as own:
        await approvals.set_limit("ada", None, by="telegram:1")
    assert own.value.code == "own_limit"
    await approvals.set_limit("telegram:1", 8, by="olga")
    assert (await people.get("ada")).approve_up_to_usd == 8
    assert (await approvals.decide(one, "approve", by="telegram:1")).decided_by == "ada"


async def test_rules_name_persons_by_name_or_credential_and_roles(
    port: ResourceGovernor, agent: GovernedAgent, people: People, approvals: HITLManager
) -> None:
    await people.add("ada", "approver", telegram=1, groups=("finance",), author="olga")
    await people.add("bob", "approver", telegram=2, author="olga")
    await people.add("own", "owner", author="olga")
    await rule(port, approvers=["telegram:1"])
    with pytest.raises(AuthError, match="only these operators decide: telegram:1"):
        await approvals.decide(await asked(agent), "approve", by="telegram:2")
    assert (await approvals.decide(await asked(agent), "approve", by="ada")).status == "approved"
    await rule(port, approver_role="finance")
    one = await asked(agent)
    for name in ("bob", "own", "nobody-at-all"):
        with pytest.raises(AuthError, match="only finance decide") as refused:
            await approvals.decide(one, "approve", by=name)
        assert refused.value.code == "not_its_role"
    assert (await approvals.get(one)).approver_roles == ("finance",)
    await people.change("bob", PersonChange(groups=("finance",)), author="olga")
    assert (await approvals.decide(one, "approve", by="bob")).status == "approved"
    await rule(port, approver_role="operator")  # or more
    one = await asked(agent, 8)
    with pytest.raises(AuthError):
        await approvals.decide(one, "approve", by="ada")
    assert (await approvals.decide(one, "approve", by="own")).status == "approved"


async def test_one_of_each_group_and_nobody_sits_in_two(
    port: ResourceGovernor, agent: GovernedAgent, people: People, approvals: HITLManager
) -> None:
    both = ("finance", "security")
    for name, groups in {"ada": both, "bob": ("finance",), "cyd": ("security",), "dee": ()}.items():
        await people.add(name, "approver", groups=groups, author="olga")
    await rule(port, groups=[{"role": "finance"}, {"role": "security"}])
    one = await asked(agent)
    assert (await approvals.get(one)).groups == {"finance": 1, "security": 1}
    assert (await approvals.get(one)).quorum == 2
    assert (await approvals.decide(one, "approve", by="ada")).status == "open"
    with pytest.raises(AuthError, match="only finance, security decide"):
        await approvals.decide(one, "approve", by="dee")
    assert (await approvals.decide(one, "approve", by="bob")).status == "approved"  # ada sits for security then
    await people.add("eve", "approver", groups=("finance",), author="olga")
    two = await asked(agent, 8)
    for name in ("bob", "eve"):
        approval = await approvals.decide(two, "approve", by=name)
        assert (approval.status, approval.missing) == ("open", 1)
    assert (await approvals.decide(two, "approve", by="cyd")).status == "approved"


async def test_an_envelope_ends_with_what_its_author_may(
    port: ResourceGovernor, agent: GovernedAgent, people: People, approvals: HITLManager
) -> None:
    await rule(port)
    await people.add("ada", "approver", telegram=1, author="olga")
    wish = EnvelopeRequest(agent_id="payer", resource_type="api_call", limit_usd=50)  # type: ignore[arg-type]
    assert (await approvals.approve_ahead(wish, by="telegram:1")).author == "ada"
    ask = {"resource_type": "api_call", "estimated_cost_usd": 7}
    assert (await agent.request("Pay", **ask)).status == "GRANTED"  # type: ignore[arg-type]
    await people.change("ada", PersonChange(approve_up_to_usd=6), author="olga")  # type: ignore[arg-type]
    assert (await agent.request("Pay", **ask)).status == "PENDING"  # type: ignore[arg-type]
    await people.change("ada", PersonChange(approve_up_to_usd=None), author="olga")
    assert (await agent.request("Pay", **ask)).status == "GRANTED"  # type: ignore[arg-type]
    await people.remove("ada", author="olga")
    assert (await agent.request("Pay", **ask)).status == "PENDING"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    ["telegram:7", "cli:root", "operator", "Operator", "0perator", "nobody", "аda", "ada bob", "", "x" * 129],
    ids=["telegram", "cli", "reserved", "case", "digit", "nobody", "mixed", "space", "empty", "long"],
)
async def test_a_name_that_cannot_be(people: People, name: str) -> None:
    with pytest.raises(InvalidRequestError, match="name"):
        await people.add(name, author="olga")
    assert await people.list() == ()


async def test_names_are_unique_to_the_eye(people: People) -> None:
    await people.add("Ada-1", author="olga")
    for name in ("ada-l", "ADA-1", "\uff21da-1"):
        with pytest.raises(ConflictError) as refused:
            await people.add(name, author="olga")
        assert refused.value.code in {"looks_alike", "person_exists"}
    wholly_cyrillic = "\u0430\u0441\u0435"
    assert fold(wholly_cyrillic) == fold("ace")
    await people.add("ace", author="olga")
    with pytest.raises(ConflictError, match="looks like ace"):
        await people.add(wholly_cyrillic, author="olga")
    assert [each.name for each in await people.list()] == ["Ada-1", "ace"]


async def test_two_persons_with_one_account(people: People, approvals: HITLManager) -> None:
    await people.add("ada", "approver", telegram=1, author="olga")
    await people.add("eve", "approver", author="olga")
    for act in (
        people.add("bob", "approver", telegram=1, author="olga"),
        people.link("eve", "telegram:1", author="olga"),
    ):
        with pytest.raises(ConflictError, match="telegram:1 is ada's already"):
            await act
    assert [each.name for each in await people.list()] == ["ada", "eve"]
    await people.unlink("ada", "telegram:1", author="olga")
    with pytest.raises(AuthError) as ended:
        await approvals.set_limit("somebody", 5, by="telegram:1")
    assert ended.value.code == "credential_ended"
    assert (await people.add("bob", "approver", telegram=1, author="olga")).credentials == ("telegram:1",)


async def test_the_last_owner_stays(people: People) -> None:
    await people.add("olga", "owner", author="root")
    for act in (
        people.remove("olga", author="root"),
        people.change("olga", PersonChange(role="operator"), author="root"),
    ):
        with pytest.raises(ConflictError, match="only owner"):
            await act
    await people.add("otto", "owner", author="olga")
    assert (await people.remove("olga", author="otto")).removed_at is not None


async def test_nobody_changes_what_is_their_own(people: People) -> None:
    await people.add("olga", "owner", terminal="olga", approve_up_to_usd=5, author="root")
    await people.add("otto", "owner", author="root")
    for change in (
        PersonChange(approve_up_to_usd=None),
        PersonChange(groups=("finance",)),
        PersonChange(role="viewer"),
    ):
        for by in ("olga", "cli:olga"):
            with pytest.raises(AuthError) as refused:
                await people.change("olga", change, author=by)
            assert refused.value.code == "own_limit"
    assert (await people.change("olga", PersonChange(approve_up_to_usd=None), author="otto")).approve_up_to_usd is None


async def test_keys_are_of_persons_and_rotation_keeps_both(desk: Operator, people: People) -> None:
    made = await desk.create_key("approver", name="ada", author="olga")
    assert (made.role, made.person, made.name) == ("approver", "ada", "ada")
    with pytest.raises(ConflictError, match="ada is there already, with the role approver"):
        await desk.create_key("operator", name="ada", author="olga")
    await people.change("ada", PersonChange(role="operator"), author="olga")
    rotated = await desk.rotate_key(made.key_id, author="olga")
    assert (rotated.role, rotated.person) == ("operator", "ada")
    assert (await desk.key_of(rotated.secret or "")).role == "operator"
    with pytest.raises(AuthError):
        await desk.key_of(made.secret or "")
    assert (await people.get("ada")).credentials == (f"key:{rotated.key_id}",)
    second = await desk.create_person_key("ada", author="olga")
    await people.unlink("ada", f"key:{second.key_id}", author="olga")
    await people.remove("ada", author="olga")
    for ended in (rotated, second):
        with pytest.raises(AuthError):
            await desk.key_of(ended.secret or "")
    assert await desk.keys_in_force() == 0
    with pytest.raises(AuthError, match="was removed"):
        await desk.create_key("operator", name="ada", author="olga")
    with pytest.raises(NotFoundError):
        await desk.create_person_key("nobody-here", author="olga")
    assert (await people.add("ada", author="olga")).credentials == ()


async def test_one_name_whatever_the_door(port: ResourceGovernor, agent: GovernedAgent, people: People) -> None:
    await people.add("ada", "operator", telegram=1, terminal="ada", author="olga")
    for by in ("ada", "telegram:1", "cli:ada"):
        await port.set_budget("tenant", "-", "week", 100, author=by)
        await port.operator.block(agent.agent_id, author=by)
        budget, block = await port.latest_events(2)
        assert (block.kind, block.facts["by"], budget.facts["by"]) == ("agent_blocked", "ada", "ada")
    await people.remove("ada", author="olga")
    with pytest.raises(AuthError, match="was revoked"):
        await port.operator.block(agent.agent_id, author="telegram:1")


async def of_an_older_version(store: Store, tenant: str, *, noticed: bool) -> None:
    """Make operators' keys what older versions wrote; `noticed`: the tenant is opened again before anybody knocks."""
    for key_id in await store.command("SMEMBERS", key(tenant, "ks")):
        name = key(tenant, f"k:{key_id.decode()}")
        row = unpack(await store.command("GET", name))
        old = "operator" if row[1] == "person" else row[1]
        await store.command("SET", name, pack([row[0], old, *row[2:8]]))
    await store.command("DEL", key(tenant, "pe"), key(tenant, "pc"))
    if noticed:
        held = unpack(await store.command("GET", key(tenant, "t")))
        held[Tenant._fields.index("persons")] = 0
        await store.command("SET", key(tenant, "t"), pack(held))


@pytest.mark.parametrize("noticed", [True, False], ids=["at start", "at its first call"])
async def test_an_operators_key_of_an_older_version_becomes_a_persons(
    virtual: tuple[Governor, FakeClock, Store], settings: Settings, noticed: bool
) -> None:
    governor, _, store = virtual
    assert isinstance(governor.port, ResourceGovernor)
    desk, tenant = governor.port.operator, governor.port.tenant
    made = [await desk.create_key("operator", name=name, author="olga") for name in ("ada", "ada", "bob")]
    agents = await desk.create_key("agent", name="cluster", author="olga")
    await of_an_older_version(store, tenant, noticed=False)
    bobs = key(tenant, f"k:{made[2].key_id}")
    row = unpack(await store.command("GET", bobs))
    row[Key._fields.index("name")] = "telegram:1234"  # as names could be then
    await store.command("SET", bobs, pack(row))
    for name in ("ada", "telegram:1234"):
        await store.command("HSET", key(tenant, "ol"), name, 10 * 10**9)
    if noticed:
        await of_an_older_version(store, tenant, noticed=True)
        again = await open_governor(store, settings.model_copy(update={"timezone": "UTC"}))
        await again.aclose()
    else:
        for each in made:
            await desk.key_of(each.secret or "")
    found = {each.name: each for each in await desk.people.list()}
    assert found.keys() == {"ada", made[2].key_id}
    assert {each.role for each in found.values()} == {"operator"}
    assert {each.approve_up_to_usd for each in found.values()} == {10}
    assert set(found["ada"].credentials) == {f"key:{each.key_id}" for each in made[:2]}
    whose = [(await desk.key_of(each.secret or "")).person for each in made]
    assert whose == ["ada", "ada", made[2].key_id]
    assert (await desk.key_of(agents.secret or "")).role == "agent"
    rotated = await desk.rotate_key(made[0].key_id, author="ada")
    assert (rotated.person, rotated.role) == ("ada", "operator")

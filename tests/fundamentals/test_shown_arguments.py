"""Approvers see what they approve: all of the arguments that the hash is of, with secrets told apart and not shown."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from two_doors import governor, settings, url  # noqa: F401 - fixtures

import aegis_core
from aegis_core import Governor, Settings
from aegis_core.client.sync import SyncGovernor
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.protocol.approvals import ApprovalEdit
from aegis_core.protocol.arguments import MAX_SHOWN, hash_arguments, hash_of, spelt_arguments
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.store import layout
from aegis_core.store.store import open_store

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("grants", "questions")]

TAIL = "rm -rf /srv/archive"
LONG = {"command": "set -u; " + "printf 'ok'; " * 400 + TAIL}
WISH: dict[str, Any] = {"resource_type": "api_call", "estimated_cost_usd": 7, "tool": "run"}

SPELT_OTHERWISE = ('{"to": "bob"}', '{"to":"eve","to":"bob"}', "[" * 3_000, "1e999")
SECRETS = (
    "sk-abcdefghij0123456789", "ghp_abcdefghijklmnopqrstuvwxyz12", "AKIAABCDEFGHIJKLMNOP", "0x" + "5e" * 32,
    "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.c2lnbmF0dXJl",
)  # fmt: skip
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["pay 7 to ana", TAIL, "\u202eevil", "[masked", "key", "a\nb", *SECRETS, f"curl -H {SECRETS[0]} x"]
)
VALUES = st.recursive(
    WORDS | st.integers(-(2**60), 2**60) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["to", "memo", "api_key", "password", "token", "body"]) | WORDS


def unmasked(shown: str, key: bytes, secrets: set[str]) -> str:
    """What was shown, with each secret put where its digest stands."""
    known = {hmac.digest(key, each.encode(), "sha256").hex()[:12]: each for each in secrets}
    return re.sub(
        r"\[masked [a-z ]+ ([0-9a-f]{12})\]",
        lambda mark: json.dumps(known[mark[1]], ensure_ascii=False)[1:-1] if mark[1] in known else mark[0],
        shown,
    )


def secrets_in(value: Any, field: str = "") -> set[str]:
    """Every text that may have been masked: those of secret shape, and whole values."""
    if isinstance(value, dict):
        pairs = list(value.items())
        return {name for name, _ in pairs}.union(*(secrets_in(item, name) for name, item in pairs), SECRETS)
    if isinstance(value, list):
        return set().union(*(secrets_in(item, field) for item in value), SECRETS)
    return {str(value), *SECRETS}


@pytest.fixture
def plain(settings: Settings) -> Iterator[SyncGovernor]:  # noqa: F811
    with aegis_core.connect_sync(settings=settings) as connected:
        connected.handshake("runner")
        connected.set_budget("agent", "runner", "day", 1_000)
        yield connected


@given(st.dictionaries(FIELDS, VALUES, max_size=4))
@examples(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
def test_what_is_read_is_what_is_bound_but_for_secrets(plain: SyncGovernor, arguments: dict[str, Any]) -> None:
    port = plain.inner.port
    assert isinstance(port, ResourceGovernor)
    agent = plain.handshake("runner")
    asked = agent.request("Run it", **WISH, arguments=arguments)
    found = plain.approvals.get(asked.escalation_id or "")
    agent.release(asked.grant_id or "")
    spelt = spelt_arguments(arguments)
    assert found.arguments_hash == hash_of(spelt)
    for secret in SECRETS:
        assert secret not in found.arguments
    key = hmac.digest(port.tenant_store.pepper, b"aegis masked arguments", "sha256")
    read = unmasked(found.arguments, key, secrets_in(json.loads(spelt)))
    # numbers in a field of a secret are marked as text, which says no less
    assert loosely(json.loads(read)) == loosely(json.loads(spelt))


def loosely(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: loosely(item) for name, item in value.items()}
    if isinstance(value, list):
        return [loosely(item) for item in value]
    return value if value is None or isinstance(value, bool) else str(value)


async def test_the_end_of_a_long_command_is_read_through_every_door(governor: Governor) -> None:  # noqa: F811
    agent = await governor.handshake("runner")
    await governor.set_budget("agent", "runner", "day", 100)
    for arguments in (LONG, {"to": "ana", "memo": "m" * 3_000, "password": "tulips and roses"}, {"é": "\u202ex"}):
        asked = await agent.request("Run it", **WISH, arguments=arguments)
        found = await governor.approvals.get(asked.escalation_id or "")
        assert found.arguments_hash == hash_arguments(arguments)
        if "password" not in arguments:
            assert hash_of(found.arguments.encode()) == found.arguments_hash, "the bytes that are read are those bound"
        else:
            assert re.search(r'"password":"\[masked password [0-9a-f]{12}\]"', found.arguments)
            assert "roses" not in found.arguments
            assert "m" * 3_000 in found.arguments


async def test_what_is_too_long_to_be_read_is_refused_only_where_a_person_is_asked(
    governor: Governor,  # noqa: F811
) -> None:
    agent = await governor.handshake("runner")
    arguments = {"text": "x" * MAX_SHOWN}
    asked = await agent.request("Run it", **WISH, arguments=arguments)
    assert (asked.status, asked.code) == ("REJECTED", "too_long_to_approve")
    assert (await agent.budget()).budgets[0].reserved_usd == 0
    assert (await agent.request("Run it", **WISH | {"estimated_cost_usd": 1}, arguments=arguments)).granted
    fits = {"text": "x" * (MAX_SHOWN - len('{"text":""}'))}
    assert (await agent.request("Run it", **WISH, arguments=fits)).status == "PENDING"


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ('{"to":"ana"}', hash_arguments({"to": "bob"})),
        *(
            (text, hash_of(text.encode()))
            for text in ('{"to": "bob"}', '{"to":"eve","to":"bob"}', "[" * 3_000, "1e999")
        ),
    ],
    ids=["another", "with a space", "a key twice", "nested", "no number"],
)
async def test_nothing_else_is_shown_than_what_the_hash_is_of(
    governor: Governor,  # noqa: F811
    text: str,
    bound: str,
) -> None:
    agent = await governor.handshake("runner")
    with pytest.raises(InvalidRequestError, match="arguments_json"):
        await agent.request("Run it", **WISH, arguments_hash=bound, arguments_json=text)


async def test_edited_and_original_stand_side_by_side(governor: Governor) -> None:  # noqa: F811
    agent = await governor.handshake("runner")
    asked = (await agent.request("Run it", **WISH, arguments={"to": "bob"})).escalation_id or ""
    spelt = spelt_arguments({"to": "ana"})
    edit = ApprovalEdit(estimated_cost_usd=6, arguments_hash=hash_of(spelt), arguments_json=spelt.decode())
    await governor.approvals.decide(asked, "approve", by="ada", edit=edit)
    found = await governor.approvals.get(asked)
    assert (found.amount_usd, found.arguments) == (6, '{"to":"ana"}')
    assert found.original is not None
    assert (found.original.amount_usd, found.original.arguments) == (7, '{"to":"bob"}')
    assert found.original.arguments_hash == hash_arguments({"to": "bob"})


async def test_they_are_kept_only_while_somebody_is_asked_and_forgotten(settings: Settings) -> None:  # noqa: F811
    store = await open_store(settings)
    async with aegis_core.connect(settings=settings) as house:
        assert isinstance(house.port, ResourceGovernor)
        agent, other = await house.handshake("runner"), await house.handshake("other")
        await agent.request("Run it", **WISH | {"estimated_cost_usd": 1}, arguments=LONG)
        assert await keys(store, settings) == []
        await agent.request("Run it", **WISH, arguments=LONG)
        await other.request("Run it", **WISH, arguments=LONG)
        names = await keys(store, settings)
        assert len(names) == 2
        for name in names:
            assert 0 < int(await store.command("PTTL", name)) <= (600 + 3_600) * 1000
        await house.port.operator.forget("runner", author="tests")
        assert len(await keys(store, settings)) == 1
        (left, gone) = sorted(await house.approvals.list(), key=lambda each: each.agent_id)
        assert TAIL in (await house.approvals.get(left.approval_id)).arguments
        assert (await house.approvals.get(gone.approval_id)).arguments == ""
    await store.aclose()


async def keys(store: Any, settings: Settings) -> list[bytes]:  # noqa: F811
    return [name async for name in store.clients.any.scan_iter(match=layout.key(settings.tenant, "q:*"))]

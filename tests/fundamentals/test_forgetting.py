"""An agent's words lie apart from the facts: `forget` removes all of them, and nothing else."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from aegis_core import Governor
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.approvals import ApprovalEdit
from aegis_core.protocol.arguments import hash_arguments
from aegis_core.protocol.canonical import canonical_json
from aegis_core.protocol.errors import ConflictError
from aegis_core.protocol.events import Event
from aegis_core.protocol.journal import JournalAct, JournalRequest
from aegis_core.store import layout
from aegis_core.store.packing import unpack
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock

pytestmark = pytest.mark.leaves("grants", "questions")
Virtual = tuple[Governor, FakeClock, Store]

POLICY = {
    "schema": 1,
    "rules": [
        {"name": "asks", "type": "sensitive_intent", "tools": ["plan*"], "asking": {"quorum": 2}},
        {"name": "never", "type": "blocked_intent", "phrases": ["drop database"]},
    ],
}


def resources(governor: Governor) -> ResourceGovernor:
    assert isinstance(governor.port, ResourceGovernor)
    return governor.port


async def plant(governor: Governor, name: str) -> dict[str, str]:
    """Words of an agent wherever one can write them; answers its questions."""
    port, agent = resources(governor), await governor.handshake(name)
    await port.publish_policy(load_policy(json.dumps(POLICY)), author="ada")
    words: dict[str, Any] = {
        "target_resource": "planted-target", "capability": None, "metadata": {"planted-key": "planted-value"},
        "resource_type": "compute",
    }  # fmt: skip
    granted = await agent.request("planted-intent", estimated_cost_usd=1, model="gpt-4o", **words)
    assert granted.grant_id
    await agent.settle(granted.grant_id, cost_usd="0.75")
    for at in range(3):
        words["capability"] = "planted-capability"
        await agent.request(f"planted-refused {at}", estimated_cost_usd=1, **words)
    words |= {"capability": None, "resource_type": "api_call"}
    asked: dict[str, str] = {}
    for which in ("open", "ended", "edited"):
        verdict = await agent.request(
            f"planted-question {which}", tool="planted-tool", estimated_cost_usd=1, arguments={"planted": which},
            prompt_end="planted-end", **words,
        )  # fmt: skip
        assert verdict.escalation_id, verdict
        asked[which] = verdict.escalation_id
    await governor.approvals.decide(asked["ended"], "reject", by="ada", reason="what ada says of it")
    arguments = {"other": 1}
    edit = ApprovalEdit(
        tool="tool-of-ada", arguments_hash=hash_arguments(arguments), arguments_json=canonical_json(arguments)
    )
    await governor.approvals.decide(asked["edited"], "approve", by="ada", edit=edit)
    acts: list[tuple[JournalAct, str | None]] = [("start", None), ("fail", "planted-error")]
    for act, result in acts:
        await port.journal.write(
            JournalRequest(
                act=act, agent_id=name, key="call", runner="1" * 32, result=result,
                thread="planted thread" if result else None,
            )
        )  # fmt: skip
    acts = [("start", None), ("finish", "planted-result")]
    for act, result in acts:
        await port.journal.write(JournalRequest(act=act, agent_id=name, key="two", runner="1" * 32, result=result))
    return asked


async def everything(store: Store, tenant: str) -> bytes:
    """All that lies in the tenant's keys, and their names."""
    found = b""
    for key in await store.command("KEYS", layout.key(tenant, "*")):
        kind = (await store.command("TYPE", key)).decode()
        command = {
            "string": ("GET",), "hash": ("HGETALL",), "set": ("SMEMBERS",), "zset": ("ZRANGE",), "stream": ("XRANGE",),
        }[kind]  # fmt: skip
        ends = {"zset": (0, -1), "stream": ("-", "+")}.get(kind, ())
        found += key + repr(await store.command(*command, key, *ends)).encode()
    return found


def facts(events: tuple[Event, ...]) -> list[Any]:
    """What events say but for words."""
    words = {"request", "words_gone", "tool", "target_resource", "capability", "thread", "problem", "stopped_by"}
    return [
        (event.number, event.id, event.kind, event.agent_id, {k: v for k, v in event.facts.items() if k not in words})
        for event in events
    ]


async def test_no_key_holds_a_word_of_a_forgotten_agent_and_everything_else_stands(virtual: Virtual) -> None:
    governor, _, store = virtual
    port, desk = resources(governor), resources(governor).operator
    other = await governor.handshake("other")
    await plant(governor, "ada")  # as an operator is named, too
    await other.request("what another wrote", estimated_cost_usd=1)
    await desk.block("other", author="ada")
    await desk.set_mode("observe", author="ada")
    await port.latest_events(1)  # so that what is only counted is told
    assert b"planted" in await everything(store, governor.tenant)
    before, bill = await governor.events(limit=1_000), await governor.budget("ada")
    assert "planted-intent" in repr(before)

    assert await desk.forget("ada", author="bea") == 1 + 1 + 3 + 1 + 2 + 3  # the journal's results, and three questions
    held = await everything(store, governor.tenant)
    at = held.find(b"planted")
    assert at < 0, held[max(0, at - 300) : at + 300]
    after = await governor.events(limit=1_000)
    assert facts(after)[:-1] == facts(before)
    assert (after[-1].kind, after[-1].agent_id, after[-1].facts["by"]) == ("agent_forgotten", "ada", "bea")
    assert await governor.budget("ada") == bill
    assert "what another wrote" in repr(after)
    gone = {event.kind for event in after if event.facts.get("words_gone")}
    assert {"granted", "pending", "rejected", "refusals_repeated", "thread_failed", "declined", "voted"} <= gone
    edited = next(event for event in after if event.kind == "voted")
    assert edited.facts["request"]["tool"] == "tool-of-ada", (
        "what an operator made of a request is no word of its agent"
    )
    assert "what ada says of it" in repr(after)
    assert [event.facts["by"] for event in after if event.kind in {"agent_blocked", "tenant_mode"}] == ["ada", "ada"]


async def test_what_the_api_shows_of_questions_after_it(virtual: Virtual) -> None:
    governor = virtual[0]
    asked = await plant(governor, "a")
    assert (await governor.approvals.get(asked["open"])).intent == "planted-question open"
    await resources(governor).operator.forget("a", author="bea")
    for listing in ("open", "ended"):
        found = await governor.approvals.list(listing)
        assert found
        assert "planted" not in repr(found)
    for approval in asked.values():
        assert "planted" not in repr(await governor.approvals.get(approval))
    with pytest.raises(ConflictError, match="removed"):
        await governor.approvals.decide(asked["open"], "approve", by="ada", edit=ApprovalEdit(tool="x"))
    await resources(governor).publish_policy(load_policy(json.dumps({"schema": 1, "rules": []})), author="ada")
    with pytest.raises(ConflictError, match="removed"):
        await governor.approvals.decide(asked["open"], "approve", by="ada")
    await governor.approvals.decide(asked["open"], "reject", by="ada")


async def test_it_may_go_on_and_be_forgotten_again(virtual: Virtual) -> None:
    governor, _, store = virtual
    agent, desk = await governor.handshake("a"), resources(governor).operator
    for _ in range(2):
        await agent.request("words", estimated_cost_usd=1)
        name = layout.key(governor.tenant, "w:a")
        assert await store.command("PTTL", name) > 0
        assert await desk.forget("a", author="ops") == 1
        assert not await store.command("EXISTS", name)
        assert await desk.forget("a", author="ops") == 0


async def test_an_event_keeps_a_salted_digest_and_tells_words_that_were_changed(virtual: Virtual) -> None:
    governor, _, store = virtual
    agent = await governor.handshake("a")
    for _ in range(2):
        await agent.request("the same words", estimated_cost_usd=1)
    entries = [dict(fields) for _, fields in await store.command("XRANGE", layout.key(governor.tenant, "e"), "-", "+")]
    digests = [fields[b"d"] for fields in entries if b"d" in fields]
    assert len({*digests}) == 2, "intents are guessable"
    name = layout.key(governor.tenant, "w:a")
    ((first, words), (second, _)) = [(at, dict(fields)) for at, fields in await store.command("XRANGE", name, "-", "+")]
    assert hashlib.sha256(words[b"s"] + words[b"w"]).digest() == digests[0]
    assert unpack(words[b"w"]) == {"intent": "the same words"}
    await store.command("DEL", name)
    await store.command("XADD", name, first, "w", words[b"w"].replace(b"same", b"fake"), "s", words[b"s"])
    await store.command("EXPIRE", name, 60)
    told = {event.id: event.facts for event in await governor.events() if event.kind == "granted"}
    assert all(told[at.decode()]["words_gone"] for at in (first, second))
    assert "fake" not in repr(told)


async def test_a_damaged_key_of_words_fails_no_decision(virtual: Virtual) -> None:
    governor, _, store = virtual
    agent = await governor.handshake("a")
    name = layout.key(governor.tenant, "w:a")
    await store.command("SET", name, "damaged", "EX", 60)
    assert (await agent.request("words", estimated_cost_usd=1)).granted
    event = (await governor.events())[-1]
    assert (event.kind, event.facts["words_gone"]) == ("granted", True)
    await store.command("DEL", name)


async def test_events_of_an_older_version_that_hold_words_are_removed(virtual: Virtual) -> None:
    governor, _, store = virtual
    agent = await governor.handshake("a")
    await agent.request("words", estimated_cost_usd=1)
    stream = layout.key(governor.tenant, "e")
    entry_id, fields = (await store.command("XREVRANGE", stream, "+", "-", "COUNT", 1))[0]
    old = dict(fields)
    parts = (b"k", old[b"k"], b"b", old[b"b"], b"q", b"\x81\xa6intent\xa9old-words")
    later = f"{int(entry_id.split(b'-')[0]) + 1}-0"
    await store.command("XADD", stream, later, *parts)
    assert "old-words" in repr(await governor.events())
    await resources(governor).operator.forget("a", author="ops")
    kinds = [event.kind for event in await governor.events()]
    assert kinds == ["tenant_opened", "handshake", "granted", "agent_forgotten"]

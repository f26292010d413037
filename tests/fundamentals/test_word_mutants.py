"""Faults put on purpose into the scripts that keep an agent's words apart and forget them: each must be found."""

from __future__ import annotations

import json

import pytest
from lua import put_in_place

from aegis_core.policy.loading import load_policy
from aegis_core.protocol.journal import JournalRequest
from aegis_core.store import layout
from aegis_core.store.store import Store
from aegis_core.testing import private_settings, virtual_governor
from tests.fundamentals.test_forgetting import POLICY, everything, plant, resources

pytestmark = [pytest.mark.concurrent]

# Name: the script, what it says, and what the mutant says instead.
MUTANTS: dict[str, tuple[str, str, str]] = {
    "an event holds words": ("words", "Q[Q_TRACE] = without_words(trace)", ""),
    "an event holds what was asked before an edit": (
        "words", "Q[Q_ORIGINAL] = {original[1], without_words(before)}", "",
    ),
    "an intent is no word": ("words", "{'intent', 'prompt_end',", "{'prompt_end',"),
    "a question is asked without its words": ("words", "Q[Q_TRACE], Q[Q_ORIGINAL] = trace, original\n", ""),
    "what an operator made of a request is a word": ("words", "if trace.tool ~= before.tool then", "if false then"),
    "words have no salt": ("words", "'s', said[SAID_SALT])", "'s', '')"),
    "words lie under another id": ("words", "kept, id, 'w'", "kept, '1-1', 'w'"),
    "words live for ever": ("words", "if NOW >= G[G_WORDS] then", "if false then"),
    "words stay": ("forget", "call('UNLINK', name)\n", ""),
    "words are no texts": ("forget", "call('XLEN', name) + held", "held"),
    "what is only counted keeps its words": ("forget", "if G[G_REFUSED][1] then", "if false then"),
    "results stay": ("forget", "E[J_RESULT], removed = RESULT_FORGOTTEN,", "removed ="),
    "results are removed again": ("forget", "and E[J_RESULT] ~= RESULT_FORGOTTEN", ""),
    "results live for ever": ("forget", "encode(E), 'KEEPTTL')", "encode(E))"),
    "results that are gone are long": ("forget", "call('UNLINK', PREFIX .. 'jl:' .. agent)", ""),
    "a report of these words may be stored": ("forget", "call('HINCRBY', PREFIX .. 'kz', 'fence', 1)", ""),
    "what comes next lives for ever": ("forget", "G[G_WORDS] = 0", ""),
    "nobody is told who forgot": ("forget", "encode({NOW, removed, author, agent})", "encode({NOW, removed, agent, agent})"),  # noqa: E501
    "questions of others lose their words": ("forget_questions", "R[R_AGENT] == agent and", ""),
    "questions keep their words": ("forget_questions", "told_of(R, blob)", "blob"),
    "what is shown of questions stays": ("forget_questions", "call('UNLINK', PREFIX .. 'q:' .. ids[i],", "call('EXISTS',"),  # noqa: E501
    "what is shown of edits stays": ("forget_questions", "PREFIX .. 'q:' .. ids[i] .. ':e')", "PREFIX .. 'q:')"),
    "ended questions live for ever": ("forget_questions", "told_of(R, blob), 'KEEPTTL')", "told_of(R, blob))"),
    "questions are no texts": ("forget_questions", "held = held + 1", ""),
}  # fmt: skip


async def expiring(store: Store, tenant: str, head: str) -> list[bool]:
    """Which of the keys of a kind end."""
    keys = await store.command("KEYS", layout.key(tenant, f"{head}:*"))
    return [await store.command("PTTL", key) > 0 for key in sorted(keys)]


async def check() -> None:
    """What is promised of words."""
    async with virtual_governor(private_settings()) as (governor, _, store):
        port, tenant = resources(governor), governor.tenant
        other = await governor.handshake("other")
        await port.publish_policy(load_policy(json.dumps(POLICY)), author="ada")
        theirs = await other.request("of another", tool="planner", arguments={"of": "another"}, estimated_cost_usd=1)
        assert theirs.escalation_id
        assert (await governor.approvals.get(theirs.escalation_id)).intent == "of another"
        asked = await plant(governor, "ada")
        for act, result in (("start", None), ("finish", f'"planted {"x" * 5_000}"')):
            message = JournalRequest(act=act, agent_id="ada", key="long", runner="1" * 32, result=result)  # pyright: ignore[reportArgumentType]
            await port.journal.write(message)
        again = await governor.handshake("ada")
        for _ in range(2):  # the second one is only counted
            await again.request("planted-refusal", estimated_cost_usd=1, capability="planted-capability")
        stream = layout.key(tenant, "e")
        assert b"planted" not in repr(await store.command("XRANGE", stream, "-", "+")).encode()
        before = await governor.events(limit=1_000)
        told = {event.kind: event.facts.get("request", {}) for event in before}
        intents = [told[kind].get("intent") for kind in ("granted", "declined")]
        assert intents == ["planted-intent", "planted-question ended"]
        assert told["voted"] == told["voted"] | {"intent": "planted-question edited", "tool": "tool-of-ada"}
        assert (await governor.approvals.get(asked["open"])).intent == "planted-question open"
        changed = (await governor.approvals.get(asked["edited"])).original
        assert changed
        assert changed.tool == "planted-tool"
        assert await expiring(store, tenant, "w") == [True, True]

        ending, results = await expiring(store, tenant, "r"), await expiring(store, tenant, "j")
        assert await port.operator.forget("ada", author="bea") == 13
        assert b"planted" not in await everything(store, tenant)
        assert await expiring(store, tenant, "r") == ending
        assert await expiring(store, tenant, "j") == results
        assert await expiring(store, tenant, "jl") == []
        assert len(await expiring(store, tenant, "q")) == 1, "what another agent asked"
        assert await store.command("HGET", layout.key(tenant, "kz"), "fence") == b"1"
        after = await governor.events(limit=1_000)
        assert [event.number for event in after] == [*range(1, len(after) + 1)]
        assert [event.kind for event in after[-2:]] == ["refusals_repeated", "agent_forgotten"]
        assert after[-1].facts["by"] == "bea"
        edited = next(event for event in after if event.kind == "voted")
        assert edited.facts["request"]["tool"] == "tool-of-ada"
        found = await governor.approvals.get(theirs.escalation_id)
        assert (found.intent, found.arguments) == ("of another", '{"of":"another"}')
        assert "of another" in repr(after)

        assert await port.operator.forget("ada", author="bea") == 0
        agent = await governor.handshake("ada")
        await agent.request("planted anew", estimated_cost_usd=1, resource_type="compute")
        assert await expiring(store, tenant, "w") == [True, True]
        assert "planted anew" in repr(await governor.latest_events(1))


async def test_the_shipped_scripts_keep_every_promise() -> None:
    await check()


@pytest.mark.parametrize("name", MUTANTS)
async def test_a_mutant_of_words_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place(monkeypatch, MUTANTS[name])
    with pytest.raises(AssertionError):  # a script that does not run any more would prove nothing
        await check()

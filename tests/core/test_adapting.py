"""What the adapters share: the estimate, the identity of a call, its denial, its journal, the bridge to the agent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

import aegis_core
from aegis_core import AegisDenied, ConfigurationError, Governor, Settings
from aegis_core.adapting import (
    Bridge,
    CallGovernor,
    InputBounds,
    ModelCall,
    ToolCall,
    ToolReview,
    ToolRun,
    canonical_json,
    hash_arguments,
    messages_bound,
)
from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.protocol.errors import ConflictError, InvalidRequestError, NotFoundError
from aegis_core.protocol.messages import PermissionRequest, Verdict

MODEL = "gpt-4o-mini"


def user(text: str) -> dict[str, object]:
    return {"role": "user", "content": text}


@pytest.fixture
def plain(settings: Settings) -> Iterator[SyncGovernor]:
    with aegis_core.connect_sync(settings=settings) as governor:
        yield governor


@pytest.fixture
def agent(plain: SyncGovernor) -> SyncGovernedAgent:
    return plain.handshake("a")


def test_the_providers_count_replaces_the_bound_of_an_exact_prefix_only() -> None:
    bounds = InputBounds()
    first = [user("Tell me of Bern. " * 20)]
    bounds.learn(bounds.estimate(first, (), MODEL), 90)
    longer = [*first, {"role": "assistant", "content": "It is old."}, user("More.")]
    assert bounds.estimate(longer, (), MODEL).tokens == 90 + messages_bound(longer[1:])
    assert bounds.estimate(longer, [{"name": "t"}], MODEL).tokens > 180, "other tools are another prefix"
    assert bounds.estimate(longer, (), "gpt-4o").tokens > 180, "another model counts otherwise"
    assert bounds.estimate([user("Tell me of Rome."), *longer], (), MODEL).tokens > 180


def test_other_conversations_have_other_names() -> None:
    """Whatever stands where in them."""
    said = [
        [user("ab")],
        [user("a"), user("b")],
        [user("a1:1:b")],
        [user("a"), {"role": "user", "content": "b", "name": "lea"}],
        [{"role": "user", "content": ["ab"]}],
        [{"role": "users", "content": "b"}],
        [{"role": "user", "content": None}],
    ]
    names = {InputBounds().estimate(messages, tools, MODEL).digest for messages in said for tools in ((), ("t",))}
    assert len(names) == 2 * len(said)


def test_each_model_has_counts_of_its_own() -> None:
    """A call that several may answer is bounded for the one that counts most."""
    bounds = InputBounds()
    said = [user("Tell me of Bern. " * 20)]
    both, whole = ("gpt-4o", MODEL), messages_bound(said)
    bounds.learn(bounds.estimate(said, (), None, both), 90, MODEL)
    assert bounds.estimate(said, (), MODEL).tokens == 90
    assert bounds.estimate(said, (), "gpt-4o").tokens == whole
    assert bounds.estimate(said, (), None, both).tokens == whole
    bounds.learn(bounds.estimate(said, (), None, both), 120, "gpt-4o")
    assert bounds.estimate(said, (), None, both).tokens == 120
    assert bounds.estimate([*said, user("More.")], (), None, both).tokens == 120 + messages_bound([user("More.")])


def test_a_rerouted_call_teaches_the_bound_of_the_model_that_answered(agent: SyncGovernedAgent) -> None:
    calls = CallGovernor(agent, framework="custom")
    said = [user("Tell me of Bern. " * 20)]
    held = calls.begin(ModelCall(said, models=("gpt-4o", "gpt-4.1-mini")))
    assert held.model == "gpt-4.1-mini"
    held.settle(input_tokens=70, output_tokens=5)
    assert calls.bounds.estimate(said, (), "gpt-4.1-mini").tokens == 70
    assert calls.bounds.estimate(said, (), "gpt-4o").tokens == messages_bound(said)


def test_a_call_of_a_model_is_asked_for_by_the_tokens_of_its_prompt(
    agent: SyncGovernedAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[PermissionRequest] = []
    request_permission = ResourceGovernor.request_permission

    async def listening(governor: ResourceGovernor, request: PermissionRequest, **options: Any) -> Verdict:
        asked.append(request)
        return await request_permission(governor, request, **options)

    monkeypatch.setattr(ResourceGovernor, "request_permission", listening)
    calls, said = CallGovernor(agent, framework="custom"), [user("Tell me of Bern.")]
    calls.begin(ModelCall(said, model=MODEL, max_output_tokens=50)).release()
    assert (asked[0].prompt_tokens, asked[0].prompt_bytes) == (messages_bound(said), None)


@pytest.mark.parametrize(
    "counts",
    [
        {"input_tokens": -40, "output_tokens": 3},
        {"input_tokens": 40, "output_tokens": "three"},
        {"input_tokens": "forty", "output_tokens": 3},
        {"input_tokens": None, "output_tokens": None},
    ],
)
def test_counts_that_cannot_be_cost_the_reservation_and_fail_no_call(agent: SyncGovernedAgent, counts: Any) -> None:
    """The answer is there and paid: a bad count in it must neither lose it nor hold the money until its deadline."""
    held = CallGovernor(agent, framework="custom").begin(ModelCall([user("Hi.")], model=MODEL, max_output_tokens=50))
    receipt = held.settle(**counts)
    assert receipt is not None
    assert (receipt.state, receipt.estimated, receipt.charged_usd) == ("settled", True, receipt.reserved_usd)


def test_known_prefixes_are_bounded() -> None:
    bounds = InputBounds(known=2)
    for text in "abc":
        bounds.learn(bounds.estimate([user(text)]), 1)
    assert [bounds.estimate([user(text)]).tokens for text in "abc"] == [9, 1, 1]


def test_equal_arguments_have_one_spelling() -> None:
    assert canonical_json({"b": 1.0, "a": [True, None, "é"]}) == '{"a":[true,null,"é"],"b":1}'
    assert hash_arguments({"a": 1, "b": 2}) == hash_arguments('{"b": 2, "a": 1}')
    assert hash_arguments({"a": 1}) != hash_arguments({"a": "1"})
    assert hash_arguments({"a": math.nan}) != hash_arguments({"a": "nan"})
    with pytest.raises(InvalidRequestError, match="cannot be told"):
        hash_arguments({"a": object()})  # an address in memory says nothing of what it holds
    assert hash_arguments({"a": {2, 1}}) == hash_arguments({"a": {1, 2}})


def test_an_identity_is_of_thread_message_call_and_arguments() -> None:
    one = ToolCall("pay", {"a": 1}, "c", "m", "t")
    others = [
        ToolCall("pay", {"a": 2}, "c", "m", "t"), ToolCall("pay", {"a": 1}, "d", "m", "t"),
        ToolCall("pay", {"a": 1}, "c", "n", "t"), ToolCall("pay", {"a": 1}, "c", "m", "u"),
    ]  # fmt: skip
    names = {call.identity("x") for call in (one, *others)} | {one.identity("y")}
    assert len(names) == 6
    assert ToolCall("pay", {"a": 1}).identity("x") is None


def test_a_tool_call_is_read_whole_and_masked() -> None:
    call = ToolCall("login", {"password": "hunter2-and-more", "note": "x" * 1_000 + " and at the end a recipient"})
    assert "hunter2" not in call.intent + call.name
    assert call.intent.startswith("Call the tool login(password=[masked]")
    assert call.intent.endswith("and at the end a recipient)")
    assert len(call.name) < 150
    long = ToolCall("send", {"text": "begin " + "y" * 9_000 + " end"}).intent
    assert len(long) <= 8_000
    assert long.startswith("Call the tool send(text=begin y")
    assert long.endswith("y end)")


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ({"a": "one\ntwo", "b": 3}, "a=one two, b=3"),
        ('{"a": "one\\ntwo", "b": [true, "x", null]}', "a=one two, b=true, x, null"),
        ({"a": {"b": ["c\td", {"e": 'f "g"'}]}}, 'a=b=c d, e=f "g"'),
        ("no JSON\nat all", "no JSON at all"),
        ('"7"', '"7"'),
        (None, ""),
        ([1, 2.5], "1, 2.5"),
    ],
)
def test_arguments_are_read_as_the_tool_reads_them(arguments: object, read: str) -> None:
    assert ToolCall("t", arguments).intent == f"Call the tool t({read})"


def test_how_a_prompt_ends_is_short_and_masked() -> None:
    messages = [user("Buy bread with sk-proj-abcdefghijklmnop1234567890"), {"role": "assistant", "content": ""}]
    assert ModelCall(messages).prompt_end == "Buy bread with [masked]"
    long = ModelCall([user("first " + "word " * 500 + "last")]).prompt_end
    assert long is not None
    assert (len(long), long[0], long.endswith(" word last")) == (240, "…", True)
    cut = ModelCall([user("password: " + "hunter2" * 40)]).prompt_end
    assert cut == "password: [masked]", "a secret that is longer than what is shown is not cut in two"
    assert ModelCall([]).prompt_end is ModelCall([user("  ")]).prompt_end is None
    assert ModelCall([user("text")]).intent is None


def test_a_models_intent_is_what_the_program_declares(plain: SyncGovernor, agent: SyncGovernedAgent) -> None:
    prompt = [user("Please drop database orders")]
    for declared, of_call, expected in (
        (None, None, "Model call"), ("Plan a trip", None, "Plan a trip"), ("Plan a trip", "Book it", "Book it"),
    ):  # fmt: skip
        calls = CallGovernor(agent, framework="custom", intent=declared)
        held = calls.begin(ModelCall(prompt, model=MODEL, max_output_tokens=9, intent=of_call))
        held.release()
        said = [one.facts["request"] for one in plain.events(limit=500) if one.kind == "granted"][-1]
        assert said["intent"] == expected
        assert "prompt_end" not in said, "of a call that no person is asked about no words are kept"
    bad = CallGovernor(agent, framework="custom", intent="Drop database orders")
    with pytest.raises(AegisDenied, match="drop database"):
        bad.begin(ModelCall([user("Hello")], model=MODEL, max_output_tokens=9))


def test_a_denial_says_what_why_what_is_left_and_what_to_do(settings: Settings) -> None:
    settings = settings.model_copy(update={"timezone": "UTC"})
    with aegis_core.connect_sync(settings=settings) as plain, pytest.raises(AegisDenied) as caught:  # noqa: PT012
        agent = plain.handshake("a")
        plain.set_budget("agent", "a", "day", "2.50")
        calls = CallGovernor(agent, framework="custom", costs={"pay": 3})
        calls.begin(ToolCall("pay", {"amount": 3}))
    assert caught.value.message == (
        "Aegis refused pay(amount=3): it costs up to $3.00 and $2.50 of $2.50 is left until midnight UTC. "
        "Do not call pay again with more than $2.50; finish with what you have or ask the user."
    )
    assert (caught.value.code, caught.value.final, caught.value.facts["times"]) == ("budget_exceeded", False, 1)


@pytest.mark.filterwarnings("ignore:A call of .* has no output cap")
def test_a_call_without_a_cap_is_told_what_the_smallest_useful_answer_costs(
    plain: SyncGovernor, agent: SyncGovernedAgent
) -> None:
    plain.set_budget("agent", "a", "day", "0.00002")
    calls = CallGovernor(agent, framework="custom")
    with pytest.raises(
        AegisDenied, match=r"nothing caps its answer \(the smallest useful one costs up to \$"
    ) as caught:
        calls.begin(ModelCall([user("Hello")], model=MODEL))
    verdict = caught.value.verdict
    assert verdict.least_usd is not None
    assert verdict.asked_usd is not None
    assert 0 < verdict.least_usd < verdict.asked_usd
    assert f"costs up to ${verdict.least_usd:f}".rstrip("0") in caught.value.message
    plain.set_budget("agent", "a", "day", verdict.least_usd)
    calls.begin(ModelCall([user("Hello")], model=MODEL, lowers_cap=True)).release()


def test_the_third_identical_refusal_is_final_whoever_counts(plain: SyncGovernor, agent: SyncGovernedAgent) -> None:
    plain.set_budget("agent", "a", "day", "2.50")
    finals: list[bool] = []
    for amount in (3, 4, 3, 3):
        again = CallGovernor(agent, framework="custom", costs=lambda _, arguments: arguments["amount"])
        with pytest.raises(AegisDenied) as caught:
            again.begin(ToolCall("pay", {"amount": amount}))
        finals.append(caught.value.final)
    assert finals == [False, False, False, True]


def test_a_denial_is_found_in_what_a_framework_raises(plain: SyncGovernor, agent: SyncGovernedAgent) -> None:
    plain.set_budget("agent", "a", "day", 0)
    with pytest.raises(AegisDenied) as caught:
        CallGovernor(agent, framework="custom").begin(ModelCall([user("Hello")], model=MODEL, max_output_tokens=50))
    denied = caught.value
    wrapped = RuntimeError("the run failed")
    wrapped.__cause__ = denied
    assert AegisDenied.from_exception(wrapped) is denied
    assert AegisDenied.from_exception(ExceptionGroup("many", [ValueError("x"), denied])) is denied
    found = AegisDenied.from_exception(RuntimeError(f"Task failed: AegisDenied: {denied}\nTraceback"))
    assert found is not None
    assert (found.code, found.message, found.verdict.status) == (denied.code, denied.message, "REJECTED")
    assert AegisDenied.from_exception(RuntimeError("no money [really]")) is None


def test_an_answer_is_cut_to_what_is_affordable(plain: SyncGovernor, agent: SyncGovernedAgent) -> None:
    plain.set_budget("agent", "a", "day", "0.0003")
    calls = CallGovernor(agent, framework="custom", max_output_tokens=1_000)
    with pytest.raises(AegisDenied):
        calls.begin(ModelCall([user("Hello")], model=MODEL, max_output_tokens=1_000))
    held = calls.begin(ModelCall([user("Hello")], model=MODEL, max_output_tokens=4_000, lowers_cap=True))
    assert held.max_output_tokens == 421, "1,000 three quarters at a time, until $0.60 a million fits into $0.0003"
    assert held.verdict.reserved_usd <= Decimal("0.0003")
    held.release()
    plain.set_budget("agent", "a", "day", "0.00001")
    with pytest.raises(AegisDenied):
        calls.begin(ModelCall([user("Hello")], model=MODEL, lowers_cap=True))
    assert agent.budget().budgets[0].reserved_usd == 0


def test_several_answers_are_bounded_and_cut_together(plain: SyncGovernor, agent: SyncGovernedAgent) -> None:
    """The cap is that of one answer, and each of them may be as long."""
    calls = CallGovernor(agent, framework="custom")
    held = calls.begin(ModelCall([user("Hello")], model=MODEL, max_output_tokens=1_000, answers=8))
    assert held.max_output_tokens == 1_000
    assert held.verdict.reserved_usd == Decimal("0.00000165") + 8_000 * Decimal("0.0000006")
    held.release()
    plain.set_budget("agent", "a", "day", "0.0003")
    held = calls.begin(ModelCall([user("Hello")], model=MODEL, max_output_tokens=1_000, lowers_cap=True, answers=8))
    assert held.max_output_tokens is not None
    assert 16 <= held.max_output_tokens < 63
    assert 8 * held.max_output_tokens * Decimal("0.0000006") <= held.verdict.reserved_usd <= Decimal("0.0003")
    held.release()
    plain.set_budget("agent", "a", "day", "0.00007")  # enough for 16 tokens each of seven, not of eight
    with pytest.raises(AegisDenied):
        calls.begin(ModelCall([user("Hello")], model=MODEL, lowers_cap=True, answers=8))
    with pytest.raises(ConfigurationError, match="asks for 2 answers and caps none"):
        calls.begin(ModelCall([user("Hello")], model=MODEL, answers=2))
    assert agent.budget().budgets[0].reserved_usd == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"costs": {"pay": "abc"}}, r"costs=\{'pay': 'abc'\} is not an amount of dollars"),
        ({"costs": {"pay": -1}}, r"costs=\{'pay': -1\} is negative"),
        ({"costs": {"pay": None}}, r"costs=\{'pay': None\} is not an amount of dollars"),
        ({"costs": ["pay"]}, "costs= takes"),
        ({"max_output_tokens": 0}, "max_output_tokens= takes a whole number, at least 1; this is 0"),
        ({"max_output_tokens": "many"}, "max_output_tokens= takes a whole number"),
        ({"logic_density": 11}, "logic_density= takes a whole number, 1 to 10; this is 11"),
        ({"approval_seconds": -1}, "approval_seconds= takes a number, at least 0; this is -1"),
    ],
)
def test_settings_are_looked_at_when_an_adapter_is_made(
    agent: SyncGovernedAgent, given: dict[str, Any], told: str
) -> None:
    """Not when a model first calls the tool, whose error the model would read."""
    with pytest.raises(ConfigurationError, match=told):
        CallGovernor(agent, framework="custom", **given)


HALF = "half an emoji: \ud83d"
"""What a model leaves behind that was cut off; UTF-8 cannot carry it."""


def test_half_a_character_stops_no_call(agent: SyncGovernedAgent) -> None:
    """Wherever it stands. A result of it is replayed as it was, and the money of the call that ran is not held on."""
    calls = CallGovernor(agent, framework="custom")
    calls.begin(ModelCall([user(HALF)], model=MODEL, max_output_tokens=50, thread=HALF)).release()
    assert "half an emoji" in ToolCall("note", {"text": HALF}).name
    review = ToolReview(calls)
    note = ToolCall("note", {"text": HALF}, HALF, "m", HALF, cost_usd=1)
    (clearance,) = review.open([note], durable=True).clearances
    work = review.begin(clearance, journal=True)
    assert isinstance(work, ToolRun)
    work.finish(HALF)
    (again,) = review.open([note], durable=True).clearances
    assert (again.state, again.result) == ("done", HALF)
    assert agent.budget().budgets[0].reserved_usd == 0
    with pytest.raises(InvalidRequestError, match="half a surrogate pair at character 16"):
        agent.request(HALF, resource_type="compute", estimated_cost_usd=0)
    with pytest.raises(InvalidRequestError, match="half a surrogate pair"):
        agent.request("Note", resource_type="compute", estimated_cost_usd=0, metadata={"text": HALF})


def test_aegis_is_checked_with_one_sentence(plain: SyncGovernor) -> None:
    with pytest.raises(ConfigurationError, match=r"aegis= takes an agent of Aegis.* shake hands first: aegis=governor"):
        Bridge.of(plain)
    with pytest.raises(ConfigurationError, match=r"this is of type builtins\.dict"):
        Bridge.of({})


async def test_an_agent_of_connect_is_asked_from_other_threads_and_loops(governor: Governor) -> None:
    agent = await governor.handshake("a")
    calls = CallGovernor(agent, framework="custom")
    call = ModelCall([user("Hello")], model=MODEL, max_output_tokens=50)
    with pytest.raises(ConfigurationError, match=r"blocks the event loop .* `aegis_core.connect_sync`"):
        calls.begin(call)
    await (await calls.abegin(call)).arelease()
    held = await asyncio.to_thread(calls.begin, call)
    await asyncio.to_thread(held.settle, input_tokens=10, output_tokens=5)
    assert held.receipt is not None

    async def elsewhere() -> None:
        await (await calls.abegin(call)).asettle(input_tokens=10, output_tokens=5)

    await asyncio.to_thread(asyncio.run, elsewhere())
    report = await agent.budget()
    assert report.budgets[0].spent_usd == Decimal("0.000009")
    assert report.budgets[0].reserved_usd == 0


@pytest.mark.concurrent
async def test_a_caller_cancelled_while_it_asks_leaves_nothing_held(plain: SyncGovernor) -> None:
    agent = await asyncio.to_thread(plain.handshake, "a")
    calls = CallGovernor(agent, framework="custom")
    call = ModelCall([user("Hello")], model=MODEL, max_output_tokens=50)
    for delay in range(20):
        task = asyncio.create_task(calls.abegin(call))
        await asyncio.sleep(delay / 10_000)
        if task.done():
            await task.result().arelease()
        task.cancel()
    await asyncio.sleep(0.2)
    async with asyncio.timeout(30):  # what was cancelled gives back by itself
        while (await asyncio.to_thread(agent.budget)).budgets[0].reserved_usd:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def test_a_closed_connection_is_named(settings: Settings) -> None:
    with aegis_core.connect_sync(settings=settings) as governor:
        calls = CallGovernor(governor.handshake("a"), framework="custom")
    with pytest.raises(ConfigurationError, match="connection of this Aegis agent is closed"):
        calls.begin(ToolCall("pay"))


def test_the_first_end_counts(agent: SyncGovernedAgent) -> None:
    held = CallGovernor(agent, framework="custom", costs={"pay": 1}).begin(ToolCall("pay"))
    held.settle(cost_usd="0.25")
    held.release()
    held.settle()
    assert agent.budget().budgets[0].spent_usd == Decimal("0.25")


class TestJournal:
    """A side effect is started, then finished; what is between the two when its process dies is unknown."""

    CALL = ToolCall("pay", {"amount": 7}, "call-1", "message-1", "thread-1")

    def test_a_finished_call_is_replayed(self, agent: SyncGovernedAgent) -> None:
        calls = CallGovernor(agent, framework="custom")
        assert calls.start(self.CALL, "one").state == "started"
        assert calls.start(self.CALL, "one").state == "started", "its own lost answer"
        calls.finish(self.CALL, "one", "paid 7")
        again = calls.start(self.CALL, "two")
        assert (again.state, again.result) == ("finished", "paid 7")
        calls.finish(self.CALL, "one", "paid 7")  # a repeat
        with pytest.raises(ConflictError, match="Another attempt"):
            calls.finish(self.CALL, "two", "paid 8")

    def test_a_started_call_has_an_unknown_outcome_in_another_process(
        self, agent: SyncGovernedAgent, plain: SyncGovernor
    ) -> None:
        CallGovernor(agent, framework="custom").start(self.CALL, "one")
        other = CallGovernor(plain.handshake("a"), framework="custom")
        assert other.start(self.CALL, "two").state == "unknown"
        with pytest.raises(ConflictError):
            other.finish(self.CALL, "two", "paid 7")

    def test_a_failure_is_replayed_as_one(self, agent: SyncGovernedAgent) -> None:
        calls = CallGovernor(agent, framework="custom")
        calls.start(self.CALL, "one")
        calls.finish(self.CALL, "one", "the bank is closed", failed=True)
        again = calls.start(self.CALL, "two")
        assert (again.state, again.result) == ("failed", "the bank is closed")

    def test_what_was_never_started_has_no_end(self, agent: SyncGovernedAgent) -> None:
        calls = CallGovernor(agent, framework="custom")
        with pytest.raises(NotFoundError, match="never started"):
            calls.finish(self.CALL, "one", "paid 7")
        with pytest.raises(ConfigurationError, match="needs a call_id"):
            calls.start(ToolCall("pay"), "one")

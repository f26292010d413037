"""Usage that cannot be true becomes a doubt with its reason; the caller settles at the reservation. Nothing raises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
from payloads import MAKERS, MODELS, Spent

from aegis_core.metering.bound import Bound, bound, check
from aegis_core.metering.extract import StreamMeter, extract
from aegis_core.metering.price_book import Charge, PriceBook

BOOK = PriceBook()
RESERVED = 77_000_000
WORDS = "The quick brown fox jumps over the lazy dog. " * 20


def chat(usage: Any, text: str = "hi", model: str = "gpt-4o-mini", **more: Any) -> dict[str, Any]:
    return {
        "object": "chat.completion",
        "model": model,
        "choices": [{"message": {"content": text}}],
        "usage": usage,
        **more,
    }


ODD: dict[str, tuple[Any, str]] = {
    "absent": (None, "the answer carries no usage"),
    "no mapping": ("n/a", "no input tokens"),
    "none of its counts": ({"prompt_tokens": None, "completion_tokens": None}, "no input tokens"),
    "no output though text came": ({"prompt_tokens": 10, "completion_tokens": None}, "fewer than the text"),
    "negative": ({"prompt_tokens": -1, "completion_tokens": 5}, "prompt_tokens is -1, which cannot be"),
    "text": ({"prompt_tokens": "10", "completion_tokens": 5}, "prompt_tokens is '10', which is no count"),
    "a fraction": ({"prompt_tokens": 10.5, "completion_tokens": 5}, "prompt_tokens is 10.5, which is no count"),
    "not a number": ({"prompt_tokens": float("nan"), "completion_tokens": 5}, "prompt_tokens is nan"),
    "true": ({"prompt_tokens": True, "completion_tokens": 5}, "prompt_tokens is True"),
    "huge": ({"prompt_tokens": 10**12, "completion_tokens": 0}, "which cannot be"),
    "beyond any text": ({"prompt_tokens": 10**5_000, "completion_tokens": 0}, "beyond 10^18"),
    "more cached than sent": (
        {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 11}},
        "contradict each other: cached_input_tokens",
    ),
    "more thoughts than output": (
        {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 6}},
        "contradict each other: reasoning_tokens",
    ),
    "a total below its parts": ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 14}, "fewer than the 15"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_usage_is_a_doubt_and_settles_at_the_reservation(name: str) -> None:
    usage, reason = ODD[name]
    reading = extract("openai", chat(usage), model="gpt-4o-mini")
    assert not reading.exact
    assert any(reason in doubt for doubt in reading.doubts), reading.doubts
    charged = BOOK.charge(reading, RESERVED)
    assert (charged.nanos, charged.estimated) == (RESERVED, True)
    assert charged.reasons == reading.doubts


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the counts of an answer stand: every whole number within its usage."""
    if isinstance(value, int) and not isinstance(value, bool):
        if USAGE.intersection(path):
            yield path
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))


def changed(value: Any, path: tuple[Any, ...], leaf: Any) -> Any:
    copy = deepcopy(value)
    holder = copy
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = leaf
    return copy


USAGE = {"usage", "usageMetadata"}
FULL = Spent(read=500, thoughts=70, searches=1)


@pytest.mark.parametrize("odd", [-1, "7", 2**64, 0.5, float("inf"), [], True], ids=repr)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("api", sorted(set(MAKERS) - {"openrouter"}))
def test_each_odd_count_of_each_api_is_a_doubt_or_changes_nothing(api: str, streamed: bool, odd: Any) -> None:
    payload: Any = MAKERS[api](FULL, MODELS[api])[int(streamed)]
    right = extract(api, payload, model=MODELS[api])
    assert right.exact
    doubted = 0
    for path in leaves(payload):
        reading = extract(api, changed(payload, path, odd), model=MODELS[api])
        assert reading.doubts or reading.usage == right.usage, path
        doubted += bool(reading.doubts)
    assert doubted >= 2


def test_whole_numbers_as_floats_are_counts() -> None:
    reading = extract("openai", chat({"prompt_tokens": 10.0, "completion_tokens": 5.0}), model="gpt-4o-mini")
    assert BOOK.charge(reading, RESERVED) == Charge(10 * 150 + 5 * 600)


@pytest.mark.parametrize("api", MAKERS)
def test_each_api_without_usage_says_so(api: str) -> None:
    whole, chunks = MAKERS[api](Spent(), MODELS[api])
    for name in ("usage", "usageMetadata"):
        whole.pop(name, None)
    assert "no usage" in " ".join(extract(api, whole, model="gpt-4o").doubts)
    broken = extract(api, chunks[:3], model="gpt-4o")
    if api != "gemini":  # whose every chunk says how far it has come
        assert not broken.exact
    assert broken.received_tokens > 0


@pytest.mark.parametrize("api", MAKERS)
def test_a_stream_that_ends_with_an_error_is_no_answer(api: str) -> None:
    chunks = MAKERS[api](Spent(), MODELS[api])[1]
    failed: dict[str, Any] = {"type": "error", "error": {"message": "overloaded"}}
    if api == "bedrock":
        failed = {"modelStreamErrorException": {"message": "broken"}}
    reading = extract(api, [*chunks, failed], model=MODELS[api])
    assert "the provider broke the answer off with an error" in reading.doubts


def test_counts_that_stand_still_while_text_arrives_are_no_totals() -> None:
    chunks = [
        {"choices": [{"delta": {"content": "word "}}], "usage": {"prompt_tokens": 100, "completion_tokens": 1}}
        for _ in range(50)
    ]
    assert "stand still" in " ".join(extract("openai_compatible", chunks, model="gpt-4o-mini").doubts)


def test_counts_that_fall_are_no_totals() -> None:
    chunks = [
        {"choices": [{"delta": {"content": "word "}}], "usage": {"prompt_tokens": 100, "completion_tokens": many}}
        for many in (3, 4, 2)
    ]
    assert "fall from chunk to chunk" in " ".join(extract("openai_compatible", chunks, model="gpt-4o-mini").doubts)


def test_fewer_tokens_than_the_text_has_are_a_doubt() -> None:
    reading = extract("openai", chat({"prompt_tokens": 10, "completion_tokens": 2}, WORDS))
    assert "2 output tokens are fewer than the text that was received" in reading.doubts


def test_hosted_tools_without_a_known_fee_are_a_doubt() -> None:
    whole = MAKERS["openai_responses"](Spent(), "gpt-5.5")[0]
    whole["output"].append({"type": "image_generation_call", "result": "…"})
    assert extract("openai", whole).doubts == ("image_generation_call is a hosted tool whose fee is not known",)
    message = MAKERS["anthropic"](Spent(extra={"server_tool_use": {"oracle_requests": 1}}), "claude-opus-4-6")[0]
    assert extract("anthropic", message).doubts == ("oracle_requests counts a hosted tool whose fee is not known",)


@pytest.mark.parametrize(
    ("api", "more", "reason"),
    [
        ("bedrock", {"performanceConfig": {"latency": "optimized"}}, "latency-optimized inference is not known"),
        ("openrouter", {"usage": {"prompt_tokens": 9, "completion_tokens": 9, "cost": -1}}, "that cannot be"),
        ("openrouter", {"usage": {"prompt_tokens": 9, "completion_tokens": 9, "cost": "1"}}, "no amount of dollars"),
        ("openrouter", {"usage": {"prompt_tokens": 9, "completion_tokens": 9, "cost": float("nan")}}, "no amount"),
    ],
)
def test_a_price_that_cannot_be_known_is_a_doubt(api: str, more: dict[str, Any], reason: str) -> None:
    whole = MAKERS[api](Spent(), MODELS[api])[0]
    assert reason in " ".join(extract(api, {**whole, **more}, model=MODELS[api]).doubts)


def test_an_answer_of_a_fallback_is_a_doubt() -> None:
    passes = [{"type": kind, "input_tokens": 600, "output_tokens": 20} for kind in ("message", "fallback_message")]
    whole = MAKERS["anthropic"](Spent(extra={"iterations": passes}), "claude-opus-4-6")[0]
    assert "another model answered in the end" in extract("anthropic", whole).doubts[0]


@pytest.mark.parametrize("name", ["", "two words", "x" * 200])
def test_an_answer_without_the_name_of_a_model_is_a_doubt(name: str) -> None:
    reading = extract("openai", chat({"prompt_tokens": 9, "completion_tokens": 1}, model=name))
    assert reading.usage is None
    assert "model" in reading.doubts[0]


@pytest.mark.parametrize("tier", ["ultrafast", "scale", "reserved"])
def test_a_tier_without_a_known_price_charges_the_reservation(tier: str) -> None:
    reading = extract("openai", MAKERS["openai_chat"](Spent(tier=tier), "gpt-5.5")[0], model="gpt-5.5")
    assert reading.exact
    charged = BOOK.charge(reading, RESERVED)
    assert (charged.nanos, charged.estimated) == (RESERVED, True)
    assert f"no known price at the tier '{tier}'" in charged.reasons[0]


def test_a_model_without_a_known_price_charges_the_reservation() -> None:
    charged = BOOK.charge(
        extract("openai", chat({"prompt_tokens": 9, "completion_tokens": 1}), model="prod-chat"), RESERVED
    )
    assert (charged.nanos, charged.estimated) == (RESERVED, True)


def asked(**more: Any) -> Bound:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": WORDS}], "max_completion_tokens": 50}
    return bound({**body, **more})


@pytest.mark.parametrize(
    ("usage", "reason"),
    [
        ({"prompt_tokens": 9_000, "completion_tokens": 5}, "input tokens are more than"),
        ({"prompt_tokens": 200, "completion_tokens": 51}, "51 output tokens are more than the cap of 50"),
        ({"prompt_tokens": 3, "completion_tokens": 5}, "input tokens are fewer than"),
        ({"prompt_tokens": 200, "completion_tokens": 5, "total_tokens": 900}, "output tokens are more than the cap"),
    ],
)
def test_what_the_request_does_not_allow_is_a_doubt(usage: dict[str, int], reason: str) -> None:
    reading = check(extract("openai", chat(usage)), asked())
    assert any(reason in doubt for doubt in reading.doubts), reading.doubts


def test_what_the_request_allows_is_none() -> None:
    assert check(extract("openai", chat({"prompt_tokens": 200, "completion_tokens": 50})), asked()).exact


def test_a_search_that_was_not_asked_for_is_a_doubt() -> None:
    whole = MAKERS["openai_responses"](Spent(fresh=300, searches=1), "gpt-4o-mini")[0]
    assert "1 web searches are more than the request allows" in check(extract("openai", whole), asked()).doubts


def silent(model: str, text: str = WORDS) -> list[dict[str, Any]]:
    words = [{"model": model, "choices": [{"delta": {"content": f"{word} "}}]} for word in text.split()]
    return [*words, {"model": model, "choices": [{"delta": {}, "finish_reason": "stop"}]}]


def test_a_whole_stream_without_a_count_is_charged_by_its_text_for_a_model_that_cannot_reason() -> None:
    most = asked(max_completion_tokens=2_000)
    reading = check(extract("openai_compatible", silent("gpt-4o-mini")), most)
    charged = BOOK.charge(reading, RESERVED, bound=most)
    assert charged.estimated
    assert charged.nanos == most.input_tokens * 150 + reading.received_tokens * 600
    assert BOOK.charge(reading, 10, bound=most).nanos == 10, "never more than was reserved"


@pytest.mark.parametrize("how", ["a model that reasons", "a stream that broke off", "an unknown model"])
def test_else_it_costs_the_reservation(how: str) -> None:
    model = {"a model that reasons": "gpt-5.5", "an unknown model": "prod-chat"}.get(how, "gpt-4o-mini")
    chunks = silent(model)[: -1 if how == "a stream that broke off" else None]
    most = asked(model=model, max_completion_tokens=2_000)
    assert BOOK.charge(extract("openai", chunks), RESERVED, bound=most).nanos == RESERVED


class Explosive:
    """An object that answers no question."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


PAYLOADS: dict[str, Callable[[], object]] = {
    "none": lambda: None, "a number": lambda: 3, "a word": lambda: "x", "bytes": lambda: b"\xff\xfe",
    "empty": lambda: "",
    "half an event": lambda: "data: {", "no chunks": list, "no fields": dict, "rubbish": lambda: [None, 5, "x"],
    "an object": object, "an explosive": Explosive, "explosive usage": lambda: {"usage": Explosive(), "choices": []},
}  # fmt: skip


@pytest.mark.parametrize("name", PAYLOADS)
@pytest.mark.parametrize("api", [None, *MAKERS, "nobody's"])
def test_nothing_raises(api: str | None, name: str) -> None:
    reading = extract(api, PAYLOADS[name](), model="gpt-4o")
    assert reading.doubts
    meter = StreamMeter(api)
    meter.add(PAYLOADS[name]())
    assert not meter.reading().exact


def test_a_stream_that_raises_is_a_doubt() -> None:
    def chunks() -> Any:
        yield from silent("gpt-4o-mini")[:5]
        raise ConnectionResetError

    reading = extract("openai", chunks())
    assert reading.doubts[0] == "the answer could not be read (ConnectionResetError)"
    assert reading.received_tokens > 0

"""What is read of a passing stream is what is read of the whole of it, wherever it is cut."""

from __future__ import annotations

import json

import pytest
from payloads import MAKERS, MODELS, Spent

from aegis_core.metering.extract import StreamMeter, extract
from aegis_core.proxy.routes import Api
from aegis_core.proxy.tees import EventTee, WholeTee

APIS: dict[Api, str] = {
    "chat": "openai_chat", "responses": "openai_responses", "messages": "anthropic", "generate": "gemini",
}  # fmt: skip
SPENT = Spent(read=100, thoughts=30, searches=2)


def stream(api: Api, end: bytes = b"\n\n") -> bytes:
    _, chunks = MAKERS[APIS[api]](SPENT, "m")
    events = [b"data: " + json.dumps(chunk).encode() + end for chunk in chunks]
    return b"".join(events) + (b"data: [DONE]" + end if api == "chat" else b"")


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
@pytest.mark.parametrize("size", [1, 2, 13, 100_000])
@pytest.mark.parametrize("api", APIS)
def test_a_stream_is_read_wherever_it_is_cut_and_goes_on_as_it_came(api: Api, size: int, end: bytes) -> None:
    raw = stream(api, end)
    tee = EventTee(StreamMeter(APIS[api], model=MODELS[APIS[api]]), api)
    passed = [tee.feed(raw[at : at + size]) for at in range(0, len(raw), size)]
    assert b"".join(each.data for each in passed) + tee.end(broken=False) == raw
    assert any(each.done for each in passed) == (api != "generate")
    reading = tee.reading()
    assert reading.doubts == ()
    whole, _ = MAKERS[APIS[api]](SPENT, "m")
    assert reading.usage == extract(APIS[api], whole, model=MODELS[APIS[api]]).usage


@pytest.mark.parametrize("api", APIS)
def test_a_stream_without_its_end_is_doubted(api: Api) -> None:
    raw = stream(api)
    for kept in range(0, len(raw) - 30, 97):
        tee = EventTee(StreamMeter(APIS[api], model=MODELS[APIS[api]]), api)
        done = tee.feed(raw[:kept]).done
        tee.end(broken=True)
        assert done or not tee.reading().exact, f"cut at {kept}"


def test_the_usage_that_was_not_asked_for_is_left_out_and_nothing_else() -> None:
    raw = stream("chat")
    usage = next(event for event in raw.split(b"\n\n") if b'"choices": []' in event) + b"\n\n"
    for size in (1, 50, 100_000):
        tee = EventTee(StreamMeter("openai_chat", model="gpt-5.5"), "chat", strips_usage=True)
        kept = b"".join(tee.feed(raw[at : at + size]).data for at in range(0, len(raw), size)) + tee.end(broken=False)
        assert kept == raw.replace(usage, b"").replace(b', "usage": null', b"")
        assert tee.reading().exact


def test_a_text_that_speaks_of_usage_is_not_changed() -> None:
    text = json.dumps('{"a": 1, "usage": null, "b": 2}')
    first = f'data: {{"usage":null, "choices":[{{"index":0,"delta":{{"content":{text}}}}}]}}\n\n'.encode()
    tee = EventTee(StreamMeter("openai_chat", model="gpt-5.5"), "chat", strips_usage=True)
    assert tee.feed(first).data == first.replace(b'"usage":null, ', b"", 1)


def test_an_answer_without_a_last_line_is_read_too() -> None:
    raw = stream("messages").rstrip(b"\n")
    tee = EventTee(StreamMeter("anthropic", model="claude-opus-4-6"), "messages")
    assert tee.feed(raw).data + tee.end(broken=False) == raw
    assert tee.reading().exact


def test_a_long_answer_passes_and_its_usage_is_found_at_its_end() -> None:
    vectors = [{"object": "embedding", "embedding": "A" * 65_536, "usage": "none"} for _ in range(200)]
    body = {"object": "list", "data": vectors, "model": "m", "usage": {"prompt_tokens": 9, "total_tokens": 9}}
    raw = json.dumps(body).encode()
    tee = WholeTee(StreamMeter("openai_chat", model="text-embedding-3-small"))
    passed = b"".join(tee.feed(raw[at : at + 1_000_000]).data for at in range(0, len(raw), 1_000_000))
    assert passed + tee.end(broken=False) == raw
    assert passed, "it is not held back to its end"
    usage = tee.reading().usage
    assert usage is not None
    assert usage.input_tokens == 9

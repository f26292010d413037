"""The cap of an answer is lowered by splicing: to the key's, to what is left, below what asks a person; no more."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from stands import Stand

from aegis_core.policy.loading import load_policy
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.proxy.request_body import RequestBody

SAID: Any = [{"role": "user", "content": "Hello é\U0001f600 there"}]
TEXT = '[ {"role":"user","content":"Hel\\u006co \\ud83d\\ude00 é"} ]'  # as no serialiser of Python spells it


def sent(stand: Stand, path: str, body: str, **terms: Any) -> bytes:
    """What reaches the provider of a body."""
    key = stand.key(**terms)
    answer = stand.post(path, key, body.encode(), content_type="application/json")
    assert answer.status_code == 200, answer.text
    stand.ended(key.terms.agent_id)
    return stand.provider.asked[-1].body


CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
GEMINI, VLLM = "/v1beta/models/gemini-3.8-flash:generateContent", "/vllm/v1/chat/completions"


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        # none was sent
        (CHAT, '{{"model":"gpt-5.5", "messages" :{text}}}',
         '{{"max_completion_tokens":32000,"model":"gpt-5.5", "messages" :{text}}}'),
        (RESPONSES, '{{"model":"gpt-5.5","input":{text}}}',
         '{{"max_output_tokens":32000,"model":"gpt-5.5","input":{text}}}'),
        (GEMINI, '{{"contents":[{{"parts":[{{"text":"x"}}]}}]}}',
         '{{"generationConfig":{{"maxOutputTokens":32000}},"contents":[{{"parts":[{{"text":"x"}}]}}]}}'),
        (GEMINI, '{{"contents":[],"generationConfig":{{ }}}}',
         '{{"contents":[],"generationConfig":{{"maxOutputTokens":32000 }}}}'),
        (GEMINI, '{{"contents":[],"generation_config":{{"topK":1}}}}',
         '{{"contents":[],"generation_config":{{"maxOutputTokens":32000,"topK":1}}}}'),
        # a higher one
        (MESSAGES, '{{"model":"claude-opus-4-6","max_tokens":128000,"messages":{text}}}\n',
         '{{"model":"claude-opus-4-6","max_tokens":32000,"messages":{text}}}\n'),
        (CHAT, '{{"model":"gpt-5.5","messages":{text},"max_tokens" : 99999 ,"n":1}}',
         '{{"model":"gpt-5.5","messages":{text},"max_tokens" : 32000 ,"n":1}}'),
        (CHAT, '{{"max_completion_tokens":50000,"model":"gpt-5.5","messages":{text},"max_tokens":40000}}',
         '{{"max_completion_tokens":32000,"model":"gpt-5.5","messages":{text},"max_tokens":32000}}'),
        (GEMINI, '{{"contents":[],"generationConfig":{{"temperature":1,"max_output_tokens":64000}}}}',
         '{{"contents":[],"generationConfig":{{"temperature":1,"max_output_tokens":32000}}}}'),
        # null is none
        (RESPONSES, '{{"model":"gpt-5.5","max_output_tokens":null,"input":{text}}}',
         '{{"model":"gpt-5.5","max_output_tokens":32000,"input":{text}}}'),
        # one that is low enough stays
        (MESSAGES, '{{ "model":"claude-opus-4-6","max_tokens":900,"messages":{text}}}',
         '{{ "model":"claude-opus-4-6","max_tokens":900,"messages":{text}}}'),
    ],
)  # fmt: skip
def test_only_the_cap_differs(stand: Stand, path: str, before: str, after: str) -> None:
    assert sent(stand, path, before.format(text=TEXT)).decode() == after.format(text=TEXT)


def test_a_compatible_server_gets_the_older_name_of_the_cap(stand: Stand) -> None:
    stand.run(stand.port.operator.note_prices("x"))
    body = f'{{"model":"openai/gpt-4o","messages":{TEXT}}}'
    asked = json.loads(sent(stand, "/openrouter/v1/chat/completions", body))
    assert asked["max_tokens"] == 16_384  # the longest answer of this model
    assert "max_completion_tokens" not in asked
    assert stand.provider.asked[-1].path == "/v1/chat/completions"


def test_a_cap_is_cut_to_what_is_left_but_not_below_the_least(stand: Stand) -> None:
    """$25 a million tokens of output: $0.30 are 12,000 of them."""
    key = stand.key(budget="0.30")
    body = {"model": "claude-opus-4-6", "messages": SAID, "max_tokens": 32_000}
    answer = stand.post(MESSAGES, key, body)
    assert answer.status_code == 200
    cut = stand.provider.asked[-1].json["max_tokens"]
    assert 8_192 <= cut <= 12_000
    assert answer.headers["x-aegis-max-output-tokens"] == str(cut)
    assert Decimal(answer.headers["x-aegis-reserved-usd"]) <= Decimal("0.30")
    stand.ended(key.terms.agent_id)
    poor = stand.key(budget="0.15")
    assert stand.post(MESSAGES, poor, body).status_code == 402
    assert stand.post(MESSAGES, poor, {**body, "max_tokens": 5_000}).status_code == 200
    assert stand.provider.asked[-1].json["max_tokens"] == 5_000
    stand.ended(poor.terms.agent_id)


def test_a_cap_leaves_room_for_the_thoughts_that_were_asked_for(stand: Stand) -> None:
    body = {
        "model": "claude-opus-4-6", "messages": SAID, "max_tokens": 48_000,
        "thinking": {"type": "enabled", "budget_tokens": 16_000},
    }  # fmt: skip
    key = stand.key(budget="0.50", min_output_tokens=1)
    assert stand.post(MESSAGES, key, body).status_code == 200
    assert stand.provider.asked[-1].json["max_tokens"] >= 17_024
    stand.ended(key.terms.agent_id)
    poor = stand.key(budget="0.40", min_output_tokens=1)
    assert stand.post(MESSAGES, poor, body).status_code == 402
    narrow = stand.key(max_output_tokens=16_000)
    answer = stand.post(MESSAGES, narrow, body)
    assert "16,000 tokens of thoughts leave nothing of the 16,000" in answer.json()["error"]["message"]


def test_a_cap_is_cut_below_what_would_ask_a_person(stand: Stand) -> None:
    rules = [{"name": "dear", "type": "max_cost", "limit_usd": "0.5", "effect": "escalate"}]
    policy = load_policy(json.dumps({"schema": 1, "rules": rules}))
    before = stand.port._rules.policy
    stand.run(stand.port.publish_policy(policy, author="ada"))
    try:
        key = stand.key()
        body = {"model": "claude-opus-4-6", "messages": SAID, "max_tokens": 128_000}  # $0.80 for 32,000 of them
        answer = stand.post(MESSAGES, key, body)
        assert answer.status_code == 200
        assert 8_192 <= stand.provider.asked[-1].json["max_tokens"] <= 20_000
        assert Decimal(answer.headers["x-aegis-reserved-usd"]) <= Decimal("0.5")
        stand.ended(key.terms.agent_id)
    finally:
        stand.run(stand.port.publish_policy(before, author="ada"))


def test_several_answers_each_have_the_cap(stand: Stand) -> None:
    key = stand.key(budget="2")
    body = {"model": "gpt-5.5", "messages": SAID, "n": 4}
    answer = stand.post(CHAT, key, body)
    assert answer.status_code == 200
    cap = stand.provider.asked[-1].json["max_completion_tokens"]
    assert 8_192 <= cap < 32_000
    assert 4 * cap * Decimal("0.000030") <= Decimal(answer.headers["x-aegis-reserved-usd"]) <= 2
    stand.ended(key.terms.agent_id)


def test_hosted_tools_run_as_often_as_the_key_allows(stand: Stand) -> None:
    body = '{"model":"gpt-5.5","input":"x","max_output_tokens":9,"tools":[{"type":"web_search"}]}'
    asked = sent(stand, RESPONSES, body, hosted_calls=3)
    assert asked.decode() == '{"max_tool_calls":3,' + body[1:]
    own = body.replace('"input"', '"max_tool_calls":2,"input"')
    assert sent(stand, RESPONSES, own, hosted_calls=3).decode() == own


@pytest.mark.parametrize(
    ("options", "after"),
    [
        ("", '"stream_options":{"include_usage":true},'),
        ('"stream_options":{},', '"stream_options":{"include_usage":true},'),
        ('"stream_options":{"include_usage":false,"x":1},', '"stream_options":{"include_usage":true,"x":1},'),
        ('"stream_options":{"x":1},', '"stream_options":{"include_usage":true,"x":1},'),
        ('"stream_options":null,', '"stream_options":{"include_usage":true},'),
    ],
)
def test_usage_is_asked_for_in_a_stream_and_left_out_of_it_again(stand: Stand, options: str, after: str) -> None:
    body = '{{{}"model":"gpt-5.5","max_tokens":90,"stream":true,"messages":[{{"role":"user","content":"x"}}]}}'
    key = stand.key()
    answer = stand.post(CHAT, key, body.format(options).encode())
    assert stand.provider.asked[-1].body.decode() == body.format(after)
    assert b'"choices": []' not in answer.content
    assert answer.content.endswith(b"data: [DONE]\n\n")
    stand.ended(key.terms.agent_id)
    wanted = '"stream_options":{"include_usage":true},'
    answer = stand.post(CHAT, key, body.format(wanted).encode())
    assert stand.provider.asked[-1].body.decode() == body.format(wanted)
    assert b'"choices": []' in answer.content
    stand.ended(key.terms.agent_id, 2)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "no object"), (b"[]", "no object"), (b'{"a":1}{"b":2}', "something follows"),
        (b'{"a":1,"a":2}', "given twice"), (b'{"a":{"b":1,"b":2}}', "given twice"),
        (b'{"a":NaN}', "NaN"), (b'{"a":-Infinity}', "Infinity"),
        (b'{"a":"\xff"}', "not UTF-8"), ("{}".encode("utf-16"), "not UTF-8"), (b"\xef\xbb\xbf{}", "no object"),
        (b'{"a":' + b"[" * 100_000, "nested too deeply"), (b'{"a":' + b"9" * 5_000 + b"}", "4300"),
        (b'{"a":1', "comma"), (b'{"a"', "colon"), (b'{"a":', "Expecting value"), (b'{"a":1,}', "no name"),
        (b'{"a":"\x01"}', "control character"), (b'{"a":01}', "comma"), (b'{"a":"\\x"}', "escape"),
    ],
)  # fmt: skip
def test_a_body_that_readers_may_read_otherwise_is_none(body: bytes, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        RequestBody(body)


def test_edits_change_what_they_name_and_no_other_byte() -> None:
    raw = b' {"a" : [1, {"b":"}\\""}],\t"cap": 7 ,"inner":{ "x":1 } }\n'
    body = RequestBody(raw)
    assert body.spliced([]) is raw
    inner = body.inner("inner")
    assert inner is not None
    assert body.inner("cap") is None
    edits = [body.top.put("cap", "5"), inner.put("y", "2"), inner.put("x", "3"), body.top.put("new", '"é"')]
    assert body.spliced(edits).decode() == (
        ' {"new":"é","a" : [1, {"b":"}\\""}],\t"cap": 5 ,"inner":{"y":2, "x":3 } }\n'
    )
    assert json.loads(body.spliced(edits))["a"] == json.loads(raw)["a"]

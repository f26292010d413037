"""A policy document that cannot be used is refused in one line that says where and what to write instead."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_core.policy import compile_policy, default_policy, load_policy
from aegis_core.policy.rules import RULE_TYPES, Rule
from aegis_core.protocol.errors import PolicyError

SPEND = {"name": "spend", "type": "max_cost", "limit_usd": 5}


def refusal(text: str | bytes, path: str = "rules.json") -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        load_policy(text, path)
    error = caught.value
    assert "\n" not in error.message
    assert error.facts["path"] == path
    return error


def one_rule(**fields: Any) -> str:
    """A document whose rule opens on line 4 and has a field a line from line 5."""
    return json.dumps({"schema": 1, "rules": [fields]}, indent=1)


KINDS = "'llm_tokens', 'gas_budget', 'api_call', 'file_lock', 'wallet_lock' or 'compute'"
TYPES = (
    "agent_blocklist, approval_limit, asset_limit, blocked_intent, capability_required, chain_allowlist, condition, "
    "confidence_floor, contract_creation, contract_method, delegation, environment, gas_price_ceiling, "
    "lasting_transaction, max_cost, max_gas_usd, max_outflow, max_slippage_bps, model_override, priority_floor, "
    "rate_limit, recipient, repeat_limit, sensitive_intent, simulation, spend_rate, time_window, unpriced_asset"
)
HOURS = 'must be days, hours or both, such as "mon-fri 09:00-17:00", "sat,sun" or "22:00-06:00"'
NARROW = "phrases: give phrases, regexes, tools or resource_types, or several, which must all hold"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1:1: is not JSON: expected value"),
        ("{\n  'schema': 1}", ":2:3: is not JSON: expected a field name in double quotes"),
        ('{"schema" 1}', ":1:11: is not JSON: expected ':' delimiter"),
        ('{"schema": 1\n "rules": []}', ":2:2: is not JSON: expected ',' delimiter"),
        ('{"schema": 1}\nmore', ":2:1: is not JSON: expected the end of the document"),
        ('{"schema', ":1:2: is not JSON: the text that begins here does not end"),
        ('{"sch\nema": 1}', ":1:6: is not JSON: a line break or control character in a text must be escaped"),
        (b'{"schema": 1,\n "rules": "\xff"}', ":2: is not UTF-8 text"),
        ("\ud800", ": holds a lone surrogate, which is not text"),
        ("[" * 200_000, ": is nested too deeply"),
        ("[" * 17 + "]" * 17, ":1: is nested too deeply"),
        ("[" + "9" * 5_000 + "]", ": holds a number of too many digits"),
        (" " * (256 * 1024 + 1), ": is larger than 256 KB"),
        ('{"schema": 1,\n"rules": [],\n"schema": 1}', ':3: "schema" is given twice; the first is on line 1'),
        ("[]", ':1: must be an object with the fields "schema" and "rules"'),
        ('{\n"schema": 1,\n"rule": []}', ':3: the document has no field "rule"; did you mean "rules"?'),
        ('{"schema": 1, "x": 1}', ':1: the document has no field "x"; its fields are schema, rules'),
        ('{"rules": []}', ':1: the document has no field "schema"'),
        ('{"schema": 1}', ':1: the document has no field "rules"'),
        ('{\n"schema": 2, "rules": []}', ":2: schema: is 2; this version of Aegis reads schema 1"),
        ('{"schema": true, "rules": []}', ":1: schema: is true; this version of Aegis reads schema 1"),
        ('{"schema": 1,\n"rules": {}}', ":2: rules: must be a list"),
        ('{"schema": 1, "rules": [\n1]}', ":2: rule 1 must be an object"),
        (
            json.dumps({"schema": 1, "rules": [0] * 1_001}),
            ":1: rules: holds 1,001 rules; at most 1,000 are accepted",
        ),
    ],
)
def test_a_document_that_is_none(text: str | bytes, message: str) -> None:
    assert refusal(text).message == "rules.json" + message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "a"}, f':4: rule "a" has no type; the types are {TYPES}'),
        ({"name": "a", "type": "max_costs"}, ':6: rule "a" has an unknown type "max_costs"; did you mean "max_cost"?'),
        ({"name": "a", "type": "zzz"}, f':6: rule "a" has an unknown type "zzz"; the types are {TYPES}'),
        ({"name": "a", "type": 7}, f':6: rule "a" has an unknown type 7; the types are {TYPES}'),
        ({"type": "max_cost", "limit_usd": 1}, ":4: rule 1: name: is required"),
        ({**SPEND, "name": 7}, ":5: rule 1: name: must be text"),
        ({**SPEND, "name": "a b"}, ':5: rule "a b": name: must be 1 to 128 letters, digits or any of _ . : @ / -'),
        (
            {"name": "big", "type": "max_cost", "limit_used": 5},
            ':7: rule "big" has no field "limit_used"; did you mean "limit_usd"?',
        ),
        (
            {**SPEND, "\ud800": 5},
            ':8: rule "spend" has no field "\\ud800"; its fields are ' + ", ".join(RULE_TYPES["max_cost"].model_fields),
        ),
        ({"name": "a", "type": "max_cost"}, ':4: rule "a": limit_usd: is required'),
        ({**SPEND, "limit_usd": -1}, ':7: rule "spend": limit_usd: is negative; the least amount is 0'),
        ({**SPEND, "limit_usd": "1e-10"}, ':7: rule "spend": limit_usd: is finer than a nano-dollar (0.000000001)'),
        ({**SPEND, "limit_usd": float("nan")}, ":7: NaN is not a JSON number"),
        ({**SPEND, "enabled": "yes"}, ':8: rule "spend": enabled: must be true or false'),
        ({**SPEND, "reason": " "}, ':8: rule "spend": reason: is blank; leave it out for a text made from the rule'),
        ({**SPEND, "reason": "\ud800"}, ':8: rule "spend": reason: holds a lone surrogate, which is not text'),
        ({**SPEND, "reason": "x" * 501}, ':8: rule "spend": reason: is longer than 500 characters'),
        ({**SPEND, "effect": "allow"}, ":8: rule \"spend\": effect: must be one of 'observe', 'escalate' or 'deny'"),
        (
            {**SPEND, "effect": "escalte"},
            ":8: rule \"spend\": effect: must be one of 'observe', 'escalate' or 'deny'; did you mean \"escalate\"?",
        ),
        ({**SPEND, "resource_types": "api_call"}, ':8: rule "spend": resource_types: must be a list'),
        ({**SPEND, "resource_types": []}, ':8: rule "spend": resource_types: is empty'),
        (
            {**SPEND, "resource_types": ["api_call", "api_calls"]},
            f':10: rule "spend": resource_types.1: must be one of {KINDS}; did you mean "api_call"?',
        ),
        (
            {"name": "a", "type": "blocked_intent", "phrases": ["ok", "no *"]},
            ':9: rule "a": phrases.1: has a * that ends no word; write … for anything in between',
        ),
        ({"name": "a", "type": "sensitive_intent", "phrases": []}, ':7: rule "a": phrases: is empty'),
        (
            {"name": "a", "type": "blocked_intent", "phrases": ["x" * 201]},
            ':8: rule "a": phrases.0: is longer than 200 characters',
        ),
        (
            {"name": "a", "type": "priority_floor", "min_priority": 7},
            f':4: rule "a": {NARROW}',
        ),
        (
            {"name": "a", "type": "priority_floor", "min_priority": 11},
            ':7: rule "a": min_priority: must be less than or equal to 10',
        ),
        (
            {"name": "a", "type": "priority_floor", "min_priority": "7"},
            ':7: rule "a": min_priority: must be a whole number',
        ),
        (
            {"name": "a", "type": "confidence_floor", "min_confidence": "0.7"},
            ':7: rule "a": min_confidence: must be a number',
        ),
        (
            {"name": "a", "type": "confidence_floor", "min_confidence": 70},
            ':7: rule "a": min_confidence: must be less than or equal to 1',
        ),
        (
            {"name": "a", "type": "agent_blocklist", "agents": ["x", "b c"]},
            ':9: rule "a": agents.1: must be 1 to 128 letters, digits or any of _ . : @ / - and * for anything',
        ),
        ({**SPEND, "mode": "watch"}, ":8: rule \"spend\": mode: must be one of 'enforce' or 'observe'"),
        ({**SPEND, "tools": []}, ':8: rule "spend": tools: is empty'),
        (
            {**SPEND, "tools": ["a b"]},
            ':9: rule "spend": tools.0: must be 1 to 128 letters, digits or any of _ . : @ / - and * for anything',
        ),
        (
            {**SPEND, "ignore_phrases": ["to a human"]},
            ':8: rule "spend": ignore_phrases: is of use beside phrases only',
        ),
        (
            {**SPEND, "phrases": ["a"], "ignore_phrases": ["to … human"]},
            ':12: rule "spend": ignore_phrases.0: has a …; what is ignored must stand in one piece',
        ),
        ({"name": "a", "type": "blocked_intent"}, f':4: rule "a": {NARROW}'),
        ({"name": "a", "type": "capability_required", "capability": "x"}, f':4: rule "a": {NARROW}'),
        ({"name": "a", "type": "capability_required"}, ':4: rule "a": capability: is required'),
        (
            {"name": "a", "type": "rate_limit", "limit": 0, "window": "1m"},
            ':7: rule "a": limit: must be greater than or equal to 1',
        ),
        ({"name": "a", "type": "rate_limit", "limit": 5}, ':4: rule "a": window: is required'),
        (
            {"name": "a", "type": "repeat_limit", "times": 2, "window": "1 minute"},
            ':8: rule "a": window: must be a number followed by s, m, h or d, such as 60s, 1m or 24h',
        ),
        (
            {"name": "a", "type": "spend_rate", "limit_usd": 2, "window": "32d"},
            ':8: rule "a": window: is longer than 31 days',
        ),
        (
            {"name": "a", "type": "environment", "environment": "main net"},
            ':7: rule "a": environment: must be 1 to 128 letters, digits or any of _ . : @ / -',
        ),
        (
            {"name": "a", "type": "environment", "environment": "mainnet", "allowed": []},
            ':8: rule "a": allowed: is empty',
        ),
        ({"name": "a", "type": "time_window"}, ':4: rule "a": allowed: give either allowed or denied hours'),
        (
            {"name": "a", "type": "time_window", "denied": ["9-17"]},
            f':8: rule "a": denied.0: {HOURS}',
        ),
        (
            {"name": "a", "type": "time_window", "denied": ["22:00-24:30"]},
            ':8: rule "a": denied.0: ends after 24:00',
        ),
        (
            {"name": "a", "type": "time_window", "denied": ["22:00-22:00"]},
            ':8: rule "a": denied.0: begins and ends at the same time; leave the hours out for a whole day',
        ),
        (
            {"name": "a", "type": "time_window", "denied": ["sun"], "time_zone": "Mars/Base"},
            ':10: rule "a": time_zone: is not a time zone; write one of the IANA names, such as Europe/Berlin or UTC',
        ),
        ({"name": "a", "type": "model_override"}, ':4: rule "a": models: give either model or models'),
        (
            {"name": "a", "type": "model_override", "models": ["m"] * 65},
            ':7: rule "a": models: holds more than 64 entries',
        ),
        (
            {"name": "a", "type": "model_override", "model": "m", "effect": "deny"},
            ":8: rule \"a\": effect: must be one of 'observe' or 'allow'",
        ),
        ({"name": "a", "type": "condition"}, ':4: rule "a": expr: is required'),
        ({"name": "a", "type": "condition", "expr": ""}, ':7: rule "a": expr: is empty'),
    ],
)
def test_a_rule_that_cannot_be_used(fields: dict[str, Any], message: str) -> None:
    assert refusal(one_rule(**fields)).message == "rules.json" + message


def test_an_error_carries_its_facts_and_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(refusal(one_rule(name="big", type="max_cost", limit_used=5), "my/p.json")))
    expected = {"path": "my/p.json", "line": 7, "field": "rules.0.limit_used", "nearest": "limit_usd"}
    assert (error.code, error.facts) == ("invalid_policy", expected)
    assert refusal("{").facts["column"] == 2


def test_two_rules_of_one_name() -> None:
    document = json.dumps({"schema": 1, "rules": [SPEND, SPEND]}, indent=1)
    assert refusal(document).message == 'rules.json:10: two rules are named "spend"; the first is on line 5'
    with pytest.raises(PolicyError, match=r'^policy: two rules are named "spend"; the first is rule 1$'):
        compile_policy({"schema": 1, "rules": [SPEND, SPEND]})


def test_a_duplicate_field_deep_inside_names_both_lines() -> None:
    text = '{"schema": 1, "rules": [\n{"name": "a",\n"type": "max_cost", "limit_usd": 1,\n"limit_usd": 9}]}'
    assert refusal(text).message == 'rules.json:4: "limit_usd" is given twice; the first is on line 3'
    escaped = text.replace('"limit_usd": 9', '"limit\\u005fusd": 9')
    assert "is given twice" in refusal(escaped).message


def test_braces_and_quotes_inside_text_do_not_shift_lines() -> None:
    rules = [{**SPEND, "reason": '}]," \\" {[\\'}, {"name": "b", "type": "max_cost", "limit_usd": -1}]
    assert refusal(json.dumps({"schema": 1, "rules": rules}, indent=1)).facts["line"] == 13


def test_a_byte_order_mark_is_no_error() -> None:
    assert load_policy(b'\xef\xbb\xbf{"schema": 1, "rules": []}').rules == ()


def test_a_document_may_not_grow_beyond_the_limit_by_its_defaults() -> None:
    rules = [{"name": f"r{n}", "type": "blocked_intent", "phrases": ["abcdefgh" * 24]} for n in range(1_000)]
    text = json.dumps({"schema": 1, "rules": rules})
    assert len(text) < 256 * 1024
    assert refusal(text).message == "rules.json:1: is larger than 256 KB once its defaults are written out"


def test_the_digest_depends_on_the_content_alone() -> None:
    first = load_policy('{"schema": 1, "rules": [{"name": "a", "type": "max_cost", "limit_usd": 5}]}')
    same = load_policy(
        '{"rules":[{"limit_usd":"5.00","type":"max_cost",\n"effect":"escalate","enabled":true,"name":"\\u0061"}],"schema":1}'
    )
    other = load_policy('{"schema": 1, "rules": [{"name": "a", "type": "max_cost", "limit_usd": 5.01}]}')
    assert first.digest == same.digest
    assert first.document == same.document
    assert first.digest != other.digest
    assert len(first.digest) == 64


@given(st.integers(0, 8_000_000 * 10**9))
def test_the_canonical_document_loads_to_the_same_policy(nanos: int) -> None:
    limit = f"{nanos // 10**9}.{nanos % 10**9:09d}"
    policy = compile_policy({"schema": 1, "rules": [{**SPEND, "limit_usd": limit}]})
    again = load_policy(policy.document)
    assert again.digest == policy.digest
    assert again.rules == policy.rules


def test_every_rule_type_is_named_after_its_file() -> None:
    for name, model in RULE_TYPES.items():
        assert issubclass(model, Rule)
        assert model.__module__.rpartition(".")[2] == name == model.model_fields["type"].default
        assert model.__doc__


def test_the_shipped_policy_loads_and_says_what_it_is() -> None:
    policy = default_policy()
    assert {rule.type for rule in policy.rules} <= RULE_TYPES.keys()
    assert load_policy(policy.document).digest == policy.digest
    assert repr(policy) == f"<Policy {policy.digest[:12]}, {len(policy.rules)} rules>"

"""What holds for every policy: more rules never soften an answer, order and observing change nothing."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_core.policy import AgentFacts, Policy, compile_policy, load_policy
from aegis_core.policy.rules import RULE_TYPES
from aegis_core.policy.ruling import SEVERITY
from aegis_core.protocol.messages import RESOURCE_TYPES, PermissionRequest
from aegis_core.protocol.money import NANOS_PER_USD
from aegis_core.protocol.transactions import (
    ApprovalMade,
    AssetMove,
    SimulationFacts,
    SwapFacts,
    TransactionFacts,
    TransactionRequest,
)

KINDS = RESOURCE_TYPES[:3]
_PHRASES = st.lists(st.sampled_from(["a", "a b", "b*", "a … b", "abcd*", "mainnet"]), min_size=1, max_size=3)
_TOOLS = st.lists(st.sampled_from(["swap", "s*", "read"]), min_size=1, max_size=2)
_REGEXES = st.lists(st.sampled_from(["a+b", "^c", "abcde?"]), min_size=1, max_size=2)
_KINDS = st.lists(st.sampled_from(KINDS), min_size=1, max_size=2)
_EFFECTS = st.sampled_from(["observe", "escalate", "deny"])
_WINDOW = st.sampled_from(["60s", "1h", "24h"])
_MODELS = st.lists(st.sampled_from(["nano", "mini", "large"]), min_size=1, max_size=2)
_HOURS = st.lists(st.sampled_from(["mon-fri 09:00-17:00", "sun", "22:00-06:00"]), min_size=1, max_size=2)
_EXPRS = st.sampled_from(
    ["request.priority > 5", "request.confidence < 0.5", '"x" in agent.capabilities', 'request.metadata.n == "1"']
)
_NARROWING = {"phrases": _PHRASES, "regexes": _REGEXES, "tools": _TOOLS, "resource_types": _KINDS}
_COMMON = {"mode": st.sampled_from(["enforce", "observe"]), "enabled": st.booleans()}


def _rule(kind: str, narrowing: bool = True, needed: bool = False, **fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    """A rule of one type; `needed`: it must be narrowed, and phrases are what narrows it."""
    first: dict[str, Any] = {"phrases": _PHRASES} if needed else {}
    rest = {name: value for name, value in _NARROWING.items() if narrowing and name not in first}
    effect = {} if kind == "model_override" else {"effect": _EFFECTS}
    return st.fixed_dictionaries({"type": st.just(kind), **first, **fields}, optional={**rest, **_COMMON, **effect})


_CHAINS = st.lists(st.sampled_from(["monad", "eip155:1", "anvil"]), min_size=1, max_size=2)
_ONE = st.just(["agent-*"]), st.just(["nobody"])
RULES_OF = {
    "agent_blocklist": _rule("agent_blocklist", narrowing=False, agents=st.one_of(*_ONE)),
    "blocked_intent": _rule("blocked_intent", needed=True),
    "capability_required": _rule("capability_required", needed=True, capability=st.sampled_from(["x", "y"])),
    "condition": _rule("condition", narrowing=False, expr=_EXPRS),
    "confidence_floor": _rule("confidence_floor", min_confidence=st.floats(0.1, 1)),
    "environment": _rule("environment", narrowing=False, environment=st.sampled_from(["mainnet", "b"])),
    "max_cost": _rule("max_cost", limit_usd=st.integers(0, 9)),
    "model_override": _rule("model_override", models=_MODELS),
    "priority_floor": _rule("priority_floor", needed=True, min_priority=st.integers(1, 10)),
    "rate_limit": _rule("rate_limit", limit=st.integers(1, 9), window=_WINDOW),
    "repeat_limit": _rule("repeat_limit", times=st.integers(1, 9), window=_WINDOW),
    "sensitive_intent": _rule("sensitive_intent", needed=True),
    "spend_rate": _rule("spend_rate", limit_usd=st.integers(0, 9), window=_WINDOW),
    "time_window": _rule("time_window", allowed=_HOURS),
    "chain_allowlist": _rule("chain_allowlist", narrowing=False, chains=_CHAINS),
    "contract_creation": _rule("contract_creation", narrowing=False, networks=st.sampled_from(["main", "test"])),
    "contract_method": _rule("contract_method", narrowing=False, deny=st.just(["0xa9059cbb", "transfer"])),
    "gas_price_ceiling": _rule("gas_price_ceiling", narrowing=False, max_gwei=st.integers(1, 900)),
    "lasting_transaction": _rule("lasting_transaction", narrowing=False, networks=st.sampled_from(["main", "test"])),
    "max_gas_usd": _rule("max_gas_usd", narrowing=False, limit_usd=st.integers(0, 9)),
    "max_outflow": _rule("max_outflow", narrowing=False, limit_usd=st.integers(0, 9)),
    "approval_limit": _rule("approval_limit", narrowing=False, limit_usd=st.integers(0, 9)),
    "asset_limit": _rule("asset_limit", narrowing=False, asset=st.just("USDC"), max_amount=st.integers(0, 9)),
    "delegation": _rule("delegation", narrowing=False, networks=st.sampled_from(["main", "test"])),
    "max_slippage_bps": _rule("max_slippage_bps", narrowing=False, limit_bps=st.integers(0, 10_000)),
    "simulation": _rule("simulation", narrowing=False, on=st.sampled_from([["failed"], ["unavailable"]])),
    "unpriced_asset": _rule("unpriced_asset", narrowing=False, networks=st.sampled_from(["main", "test"])),
    "recipient": _rule("recipient", narrowing=False, allow=st.just(["0x" + "12" * 20])),
}
_ANY = st.one_of(*RULES_OF.values())
_LIST = st.lists(_ANY, max_size=7)
_ASKS = st.builds(
    lambda words, **fields: PermissionRequest(agent_id="agent-7", task_intent=" ".join(words), **fields),
    st.lists(st.sampled_from(["a", "b", "c", "abcde", "mainnet", "а", "é"]), min_size=1, max_size=6),
    resource_type=st.sampled_from(KINDS),
    priority=st.integers(1, 10),
    confidence=st.none() | st.floats(0, 1),
    tool=st.none() | st.sampled_from(["swap", "sell", "read"]),
    metadata=st.sampled_from([{}, {"n": "1"}, {"environment": "mainnet"}]),
)
_FACTS = st.builds(
    AgentFacts,
    st.just("agent-7"),
    capabilities=st.sets(st.sampled_from(["x", "y"])).map(frozenset),
    max_priority=st.integers(1, 10),
    labels=st.sampled_from([{}, {"environment": "mainnet"}, {"environment": "testnet"}]),
)
_TIMES = st.none() | st.integers(0, 7 * 24).map(lambda hour: datetime(2026, 3, 23 + hour // 24, hour % 24, tzinfo=UTC))
_NANOS = st.integers(0, 10).map(lambda dollars: dollars * NANOS_PER_USD)
_MOVES = st.lists(
    st.builds(AssetMove, asset=st.just("0x12"), symbol=st.just("USDC"), amount=st.sampled_from(["-5", "5"])), max_size=2
).map(tuple)
_APPROVALS = st.lists(
    st.builds(
        ApprovalMade, token=st.just("0x12"), spender=st.just("0x34"), unlimited=st.booleans(),
        usd=st.none() | st.integers(0, 9),
    ),
    max_size=2,
).map(tuple)  # fmt: skip
_SIMULATED = st.builds(
    SimulationFacts, success=st.booleans(), gas=st.just(1), moves=_MOVES, approvals=_APPROVALS, inflow_usd=st.just(0),
    unpriced=st.sampled_from([(), ("0x12",)]), creates=st.none() | st.booleans(), block=st.just(1), at=st.just(1),
)  # fmt: skip
_SWAPS = st.builds(
    SwapFacts, sells=st.just("1 A"), buys=st.just("1 B"), takes_usd=st.none() | st.integers(0, 9),
    least_usd=st.integers(0, 9),
)  # fmt: skip
_SHOWN = st.builds(
    TransactionFacts,
    chain=st.sampled_from(["eip155:143", "sui:35834a8a"]), name=st.just("monad"), testnet=st.booleans(),
    wallet=st.just("eip155:143:0x34"), lasting=st.booleans(), calls=st.sampled_from([(), (f"0x{2:064x}::pay::split",)]),
    recipients=st.sampled_from([(), (None,), ("0x" + "12" * 20,)]),
    to=st.sampled_from(["0x" + "12" * 20, None]), method=st.sampled_from(["transfer", "0xa9059cbb"]),
    creates=st.booleans(), gas_usd=st.integers(0, 9), outflow_usd=st.none() | st.integers(0, 9), core=st.just("0x"),
    hash=st.just("0x"), nonce=st.just(0), max_fee=st.just(1), priority_fee=st.just(1), stale_ms=st.just(1),
    delegates=st.booleans(), simulation=st.none() | _SIMULATED, swap=st.none() | _SWAPS,
)  # fmt: skip
_SENT = st.builds(
    lambda shown: TransactionRequest(
        agent_id="agent-7", task_intent="a", resource_type="wallet_lock", transaction=shown
    ),
    _SHOWN,
)
_CASE = st.tuples(_ASKS | _SENT, _FACTS, _TIMES)
Case = tuple[PermissionRequest, AgentFacts, datetime | None]


def policy(rules: list[dict[str, Any]]) -> Policy:
    named = [{"name": f"r{place}", **rule} for place, rule in enumerate(rules)]
    return compile_policy({"schema": 1, "rules": named})


def test_every_type_is_tried() -> None:
    assert RULES_OF.keys() == RULE_TYPES.keys()


@settings(max_examples=150)
@given(_LIST, _ANY, st.integers(0, 7), _CASE, _NANOS)
def test_one_more_rule_never_turns_a_refusal_into_a_grant(
    rules: list[dict[str, Any]], more: dict[str, Any], place: int, case: Case, nanos: int
) -> None:
    before = policy(rules).evaluate(*case)
    after = policy([*rules[:place], more, *rules[place:]]).evaluate(*case)
    for first, second in ((before, after), (before.at(nanos), after.at(nanos))):
        assert SEVERITY[second.effect] >= SEVERITY[first.effect]
        assert SEVERITY[second.would_be] >= SEVERITY[first.would_be]
    if before.models and after.effect != "deny":
        assert set(after.models) <= set(before.models)
    assert len(after.counters) >= len(before.counters)


@settings(max_examples=150)
@given(_LIST, st.randoms(use_true_random=False), _CASE, _NANOS)
def test_the_order_of_rules_changes_nothing_that_holds(
    rules: list[dict[str, Any]], shuffler: random.Random, case: Case, nanos: int
) -> None:
    first = policy(rules).evaluate(*case)
    second = policy(shuffler.sample(rules, len(rules))).evaluate(*case)
    for one, other in ((first, second), (first.at(nanos), second.at(nanos))):
        assert (one.effect, one.would_be) == (other.effect, other.would_be)
        assert set(one.models) == set(other.models)
        assert sorted(each.effect for each in one.observed) == sorted(each.effect for each in other.observed)
    assert [(each.nanos, each.effect, each.observed) for each in first.limits] == [
        (each.nanos, each.effect, each.observed) for each in second.limits
    ]
    counters = [
        sorted((each.kind, each.limit, each.window_ms, each.effect, each.observed) for each in ruling.counters)
        for ruling in (first, second)
    ]
    assert counters[0] == counters[1]


@settings(max_examples=150)
@given(_LIST, _CASE, _NANOS)
def test_observed_rules_never_change_what_is_enforced(rules: list[dict[str, Any]], case: Case, nanos: int) -> None:
    observed = [rule.get("mode") == "observe" or rule.get("effect") == "observe" for rule in rules]
    whole = policy(rules).evaluate(*case)
    enforced = policy(
        [{**rule, "enabled": False} if seen else rule for rule, seen in zip(rules, observed, strict=True)]
    )
    alone = enforced.evaluate(*case)
    for one, other in ((whole, alone), (whole.at(nanos), alone.at(nanos))):
        assert (one.effect, one.rule, one.reason, one.models) == (other.effect, other.rule, other.reason, other.models)
    assert not alone.observed
    assert [each for each in whole.limits if not each.observed] == list(alone.limits)
    assert [each for each in whole.counters if not each.observed] == list(alone.counters)


@settings(max_examples=150)
@given(_LIST, _CASE, _NANOS)
def test_what_would_be_is_what_the_observed_rules_do_when_they_are_enforced(
    rules: list[dict[str, Any]], case: Case, nanos: int
) -> None:
    ready = [rule for rule in rules if rule.get("effect") != "observe"]
    strict = policy([{**rule, "mode": "enforce"} for rule in ready]).evaluate(*case).at(nanos)
    assert policy(ready).evaluate(*case).at(nanos).would_be == strict.effect


@settings(max_examples=150)
@given(_LIST, _CASE, _NANOS)
def test_evaluation_repeats_itself_and_agrees_with_the_explanation(
    rules: list[dict[str, Any]], case: Case, nanos: int
) -> None:
    compiled = policy(rules)
    request, facts, now = case
    ruling = compiled.evaluate(*case)
    assert ruling == compiled.evaluate(*case) == load_policy(compiled.document).evaluate(*case)
    told = compiled.explain(request, facts, nanos, now)
    holding = [each for each in told if each.matched and not each.observed and not each.counted]
    final = ruling.at(nanos)
    assert final.effect == max((each.effect for each in holding), key=SEVERITY.__getitem__, default="allow")
    deciding = [each for each in holding if each.type != "max_cost" and each.effect == ruling.effect != "allow"]
    if deciding:
        assert (ruling.rule, ruling.reason) == (deciding[0].rule, deciding[0].why)
    counted = [each.rule for each in told if each.counted]
    assert sorted(counted) == sorted(each.rule for each in (*ruling.counters, *ruling.ceilings))

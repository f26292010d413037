"""What a policy says about a request."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_core.policy import AgentFacts, CostLimit, Policy, Ruling, compile_policy, default_policy
from aegis_core.policy.ruling import SEVERITY
from aegis_core.protocol.messages import RESOURCE_TYPES, PermissionRequest
from aegis_core.protocol.money import NANOS_PER_USD

FACTS = AgentFacts("agent-7")
LIMIT = {"type": "max_cost", "limit_usd": 5}


def ask(intent: str = "read the news", **fields: Any) -> PermissionRequest:
    return PermissionRequest(**{"agent_id": "agent-7", "task_intent": intent, "resource_type": "api_call"} | fields)


def policy(*rules: dict[str, Any]) -> Policy:
    named = [{"name": f"r{place}", **rule} for place, rule in enumerate(rules)]
    return compile_policy({"schema": 1, "rules": named})


def judge(rule: dict[str, Any], request: PermissionRequest, facts: AgentFacts = FACTS) -> tuple[str, str]:
    ruling = policy(rule).evaluate(request, facts)
    return ruling.effect, ruling.reason


class TestRuleTypes:
    def test_a_blocked_intent_is_denied_by_its_words(self) -> None:
        rule = {"type": "blocked_intent", "phrases": ["format* disk", "drop … table"]}
        assert judge(rule, ask("Formatting disk 2")) == ("deny", 'the intent matches "format* disk"')
        assert judge(rule, ask("drop my table")) == ("deny", 'the intent matches "drop … table"')
        assert judge(rule, ask("a format for disks")) == ("allow", "no rule objects")

    def test_a_sensitive_intent_is_escalated(self) -> None:
        rule = {"type": "sensitive_intent", "phrases": ["payroll"]}
        assert judge(rule, ask("Open the payroll.")) == ("escalate", 'the intent matches "payroll"')

    def test_the_operators_reason_replaces_the_made_one(self) -> None:
        rule = {"type": "sensitive_intent", "phrases": ["payroll"], "reason": "ask Dana", "effect": "deny"}
        assert judge(rule, ask("payroll")) == ("deny", "ask Dana")

    def test_phrases_match_the_intent_and_nothing_else(self) -> None:
        rule = {"type": "blocked_intent", "phrases": ["payroll"]}
        assert judge(rule, ask(target_resource="payroll", metadata={"note": "payroll"}))[0] == "allow"

    @pytest.mark.parametrize("phrase", ["ai*", "a*", "a* … b*", "x"])
    def test_short_words_are_found_too(self, phrase: str) -> None:
        rule = {"type": "blocked_intent", "phrases": [phrase]}
        assert judge(rule, ask("x aim bow"))[0] == "deny"
        assert judge(rule, ask("quiet"))[0] == "allow"

    @pytest.mark.parametrize(
        ("confidence", "effect"), [(None, "allow"), (0.7, "allow"), (0.699, "escalate"), (0.0, "escalate")]
    )
    def test_a_confidence_floor_judges_a_stated_confidence_only(self, confidence: float | None, effect: str) -> None:
        rule = {"type": "confidence_floor", "min_confidence": 0.7}
        assert judge(rule, ask(confidence=confidence))[0] == effect

    def test_a_priority_floor_is_about_phrases(self) -> None:
        rule = {"type": "priority_floor", "min_priority": 7, "phrases": ["swap"]}
        assert judge(rule, ask("swap it", priority=6)) == (
            "deny",
            'the intent matches "swap" and priority 6 is below 7',
        )
        assert judge(rule, ask("swap it", priority=7))[0] == "allow"
        assert judge(rule, ask("keep it", priority=1))[0] == "allow"

    def test_a_priority_floor_on_phrases_and_resource_types_needs_both(self) -> None:
        rule = {"type": "priority_floor", "min_priority": 7, "phrases": ["swap"], "resource_types": ["gas_budget"]}
        assert judge(rule, ask("swap it"))[0] == "allow"
        assert judge(rule, ask("keep it", resource_type="gas_budget"))[0] == "allow"
        assert judge(rule, ask("swap it", resource_type="gas_budget"))[0] == "deny"

    def test_a_priority_floor_on_a_resource_type_alone(self) -> None:
        rule = {"type": "priority_floor", "min_priority": 7, "resource_types": ["gas_budget"]}
        assert judge(rule, ask(resource_type="gas_budget")) == ("deny", "priority 5 is below 7")
        assert judge(rule, ask())[0] == "allow"

    def test_an_agent_cannot_claim_its_way_over_a_floor(self) -> None:
        rule = {"type": "priority_floor", "min_priority": 7, "resource_types": ["api_call"]}
        assert judge(rule, ask(priority=9), AgentFacts("agent-7", max_priority=5)) == (
            "deny",
            "priority 9 counts as 5 for this agent and is below 7",
        )

    def test_an_agent_blocklist_knows_ids_and_patterns(self) -> None:
        rule = {"type": "agent_blocklist", "agents": ["agent-7", "old-*"]}
        assert judge(rule, ask()) == ("deny", 'agent "agent-7" is blocked as "agent-7"')
        assert judge(rule, ask(), AgentFacts("old-bot")) == ("deny", 'agent "old-bot" is blocked as "old-*"')
        assert judge(rule, ask(), AgentFacts("agent-70"))[0] == "allow"

    def test_a_rule_that_is_switched_off_says_nothing(self) -> None:
        off = policy(
            {"type": "blocked_intent", "phrases": ["news"], "enabled": False},
            {**LIMIT, "enabled": False},
            {"type": "agent_blocklist", "agents": ["*"], "enabled": False},
        )
        assert off.evaluate(ask(), FACTS) == Ruling("allow", None, "no rule objects", ())
        assert [rule.enabled for rule in off.rules] == [False, False, False]


class TestLimits:
    def test_the_lowest_limit_of_each_effect_is_carried(self) -> None:
        rules = policy(
            {**LIMIT, "limit_usd": 9},
            {**LIMIT, "limit_usd": "5.5", "reason": "ask Dana"},
            {**LIMIT, "limit_usd": 50, "effect": "deny"},
            {**LIMIT, "limit_usd": 20, "effect": "deny", "resource_types": ["gas_budget"]},
        )
        human = CostLimit(5_500_000_000, "escalate", "r1", "ask Dana")
        refused = CostLimit(50_000_000_000, "deny", "r2", "more than $50.00 is not allowed")
        gas = CostLimit(20_000_000_000, "deny", "r3", "more than $20.00 is not allowed")
        assert rules.evaluate(ask(), FACTS).limits == (human, refused)
        assert rules.evaluate(ask(resource_type="gas_budget"), FACTS).limits == (human, gas)

    def test_the_first_of_equal_limits_gives_the_name(self) -> None:
        assert policy(LIMIT, LIMIT).evaluate(ask(), FACTS).limits[0].rule == "r0"

    def test_a_limit_is_broken_only_above_it(self) -> None:
        ruling = policy(LIMIT, {**LIMIT, "limit_usd": 8, "effect": "deny"}).evaluate(ask(), FACTS)
        assert ruling.at(5 * NANOS_PER_USD) is ruling
        above = ruling.at(5 * NANOS_PER_USD + 1)
        assert (above.effect, above.rule) == ("escalate", "r0")
        assert above.reason == "more than $5.00 needs a person's approval"
        beyond = ruling.at(9 * NANOS_PER_USD)
        assert (beyond.effect, beyond.rule) == ("deny", "r1")

    def test_an_amount_never_softens_a_ruling(self) -> None:
        ruling = policy(LIMIT, {"type": "blocked_intent", "phrases": ["news"]}).evaluate(ask(), FACTS)
        assert [limit.rule for limit in ruling.limits] == ["r0"]
        assert ruling.at(9 * NANOS_PER_USD) is ruling

    def test_the_strictest_effect_wins_and_the_first_rule_names_it(self) -> None:
        rules = (
            {"type": "sensitive_intent", "phrases": ["news"]},
            {"type": "blocked_intent", "phrases": ["read"]},
            {"type": "agent_blocklist", "agents": ["agent-*"]},
        )
        assert policy(*rules).evaluate(ask(), FACTS).rule == "r1"
        assert policy(*reversed(rules)).evaluate(ask(), FACTS).rule == "r0"


class TestExplanation:
    def test_every_rule_accounts_for_itself(self) -> None:
        rules = policy(
            LIMIT,
            {"type": "blocked_intent", "phrases": ["drop"]},
            {"type": "sensitive_intent", "phrases": ["news"]},
            {"type": "priority_floor", "min_priority": 3, "resource_types": ["api_call"]},
            {"type": "priority_floor", "min_priority": 9, "resource_types": ["compute", "gas_budget"]},
            {"type": "confidence_floor", "min_confidence": 0.7},
            {"type": "agent_blocklist", "agents": ["old-*"]},
            {"type": "agent_blocklist", "agents": ["*"], "enabled": False},
        )
        told = rules.explain(ask(estimated_cost_usd=Decimal("7.5")), FACTS)
        assert [(each.matched, each.why) for each in told] == [
            (True, "$7.50 is more than $5.00"),
            (False, "none of its phrases occurs in the intent"),
            (True, 'the intent matches "news"'),
            (False, "priority 5 is not below 3"),
            (False, "it is about compute, gas_budget, not api_call"),
            (False, "no confidence is stated"),
            (False, 'agent "agent-7" is not on the list'),
            (False, "the rule is switched off"),
        ]
        assert (told[0].rule, told[0].type, told[0].effect) == ("r0", "max_cost", "escalate")

    def test_an_amount_that_is_not_known_yet(self) -> None:
        rules = policy(LIMIT)
        assert rules.explain(ask(), FACTS)[0].why == "the limit is $5.00; the amount is not known yet"
        assert rules.explain(ask(), FACTS, 5 * NANOS_PER_USD)[0].why == "$5.00 is not more than $5.00"
        assert rules.explain(ask(), FACTS, 6 * NANOS_PER_USD)[0].matched


_PHRASES = st.lists(st.sampled_from(["a", "a b", "b*", "a … b", "ab* c", "abcd*", "c … a"]), min_size=1, max_size=3)
_EFFECT = {"effect": st.sampled_from(["escalate", "deny"])}
_TYPES = st.lists(st.sampled_from(RESOURCE_TYPES[:3]), min_size=1, max_size=2)
_RULE = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("max_cost"), "limit_usd": st.integers(0, 9), **_EFFECT}, optional={"resource_types": _TYPES}
    ),
    st.fixed_dictionaries({"type": st.sampled_from(["blocked_intent", "sensitive_intent"]), "phrases": _PHRASES}),
    st.fixed_dictionaries(
        {"type": st.just("priority_floor"), "min_priority": st.integers(1, 10), "phrases": _PHRASES, **_EFFECT},
        optional={"resource_types": _TYPES},
    ),
    st.fixed_dictionaries(
        {"type": st.just("priority_floor"), "min_priority": st.integers(1, 10), "resource_types": _TYPES, **_EFFECT}
    ),
    st.fixed_dictionaries({"type": st.just("confidence_floor"), "min_confidence": st.floats(0.1, 1), **_EFFECT}),
    st.fixed_dictionaries(
        {"type": st.just("agent_blocklist"), "agents": st.just(["agent-*"]), "enabled": st.booleans(), **_EFFECT}
    ),
)
_RULES = st.lists(_RULE, max_size=6)
_ASKS = st.builds(
    ask,
    st.lists(st.sampled_from(["a", "b", "c", "abcde", "bc"]), min_size=1, max_size=6).map(" ".join),
    resource_type=st.sampled_from(RESOURCE_TYPES[:3]),
    priority=st.integers(1, 10),
    confidence=st.none() | st.floats(0, 1),
)
_NANOS = st.integers(0, 10).map(lambda dollars: dollars * NANOS_PER_USD)


@given(_RULES, _RULE, st.integers(0, 6), _ASKS, _NANOS)
def test_one_more_rule_never_makes_an_answer_softer(
    rules: list[dict[str, Any]], more: dict[str, Any], place: int, request: PermissionRequest, nanos: int
) -> None:
    before = policy(*rules).evaluate(request, FACTS)
    after = policy(*rules[:place], more, *rules[place:]).evaluate(request, FACTS)
    assert SEVERITY[after.effect] >= SEVERITY[before.effect]
    assert SEVERITY[after.at(nanos).effect] >= SEVERITY[before.at(nanos).effect]


@given(_RULES, st.randoms(use_true_random=False), _ASKS, _NANOS)
def test_the_order_of_rules_does_not_change_the_effect(
    rules: list[dict[str, Any]], shuffler: random.Random, request: PermissionRequest, nanos: int
) -> None:
    shuffled = shuffler.sample(rules, len(rules))
    first, second = policy(*rules).evaluate(request, FACTS), policy(*shuffled).evaluate(request, FACTS)
    assert first.effect == second.effect
    assert first.at(nanos).effect == second.at(nanos).effect
    assert [(limit.nanos, limit.effect) for limit in first.limits] == [
        (limit.nanos, limit.effect) for limit in second.limits
    ]


@given(_RULES, _ASKS, _NANOS)
def test_evaluation_repeats_itself_and_agrees_with_the_explanation(
    rules: list[dict[str, Any]], request: PermissionRequest, nanos: int
) -> None:
    compiled = policy(*rules)
    ruling = compiled.evaluate(request, FACTS)
    assert ruling == compiled.evaluate(request, FACTS) == policy(*rules).evaluate(request, FACTS)
    matched = [each for each in compiled.explain(request, FACTS, nanos) if each.matched]
    assert ruling.at(nanos).effect == max((each.effect for each in matched), key=SEVERITY.__getitem__, default="allow")
    judged = [each for each in matched if each.type != "max_cost" and each.effect == ruling.effect]
    if judged:
        assert (ruling.rule, ruling.reason) == (judged[0].rule, judged[0].why)


class TestShippedPolicy:
    @pytest.mark.parametrize(
        "intent",
        [
            "Summarise Sui governance proposals",
            "Talk to the stakeholders about what they expect",
            "Explain how a database drop-down menu works",
            "Withdraw the draft from review",
            "Change the colour of the policy page",
            "Read the chapter on form rf values",
            "Look up the current ETH price",
            "Delete the trailing spaces in README",
        ],
    )
    def test_everyday_work_is_allowed(self, intent: str) -> None:
        ruling = default_policy().evaluate(ask(intent), FACTS)
        assert (ruling.effect, ruling.rule) == ("allow", None)

    @pytest.mark.parametrize(
        ("intent", "rule"),
        [
            ("drop database users;", "no-database-drop"),
            ("DROP\n DATABASE", "no-database-drop"),
            ("dr\u200bop database", "no-database-drop"),
            ("drop\u200bdatabase", "no-database-drop"),
            ("ｄｒｏｐ_ｄａｔａｂａｓｅ", "no-database-drop"),
            ("Please drop the database", "no-database-drop"),
            ("run rm -rf / as root", "no-recursive-removal"),
            ("sudo rm -Rf/", "no-recursive-removal"),
            ("Transfer all funds", "no-transfer-of-all-funds"),
            ("transferring, to 0x1, all of the funds", "no-transfer-of-all-funds"),
            ("delete the table in production", "no-deletion-in-production"),
            ("Deleting production", "no-deletion-in-production"),
        ],
    )
    def test_destruction_is_denied_at_any_priority(self, intent: str, rule: str) -> None:
        ruling = default_policy().evaluate(ask(intent, priority=10), FACTS)
        assert (ruling.effect, ruling.rule) == ("deny", rule)

    @pytest.mark.parametrize("verb", ["transfer", "transferring", "swaps", "swapped", "bridge", "bridging", "staked"])
    def test_moving_tokens_needs_priority_seven(self, verb: str) -> None:
        low = default_policy().evaluate(ask(f"{verb} 5 SUI", priority=6), FACTS)
        assert (low.effect, low.rule) == ("deny", "on-chain-priority")
        assert default_policy().evaluate(ask(f"{verb} 5 SUI", priority=7), FACTS).effect == "allow"

    @pytest.mark.parametrize("intent", ["transfer 5 SUI to bob", "swap all", "bridge to eth", "stake tokens"])
    def test_plain_words_for_moving_tokens_are_enough(self, intent: str) -> None:
        assert default_policy().evaluate(ask(intent), FACTS).rule == "on-chain-priority"

    @pytest.mark.parametrize(
        "intent",
        ["transfer_to_human_agents", "Transfer me to a human agent", "Transferring the customer to a human, as asked"],
    )
    def test_a_transfer_to_a_person_moves_no_tokens(self, intent: str) -> None:
        assert default_policy().evaluate(ask(intent), FACTS).effect == "allow"
        also = default_policy().evaluate(ask(f"{intent}, then transfer 5 SUI"), FACTS)
        assert (also.effect, also.rule) == ("deny", "on-chain-priority")

    @pytest.mark.parametrize(
        "intent", ["deploy the contract to mainnet", "Deploying to Sui-Mainnet", "on mainnet, redeploy"]
    )
    def test_a_mainnet_deploy_needs_the_capability(self, intent: str) -> None:
        ruling = default_policy().evaluate(ask(intent, capability="mainnet_deploy", priority=10), FACTS)
        assert (ruling.effect, ruling.rule) == ("deny", "mainnet-deploy")
        trusted = AgentFacts("agent-7", capabilities=frozenset({"mainnet_deploy"}))
        assert default_policy().evaluate(ask(intent), trusted).effect == "allow"
        assert default_policy().evaluate(ask(intent.lower().replace("main", "test")), FACTS).effect == "allow"

    @pytest.mark.parametrize(
        ("intent", "rule"),
        [
            ("withdraw all the funds", "withdraw-funds"),
            ("Withdrawal of funds", "withdraw-funds"),
            ("delete the old resource group", "delete-resource"),
            ("run terraform destroy", "delete-resource"),
            ("Change the administrator's policy", "change-admin-policy"),
            ("update_admin_policy()", "change-admin-policy"),
            ("Drain the hot wallet", "drain-wallet"),
            ("empty their wallet", "drain-wallet"),
            ("revoke Bob's access", "revoke-access"),
            ("remove access for Bob", "revoke-access"),
            ("Modify user permissions", "modify-permissions"),
            ("grant him admin rights", "modify-permissions"),
        ],
    )
    def test_sensitive_acts_need_a_person(self, intent: str, rule: str) -> None:
        ruling = default_policy().evaluate(ask(intent, priority=10), FACTS)
        assert (ruling.effect, ruling.rule) == ("escalate", rule)

    def test_more_than_five_dollars_and_less_than_seventy_percent_need_a_person(self) -> None:
        ruling = default_policy().evaluate(ask(), FACTS)
        assert ruling.at(5 * NANOS_PER_USD).effect == "allow"
        assert (ruling.at(5 * NANOS_PER_USD + 1).effect, ruling.at(500 * NANOS_PER_USD).effect) == ("escalate",) * 2
        assert ruling.at(500 * NANOS_PER_USD + 1).rule == "huge-spend"
        assert ruling.at(10**15).effect == "deny"
        assert default_policy().evaluate(ask(confidence=0.70), FACTS).effect == "allow"
        unsure = default_policy().evaluate(ask(confidence=0.69), FACTS)
        assert (unsure.effect, unsure.reason) == ("escalate", "confidence 0.69 is below 0.7")

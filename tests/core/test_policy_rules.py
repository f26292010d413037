"""The rule types that look at tools, capabilities, counts, environments, the clock and models."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from aegis_core.policy import AgentFacts, CostLimit, Counter, Observed, Policy, Ruling, compile_policy
from aegis_core.policy.windows import read_hours, span_ms
from aegis_core.protocol.messages import PermissionRequest
from aegis_core.protocol.money import NANOS_PER_USD

FACTS = AgentFacts("agent-7")
NOON = datetime(2026, 3, 27, 12, tzinfo=UTC)  # a Friday


def ask(intent: str = "read the news", **fields: Any) -> PermissionRequest:
    return PermissionRequest(**{"agent_id": "agent-7", "task_intent": intent, "resource_type": "api_call"} | fields)


def policy(*rules: dict[str, Any]) -> Policy:
    return compile_policy({"schema": 1, "rules": [{"name": f"r{place}", **rule} for place, rule in enumerate(rules)]})


def judge(
    rule: dict[str, Any], request: PermissionRequest, facts: AgentFacts = FACTS, now: datetime | None = None
) -> tuple[str, str]:
    ruling = policy(rule).evaluate(request, facts, now)
    return ruling.effect, ruling.reason


class TestTools:
    RULE: ClassVar[dict[str, Any]] = {"type": "blocked_intent", "tools": ["send_*", "rm"]}

    def test_tools_alone_match_the_tool_and_no_text(self) -> None:
        assert judge(self.RULE, ask(tool="rm")) == ("deny", 'the tool is "rm"')
        assert judge(self.RULE, ask(tool="send_mail")) == ("deny", 'the tool falls under "send_*"')
        assert judge(self.RULE, ask("use send_mail and rm", resource_type="compute"))[0] == "allow"
        assert judge(self.RULE, ask("rm", tool="read"))[0] == "allow"

    def test_phrases_and_tools_must_both_hold(self) -> None:
        rule = {"type": "sensitive_intent", "tools": ["sql"], "phrases": ["payroll"]}
        assert judge(rule, ask("payroll", resource_type="compute"))[0] == "allow"
        assert judge(rule, ask(tool="sql"))[0] == "allow"
        assert judge(rule, ask("payroll", tool="SQL")) == (
            "escalate",
            'the intent matches "payroll" and the tool falls under "sql"',
        )

    def test_a_cost_limit_of_one_tool_joins_the_others(self) -> None:
        rules = policy(
            {"type": "max_cost", "limit_usd": 5},
            {"type": "max_cost", "limit_usd": 1, "tools": ["book"]},
            {"type": "max_cost", "limit_usd": 9, "phrases": ["news"]},
        )
        assert [limit.nanos // NANOS_PER_USD for limit in rules.evaluate(ask(tool="read"), FACTS).limits] == [5]
        limits = rules.evaluate(ask(tool="book"), FACTS).limits
        assert limits == (CostLimit(NANOS_PER_USD, "escalate", "r1", "more than $1.00 needs a person's approval"),)

    def test_why_a_tool_did_not_match(self) -> None:
        rules = policy(self.RULE)
        assert rules.explain(ask(resource_type="compute"), FACTS)[0].why == "no tool is named"
        assert rules.explain(ask(tool="cat"), FACTS)[0].why == 'the tool "cat" is not one of its tools'

    @pytest.mark.parametrize(
        "tool",
        [
            "wipe_disk", "wipe-disk", "wipeDisk", "WipeDisk", "WIPE_DISK", "wipedisk", "wipe__disk", "_wipe_disk_",
            "functions.wipe_disk", "mcp__host__wipe_disk", "mcp__my-host__wipeDisk", "host:wipe-disk", "host/wipe_disk",
            "tools.host.wipe_disk", "wi\u0440e_disk", "ｗｉｐｅ＿ｄｉｓｋ", "wipe_\u3164disk",
            "wi\u115fpe_disk", "@host/wipe-disk",
        ],
    )  # fmt: skip
    def test_a_tool_is_the_same_in_every_spelling(self, tool: str) -> None:
        assert judge({"type": "blocked_intent", "tools": ["wipe_disk"]}, ask(tool=tool))[0] == "deny"

    @pytest.mark.parametrize(
        ("listed", "tool", "falls"),
        [
            ("wipe_disk", "wipe_disks", False),
            ("wipe_disk", "unwipe_disk", False),
            ("wipe_disk", "wipe_disk.status", False),
            ("disk", "wipe_disk", False),  # a word of a name is not a place
            ("host.wipe", "wipe", False),  # a place that the rule names must be there
            ("host.wipe", "mcp__host__wipe", True),
            ("host.wipe", "host-2.wipe", False),
            ("mcp__host__*", "mcp__host__read", True),
            ("mcp__host__*", "mcp__other__read", False),
            ("*_disk", "fs.wipeDisk", True),
            ("re*d", "files.read", True),
            ("re*d", "files.ready", False),
        ],
    )
    def test_what_another_tool_is(self, listed: str, tool: str, falls: bool) -> None:
        ruling = judge({"type": "blocked_intent", "tools": [listed]}, ask(tool=tool))
        assert ruling[0] == ("deny" if falls else "allow")

    def test_a_tool_call_that_names_no_tool_may_be_of_any(self) -> None:
        assert judge(self.RULE, ask("fetch it")) == ("deny", 'the call names no tool, and may be of "send_*"')
        assert judge({**self.RULE, "phrases": ["post"]}, ask("fetch it"))[0] == "allow", "its words must hold as well"
        for kind in ("llm_tokens", "gas_budget", "compute"):
            fields = {"estimated_cost_usd": 1} if kind != "llm_tokens" else {"model": "gpt-4o", "prompt_tokens": 5}
            assert judge(self.RULE, ask("fetch it", resource_type=kind, **fields))[0] == "allow"


class TestIgnoredPhrases:
    RULE: ClassVar[dict[str, Any]] = {
        "type": "blocked_intent",
        "phrases": ["send money"],
        "ignore_phrases": ["send money order*", "to mum"],
    }

    def test_they_are_taken_out_and_the_rest_still_counts(self) -> None:
        assert judge(self.RULE, ask("send money orders"))[0] == "allow"
        assert judge(self.RULE, ask("send money orders, send money"))[0] == "deny"

    def test_what_stood_around_them_does_not_join(self) -> None:
        assert judge(self.RULE, ask("send to mum money"))[0] == "allow"


class TestCapability:
    RULE: ClassVar[dict[str, Any]] = {
        "type": "capability_required",
        "capability": "wallet",
        "phrases": ["sign*"],
        "resource_types": ["api_call"],
    }

    def test_the_operators_grant_counts_and_no_claim(self) -> None:
        reason = 'the intent matches "sign*" and the agent lacks the capability "wallet"'
        assert judge(self.RULE, ask("Signing", capability="wallet")) == ("deny", reason)
        trusted = AgentFacts("agent-7", capabilities=frozenset({"wallet"}))
        assert judge(self.RULE, ask("Signing"), trusted)[0] == "allow"
        assert policy(self.RULE).explain(ask("sign"), trusted)[0].why == 'the agent has the capability "wallet"'
        assert judge(self.RULE, ask("sign", resource_type="compute"))[0] == "allow"


class TestCounters:
    def test_the_script_gets_what_it_counts(self) -> None:
        rules = policy(
            {"type": "rate_limit", "limit": 1_000, "window": "1m"},
            {"type": "repeat_limit", "times": 1, "window": "10m", "tools": ["swap"]},
            {"type": "spend_rate", "limit_usd": "499.5", "window": "24h", "reason": "slow down"},
            {"type": "rate_limit", "limit": 1, "window": "60s", "resource_types": ["compute"], "effect": "escalate"},
            {"type": "rate_limit", "limit": 5, "window": "1h", "mode": "observe"},
            {"type": "rate_limit", "limit": 5, "window": "1h", "enabled": False},
            {"type": "repeat_limit", "times": 3, "window": "1d", "effect": "observe", "regexes": ["n.ws"]},
        )
        pace = Counter("rate", "r0", 1_000, 60_000, "deny", "more than 1,000 requests in 1m is not allowed")
        swap = Counter("repeat", "r1", 1, 600_000, "deny", "the same call more than once in 10m is not allowed")
        spend = Counter("spend", "r2", 499_500_000_000, 86_400_000, "escalate", "slow down")
        compute = Counter("rate", "r3", 1, 60_000, "escalate", "more than 1 request in 60s needs a person's approval")
        hour = Counter("rate", "r4", 5, 3_600_000, "deny", "more than 5 requests in 1h is not allowed", observed=True)
        noted = Counter(
            "repeat", "r6", 3, 86_400_000, "observe", "the same call more than 3 times in 1d is noted", observed=True
        )
        assert rules.evaluate(ask("go"), FACTS) == Ruling(
            "allow", None, "no rule objects", (), (pace, swap, spend, hour)
        )
        assert rules.evaluate(ask("go", tool="swap"), FACTS).counters == (pace, swap, spend, hour)
        assert rules.evaluate(ask("go", tool="read"), FACTS).counters == (pace, spend, hour)
        assert rules.evaluate(ask(tool="read"), FACTS).counters == (pace, spend, hour, noted)
        assert rules.evaluate(ask("go", resource_type="compute"), FACTS).counters == (pace, spend, compute, hour)

    def test_they_travel_with_a_refusal_too(self) -> None:
        rules = policy(
            {"type": "rate_limit", "limit": 9, "window": "1m"}, {"type": "blocked_intent", "phrases": ["news"]}
        )
        ruling = rules.evaluate(ask(), FACTS)
        assert (ruling.effect, len(ruling.counters)) == ("deny", 1)

    def test_an_explanation_says_that_it_is_counted(self) -> None:
        told = policy({"type": "rate_limit", "limit": 9, "window": "1m"}).explain(ask(), FACTS)[0]
        assert (told.matched, told.counted) == (True, True)
        assert told.why == "every api_call request; counted: more than 9 requests in 1m is not allowed"

    @pytest.mark.parametrize(
        ("span", "milliseconds"), [("1s", 1_000), ("90s", 90_000), ("31d", 31 * 86_400_000), ("744h", 31 * 86_400_000)]
    )
    def test_windows(self, span: str, milliseconds: int) -> None:
        assert span_ms(span) == milliseconds

    @pytest.mark.parametrize("span", ["", "0s", "1", "m", "1w", "-1s", "1.5h", "1 m", "745h", "9999999d", "1m\n"])
    def test_no_windows(self, span: str) -> None:
        with pytest.raises(ValueError, match=r"must be a number|is longer than"):
            span_ms(span)


class TestEnvironment:
    RULE: ClassVar[dict[str, Any]] = {"type": "environment", "environment": "mainnet"}
    TESTNET = AgentFacts("agent-7", labels={"environment": "testnet"})

    @pytest.mark.parametrize(
        ("intent", "fields", "place"),
        [
            ("read the MainNet state", {}, "the intent"),
            ("read suiMainnet", {}, "the intent"),
            ("read mаinnеt", {}, "the intent"),
            ("read main\u200bnet", {}, "the intent"),
            ("read", {"target_resource": "sui:mainnet/0x2"}, "the target"),
            ("read", {"target_resource": "mainnet-beta"}, "the target"),
            ("read", {"tool": "mainnet_rpc"}, "the tool"),
            ("read", {"metadata": {"environment": "Mainnet"}}, "metadata.environment"),
            ("read", {"metadata": {"environment": "testnet", "Network": "sui-mainnet"}}, "metadata.Network"),
        ],
    )
    def test_any_sign_keeps_others_out(self, intent: str, fields: dict[str, Any], place: str) -> None:
        effect, reason = judge(self.RULE, ask(intent, **fields), self.TESTNET)
        assert (effect, reason) == ("deny", f'{place} shows mainnet and the agent is of environment "testnet"')
        assert judge(self.RULE, ask(intent, **fields))[1] == f"{place} shows mainnet and the agent has no environment"
        for label in ("mainnet", "MAINNET"):
            assert judge(self.RULE, ask(intent, **fields), AgentFacts("a", labels={"environment": label}))[0] == "allow"

    def test_other_requests_are_free(self) -> None:
        request = ask("read the main network page", target_resource="testnet", metadata={"note": "mainnet"})
        assert judge(self.RULE, request, self.TESTNET)[0] == "allow"
        assert policy(self.RULE).explain(request, self.TESTNET)[0].why == "nothing shows mainnet"

    def test_a_short_name_is_a_word_of_its_own(self) -> None:
        rule = {"type": "environment", "environment": "prod", "allowed": ["prod", "staging"]}
        assert judge(rule, ask("look at the product"), self.TESTNET)[0] == "allow"
        assert judge(rule, ask("look at prod-db"), self.TESTNET)[0] == "deny"
        assert judge(rule, ask("look at prod"), AgentFacts("a", labels={"environment": "staging"}))[0] == "allow"


class TestTimeWindow:
    OFFICE: ClassVar[dict[str, Any]] = {
        "type": "time_window",
        "allowed": ["mon-fri 09:00-17:00"],
        "time_zone": "Europe/Berlin",
    }

    def test_hours_are_local_and_the_end_is_outside(self) -> None:
        for hour, minute, effect in [(7, 59, "deny"), (8, 0, "allow"), (15, 59, "allow"), (16, 0, "deny")]:
            assert judge(self.OFFICE, ask(), now=NOON.replace(hour=hour, minute=minute))[0] == effect
        assert judge(self.OFFICE, ask(), now=NOON.replace(day=28))[0] == "deny"
        reason = "Fri 17:30 (Europe/Berlin) is outside mon-fri 09:00-17:00"
        assert judge(self.OFFICE, ask(), now=NOON.replace(hour=16, minute=30)) == ("deny", reason)

    @pytest.mark.parametrize("now", [None, datetime(2026, 3, 27, 12)])  # noqa: DTZ001 - a time without a zone is the case
    def test_without_a_time_it_matches(self, now: datetime | None) -> None:
        assert judge(self.OFFICE, ask(), now=now) == ("deny", "the time is not known")
        assert judge({"type": "time_window", "denied": ["sun"]}, ask(), now=now)[0] == "deny"

    def test_denied_hours_last_into_the_next_morning(self) -> None:
        night = {"type": "time_window", "denied": ["fri 22:00-06:00"], "effect": "escalate"}
        for day, hour, effect in [
            (27, 21, "allow"), (27, 22, "escalate"), (28, 5, "escalate"), (28, 6, "allow"), (27, 5, "allow"),
        ]:  # fmt: skip
            assert judge(night, ask(), now=NOON.replace(day=day, hour=hour))[0] == effect

    def test_it_may_be_about_some_requests_only(self) -> None:
        rule = {**self.OFFICE, "phrases": ["deploy*"]}
        assert judge(rule, ask(), now=None)[0] == "allow"
        assert judge(rule, ask("deploy"), now=None)[0] == "deny"

    @pytest.mark.parametrize(
        ("text", "days", "start", "end"),
        [
            ("Sat,Sun", {5, 6}, 0, 1_440),
            ("fri-mon 00:00-24:00", {4, 5, 6, 0}, 0, 1_440),
            ("22:00-06:00", set(range(7)), 1_320, 360),
            ("mon-wed,fri  08:30-12:00", {0, 1, 2, 4}, 510, 720),
            ("sun", {6}, 0, 1_440),
        ],
    )
    def test_hours_in_words(self, text: str, days: set[int], start: int, end: int) -> None:
        hours = read_hours(text)
        assert (set(hours.days), hours.start, hours.end) == (days, start, end)

    @pytest.mark.parametrize(
        "text", ["", " ", "mon 9:00-17:00", "monday", "mon09:00-10:00", "25:00-26:00", "mon-", "-"]
    )
    def test_no_hours(self, text: str) -> None:
        with pytest.raises(ValueError, match="must be days, hours or both"):
            read_hours(text)


class TestModels:
    CHEAP: ClassVar[dict[str, Any]] = {"type": "model_override", "model": "mini", "task_types": ["classify"]}
    TWO: ClassVar[dict[str, Any]] = {"type": "model_override", "models": ["mini", "nano", "mini"]}

    def test_models_are_named_and_nothing_else_changes(self) -> None:
        assert policy(self.CHEAP).evaluate(ask(task_type="classify"), FACTS).models == ("mini",)
        assert policy(self.CHEAP).evaluate(ask(), FACTS) == Ruling("allow", None, "no rule objects")
        assert policy(self.TWO).evaluate(ask(), FACTS).models == ("mini", "nano")

    def test_several_leave_what_they_have_in_common(self) -> None:
        third = {"type": "model_override", "models": ["large", "nano"]}
        assert policy(self.TWO, third).evaluate(ask(), FACTS).models == ("nano",)

    def test_nothing_in_common_is_a_refusal(self) -> None:
        rules = policy(self.CHEAP, {"type": "model_override", "model": "large"})
        assert rules.evaluate(ask(), FACTS).models == ("large",)
        ruling = rules.evaluate(ask(task_type="classify"), FACTS)
        assert ruling == Ruling("deny", "r0", "no model is allowed by all of r0, r1")
        assert [each.effect for each in rules.explain(ask(task_type="classify"), FACTS)] == ["deny", "deny"]

    def test_an_observed_choice_is_told(self) -> None:
        rules = policy(self.TWO, {"type": "model_override", "model": "large", "mode": "observe"})
        ruling = rules.evaluate(ask(), FACTS)
        assert (ruling.effect, ruling.models, ruling.would_be) == ("allow", ("mini", "nano"), "deny")
        assert ruling.observed == (Observed("r1", "deny", "no model is allowed by all of r0, r1"),)
        alone = policy({"type": "model_override", "model": "large", "mode": "observe"}).evaluate(ask(), FACTS)
        assert alone.observed == (Observed("r0", "observe", "only large may be used"),)
        assert (alone.models, alone.would_be) == ((), "allow")

    def test_why(self) -> None:
        told = policy(self.CHEAP)
        assert told.explain(ask(), FACTS)[0].why == "no task type is stated"
        assert told.explain(ask(task_type="x"), FACTS)[0].why == 'task type "x" is not listed'
        assert told.explain(ask(task_type="classify"), FACTS)[0].why == "only mini may be used"


class TestObserving:
    def test_an_observed_rule_is_noted_and_changes_nothing(self) -> None:
        rules = policy(
            {"type": "blocked_intent", "phrases": ["news"], "mode": "observe"},
            {"type": "sensitive_intent", "phrases": ["read"]},
            {"type": "agent_blocklist", "agents": ["agent-*"], "effect": "observe", "reason": "new here"},
        )
        ruling = rules.evaluate(ask(), FACTS)
        assert (ruling.effect, ruling.rule, ruling.would_be) == ("escalate", "r1", "deny")
        assert ruling.observed == (
            Observed("r0", "deny", 'the intent matches "news"'),
            Observed("r2", "observe", "new here"),
        )
        assert [each.observed for each in rules.explain(ask(), FACTS)] == [True, False, True]

    def test_an_observed_limit_never_holds_an_amount_back(self) -> None:
        limit = {"type": "max_cost", "limit_usd": 5}
        rules = policy(
            limit, {**limit, "limit_usd": 1, "effect": "deny", "mode": "observe"}, {**limit, "effect": "observe"}
        )
        ruling = rules.evaluate(ask(), FACTS)
        assert [(each.effect, each.observed) for each in ruling.limits] == [
            ("escalate", False), ("observe", True), ("deny", True),
        ]  # fmt: skip
        two = ruling.at(2 * NANOS_PER_USD)
        assert (two.effect, two.rule, two.would_be) == ("allow", None, "deny")
        assert two.observed == (Observed("r1", "deny", "more than $1.00 is not allowed"),)
        assert two.at(2 * NANOS_PER_USD) is two
        six = ruling.at(6 * NANOS_PER_USD)
        assert (six.effect, six.rule, [each.rule for each in six.observed]) == ("escalate", "r0", ["r2", "r1"])

    def test_the_document_keeps_the_mode_and_nothing_of_the_default(self) -> None:
        rules = policy({"type": "blocked_intent", "phrases": ["a"], "mode": "observe"})
        assert '"mode":"observe"' in rules.document
        assert "mode" not in policy({"type": "blocked_intent", "phrases": ["a"], "mode": "enforce"}).document

"""Regular expressions and CEL conditions: what they match, what is refused, and what they may cost."""

from __future__ import annotations

import importlib
import json
import time
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest

from aegis_core.policy import AgentFacts, compile_policy, conditions, load_policy, regexes
from aegis_core.policy.conditions import NAMES, compile_expression
from aegis_core.policy.regexes import ExpressionError, compile_regex
from aegis_core.policy.rules.condition import MISMATCHES
from aegis_core.protocol.errors import PolicyError
from aegis_core.protocol.evidence import RequestEvidence
from aegis_core.protocol.messages import PermissionRequest

FACTS = AgentFacts("agent-7", "crewai", frozenset({"web"}), 8, {"team": "research"})


def ask(intent: str = "read the news", **fields: Any) -> PermissionRequest:
    return PermissionRequest(**{"agent_id": "agent-7", "task_intent": intent, "resource_type": "api_call"} | fields)


def judge(rule: dict[str, Any], request: PermissionRequest) -> tuple[str, str]:
    ruling = compile_policy({"schema": 1, "rules": [{"name": "r", **rule}]}).evaluate(request, FACTS)
    return ruling.effect, ruling.reason


def holds(expr: str, **fields: Any) -> bool:
    return judge({"type": "condition", "expr": expr}, ask(**fields))[0] == "deny"


class TestRegexes:
    @pytest.mark.parametrize(
        "intent", ["drop table users", "DROP\n\tVIEW x", "dr\u200bop table", "ｄｒｏｐ table", "drоp tаble"]
    )
    def test_they_read_the_folded_intent(self, intent: str) -> None:
        rule = {"type": "blocked_intent", "regexes": [r"\bdrop\s(table|VIEW)\b"]}
        assert judge(rule, ask(intent)) == ("deny", r"the intent matches /\bdrop\s(table|VIEW)\b/")
        assert judge(rule, ask("raindrop table"))[0] == "allow"

    def test_other_alphabets_match_as_they_are_written(self) -> None:
        assert judge({"type": "blocked_intent", "regexes": ["удал(и|ить) базу"]}, ask("Удалить базу!"))[0] == "deny"

    def test_phrases_or_regexes_and_both_with_tools(self) -> None:
        rule = {"type": "sensitive_intent", "phrases": ["payroll"], "regexes": ["salar(y|ies)"], "tools": ["sql"]}
        assert judge(rule, ask("payroll", tool="sql"))[0] == "escalate"
        assert judge(rule, ask("salaries", tool="sql"))[0] == "escalate"
        assert judge(rule, ask("salaries", resource_type="compute"))[0] == "allow"
        told = compile_policy({"schema": 1, "rules": [{"name": "r", **rule}]}).explain(ask("x", tool="sql"), FACTS)
        assert told[0].why == "none of its phrases and regexes occurs in the intent"

    @pytest.mark.parametrize(
        ("pattern", "problem"),
        [
            ("a(b", "column 4: missing )"),
            ("(a|b", "column 5: missing )"),
            ("a\\)b)", "column 5: unexpected )"),
            ("[a", "column 3: missing ]"),
            ("a\\1", "column 2: invalid escape sequence \\1 (RE2 has no look-around and no back-references)"),
            ("x(?=y)", "column 2: invalid perl operator (?= (RE2 has no look-around and no back-references)"),
            ("x{1001}", "column 2: invalid repetition size {1001}"),
            ("((a{30}){30}){30}", "column 14: invalid repetition size {30}"),
            ("q[z-a]", "column 3: invalid character class range z-a"),
            ("ba**b", "column 3: bad repetition operator **"),
            ("*a", "column 1: no argument for repetition operator *"),
            ("(.{0,900})(.{0,900})", "compiles to 16,202 steps; at most 2,000 are accepted"),
        ],
    )
    def test_what_re2_refuses_is_refused_with_the_column(self, pattern: str, problem: str) -> None:
        document = json.dumps({"schema": 1, "rules": [{"name": "r", "type": "blocked_intent", "regexes": [pattern]}]})
        with pytest.raises(PolicyError) as caught:
            load_policy(document.replace('"regexes"', '\n"regexes"'), "p.json")
        message = caught.value.message
        if "steps" in problem:
            assert message.startswith('p.json:2: rule "r": regexes.0: compiles to ')
        else:
            assert message == f'p.json:2: rule "r": regexes.0: {problem}'
            assert caught.value.facts["column"] == int(problem.split()[1].rstrip(":"))

    @pytest.mark.parametrize(
        "pattern", ["(a+)+$", "(a|a)*$", "(a*)*b", ".*.*.*.*.*.*.*.*.*b", "(.*)(.*)(.*)(.*)c", "(a{1,40}){1,20}c"]
    )
    def test_a_catastrophic_pattern_costs_milliseconds(self, pattern: str) -> None:
        compiled, text = compile_regex(pattern), ("a" * 7_999 + "!").encode()
        start = time.thread_time()
        compiled.search(text)
        assert time.thread_time() - start < 0.5

    def test_long_and_empty_patterns(self) -> None:
        for pattern, problem in [("", "is empty"), ("x" * 501, "is longer than 500 characters")]:
            with pytest.raises(PolicyError, match=problem):
                judge({"type": "blocked_intent", "regexes": [pattern]}, ask())

    def test_without_the_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(regexes, "import_module", _missing)
        with pytest.raises(PolicyError, match="regexes need the package google-re2: pip install google-re2"):
            judge({"type": "blocked_intent", "regexes": ["not compiled before"]}, ask())


class TestConditions:
    def test_every_name_has_a_value_of_its_type(self) -> None:
        fields = {
            "estimated_cost_usd": Decimal("1.5"), "confidence": 0.5, "prompt_bytes": 7, "max_output_tokens": 8,
            "min_output_tokens": 2, "fence": 3,
            "target_resource": "t", "session_id": "s", "capability": "c", "tool": "w", "arguments_hash": "h",
            "model": "m", "task_type": "k", "verify": "cheap_first",
            "metadata": {"n": 1, "none": None, "yes": True, "f": 1.5, "s": "x"},
        }  # fmt: skip
        assert {name.split(".")[1] for name in NAMES if name.startswith("request.")} - {"intent", "given"} == set(
            PermissionRequest.model_fields
        ) - {
            "request_id", "requirements", "within", "allows", "prompt_end", "arguments_json", "cut_before_asking",
            *set(RequestEvidence.model_fields) - {"model_config"},
        }  # fmt: skip
        wanted = {
            "STRING": '"?" + {0} != ""',
            "INT": "{0} > -1",
            "DOUBLE": "{0} > -1.0",
            "LIST": "size({0}) > -1",
            "TEXTS": "size({0}) > -1",
        }
        in_tokens = {**fields, "prompt_bytes": None, "prompt_tokens": 4}  # a request says one of the two
        for name, kind in NAMES.items():
            expr = {**wanted, "MAP": "size({0}) > -1"}[kind].format(name)
            assert not holds(f"!({expr})", **(in_tokens if name == "request.prompt_tokens" else fields)), name
        assert holds('request.prompt_tokens == 4 && !("prompt_bytes" in request.given)', **in_tokens)
        assert holds("request.prompt_bytes == 8", **in_tokens)
        assert not holds("request.prompt_bytes > 8", **in_tokens)  # as before adapters counted in tokens
        assert holds('request.metadata.n == 1 && request.metadata.yes && request.metadata["s"] == "x"', **fields)

    @pytest.mark.parametrize(
        ("expr", "fields", "matched"),
        [
            ("request.priority > 8", {"priority": 9}, True),
            ("request.priority > 8", {"priority": 8}, False),
            ('request.intent.contains("drop")', {"intent": "DROP it"}, True),
            ('request.intent.contains("drop")', {"intent": "drоp it"}, True),
            ('"web" in agent.capabilities && agent.labels.team == "research"', {}, True),
            ('!("wallet" in agent.capabilities)', {}, True),
            ("request.estimated_cost_usd > 3.0", {"estimated_cost_usd": 4}, True),
            ('request.tool == ""', {}, True),
            ("request . priority > 3 // of ten", {}, True),
            ('request.tool.matches("^send_")', {"tool": "send_mail"}, True),
            ('"confidence" in request.given && request.confidence < 0.5', {}, False),
            ('"confidence" in request.given && request.confidence < 0.5', {"confidence": 0.4}, True),
            ('request.metadata.exists(k, k.startsWith("x"))', {"metadata": {"xy": 1}}, True),
        ],
    )
    def test_what_they_say(self, expr: str, fields: dict[str, Any], matched: bool) -> None:
        assert holds(expr, **fields) is matched

    @pytest.mark.parametrize(
        "expr",
        [
            "request.confidence < 0.5",
            'agent.labels.floor == "3"',
            "request.metadata.count > 3",
            "request.priority / (request.priority - request.priority) == 1",
            "request.metadata.word > 3 && request.priority < 99",
        ],
    )
    def test_what_cannot_be_worked_out_counts_as_matched(self, expr: str) -> None:
        assert holds(expr, metadata={"word": "x"})
        effect, reason = judge({"type": "condition", "expr": expr}, ask(metadata={"word": "x"}))
        assert (effect, reason.startswith(f"{expr} cannot be worked out (")) == ("deny", True), reason

    @pytest.mark.parametrize(
        ("expr", "metadata"),
        [
            ("request.metadata.total == 90", {"total": "90"}),
            ("request.metadata.total > 90", {"total": "91"}),
            ("request.metadata.total >= 9.5", {"total": "9.5"}),
            ("90 <= request.metadata.total", {"total": "91"}),
            ('request.metadata["total"] == -90', {"total": "-90"}),
            ("request.priority > 99 || request.metadata . total == 0x5a", {"total": "90"}),
            ('request.metadata.zone == "7"', {"zone": 7}),
            ("'7' == request.metadata['zone']", {"zone": 7.0}),
        ],
    )
    def test_text_that_is_compared_with_a_number_never_passes(
        self, expr: str, metadata: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        before = MISMATCHES.count
        rule = {"type": "condition", "expr": expr}
        with caplog.at_level("WARNING", "aegis.policy"):
            for effect, ruled in (("deny", "deny"), ("escalate", "escalate"), ("observe", "allow")):
                ruling, reason = judge({**rule, "effect": effect}, ask(metadata=metadata))
                assert ruling == ruled
                assert ruled == "allow" or "and is compared with" in reason
        assert MISMATCHES.count > before
        observed = compile_policy({"schema": 1, "rules": [{"name": "r", **rule, "effect": "observe"}]})
        assert observed.evaluate(ask(metadata=metadata), FACTS).observed == ()
        assert caplog.text.count('rule "r": metadata.') <= 1, "each kind is logged once"

    @pytest.mark.parametrize(
        ("expr", "metadata", "matched"),
        [
            ("request.metadata.total == 90", {"total": 90}, True),
            ("request.metadata.total == 90", {"total": 90.0}, True),
            ("request.metadata.total == 90", {"total": 91}, False),
            ("request.metadata.total == 90 && request.priority > 99", {"total": "90"}, False),
            ('request.metadata.zone == "7"', {"zone": "8"}, False),
            ('"total" in request.metadata && request.metadata.total == 90', {}, False),
            ('request.metadata.word == "request.metadata.total > 3"', {"total": "4", "word": "x"}, False),
            ("request.metadata.flag == 1 || true", {"flag": "1"}, True),
        ],
    )
    def test_what_can_be_compared_is(self, expr: str, metadata: dict[str, Any], matched: bool) -> None:
        before = MISMATCHES.count
        assert holds(expr, metadata=metadata) is matched
        assert MISMATCHES.count == before

    def test_values_that_cel_cannot_hold_never_reach_it(self) -> None:
        with pytest.raises(ValueError, match=r"metadata\.n\n.*beyond 64 bits"):
            ask(metadata={"n": 2**80})
        assert holds("request.metadata.n > 1", metadata={"n": 2**64 - 1})
        assert not holds("request.metadata.n == 1", metadata={"n": 2**64 - 1})

    def test_an_error_that_does_not_matter_does_not(self) -> None:
        assert not holds("request.confidence < 0.5 && false")

    def test_the_reason_says_what_was_true(self) -> None:
        rule = {"type": "condition", "expr": "request.priority > 3", "effect": "escalate"}
        assert judge(rule, ask()) == ("escalate", "request.priority > 3 is true")
        told = compile_policy({"schema": 1, "rules": [{"name": "r", **rule}]}).explain(ask(priority=1), FACTS)
        assert told[0].why == "request.priority > 3 is false"

    @pytest.mark.parametrize(
        ("expr", "problem"),
        [
            ("request.priorty > 3", 'column 1: unknown name "request.priorty"; did you mean "request.priority"?'),
            ("true && nope", 'column 9: unknown name "nope"'),
            ("'é' == request.tol", 'column 8: unknown name "request.tol"; did you mean "request.tool"?'),
            ("true &&\n agent.label.x", 'line 2, column 2: unknown name "agent.label.x"; did you mean "agent.labels"?'),
            ("request.tool.shout()", 'column 19: unknown name "shout"'),
            ("request.priority > 'a'", "column 18: > cannot be applied to (int, string)"),
            ("!request.priority", "column 1: ! cannot be applied to (int)"),
            (
                "request.confidence == 1",
                "column 20: == cannot be applied to (double, int); write 3.0 for a whole number",
            ),
            ("agent.labels.floor > 3", "column 20: > cannot be applied to (string, int)"),
            ('agent.labels["floor"] == 3', "column 23: == cannot be applied to (string, int)"),
            ("request.model == 4", "column 15: == cannot be applied to (string, int)"),
            ("request.priority", "column 1: must be true or false, but is of type int"),
            ("request.metadata.x", "column 1: must be true or false, but is of type dyn"),
            ("1 +", "column 4: mismatched input the end"),
            ("(" * 60 + "true" + ")" * 60, "is nested too deeply"),
            ("1+" * 400 + "1==3", "is nested too deeply"),
            ("x" * 1_001, "is longer than 1000 characters"),
            (
                "[1].all(a, [1].all(b, true))",
                "column 16: only one of all, exists, exists_one, map and filter may be used",
            ),
            (
                "agent.capabilities.exists(c, c.matches('a'))",
                "column 32: matches cannot be used together with all, exists, map or filter",
            ),
            (" && ".join(["request.tool.matches('a')"] * 5), "column 130: matches may be used 4 times at most"),
            (
                "request.tool.matches(request.intent)",
                "column 22: the pattern of matches must be a text, not worked out",
            ),
            ("matches(request.tool, 'a' + 'b')", "column 23: the pattern of matches must be a text, not worked out"),
            ("request.tool.matches(('a'))", "column 22: the pattern of matches must be a text, not worked out"),
            ("request.tool.matches('a(')", "column 22: missing )"),
            ("request.tool.matches(r'(?=a)')", "column 22: invalid perl operator (?= (RE2 has no look-around"),
        ],
    )
    def test_what_is_refused_when_it_is_loaded(self, expr: str, problem: str) -> None:
        document = json.dumps({"schema": 1, "rules": [{"name": "r", "type": "condition", "expr": expr}]}, indent=1)
        with pytest.raises(PolicyError) as caught:
            load_policy(document, "p.json")
        assert caught.value.message.startswith(f'p.json:7: rule "r": expr: {problem}')
        assert ("column" in caught.value.facts) is ("column" in problem)

    @pytest.mark.parametrize(
        "expr",
        [
            "[" + ",".join(["1"] * 400) + "].all(x, request.intent.contains('zzzzb'))",
            " && ".join(["!request.intent.matches('(a+)+(a+)+b')"] * 4),
            "(" + "+".join(["request.intent"] * 20) + ").contains('b')",
            "!" * 900 + "true",
        ],
    )
    def test_a_bomb_costs_milliseconds(self, expr: str) -> None:
        compiled = compile_expression(expr)
        case_of = conditions.Case(ask("a" * 8_000), FACTS, None)
        start = time.thread_time()
        compiled.holds(case_of)
        assert time.thread_time() - start < 0.5

    def test_without_the_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(conditions, "import_module", _missing)
        conditions._environment.cache_clear()
        try:
            with pytest.raises(PolicyError) as caught:
                judge({"type": "condition", "expr": "request.priority > 31"}, ask())
        finally:
            monkeypatch.undo()
            conditions._environment.cache_clear()
        assert caught.value.message == (
            'policy: rule "r": expr: needs the package cel-expr-python, which is not installed: '
            "pip install '.[conditions]' in a checkout of Aegis"
        )

    def test_the_shipped_rules_need_no_library_for_expressions(self) -> None:
        with pytest.raises(ExpressionError, match="column 1"):
            compile_expression("nope")


def _missing(name: str) -> ModuleType:
    if name.startswith(("re2", "cel")):
        raise ImportError(name)
    return importlib.import_module(name)

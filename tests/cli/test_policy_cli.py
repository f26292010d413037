"""``aegis policy`` as an operator sees it: on files without a server, and on the versions of a governor."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from aegis_core import Settings
from aegis_core.cli import app
from aegis_core.policy import compile_policy
from aegis_core.protocol.errors import AegisError, InvalidRequestError, PolicyError

RULES = [
    {"name": "spend", "type": "max_cost", "limit_usd": 5},
    {"name": "drops", "type": "blocked_intent", "phrases": ["drop table", "drop view"]},
    {"name": "pace", "type": "rate_limit", "limit": 20, "window": "1m"},
    {"name": "night", "type": "time_window", "denied": ["22:00-06:00"], "mode": "observe"},
]


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(app, ["policy", *map(str, args)])


def refused(kind: type[AegisError], *args: str | Path) -> str:
    error = run(*args).exception
    assert isinstance(error, kind)
    return error.message


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.json"
    path.write_text(json.dumps({"schema": 1, "rules": RULES}, indent=1))
    return path


class TestCheck:
    def test_a_good_file(self, rules: Path) -> None:
        result = run("check", rules)
        assert result.exit_code == 0
        assert result.output.startswith(f"{rules}: 4 rules (2 deny, 1 escalate, 1 observe), ")
        found = json.loads(run("check", rules, "--json").output)
        assert (found["rules"], len(found["digest"])) == (4, 64)

    def test_a_bad_file_names_line_and_remedy(self, rules: Path) -> None:
        rules.write_text(rules.read_text().replace("limit_usd", "limit_used"))
        message = refused(PolicyError, "check", rules)
        assert message == f'{rules}:7: rule "spend" has no field "limit_used"; did you mean "limit_usd"?'
        assert "cannot be read" in refused(PolicyError, "check", rules.parent / "none.json")


class TestDiff:
    def test_two_files(self, rules: Path, tmp_path: Path) -> None:
        changed = [
            {**RULES[1], "phrases": ["drop view", "drop schema"]}, {**RULES[0], "limit_usd": 3, "mode": "observe"},
            RULES[3], {"name": "old", "type": "agent_blocklist", "agents": ["old-*"]},
        ]  # fmt: skip
        new = tmp_path / "new.json"
        new.write_text(json.dumps({"schema": 1, "rules": changed}))
        assert run("diff", rules, new).output.splitlines() == [
            "- pace (rate_limit, deny)",
            "~ drops (blocked_intent, deny)",
            '    phrases - "drop table"',
            '    phrases + "drop schema"',
            "~ spend (max_cost, escalate)",
            "    limit_usd 5.0 → 3.0",
            '    mode (not given) → "observe"',
            "+ old (agent_blocklist, deny)",
        ]
        kinds = [(each["kind"], each["rule"]) for each in json.loads(run("diff", rules, new, "--json").output)]
        assert kinds == [("removed", "pace"), ("changed", "drops"), ("changed", "spend"), ("added", "old")]

    def test_the_order_of_rules_is_no_difference(self, rules: Path, tmp_path: Path) -> None:
        other = tmp_path / "other.json"
        other.write_text(json.dumps({"rules": RULES[::-1], "schema": 1}))
        assert run("diff", rules, other).output == "No rule differs.\n"


class TestExplain:
    def test_every_rule_accounts_for_itself_and_the_ruling_follows(self, rules: Path) -> None:
        output = run(
            "explain", "Drop view [b]x[/b]", "--policy", rules, "--cost", "6", "--at", "2026-03-27T23:00"
        ).output
        lines = [line.rstrip().split(maxsplit=3) for line in output.splitlines()]
        assert lines[0] == ["rule", "effect", "why"]
        assert lines[1] == ["✓", "spend", "escalate", "$6.00 is more than $5.00"]
        assert lines[2] == ["✓", "drops", "deny", 'the intent matches "drop view"']
        assert lines[3][:3] == ["?", "pace", "deny"]
        assert lines[4][:3] == ["✓", "night", "deny"]
        assert 'DENY      by drops: the intent matches "drop view"' in output
        assert "counted   pace: more than 20 requests in 1m is not allowed" in output
        assert "observed  night (deny): Fri 23:00 (UTC) is within 22:00-06:00" in output

    def test_what_would_be(self, rules: Path) -> None:
        output = run("explain", "Read", "--policy", rules, "--at", "2026-03-27T23:00").output
        assert "ALLOW     no rule objects" in output
        assert "would be  deny if the observed rules were enforced" in output

    def test_json_and_every_option(self, rules: Path) -> None:
        found = json.loads(
            run(
                "explain", "Read", "--policy", rules, "--json", "--tool", "t", "--target", "x", "--task-type", "k",
                "--metadata", "a=b", "--label", "environment=testnet", "--capability", "c", "--priority", "3",
                "--confidence", "0.5", "--agent", "bot", "--max-priority", "4", "--resource-type", "compute",
                "--at", "2026-03-27T12:00+01:00",
            ).output
        )  # fmt: skip
        assert (found["ruling"]["effect"], found["ruling"]["would_be"], len(found["rules"])) == ("allow", "allow", 4)

    def test_what_is_not_understood(self, rules: Path) -> None:
        assert "--at: " in refused(InvalidRequestError, "explain", "x", "--policy", rules, "--at", "noon")
        assert "must be key=value" in refused(InvalidRequestError, "explain", "x", "--policy", rules, "--label", "a")


class TestCases:
    def cases(self, tmp_path: Path, *cases: dict[str, Any]) -> Path:
        path = tmp_path / "cases.json"
        path.write_text(json.dumps({"cases": cases}))
        return path

    GOOD = (
        {"name": "a drop", "request": {"task_intent": "drop table x"}, "expect": "deny", "rule": "drops"},
        {"name": "dear", "request": {"task_intent": "read", "estimated_cost_usd": 6}, "expect": "escalate"},
        {"name": "by day", "request": {"task_intent": "read"}, "now": "2026-03-27T12:00:00Z", "expect": "allow"},
        {
            "name": "another kind",
            "request": {"task_intent": "read", "resource_type": "compute"},
            "agent": {"agent_id": "b", "capabilities": ["x"], "labels": {"team": "y"}, "max_priority": 3},
            "expect": "allow",
        },
    )

    def test_all_as_expected(self, rules: Path, tmp_path: Path) -> None:
        result = run("test", self.cases(tmp_path, *self.GOOD), "--policy", rules)
        assert (result.exit_code, result.output) == (0, "4 of 4 cases are decided as expected.\n")

    def test_a_failure_is_told_and_exits_with_one(self, rules: Path, tmp_path: Path) -> None:
        wrong = {"name": "a [b]drop", "request": {"task_intent": "drop view"}, "expect": "escalate", "rule": "spend"}
        path = self.cases(tmp_path, self.GOOD[0], wrong)
        result = run("test", path, "--policy", rules)
        assert result.exit_code == 1
        assert [line.rstrip() for line in result.output.splitlines()] == [
            "failed      a [b]drop",
            "  expected  escalate by spend",
            '  came      deny by drops: the intent matches "drop view"',
            "  did not   spend (escalate): the limit is $5.00; the amount is not known yet",
            "  matched   night (deny): the time is not known",
            "1 of 2 cases are decided as expected.",
        ]
        found = run("test", path, "--policy", rules, "--json")
        report = json.loads(found.output)
        assert (found.exit_code, report["passed"], report["failed"]) == (1, 1, 1)
        assert report["cases"][1]["effect"] == "deny"

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("{", "is not JSON"),
            ("[]", "must be a list of cases"),
            ('{"case": []}', "must be a list of cases"),
            ('[{"name": "x"}]', 'case 1 "x": request: is required'),
            ("[7]", "case 1: "),
            ('[{"name": "x", "request": {"task_intent": "a"}, "expect": "ask"}]', 'case 1 "x": expect: must be one of'),
            ('[{"request": {"task_intent": "a", "prio": 1}, "expect": "deny", "name": "x"}]', "request.prio: is not a"),
        ],
    )
    def test_a_file_that_is_none(self, rules: Path, tmp_path: Path, text: str, problem: str) -> None:
        path = tmp_path / "cases.json"
        path.write_text(text)
        message = refused(InvalidRequestError, "test", path, "--policy", rules)
        assert message.startswith(f"{path}: ")
        assert problem in message


@pytest.fixture
def kept(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The environment of the commands: the worker's server and a fresh tenant."""
    monkeypatch.setenv("AEGIS_URL", settings.url)
    monkeypatch.setenv("AEGIS_TENANT", settings.tenant)
    return settings


class TestVersions:
    def test_apply_history_rollback_and_show(self, kept: Settings, rules: Path) -> None:
        applied = run("apply", rules, "--author", "dana")
        assert applied.output.splitlines()[-1] == "Version 2 is in force."
        assert "+ spend (max_cost, escalate)" in applied.output
        assert run("apply", rules).output == "Version 2 is in force already; nothing changed.\n"
        back = run("rollback", "1", "--author", "kim")
        assert back.output.splitlines()[-1] == "Version 3 is in force: the rules of version 1 again."
        today = datetime.now(UTC).date()
        lines = [line.split() for line in run("history").output.splitlines()]
        assert [line[0] for line in lines] == ["version", "3", "2", "1"]
        assert [lines[2][1], lines[2][2], lines[2][5]] == ["4", "1", "dana"]
        assert lines[1][5] == "kim"
        assert lines[2][3] in {str(today), str(today - timedelta(days=1))}
        shown = json.loads(run("show", "2", "--json").output)
        assert compile_policy(shown).digest == compile_policy({"schema": 1, "rules": RULES}).digest
        assert "Version 3: " in run("show").output

    def test_json(self, kept: Settings, rules: Path) -> None:
        first = json.loads(run("apply", rules, "--json").output)
        assert (first["version"], first["applied"], len(first["changes"]) > 4) == (2, True, True)
        assert json.loads(run("apply", rules, "--json").output) == {"version": 2, "applied": False, "changes": []}
        assert json.loads(run("rollback", "1", "--json").output)["rules_of"] == 1
        assert [each["version"] for each in json.loads(run("history", "--json").output)] == [3, 2, 1]

    def test_without_a_file_the_policy_in_force_is_meant(self, kept: Settings, rules: Path, tmp_path: Path) -> None:
        assert "by no-database-drop" in run("explain", "drop database").output
        assert "+ spend" in run("diff", rules).output
        cases = tmp_path / "cases.json"
        cases.write_text('[{"name": "x", "request": {"task_intent": "drop database"}, "expect": "deny"}]')
        assert run("test", cases).exit_code == 0

    def test_show_tells_what_each_rule_is_about(self, kept: Settings, rules: Path) -> None:
        run("apply", rules)
        lines = [" ".join(line.split()) for line in run("show").output.splitlines()]
        assert "drops blocked_intent deny phrases drop table, drop view" in lines
        assert "night time_window observe denied 22:00-06:00; time_zone UTC" in lines

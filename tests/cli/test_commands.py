"""The commands for operators, on a real server, as a person or a script meets them."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from terminal import run_aegis
from warm import Warm

from aegis_core import Settings, connect_sync
from aegis_core.cli.common import whoami
from aegis_core.cli.usage import write_csv
from aegis_core.governor.usage import UsageTotal
from tests.serving import OPERATOR, serving

COMMAND = [sys.executable, "-c", "from aegis_core.cli import main; main()"]
EVIL = (
    "Pay \x1b[31mred\x1b]0;owned\x07 \u202eexe.gnp\u202c [bold]m[/] [/nope] \\[link=x] \x9b2J two\nlines \u2066x\u2069"
)


@dataclass
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def failed(self, message: str) -> bool:
        """One line on standard error that holds the message, nothing on standard output, exit code 1."""
        line = self.err.startswith("aegis: ") and self.err.count("\n") == 1
        return self.code == 1 and self.out == "" and line and message in self.err


Aegis = Callable[..., Done]


@pytest.fixture
def aegis(here: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Aegis:
    """Runs the command in this process."""

    def run(*arguments: object, **environment: str) -> Done:
        return Done(*run_aegis(monkeypatch, capsys, *map(str, arguments), environment=environment))

    return run


def spend(settings: Settings, agent: str, *costs: str, intent: str = "Answer", **fields: object) -> None:
    """Grants of one agent, settled at their estimates."""
    with connect_sync(settings=settings) as governor:
        session = governor.handshake(agent)
        for cost in costs:
            with session.permit(intent, estimated_cost_usd=cost, **fields):
                pass


def on_a_terminal(warm: Warm, *arguments: str) -> str:
    """What a terminal of 80 columns receives."""
    terminal, side = pty.openpty()
    environment = os.environ | {"COLUMNS": "80", "TERM": "xterm-256color"}
    process = warm.start(arguments, Path.cwd(), environment, side, side)
    os.close(side)
    seen = b""
    with contextlib.suppress(OSError):  # Linux reports the end of the other side as an error
        while part := os.read(terminal, 65_536):
            seen += part
    os.close(terminal)
    assert process.wait() == 0, seen.decode()
    return seen.decode().replace("\r\n", "\n")


def plain(text: str) -> str:
    """Without the colours that rich adds, and as one flow of words."""
    return " ".join(re.sub(r"\x1b\[[\d;]*m", "", text).split())


# Budgets


def test_a_limit_is_set_and_shown(here: Settings, aegis: Aegis) -> None:
    spend(here, "a", "2.50")
    done = aegis("budget", "set", "agent", "a", "25.000000001")
    assert (done.code, done.err) == (0, "")
    assert re.search(r"agent a +\$25\.000000001 +\$2\.50 +\$0\.00 +\$22\.500000001 +9% +day +20\d\d-", done.out)
    done = aegis("budget", "show", "a")
    assert re.search(r"^agent a +\$25\.000000001 ", done.out, re.MULTILINE)
    assert re.search(r"^tenant +\$100\.00 ", done.out, re.MULTILINE)


@pytest.mark.parametrize(
    ("scope", "name", "window", "shown"),
    [
        ("label", "team=research", "month", "label team=research"),
        ("model", "gpt-4o", "rolling:24h", "model gpt-4o"),
        ("resource", "gas_budget", "total", "resource gas_budget"),
        ("tenant", "-", "week", "tenant"),
    ],
)
def test_every_shared_scope_can_be_limited(aegis: Aegis, scope: str, name: str, window: str, shown: str) -> None:
    state = json.loads(aegis("budget", "set", scope, name, "7.5", "--window", window, "--json").out)
    assert (state["scope"], state["limit_usd"], state["remaining_usd"]) == (scope, 7.5, 7.5)
    assert any(line.startswith(f"{shown} ") and "$7.50" in line for line in aegis("budget", "show").out.splitlines())
    states = json.loads(aegis("budget", "show", "--json").out)
    assert state in states


def test_the_tenant_option_wins_over_the_environment(aegis: Aegis, tenant: str) -> None:
    aegis("budget", "set", "tenant", "-", "7", "--tenant", f"{tenant}-other")
    assert json.loads(aegis("budget", "show", "--json").out)[0]["limit_usd"] == 100
    assert json.loads(aegis("budget", "show", "--json", "--tenant", f"{tenant}-other").out)[0]["limit_usd"] == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["agnt", "a", "5"], "scope: must be one of agent, session, tenant, model, resource, label"),
        (["agent", "nobody", "5"], "never shook hands"),
        (["agent", "a b", "5"], "name: must be 1 to 128 letters"),
        (["agent", "a", "ten"], "limit_usd: 'ten' is not an amount of dollars"),
        (["agent", "a", "1e-10"], "finer than a nano-dollar"),
        (["agent", "a", "9000000"], "beyond the largest amount"),
        (["agent", "a", "nan"], "is not finite"),
        (["agent", "a", "--", "-5"], "is negative"),
        (["agent", "a", "5", "--window", "dya"], "window: must be hour, day, week, month, total"),
        (["agent", "a", "5", "--window", "rolling:5m"], "10 minutes to 366 days"),
        (["label", "research", "5"], "label: must be key=value, such as team=research"),
        (["resource", "gas", "5"], "name: must be one of llm_tokens, gas_budget"),
        (["model", "gpt-4oo", "5"], "the nearest known are gpt-4o"),
        (["tenant", "otherco", "5"], "name: 'otherco' is not the tenant of this command"),
    ],
)
def test_a_typo_in_a_budget_is_one_line_and_changes_nothing(
    here: Settings, aegis: Aegis, arguments: list[str], message: str
) -> None:
    spend(here, "a", "1")
    before = aegis("budget", "show", "a", "--json").out, aegis("events", "--json").out
    done = aegis("budget", "set", *arguments)
    assert done.failed(message), done
    assert (aegis("budget", "show", "a", "--json").out, aegis("events", "--json").out) == before


def test_an_unknown_agent_has_no_budget(aegis: Aegis) -> None:
    assert aegis("budget", "show", "nobody").failed("never shook hands")


def test_a_narrow_terminal_folds_nothing_important(warm: Warm, here: Settings, aegis: Aegis) -> None:
    name = "crew-researcher-with-quite-a-long-name-and-number-000042"
    spend(here, name, "1.234567891")
    aegis("budget", "set", "model", "gpt-4o", "0.000000001", "--window", "hour")
    shown = re.sub(r"\x1b\[[\d;]*m", "", on_a_terminal(warm, "budget", "show", name))
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert re.search(r"crew-res.*\n?.*long-n.*\n.*000042", shown)
    assert re.search(r"agent\b.* \$10\.00 +\$1\.2346 +\$0\.00 +\$8\.7654 +12%", shown)
    assert "  day, resets " in shown
    assert "<$0.0001" in shown
    listed = on_a_terminal(warm, "agents", "list")
    assert all(len(line) <= 80 for line in re.sub(r"\x1b\[[\d;]*m", "", listed).splitlines())


def test_amounts_beyond_the_largest_request_are_shown(aegis: Aegis, here: Settings) -> None:
    from aegis_core.cli.common import brief, dollars

    assert dollars(Decimal("24000000.5")) == "$24,000,000.50"
    assert brief(Decimal("0.00001")) == "<$0.0001"
    assert brief(Decimal(0)) == "$0.00"


# Agents


def test_agents_are_listed_with_their_labels(here: Settings, aegis: Aegis) -> None:
    assert aegis("agents", "list").out == "No agent has shaken hands yet.\n"
    spend(here, "one", "0.25")
    spend(here, "two")
    done = aegis("agents", "label", "one", "team=research", "customer=acme")
    assert done.out == "one: team=research customer=acme\n"
    lines = aegis("agents", "list").out.splitlines()
    assert lines[0].split() == ["agent", "framework", "status", "open", "today", "held", "limit", "seen", "(UTC)",
                                "labels"]  # fmt: skip
    assert re.match(
        r"one +custom +active +0 +\$0\.25 +\$0\.00 +\$10\.00 +20\S+ \S+ +customer=acme team=research", lines[1]
    )
    assert len(lines) == 3
    found = json.loads(aegis("agents", "list", "--json").out)
    assert [agent["agent_id"] for agent in found] == ["one", "two"]
    assert found[0]["labels"] == {"team": "research", "customer": "acme"}
    assert aegis("agents", "label", "one").out == "one: no labels\n"
    assert json.loads(aegis("agents", "list", "--json").out)[0]["labels"] == {}


def test_more_agents_than_a_page_holds(here: Settings, aegis: Aegis) -> None:
    with connect_sync(settings=here) as governor:
        for number in range(501):
            governor.handshake(f"a{number:03}")
    found = [agent["agent_id"] for agent in json.loads(aegis("agents", "list", "--json").out)]
    assert found == [f"a{number:03}" for number in range(501)]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["team"], "label: 'team' must be key=value"),
        (["team="], "labels.team: must be 1 to 128"),
        (["te am=x"], "labels.te am: must be 1 to 128"),
        (["team=a", "team=b"], "label: 'team' is given twice"),
        ([f"k{number}=v" for number in range(17)], "labels: at most 16"),
    ],
)
def test_a_wrong_label_changes_nothing(here: Settings, aegis: Aegis, labels: list[str], message: str) -> None:
    spend(here, "one")
    aegis("agents", "label", "one", "team=research")
    assert aegis("agents", "label", "one", *labels).failed(message)
    assert json.loads(aegis("agents", "list", "--json").out)[0]["labels"] == {"team": "research"}
    assert aegis("agents", "label", "nobody", "team=x").failed("never shook hands")


# Events


def test_events_as_json_are_one_object_a_line(here: Settings, aegis: Aegis) -> None:
    spend(here, "a", "0.25")
    events = [json.loads(line) for line in aegis("events", "--json").out.splitlines()]
    assert [event["kind"] for event in events] == ["tenant_opened", "handshake", "granted", "settled"]
    assert events[-1]["facts"]["charged_usd"] == 0.25
    newest = [json.loads(line)["kind"] for line in aegis("events", "--json", "--limit", 2).out.splitlines()]
    assert newest == ["granted", "settled"]
    later = aegis("events", "--json", "--after", events[1]["id"]).out.splitlines()
    assert [json.loads(line) for line in later] == events[2:]
    assert [json.loads(line) for line in aegis("events", "--json", "--after", 0, "--limit", 1).out.splitlines()] == (
        events[:1]
    )


def test_events_in_a_pipe_are_one_line_each(here: Settings, aegis: Aegis) -> None:
    spend(here, "a", "0.000000001", intent=EVIL)
    aegis("budget", "set", "label", "team=x", "5")
    lines = aegis("events").out.splitlines()
    assert all(re.match(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ \w+ +\S+", line) for line in lines)
    text = "\n".join(lines)
    assert "granted        a · $0.000000001 · " in text
    assert "settled        a · $0.000000001 · charged $0.000000001" in text
    assert "budget_set     - · label team=x day · limit $5.00 · by cli" in text
    assert "no rule objects" not in text


@pytest.mark.parametrize("wrong", ["foo", "1-2-3", "-", "$", "9" * 40])
def test_an_id_that_no_event_has(aegis: Aegis, wrong: str) -> None:
    assert aegis("events", f"--after={wrong}").failed("is not the id of an event")


@pytest.mark.parametrize("arguments", [["events"], ["events", "--json"]])
@pytest.mark.leaves("grants")
def test_text_from_agents_cannot_steer_a_terminal(warm: Warm, here: Settings, arguments: list[str]) -> None:
    with connect_sync(settings=here) as governor:
        governor.handshake("a").request(EVIL, estimated_cost_usd="0.01")
    shown = on_a_terminal(warm, *arguments)
    text = plain(shown)
    assert not set(re.sub(r"\x1b\[[\d;]*m", "", shown)) & set("\x1b\x07\x9b\u202e\u202c\u2066\u2069\r")
    escape = r"\u001b"
    assert f"Pay {escape}[31mred{escape}]0;owned" in text
    assert "[bold]m[/] [/nope]" in text
    assert "\x1b[31mred" not in shown
    if "--json" in arguments:
        assert json.loads(shown.splitlines()[-1])["facts"]["request"]["intent"] == EVIL
    else:
        assert all(len(line) <= 80 for line in re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines())


@pytest.mark.concurrent
def test_following_shows_what_happens_later(warm: Warm, here: Settings) -> None:
    spend(here, "a")
    shown, side = os.pipe()
    process = warm.start(["events", "--follow", "--json"], Path.cwd(), os.environ, side)
    os.close(side)
    with os.fdopen(shown) as seen:
        first = [json.loads(seen.readline())["kind"] for _ in range(2)]
        assert first == ["tenant_opened", "handshake"]
        spend(here, "later", "0.25")
        kinds = [json.loads(seen.readline())["kind"] for _ in range(3)]
        assert kinds == ["handshake", "granted", "settled"]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


# Usage


def test_the_bill_by_everything(here: Settings, aegis: Aegis) -> None:
    spend(here, "one", "0.10", "0.20", model="gpt-4o")
    aegis("agents", "label", "one", "team=research")
    spend(here, "one", "0.30", model="gpt-4o-mini")
    spend(here, "two", "0.05", resource_type="api_call")

    def bill(by: str) -> dict[str, tuple[int, float]]:
        totals = json.loads(aegis("usage", "--by", by, "--json").out)
        return {total["name"]: (total["calls"], total["cost_usd"]) for total in totals}

    assert bill("agent") == {"one": (3, 0.6), "two": (1, 0.05)}
    assert bill("model")["gpt-4o"] == (2, 0.3)
    assert bill("resource") == {"llm_tokens": (3, 0.6), "api_call": (1, 0.05)}
    assert sum(calls for calls, _ in bill("day").values()) == 4
    assert bill("team") == {"research": (1, 0.3), "(none)": (3, 0.35)}
    table = aegis("usage").out.splitlines()
    assert [line.split() for line in table] == [
        ["agent", "calls", "charged"], ["one", "3", "$0.60"], ["two", "1", "$0.05"], ["total", "4", "$0.65"],
    ]  # fmt: skip
    assert aegis("usage", "--csv").out.splitlines() == [
        "agent,calls,cost_usd,estimated_usd", "one,3,0.600000000,0.000000000", "two,1,0.050000000,0.000000000",
    ]  # fmt: skip


def test_the_bill_shows_what_of_it_is_estimated(here: Settings, aegis: Aegis) -> None:
    spend(here, "one", "0.10")
    with connect_sync(settings=here) as governor:
        agent = governor.handshake("one")
        agent.settle(agent.request("Work", estimated_cost_usd="0.40").grant_id or "", estimated=True)
    assert [line.split() for line in aegis("usage").out.splitlines()] == [
        ["agent", "calls", "charged", "estimated"], ["one", "2", "$0.50", "$0.40"], ["total", "2", "$0.50", "$0.40"],
    ]  # fmt: skip
    assert json.loads(aegis("usage", "--json").out)[0]["estimated_usd"] == 0.4


def test_a_refund_is_in_the_bill_and_among_the_events(here: Settings, aegis: Aegis) -> None:
    with connect_sync(settings=here) as governor:
        agent = governor.handshake("one")
        grant = agent.request("Work", estimated_cost_usd="0.40").grant_id or ""
        agent.settle(grant, cost_usd="0.40")
    done = aegis("refund", grant, "--usd", "0.1", "--reason", "credited")
    assert (done.code, done.out) == (0, "$0.10 of $0.40 taken back for one; $0.30 stay charged.\n")
    assert json.loads(aegis("refund", grant, "--usd", "0.05", "--json").out)["refunded_usd"] == 0.15
    assert aegis("usage").out.splitlines()[1].split() == ["one", "1", "$0.25"]
    line = next(line for line in aegis("events").out.splitlines() if " refunded " in line)
    assert line.endswith(f"one · charged $0.40 · $0.10 taken back · by {whoami()}")
    assert aegis("refund", grant, "--usd", "1").failed("usd: is above $0.25")


def test_a_label_that_nobody_has_is_said(here: Settings, aegis: Aegis) -> None:
    assert aegis("usage").out == "Nothing was charged in these days.\n"
    spend(here, "one", "0.10")
    done = aegis("usage", "--by", "taem", "--csv")
    assert (done.code, done.out) == (0, "taem,calls,cost_usd,estimated_usd\n(none),1,0.100000000,0.000000000\n")
    assert done.err == "aegis: nothing charged in these days carries a label 'taem'\n"


def test_a_cell_is_never_a_formula(capsys: pytest.CaptureFixture[str]) -> None:
    names = ['=HYPERLINK("x")', "+1", "-1", "@sum", "\tx", "plain", "a,b"]
    write_csv("agent", [UsageTotal(name, 1, Decimal("0.10")) for name in names])
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out, newline="")))
    assert [row[0] for row in rows[1:]] == [*(f"'{name}" for name in names[:5]), "plain", "a,b"]
    assert all(row[1:] == ["1", "0.10", "0"] for row in rows[1:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--since", "yesterday"], "since: 'yesterday' is not a day; give YYYY-MM-DD"),
        (["--until", "2026-02-30"], "until: '2026-02-30' is not a day"),
        (["--since", "2026-02-02", "--until", "2026-02-01"], "since: 2026-02-02 lies after the last day, 2026-02-01"),
        (["--since", "2000-01-01"], "since: 2000-01-01 lies more than 400 days before"),
        (["--csv", "--json"], "--csv and --json cannot both have standard output"),
    ],
)
def test_days_that_are_not_understood(aegis: Aegis, arguments: list[str], message: str) -> None:
    assert aegis("usage", *arguments).failed(message)


def test_a_last_day_alone_means_its_month(here: Settings, aegis: Aegis) -> None:
    spend(here, "one", "0.10")
    assert json.loads(aegis("usage", "--until", "2020-01-05", "--json").out) == []
    assert len(json.loads(aegis("usage", "--since", "0001-01-01", "--until", "0001-01-02", "--json").out)) == 0


# What is wrong around them


def test_serving_without_the_extra_says_what_to_install(here: Settings) -> None:
    blocked = "import sys; sys.modules['uvicorn'] = None; " + COMMAND[-1]
    done = subprocess.run(
        [sys.executable, "-c", blocked, "serve"], capture_output=True, text=True, timeout=150, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("aegis: The HTTP API needs the extra `server` (uvicorn is missing)")
    assert done.stderr.endswith("pip install '.[server]' in a checkout of Aegis\n")


@pytest.mark.usefixtures("here")
def test_serving_on_a_server_that_is_down_is_one_line(warm: Warm) -> None:
    done = warm.run(["serve"], Path.cwd(), os.environ | {"AEGIS_URL": "redis://127.0.0.1:1"})
    assert Done(done.returncode, done.stdout, done.stderr).failed("Redis at redis://127.0.0.1:1 cannot be reached")


def test_serving_other_machines_is_refused(aegis: Aegis) -> None:
    assert aegis("serve", "--host", "0.0.0.0").failed("may not listen on 0.0.0.0")


@pytest.mark.parametrize("command", ["events", "events --json", "agents list --json", "usage --csv", "budget show"])
def test_a_reader_that_leaves_is_no_error(warm: Warm, here: Settings, command: str) -> None:
    spend(here, "a", *["0.01"] * 30)
    # An interpreter of its own writes the rest to its streams when it ends, which one that is forked does by itself.
    begin = '"$0" -c "$1"' if command == "events" else f'"{warm.commands / "aegis"}"'
    line = f'{begin} {command} | head -1; echo "${{PIPESTATUS[1]}}"'
    done = subprocess.run(
        ["bash", "-c", line, sys.executable, COMMAND[-1]], capture_output=True, text=True, timeout=150, check=False
    )
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 2


EVERY = [
    ["budget", "show"], ["budget", "show", "a"], ["budget", "set", "agent", "a", "5"], ["agents", "list"],
    ["agents", "label", "a", "team=x"], ["events"], ["events", "--follow"], ["usage"],
]  # fmt: skip


@pytest.mark.parametrize("command", EVERY, ids=" ".join)
def test_a_server_that_is_down_is_one_line(aegis: Aegis, command: list[str]) -> None:
    done = aegis(*command, AEGIS_URL="redis://:hunter2secret@127.0.0.1:1")
    assert done.failed("Redis at redis://:…@127.0.0.1:1 cannot be reached")
    assert "hunter2" not in done.err


@pytest.mark.parametrize("command", EVERY, ids=" ".join)
@pytest.mark.parametrize(
    ("name", "value"),
    [("AEGIS_PORT", "many"), ("AEGIS_TIMEZONE", "Mars/Base"), ("AEGIS_AGENT_DAY_USD", "-1"), ("AEGIS_URL", "ftp://x")],
)
def test_a_variable_that_is_wrong_is_named(aegis: Aegis, command: list[str], name: str, value: str) -> None:
    assert aegis(*command, **{name: value}).failed(f"aegis: {name} ")


def test_over_http(here: Settings, aegis: Aegis) -> None:
    spend(here, "a", "0.25")
    with serving(here) as url:
        remote = {"AEGIS_URL": url, "AEGIS_OPERATOR_SECRET": OPERATOR}
        assert json.loads(aegis("budget", "set", "agent", "a", "12", "--json", **remote).out)["limit_usd"] == 12
        assert "agent a" in aegis("budget", "show", "a", **remote).out
        assert "a " in aegis("agents", "list", **remote).out
        assert aegis("events", **remote).out == aegis("events").out
        assert aegis("budget", "show", **remote).failed("point AEGIS_URL at the governor's Redis")
        assert aegis("usage", **remote).failed("point AEGIS_URL at the governor's Redis")
        assert aegis("budget", "set", "agent", "a", "13", AEGIS_URL=url, AEGIS_OPERATOR_SECRET="wrong").code == 1
    assert aegis("budget", "show", "a", AEGIS_URL="http://127.0.0.1:1").failed("cannot be reached")


# Prices


def test_prices_of_a_model_are_shown(aegis: Aegis) -> None:
    """gpt-5.5: $5 and $30 a million, twice and 1.5 times that in calls with more than 272,000 tokens of input."""
    shown = json.loads(aegis("prices", "show", "openai/gpt-5.5", "--json").out)
    rates = {(line["kind"], line["above_input_tokens"]): line["usd"] for line in shown["rates"]}
    assert rates["input", 0] * 2 == rates["input", 272_000] == 10
    assert (rates["output", 0], rates["output", 272_000]) == (30, 45)
    assert (shown["model"], shown["max_output_tokens"]) == ("gpt-5.5", 128_000)
    table = aegis("prices", "show", "claude-opus-4-6").out
    assert ["input", "written", "for", "an", "hour", "10", "any", "size"] in [
        line.split() for line in table.splitlines()
    ]
    assert aegis("prices", "show", "gpt-9").failed("AEGIS_PRICES_FILE")


def test_prices_are_checked(aegis: Aegis, tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(
        '{"openai:gpt-4o": {"input_usd": 3, "output_usd": 9}, "ours:tiny": {"input_usd": 1, "output_usd": 2}}'
    )
    whole = {"AEGIS_PRICES_FILE": str(path), "AEGIS_MODELS": '{"prod": "gpt-4o-mini", "mine": "ours/tiny"}'}
    done = aegis("prices", "check", "--json", **whole)
    report = json.loads(done.out)
    assert (done.code, report["problems"]) == (0, [])
    notes = {entry["name"]: (entry["model"], entry["note"]) for entry in report["entries"]}
    assert notes["openai/gpt-4o"] == ("gpt-4o", "the price file counts for input")
    assert notes["ours/tiny"] == ("tiny", "the price file alone has its price")
    assert (notes["prod"][0], notes["mine"][0]) == ("gpt-4o-mini", "tiny")
    assert aegis("prices", "check", **whole).out.startswith("genai-prices ")
    wrong = aegis("prices", "check", AEGIS_MODELS='{"prod": "gpt-9"}')
    assert (wrong.code, "AEGIS_MODELS: prod is said to be gpt-9, which has no known price." in wrong.err) == (1, True)
    path.write_text("{")
    assert aegis("prices", "check", AEGIS_PRICES_FILE=str(path)).failed("is not valid JSON")


# Help


def helps() -> Iterator[str]:
    yield from ("serve", "doctor", "demo", "replay", "events", "usage", "refund")
    yield from ("budget", "budget show", "budget set")
    yield from ("export jsonl", "webhooks list", "webhooks test", "webhooks replay", "webhooks run")
    yield from ("agents", "agents list", "agents label", "prices", "prices show", "prices check")


@pytest.mark.parametrize("command", list(helps()))
def test_help_has_an_example_and_fits_80_columns(aegis: Aegis, command: str) -> None:
    done = aegis(*command.split(), "--help", COLUMNS="80")
    assert done.code == 0
    text = " ".join(done.out.split())
    assert command == "demo" or re.search(rf"Example: (\S+=\S+ )?aegis {command}", text), done.out
    assert all(len(line) <= 80 for line in done.out.splitlines())


def test_a_command_that_is_not_there(aegis: Aegis) -> None:
    done = aegis("bugdet")
    assert done.code == 2
    assert "No such command 'bugdet'" in done.err

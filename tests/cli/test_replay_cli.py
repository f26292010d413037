"""``aegis replay`` as a user meets it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from warm import Warm

from aegis_core import Settings, connect
from aegis_core.store.embedded import join_sync
from aegis_core.store.store import open_store
from aegis_core.testing import private_settings

CSV = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(f"2026-01-01 10:00:{s:02},1000000,0\n" for s in range(10))


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text(CSV)
    return path


class Command(Protocol):
    def __call__(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def aegis(warm: Warm) -> Command:
    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return warm.run([*map(str, arguments)], Path.cwd(), os.environ | environment)

    return run


def test_json_stands_alone_on_standard_output(aegis: Command, trace: Path) -> None:
    done = aegis("replay", trace, "--json")
    assert done.returncode == 0
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert [report[name] for name in ("calls", "granted", "escalated", "rejected")] == [10, 4, 0, 6]
    assert report["cost_usd"] == 25.0
    assert report["recommended_cost_usd"] < 25
    assert report["by_budget"][0]["ran_out_at"] == "2026-01-01T10:00:04.000Z"


def test_a_person_reads_what_was_refused_why_and_what_others_would_cost(aegis: Command, trace: Path) -> None:
    done = aegis("replay", trace)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    text = " ".join(done.stdout.split())
    assert "10 calls by 1 agent" in text
    assert "GRANTED 4 40.0% " in text
    assert "rejected 6 agent trace's day budget of $10.00 $15.00 ran out at 2026-01-01 10:00:04, 4 s in" in text
    assert "present gpt-4o $25.00" in text
    assert "The recommended models would cost $" in text
    assert "How good their answers would be is unknown." in text
    assert "saves" not in text


def test_options_change_the_limits_the_model_and_the_rules(aegis: Command, trace: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text('{"schema": 1, "rules": [{"name": "ask-me", "type": "max_cost", "limit_usd": 0.01}]}')
    report = json.loads(aegis("replay", trace, "--budget", "5.25", "--limit", 3, "--json").stdout)
    assert (report["granted"], report["rejected"], report["agent_day_usd"]) == (2, 1, 5.25)
    report = json.loads(aegis("replay", trace, "--tenant-budget", "2.5", "--json").stdout)
    assert (report["granted"], report["by_budget"][0]["scope"]) == (1, "tenant")
    report = json.loads(aegis("replay", trace, "--model", "gpt-4o-mini", "--policy", rules, "--json").stdout)
    assert (report["escalated"], report["cost_usd"], list(report["models"])) == (10, 1.5, ["gpt-4o-mini"])
    assert str(rules) in report["policy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "gpt-99"], "no price is known for the model 'gpt-99'"),
        (["--budget", "ten"], "--budget: 'ten' is not an amount of dollars"),
        (["--budget", "-1"], "--budget: '-1' is negative"),
        (["--rate", "fast"], "--rate: 'fast' is not understood; expected max, realtime, or calls a second"),
        (["--rate", "0"], "--rate: '0' is not understood"),
        (["--policy", "nowhere.json"], "nowhere.json: cannot be read"),
    ],
)
def test_a_wrong_option_is_one_line_and_nothing_is_reported(
    aegis: Command, trace: Path, arguments: list[str], message: str
) -> None:
    done = aegis("replay", trace, *arguments, "--json")
    assert done.returncode == 1
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_bad_row_stops_it_unless_it_may_be_skipped(aegis: Command, trace: Path) -> None:
    trace.write_text(CSV + "2026-01-01 10:01:00,many,0\n")
    done = aegis("replay", trace)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{trace}:12: ContextTokens: 'many' is not a count of tokens; expected a whole number" in done.stderr
    done = aegis("replay", trace, "--skip-bad")
    assert done.returncode == 0
    assert "1 malformed rows were left out" in done.stdout
    assert len(json.loads(aegis("replay", trace, "--skip-bad", "--json").stdout)["skipped"]) == 1


def test_a_set_pace_is_kept(aegis: Command, trace: Path) -> None:
    assert 0.45 <= seconds_of_replay(aegis, trace, "20", calls=10) < 5
    trace.write_text("time,input_tokens,output_tokens\n5,1,1\n5.5,1,1\n")
    assert 0.5 <= seconds_of_replay(aegis, trace, "realtime", calls=2) < 5


def seconds_of_replay(aegis: Command, trace: Path, rate: str, calls: int) -> float:
    """The fastest of three, for it ends no sooner than its pace lets it, and later when the machine has other work."""
    seconds = float("inf")
    for _ in range(3):
        report = json.loads(aegis("replay", trace, "--rate", rate, "--json").stdout)
        assert report["calls"] == calls
        if (seconds := min(seconds, report["seconds"])) < 5:
            break
    return seconds


def test_a_terminal_sees_progress_and_an_interrupted_replay_reports_what_it_has(tmp_path: Path) -> None:
    trace = tmp_path / "long.csv"
    trace.write_text("time,input_tokens,output_tokens\n" + "1767225600,4000,0\n" * 400)
    command = [sys.executable, "-c", "from aegis_core.cli import main; main()", "replay", str(trace)]
    terminal, side = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}  # a dumb terminal can't draw over a line
    with subprocess.Popen(
        [*command, "--rate", "10", "--json"], stdout=subprocess.PIPE, stderr=side, text=True, env=environment
    ) as process:
        os.close(side)
        seen = ""
        while not re.search(r"\b[1-9]\d*/400", seen):
            seen += os.read(terminal, 4_096).decode()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    os.close(terminal)
    assert process.returncode == 130
    report = json.loads(out)
    assert report["interrupted"]
    assert 0 < report["calls"] < 400
    assert report["granted"] == report["calls"]
    assert report["granted_cost_usd"] == report["cost_usd"] > 0


@pytest.fixture
def quiet(tenant: str) -> Iterator[Settings]:
    """A server of its own: what other tests left on theirs expires in its own time."""
    handle = join_sync(None, throwaway=True, timeout=60)
    yield private_settings(url=handle.url, tenant=tenant)
    handle.leave_sync()


async def test_the_live_server_is_not_touched(aegis: Command, trace: Path, quiet: Settings) -> None:
    settings = quiet
    async with connect(settings=settings) as governor:
        await (await governor.handshake("trace")).request("Live", estimated_cost_usd=1)
    store = await open_store(settings)
    try:
        names = sorted(await store.command("KEYS", "*"))
        before = [await store.command("DUMP", name) for name in names]
        done = aegis("replay", trace, "--json", AEGIS_URL=settings.url, AEGIS_TENANT=settings.tenant)
        assert json.loads(done.stdout)["granted"] == 4
        assert sorted(await store.command("KEYS", "*")) == names
        assert [await store.command("DUMP", name) for name in names] == before
    finally:
        await store.aclose()


def test_help_shows_an_example(aegis: Command) -> None:
    done = aegis("replay", "--help")
    assert done.returncode == 0
    assert "aegis replay calls.csv --budget 25 --json" in " ".join(done.stdout.split())


def test_a_proposed_policy_is_compared_with_the_present_one(aegis: Command, trace: Path, tmp_path: Path) -> None:
    proposed = tmp_path / "proposed.json"
    proposed.write_text(
        '{"schema": 1, "rules": [{"name": "none", "type": "max_cost", "limit_usd": 0, "effect": "deny"}]}'
    )
    report = json.loads(aegis("replay", trace, "--policy", proposed, "--json").stdout)
    present = json.loads(aegis("replay", trace, "--json").stdout)
    answers = ("granted", "escalated", "rejected")
    assert present["granted"] == 4 > report["granted"] == 0
    assert {name: report["present"][name] for name in answers} == {name: present[name] for name in answers}
    assert report["present"]["difference"] == {name: report[name] - present[name] for name in answers}
    shown = aegis("replay", trace, "--policy", proposed).stdout
    assert re.search(r"Beside the present policy: the rules that Aegis ships with", shown)
    assert re.search(r"GRANTED +4 +0 +-4", shown)
    assert "present" not in present

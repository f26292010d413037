"""``aegis channels``: a test message over each, the ids that a newcomer needs, and a process that serves them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from asking import WISH, ask_on
from botapi import ANA, CHAT, TOKEN, BotApi
from receiver import receiver
from terminal import run_aegis

from aegis_core import Settings

pytestmark = pytest.mark.concurrent

Aegis = Callable[..., tuple[int, str, str]]


@pytest.fixture
def environment(settings: Settings, telegram: BotApi) -> dict[str, str]:
    return {
        "AEGIS_URL": settings.url, "AEGIS_TENANT": settings.tenant, "AEGIS_TELEGRAM_TOKEN": TOKEN,
        "AEGIS_TELEGRAM_CHAT_ID": str(CHAT), "AEGIS_TELEGRAM_OPERATORS": f"{ANA}=ana",
        "AEGIS_TELEGRAM_API_URL": telegram.url, "AEGIS_AGENT_DAY_USD": "100", "AEGIS_TIMEZONE": settings.timezone,
    }  # fmt: skip


@pytest.fixture
def aegis(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Aegis:
    monkeypatch.chdir(tmp_path)

    def run(environment: dict[str, str], *arguments: str) -> tuple[int, str, str]:
        return run_aegis(monkeypatch, capsys, *arguments, environment=environment)

    return run


def test_a_test_message_over_each_channel(aegis: Aegis, environment: dict[str, str], telegram: BotApi) -> None:
    with receiver() as there:
        environment |= {
            "AEGIS_APPROVAL_WEBHOOK_URL": there.url, "AEGIS_APPROVAL_WEBHOOK_SECRET": "k" * 32,
            "AEGIS_APPROVAL_WEBHOOK_ALLOW_PRIVATE": "true",
        }  # fmt: skip
        code, out, _ = aegis(environment, "channels", "test")
        assert code == 0
        assert out.splitlines() == [
            f"✓ telegram @aegis_test_bot sent a message to the chat {CHAT}",
            "✓ webhook localhost accepted a test message",
        ]
        assert [one.text for one in telegram.messages.values()] == ["Aegis will announce approvals here."]
        assert json.loads(there.got[0][1])["type"] == "test"
        there.answers.append((403, {}))
        code, out, _ = aegis(environment, "channels", "test", "--json")
        assert code == 1
        assert [row["ok"] for row in json.loads(out)] == [True, False]


def test_the_ids_of_those_who_wrote_to_the_bot(aegis: Aegis, environment: dict[str, str], telegram: BotApi) -> None:
    alone = {name: environment[name] for name in ("AEGIS_TELEGRAM_TOKEN", "AEGIS_TELEGRAM_API_URL")}
    assert "write /start to it" in aegis(alone, "channels", "ids")[2]
    telegram.write("/start", ANA)
    telegram.write("/start", ANA, chat=ANA)
    for _ in range(2):  # looking fetches nothing away
        out = aegis(alone, "channels", "ids")[1]
        assert out.splitlines() == [
            f"chat {CHAT} (Operators), user {ANA} (User {ANA})", f"chat {ANA} (Operators), user {ANA} (User {ANA})",
        ]  # fmt: skip
    assert "Unauthorized" in aegis(alone | {"AEGIS_TELEGRAM_TOKEN": "1:" + "x" * 35}, "channels", "ids")[2]


def test_without_any_channel_the_settings_are_named(aegis: Aegis, settings: Settings) -> None:
    code, _, err = aegis({"AEGIS_URL": settings.url}, "channels", "run")
    assert code == 1
    assert "AEGIS_TELEGRAM_TOKEN" in err
    assert "AEGIS_APPROVAL_WEBHOOK_URL" in err


def test_the_doctor_looks_at_channels(aegis: Aegis, environment: dict[str, str]) -> None:
    assert "telegram; `aegis channels test`" in aegis(environment, "doctor")[1]
    code, out, _ = aegis(environment | {"AEGIS_TELEGRAM_OPERATORS": ""}, "doctor")
    assert code == 1
    assert "AEGIS_TELEGRAM_OPERATORS is missing" in out


@pytest.mark.leaves("grants")
def test_a_process_of_its_own_serves_the_channels(
    environment: dict[str, str], settings: Settings, telegram: BotApi, tmp_path: Path
) -> None:
    home = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    command = [sys.executable, "-c", "from aegis_core.cli import main; main()", "channels", "run"]
    with subprocess.Popen(command, env=home | environment, cwd=tmp_path, stderr=subprocess.PIPE) as served:
        assert served.stderr is not None
        try:
            assert b"serving telegram" in served.stderr.readline()
            asked = ask_on(settings.model_copy(update={"agent_day_usd": 100}), **WISH)
            message = telegram.announced()
            assert str(asked.escalation_id) in message.text
            assert telegram.press(message, "APPROVE").startswith("Approved by ana")
            telegram.shows(message, "Approved by ana")
        finally:
            served.send_signal(signal.SIGINT)
            served.wait(60)
        assert served.returncode in {0, 130}


def test_the_example_says_what_is_missing_and_runs_with_a_bot(
    environment: dict[str, str], settings: Settings, telegram: BotApi, tmp_path: Path
) -> None:
    example = Path(__file__).parents[2] / "examples" / "telegram_approval.py"
    home = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, str(example)], env=home, cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "AEGIS_TELEGRAM_TOKEN" in done.stderr
    with subprocess.Popen(
        [sys.executable, str(example)], env=home | environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            message = telegram.announced()
            assert telegram.press(message, "APPROVE").startswith("Approved by ana")
            out, _ = running.communicate(timeout=90)
        finally:
            running.kill()
    assert running.returncode == 0
    assert out.splitlines()[0] == "Asking on telegram …"
    assert out.splitlines()[1].startswith("Approved: gr_")
    telegram.shows(message, "Approved by ana")

"""The quick start, word for word: uvicorn, curl, curl."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from serving import free_port

pytestmark = pytest.mark.concurrent

ROOT = Path(__file__).parent.parent.parent

HANDSHAKE = """\
curl -X POST http://localhost:8000/api/v1/handshake \\
  -H "Content-Type: application/json" \\
  -d '{
    "agent_id": "crew-researcher-01",
    "agent_framework": "crewai",
    "capabilities": ["web_search", "code_gen"],
    "max_priority": 7,
    "session_budget_usd": 2.50
  }'
"""
REQUEST = """\
curl -X POST http://localhost:8000/api/v1/request-permission \\
  -H "Content-Type: application/json" \\
  -d '{
    "agent_id": "crew-researcher-01",
    "task_intent": "Summarise Sui governance proposals",
    "resource_type": "llm_tokens",
    "estimated_cost_usd": 0.035,
    "priority": 5,
    "logic_density": 3
  }'
"""


@pytest.fixture
def port() -> int:
    """A free one, for 8000 may be somebody else's."""
    return free_port()


@pytest.fixture
def home(tmp_path: Path, server_url: str, tenant: str) -> dict[str, str]:
    """The environment of a user who has nothing yet."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "TMPDIR", "AEGIS_TIMEZONE"}}
    return {
        **kept,
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "AEGIS_URL": server_url,
        "AEGIS_TENANT": tenant,
    }


def running(command: list[str], port: int, environment: dict[str, str], log: Path) -> Iterator[Path]:
    """A server as a process of its own, until the test is over; it must then end by itself."""
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield log
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in {0, -signal.SIGINT, 130}, log.read_text()
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def uvicorn(port: int, home: dict[str, str], tmp_path: Path) -> Iterator[Path]:
    command = [sys.executable, "-m", "uvicorn", "main:app", "--reload", "--port", str(port)]
    yield from running(command, port, home, tmp_path / "log")


def run(command: str, port: int) -> dict[str, object]:
    """A shell command of the quick start, on our port."""
    command = command.replace("localhost:8000", f"localhost:{port}").replace("curl -X", "curl -sS --noproxy '*' -X")
    return json.loads(subprocess.run(["sh", "-c", command], check=True, capture_output=True, timeout=60).stdout)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.usefixtures("uvicorn")
@pytest.mark.leaves("grants")
def test_the_quick_start_word_for_word(port: int, tmp_path: Path) -> None:
    session = run(HANDSHAKE, port)
    assert (session["agent_id"], session["max_priority"], session["session_budget_usd"]) == (
        "crew-researcher-01",
        7,
        2.5,
    )
    verdict = run(REQUEST, port)
    assert (verdict["status"], verdict["agent_id"]) == ("GRANTED", "crew-researcher-01")
    assert verdict["remaining_budget_usd"] == 9.965
    assert verdict["reason"]
    assert "gemini" in str(verdict["recommended_model"])
    assert str(verdict["granted_at"]).endswith("Z")
    secret = tmp_path / "data" / "aegis" / "operator-secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.read_text() not in (tmp_path / "log").read_text()


def test_serve_logs_nothing_but_json_and_says_where_it_is(port: int, home: dict[str, str], tmp_path: Path) -> None:
    program = (
        "from aegis_core.api.server import serve; from aegis_core.settings import load_settings; serve(load_settings())"
    )
    command = [sys.executable, "-c", program]
    for _ in running(command, port, {**home, "AEGIS_PORT": str(port)}, tmp_path / "log"):
        answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/ready", trust_env=False, timeout=30)
        assert (answer.status_code, "server" in answer.headers) == (200, False)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    first = next(line for line in lines if line["message"] == "serving")
    assert first["url"] == f"http://127.0.0.1:{port}"
    assert first["operator_secret_file"] == str(tmp_path / "data" / "aegis" / "operator-secret")
    assert [line["path"] for line in lines if line["message"] == "request"] == ["/api/v1/ready"]

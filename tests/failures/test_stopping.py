"""A server that is told to stop: what is under way ends, what waits is told to ask again, nothing is a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from machines import machine, until
from pydantic import SecretStr
from serving import OPERATOR, free_port, running

from aegis_core import Settings
from aegis_core.api.app import create_app

PAY = {"agent_id": "a", "task_intent": "Rent a machine", "resource_type": "api_call", "estimated_cost_usd": 7}


class Waiters:
    """One of each that waits, each in a thread; all of them are known to wait before the test goes on."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/api/v1"
        self.http = httpx.Client(base_url=self._url, timeout=60, trust_env=False)
        self.http.post("/handshake", json={"agent_id": "a"}).raise_for_status()
        self.http.post("/handshake", json={"agent_id": "b"}).raise_for_status()
        lock = {"agent_id": "a", "ttl_seconds": 3600}
        self.http.post("/locks/w/acquire", json=lock).raise_for_status()
        self._threads = ThreadPoolExecutor(5)
        self.answers = {
            "request": self._ask("POST", "/request-permission?wait=30", json=PAY | {"request_id": "mine"}),
            "lock": self._ask("POST", "/locks/w/acquire?wait=30", json={"agent_id": "b"}),
        }
        self.stream = self._threads.submit(self._follow)
        until(self._all_wait)
        self.answers["events"] = self._ask("GET", "/events?after=$&wait=30")  # now that nothing more happens
        for _ in range(3):  # it was sent before these; and one that comes when the server stops is told the same
            self.http.get("/events").raise_for_status()

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        return self._threads.submit(
            lambda: httpx.request(method, self._url + path, timeout=60, trust_env=False, **more)
        )

    def _follow(self) -> str:
        with httpx.stream("GET", f"{self._url}/events/stream", timeout=60, trust_env=False) as answer:
            return "".join(answer.iter_text())

    def _all_wait(self) -> bool:
        kinds = [event["kind"] for event in self.http.get("/events").json()["events"]]
        (lock,) = self.http.get("/locks").json()["locks"]
        return "pending" in kinds and bool(lock["queued"])

    def judge(self) -> None:
        """What became of each."""
        for name, future in self.answers.items():
            answer = future.result(30)
            assert (answer.status_code, answer.headers.get("retry-after")) == (503, "1"), name
            assert answer.json()["code"] == "stopping"
            assert "ask again, with the same request_id" in answer.json()["detail"]
        assert self.stream.result(30).startswith("retry: 1000")
        self.http.close()
        self._threads.shutdown()


@pytest.mark.leaves("grants", "questions", "leases")
def test_what_waits_is_told_to_ask_again_and_a_stream_ends(settings: Settings) -> None:
    settings = settings.model_copy(update={"operator_secret": SecretStr(OPERATOR), "log_level": "error"})
    app = create_app(settings)
    with running(uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=20)) as url:
        waiters = Waiters(url)
        app.state.stopping.begin()
        waiters.judge()
        again = httpx.post(f"{url}/api/v1/request-permission", json=PAY | {"request_id": "mine"}, trust_env=False)
        assert again.json()["status"] == "PENDING", "what was asked waits on"
        late = httpx.get(f"{url}/api/v1/events?after=$&wait=30", timeout=60, trust_env=False)
        assert (late.status_code, late.json()["code"]) == (503, "stopping")


@pytest.mark.deep
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["aegis serve", "uvicorn"])
def test_a_server_that_gets_the_signal(tmp_path: Path, command: str, number: signal.Signals) -> None:
    port = free_port()
    start = {
        "aegis serve": ["-c", "from aegis_core.cli import main; main()", "serve", "--port", str(port)],
        "uvicorn": ["-m", "uvicorn", "main:app", "--port", str(port), "--app-dir", str(Path(__file__).parents[2])],
    }[command]
    with machine(tmp_path / "redis") as server, (tmp_path / "log").open("w") as log:
        place = {"AEGIS_URL": server.url, "AEGIS_OPERATOR_SECRET": OPERATOR, "AEGIS_DATA_DIR": str(tmp_path)}
        with subprocess.Popen([sys.executable, *start], cwd=tmp_path, env=place, stdout=log, stderr=log) as process:
            url = f"http://127.0.0.1:{port}"
            until(lambda: _ready(url), 120)
            waiters = Waiters(url)
            busy = _Busy(url)
            began = time.monotonic()
            process.send_signal(number)
            waiters.judge()
            process.wait(30)
            took = time.monotonic() - began
            busy.judge()
        assert took < 5, "it waited for what waits"
    told = (tmp_path / "log").read_text()
    assert "Traceback" not in told
    assert "unforeseen" not in told
    assert told.count("/budget/a") == len(busy.statuses), "a request that was begun got no answer"


class _Busy:
    """Requests that do not wait, one after the other until there is no server any more."""

    def __init__(self, url: str) -> None:
        self._url, self.statuses = f"{url}/api/v1/budget/a", list[int]()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        until(lambda: len(self.statuses) > 3)

    def _run(self) -> None:
        while True:
            try:
                self.statuses.append(httpx.get(self._url, timeout=60, trust_env=False).status_code)
            except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError):
                # It takes no new connections. One that the kernel had taken already is reset before anybody reads what
                # was asked: that nothing was begun for it, the server's log tells.
                return

    def judge(self) -> None:
        self._thread.join(30)
        assert set(self.statuses) == {200}


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v1/ready", timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False

"""The table: each failure of Redis through each door, with the sentence that is said, within the time that is set."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from machines import Machine, machine
from serving import serving
from terminal import run_aegis

from aegis_core import AegisError, connect_sync
from aegis_core.testing import private_settings

PATIENCE, BOUND = 2.0, 1.3
WISH = {"agent_id": "a", "task_intent": "Rent", "resource_type": "api_call", "estimated_cost_usd": "0.01"}


class Row(NamedTuple):
    """A failure: how it comes and goes, and what is said. `first`: to a request of the library that was sent already.
    Of each the beginning. `reads`: what is only read can still be read."""

    breaks: Callable[[Machine], Any]
    mends: Callable[[Machine], Any]
    reason: str
    said: str
    first: str = ""
    reads: bool = False


UNREACHABLE = (
    r"Redis (?:at redis://127\.0\.0\.1:\d+ cannot be reached \(.+\); no decision was made\."
    r"|did not answer within (?:2 s; no decision was made\.|0\.8 s\.))"  # the second of `/ready`, which waits less
)
REJOIN = r"whether request [0-9a-f-]{36} was decided is not known\. Ask again with this request_id"
FULL = r"Redis is out of memory; raise maxmemory: CONFIG SET maxmemory SIZE; no decision was made\."
REPLICA = r"Redis is read-only \(a replica\?\); point AEGIS_URL at the primary; no decision was made\."
LOST = (
    r"Redis no longer holds the state of tenant default: it was emptied, or another volume is mounted\. "
    r"No decision was made, for every budget would start anew\. Restore a backup; or accept the loss with `aegis"
)
TABLE = {
    "killed": Row(Machine.end, Machine.start, "down", UNREACHABLE, f"Redis closed the connection; {REJOIN}"),
    "hung": Row(Machine.stop, Machine.go_on, "slow", UNREACHABLE, f"Redis did not answer within 2 s; {REJOIN}"),
    "full": Row(
        lambda it: it.client.config_set("maxmemory", 1), lambda it: it.client.config_set("maxmemory", 0), "full", FULL,
        reads=True,
    ),
    "a replica": Row(
        lambda it: it.client.replicaof("127.0.0.1", 1), lambda it: it.client.replicaof("NO", "ONE"), "read_only",
        REPLICA,
    ),
    "emptied": Row(lambda it: it.client.flushall(), lambda _: None, "state_lost", LOST),
}  # fmt: skip


class Clock:
    """That nobody waits longer than is set; what a command needs to begin comes on top."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def lap(self, door: str, more: float = 0) -> None:
        """One answer came."""
        now = time.monotonic()
        assert now - self._began < BOUND * PATIENCE + more, door
        self._began = now


@pytest.mark.parametrize("failure", TABLE)
def test_each_door_says_what_failed_in_time(
    failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = TABLE[failure]
    monkeypatch.chdir(tmp_path)
    with machine(tmp_path / "redis") as server:
        settings = private_settings(url=server.url, store_timeout_seconds=PATIENCE)
        with (
            connect_sync(settings=settings) as governor,
            serving(settings) as url,
            httpx.Client(base_url=url, trust_env=False, timeout=60) as http,
        ):
            agent = governor.handshake("a")
            agent.request("Rent", resource_type="api_call", estimated_cost_usd="0.01")
            assert http.get("/api/v1/ready").status_code == 200
            row.breaks(server)
            clock = Clock()
            try:
                with pytest.raises(AegisError) as caught:
                    agent.request("Rent", resource_type="api_call", estimated_cost_usd="0.01")
                clock.lap("library")
                sent = row.first and re.match(
                    row.first, caught.value.message
                )  # unless the connection was seen to close
                assert sent or re.match(row.said, caught.value.message), caught.value.message
                assert caught.value.facts["reason"] == row.reason
                assert ("request_id" in caught.value.facts) == bool(sent)
                for method, path, body in (
                    ("POST", "/api/v1/request-permission", WISH), ("GET", "/api/v1/ready", None),
                    ("GET", "/api/v1/budget/a", None),
                ):  # fmt: skip
                    answer = http.request(method, path, json=body)
                    clock.lap(path)
                    if row.reads and path.endswith("/a"):
                        assert answer.status_code == 200
                        continue
                    problem = answer.json()
                    assert (answer.status_code, problem.get("reason")) == (503, row.reason), problem
                    assert re.match(row.said, problem["detail"]), problem["detail"]
                figures = http.get("/metrics").text
                clock.lap("/metrics")
                up = row.reads
                assert f"aegis_store_up {float(up)}" in figures
                place = {
                    "AEGIS_URL": server.url, "AEGIS_DATA_DIR": tmp_path, "AEGIS_STORE_TIMEOUT_SECONDS": PATIENCE,
                    "AEGIS_EXPECT_STATE": "true",
                }  # fmt: skip
                code, out, err = run_aegis(monkeypatch, capsys, "budget", "show", "a", environment=place)
                clock.lap("command line", more=30)
                assert (code, out) == (1, "")
                assert re.match(f"aegis: {row.said}", err), err
            finally:
                row.mends(server)

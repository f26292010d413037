"""Servers and queues that load a program, which connects, and fork their workers after that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from serving import free_port

import aegis_core
from aegis_core import Settings

pytestmark = [pytest.mark.concurrent, pytest.mark.timeout(300)]

PATIENCE = 120.0
"""Seconds for what is a matter of a few on a quiet machine."""


@contextmanager
def running(settings: Settings, folder: Path, *command: str, **environment: str) -> Iterator[int]:
    """A command that serves until the block ends, and then ends in peace; answers its process."""
    variables = {
        **os.environ, "AEGIS_URL": settings.url, "AEGIS_TENANT": settings.tenant, "PYTHONPATH": str(Path.cwd()),
        "PYTHONWARNINGS": "ignore", **environment,
    }  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", *command], env=variables, stdout=log, stderr=log)
        try:
            yield process.pid
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0, (folder / "log").read_text()
        finally:
            process.kill()
            process.wait()


def until(said: Callable[[], str | None], log: Path) -> str:
    end = time.monotonic() + PATIENCE
    while (found := said()) is None:
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)
    return found


def spent(settings: Settings) -> Decimal:
    with aegis_core.connect_sync(settings=settings) as governor:
        (day, *_) = governor.budget("preloaded").budgets
        assert day.reserved_usd == 0
        return day.spent_usd


def test_workers_of_gunicorn_ask(settings: Settings, tmp_path: Path) -> None:
    """With ``--preload`` they share the agent, and each has a connection of its own."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["gunicorn", "--preload", "--workers", "2", "--bind", f"127.0.0.1:{port}", "tests.core.preloaded:app"]

    def ask() -> str | None:
        try:
            answer = httpx.get(url, timeout=30, trust_env=False)
        except httpx.ConnectError:
            return None
        assert answer.status_code == 200, answer.text
        return answer.text

    with running(settings, tmp_path, *command) as master:
        said = [until(ask, tmp_path / "log") for _ in range(8)]
    assert str(master) not in said
    assert spent(settings) == Decimal(2)


def test_a_prefork_pool_of_celery_asks(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parent has connected when it forks the pool."""
    queue = tmp_path / "queue"
    queue.mkdir()
    monkeypatch.setenv("CELERY_FOLDER", str(queue))
    command = ["celery", "-A", "tests.core.preloaded_tasks", "worker", "--pool", "prefork", "--concurrency", "2"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    send = "from tests.core.preloaded_tasks import made; print(made().send_task('spend').get(timeout=100))"
    with running(settings, tmp_path, *command, CELERY_LOADS="yes") as parent:
        program = [sys.executable, "-W", "ignore", "-c", f"{send}; {send}; {send}"]
        sent = subprocess.run(program, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert sent.returncode == 0, sent.stderr + (tmp_path / "log").read_text()
    assert str(parent) not in (said := sent.stdout.split())
    assert len(said) == 3
    assert spent(settings) == Decimal("0.75")

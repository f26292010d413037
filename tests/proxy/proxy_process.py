"""The proxy as a process of its own, and a Redis that can be killed: for tests in which one of them is."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

MESSAGE: dict[str, Any] = {
    "model": "claude-opus-4-6", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 900,
}  # fmt: skip
AEGIS = [sys.executable, "-c", "from aegis_core.cli import main; main()"]


class Running:
    """A proxy that serves."""

    def __init__(self, process: subprocess.Popen[str], url: str, log: list[str]) -> None:
        self.process, self.url, self.log = process, url, log


@contextmanager
def running_proxy(environment: dict[str, str], folder: Path, *options: str) -> Iterator[Running]:
    with subprocess.Popen(
        [*AEGIS, "proxy", "--port", "0", *options], env=environment, cwd=folder, text=True, stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        log: list[str] = []
        try:
            for line in process.stderr:
                log.append(line)
                if '"serving"' in line:
                    break
            assert log, "the proxy ended"
            url = json.loads(log[-1])["url"]
            reader = threading.Thread(target=lambda: log.extend(process.stderr or ()), daemon=True)
            reader.start()
            until = time.monotonic() + 60
            while True:
                try:
                    httpx.get(f"{url}/aegis/health", timeout=5, trust_env=False)
                    break
                except httpx.HTTPError:
                    assert process.poll() is None, "".join(log)
                    assert time.monotonic() < until, "".join(log)
            yield Running(process, url, log)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(30)


def commanded(environment: dict[str, str], folder: Path, *command: str) -> str:
    done = subprocess.run(
        [*AEGIS, *command], env=environment, cwd=folder, text=True, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def wait_for(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    raise AssertionError("redis-server does not answer")

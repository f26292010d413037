"""A Redis of a test's own that it may stop, empty, kill or misconfigure; ended by its own process handle."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from serving import free_port

from aegis_core.store.embedded import find_binary


class Machine:
    """One server process.

    Attributes:
        port: of loopback.
        client: a connection that the test may use.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self._folder, self._options = free_port(), folder, options
        self.client: Any = redis.Redis(port=self.port, protocol=2, single_connection_client=False)
        self._process: subprocess.Popen[bytes]
        self.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, again where it was ended, and wait until it answers."""
        arguments = [str(find_binary()), *self._options, "--port", str(self.port), "--bind", "127.0.0.1"]
        files = ["--dir", str(self._folder), "--logfile", "log.txt", "--save", ""]
        self._process = subprocess.Popen([*arguments, *files], stdin=subprocess.DEVNULL)
        until(self._answers)

    def end(self) -> None:
        """End it at once, as a crash does."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Let it answer nothing while its port accepts connections."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except (redis.AuthenticationError, redis.ResponseError):
            return True
        except redis.RedisError:
            return False

    def close(self) -> None:
        """End it, stopped or not."""
        with suppress(redis.RedisError):
            self.client.close()
        self.end()


@contextmanager
def machine(folder: Path, *options: str) -> Iterator[Machine]:
    """A server for a while."""
    opened = Machine(folder, *options)
    try:
        yield opened
    finally:
        opened.close()


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for a condition.

    Raises:
        AssertionError: it did not come true.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.05)

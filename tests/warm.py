"""Runs commands of ``aegis`` and programs in forks of one process that has loaded the project.

To load it takes most of the second that each command of a page needs. ``python warm.py SOCKET`` serves; a stand-in for
``aegis`` (`STAND_IN`), or `Warm.run`, hands over its streams, folder, environment and arguments, and ends as the
command did. Everything else is what a command does by itself.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from runpy import run_path
from select import select
from tempfile import TemporaryFile
from typing import Any

LONGEST = 1 << 20
"""Bytes of what is handed over at most."""

STAND_IN = """#!{python} -ISs
import array, json, os, signal, socket, sys

with socket.socket(socket.AF_UNIX) as line:
    line.connect({socket!r})
    wish = {{"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
    streams = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
    text = json.dumps(wish).encode()
    sent = line.sendmsg([text], streams)
    line.sendall(text[sent:])
    line.shutdown(socket.SHUT_WR)
    child, _, ended = line.recv(32).decode().partition(" ")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(int(child), number))
    ended = int(ended or line.recv(16) or b"99")
if ended < 0:
    signal.signal(-ended, signal.SIG_DFL)
    os.kill(os.getpid(), -ended)
sys.exit(ended)
"""
"""A command's number comes first, so that signals reach it, and its exit code when it has ended."""


@dataclass(frozen=True)
class Warm:
    """The process, to those who ask it.

    Attributes:
        place: its socket.
        commands: a folder with the command that asks it.
    """

    place: Path
    commands: Path

    def run(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run what ``aegis`` does with these arguments, or a program or a file as ``python`` would."""
        with TemporaryFile() as out, TemporaryFile() as problems:
            code = self.start(arguments, folder, environment, out.fileno(), problems.fileno()).wait()
            said = []
            for each in (out, problems):
                each.seek(0)
                said.append(each.read().decode())
        return subprocess.CompletedProcess(list(arguments), code, *said)

    def start(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], out: int | None = None,
        problems: int | None = None,
    ) -> Started:  # fmt: skip
        """The same, and answer when it has begun.

        Args:
            arguments: of ``aegis``, or of ``python`` where the first is ``-c`` or a file.
            folder: where it runs.
            environment: what it sees.
            out: the file that its standard output goes to, by number; by default nowhere.
            problems: the same of standard error.
        """
        wish = {"arguments": list(arguments), "folder": str(folder), "environment": dict(environment)}
        text = json.dumps(wish).encode()
        line = socket.socket(socket.AF_UNIX)
        line.connect(str(self.place))
        with Path(os.devnull).open("r+b") as nothing:
            streams = [nothing.fileno() if each is None else each for each in (None, out, problems)]
            sent = socket.send_fds(line, [text], streams)
        line.sendall(text[sent:])
        line.shutdown(socket.SHUT_WR)
        return Started(line)


class Started:
    """A command that runs, with what tests use of a `subprocess.Popen`. It leads a group of its own.

    Attributes:
        pid: its number.
    """

    def __init__(self, line: socket.socket) -> None:
        self._line, self._code = line, ""
        begun = line.recv(32).decode()
        while " " not in begun:
            begun += line.recv(32).decode()
        number, _, self._code = begun.partition(" ")
        self.pid = int(number)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended.

        Raises:
            TimeoutError: it has not within so many seconds.
        """
        if self._line.fileno() >= 0:
            self._line.settimeout(timeout)
            while more := self._line.recv(32).decode():
                self._code += more
            self._line.close()
        return int(self._code or 99)

    def poll(self) -> int | None:
        """The same, or nothing while it runs."""
        if self._line.fileno() < 0 or select([self._line], [], [], 0)[0]:
            return self.wait()
        return None

    def send_signal(self, number: int) -> None:
        """Send it, unless the command has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


@contextmanager
def warmed(folder: Path) -> Iterator[Warm]:
    """A process that has loaded the project, until the block ends."""
    there = Warm(folder / "s", folder / "bin")
    there.commands.mkdir()
    command = there.commands / "aegis"
    command.write_text(STAND_IN.format(python=sys.executable, socket=str(there.place)))
    command.chmod(0o755)
    with subprocess.Popen([sys.executable, __file__, there.place], cwd=Path(__file__).parents[1]) as process:
        until = time.monotonic() + 120
        while not there.place.exists():
            assert process.poll() is None, "it ended"
            assert time.monotonic() < until, "it did not load in time"
            time.sleep(0.02)
        yield there
        process.terminate()


def serve(place: str) -> None:
    """Fork for each connection, until the process is ended."""
    import aegis_core.cli
    import aegis_core.connect
    import aegis_core.proxy.server
    import aegis_core.testing  # noqa: F401

    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{place}~")
        listener.listen(64)
        Path(f"{place}~").rename(place)  # what can be seen can be asked
        while True:
            line, _ = listener.accept()
            if not os.fork():  # what answers
                listener.close()
                _answer(line)
                os._exit(0)
            line.close()
            while _reaped():
                pass


def _reaped() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] > 0
    except ChildProcessError:
        return False


def _answer(line: socket.socket) -> None:
    text, streams, _, _ = socket.recv_fds(line, LONGEST, 3)
    while more := line.recv(LONGEST):
        text += more
    wish = json.loads(text)
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        line.close()
        os._exit(_run(wish, streams))
    for each in streams:
        os.close(each)
    line.sendall(f"{child} ".encode())
    line.sendall(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def _run(wish: dict[str, Any], streams: list[int]) -> int:
    for number, each in enumerate(streams):
        os.dup2(each, number)
        os.close(each)
    os.chdir(wish["folder"])
    os.environ.clear()
    os.environ.update(wish["environment"])
    code = 0
    try:
        _work(wish)()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1 if ended.code else 0
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _work(wish: dict[str, Any]) -> Callable[[], object]:
    if wish["arguments"][:1] == ["-c"]:
        sys.argv = ["-c", *wish["arguments"][2:]]
        return lambda: exec(compile(wish["arguments"][1], "<string>", "exec"), {"__name__": "__main__"})
    if wish["arguments"][0].endswith(".py"):
        sys.argv = wish["arguments"]
        sys.path.insert(0, str(Path(sys.argv[0]).parent))
        return partial(run_path, sys.argv[0], run_name="__main__")
    from aegis_core.cli import main

    sys.argv = ["aegis", *wish["arguments"]]
    return main


if __name__ == "__main__":
    serve(sys.argv[1])

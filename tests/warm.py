"""Runs commands of ``aegis`` and programs in forks of one process that has loaded the project.

To load it takes most of the second that each command of a page needs. ``python warm.py SOCKET`` serves; a stand-in for
``aegis`` (`STAND_IN`), or `Warm.run`, hands over its streams, folder, environment and arguments, and ends as the
command did. Everything else is what a command does by itself.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
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
        """Run what ``aegis`` does with these arguments, or a program as ``python -c`` would."""
        wish = {"arguments": list(arguments), "folder": str(folder), "environment": dict(environment)}
        text = json.dumps(wish).encode()
        with socket.socket(socket.AF_UNIX) as line, TemporaryFile() as out, TemporaryFile() as problems:
            line.connect(str(self.place))
            with Path(os.devnull).open("rb") as nothing:
                sent = socket.send_fds(line, [text], [nothing.fileno(), out.fileno(), problems.fileno()])
            line.sendall(text[sent:])
            line.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: line.recv(32), b"")).decode()
            said = []
            for each in (out, problems):
                each.seek(0)
                said.append(each.read().decode())
        return subprocess.CompletedProcess(list(arguments), int(answer.partition(" ")[2] or 99), *said)


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
    import aegis_core.governor.governor
    import aegis_core.testing  # noqa: F401

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
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _work(wish: dict[str, Any]) -> Callable[[], object]:
    if wish["arguments"][:1] == ["-c"]:
        sys.argv = ["-c"]
        return lambda: exec(compile(wish["arguments"][1], "<string>", "exec"), {"__name__": "__main__"})
    from aegis_core.cli import main

    sys.argv = ["aegis", *wish["arguments"]]
    return main


if __name__ == "__main__":
    serve(sys.argv[1])

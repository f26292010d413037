"""Runs commands of ``aegis`` and programs in forks of one process that has loaded the project.

To load it takes most of the second that each command of a page needs. ``python warm.py SOCKET`` serves; a stand-in for
``aegis`` (`STAND_IN`), or `run_program`, hands over its streams, folder, environment and arguments, and ends as the
command did. Everything else is what a command does by itself.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
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


def run_program(place: str, program: str, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run a program as ``python -c`` would; answers its exit code, and what it prints."""
    ours, theirs = os.pipe()
    with socket.socket(socket.AF_UNIX) as line, open(ours, "rb") as printed, open(os.devnull, "rb") as nothing:
        line.connect(place)
        wish = {"program": program, "folder": str(folder), "environment": environment}
        text = json.dumps(wish).encode()
        sent = socket.send_fds(line, [text], [nothing.fileno(), theirs, theirs])
        os.close(theirs)
        line.sendall(text[sent:])
        line.shutdown(socket.SHUT_WR)
        said = printed.read().decode()
        answer = b"".join(iter(lambda: line.recv(32), b"")).decode()
        return int(answer.partition(" ")[2] or 99), said


def serve(place: str) -> None:
    """Fork for each connection, until the process is ended."""
    import aegis_core.cli
    import aegis_core.governor.governor
    import aegis_core.testing  # noqa: F401

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen(64)
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
    if "program" in wish:
        sys.argv = ["-c"]
        return lambda: exec(compile(wish["program"], "<string>", "exec"), {"__name__": "__main__"})
    from aegis_core.cli import main

    sys.argv = ["aegis", *wish["arguments"]]
    return main


if __name__ == "__main__":
    serve(sys.argv[1])

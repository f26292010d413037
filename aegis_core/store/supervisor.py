"""The supervisor of the embedded server: starts it, restarts it after a crash, stops it when its last user has gone.

It runs by path in a bare interpreter and outlives its starter, so it imports the few modules that load in
milliseconds and nothing of Aegis. Who lives is told by ``flock``, never by pid files: the kernel frees a lock
however its holder ends, SIGKILL included.

=============  =======================================================================================
lock           held by
=============  =======================================================================================
users.lock     every user, shared. The supervisor waits for it exclusively: granted means that all are gone.
keeper.lock    the supervisor. Its starter takes it and hands it over open, so nobody sees it free meanwhile.
server.lock    the server process itself, handed over likewise; hence never two servers on one directory.
=============  =======================================================================================

A server whose supervisor was killed is adopted by the next one without a special case: starting begins with waiting
for server.lock, and a living server holds it. On its way out the supervisor frees server.lock, keeper.lock and
users.lock in that order, so that a newcomer who gets the last one cannot mistake the others for alive.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

USERS, SUPERVISOR, SERVER = "users.lock", "keeper.lock", "server.lock"  # names that earlier versions lock, too
STAY, LOG, SOCKET = "stay", "server.log", "aegis.sock"
RESTARTS = 5
RESTART_WINDOW = 60.0
STOP_SECONDS = 10.0
LOG_BYTES = 256 * 1024
SOCKET_PATH_BYTES = 100  # macOS takes 103, Linux 107


def socket_of(directory: str) -> str:
    """The socket of a directory: inside it, or in a short directory where the system would not take that path."""
    path = directory + "/" + SOCKET
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
        return path
    import hashlib

    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]
    return f"/tmp/aegis-{os.geteuid()}-{digest}/{SOCKET}"  # noqa: S108 - made and checked as private by who joins


def ask(socket_path: str, command: bytes, timeout: float = 0.25) -> bytes:
    """Send one inline command and return the first bytes of the answer, empty when the server hung up.

    Raises:
        OSError: nobody listens, or nobody answered in time.
    """
    import socket  # late: a supervisor needs it only at the end, and it is the slowest import here

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(timeout)
        channel.connect(socket_path)
        channel.sendall(command)
        try:
            return channel.recv(512)
        except ConnectionError:
            return b""


def answers(socket_path: str) -> bool:
    """Whether a server is ready to serve."""
    try:
        return ask(socket_path, b"PING\r\n").startswith(b"+PONG")
    except OSError:
        return False


def last_line(log: str) -> str:
    """The last thing the log says, for an error message."""
    try:
        with open(log, "rb") as file:  # noqa: PTH123
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = [line.strip() for line in file.read().decode(errors="replace").split("\n")]
    except OSError:
        return "there is no log"
    return next((line for line in reversed(lines) if line), "the log is empty")


def last_word(pipe: int) -> bytes | None:
    """How a supervisor ended, by its pipe: None while it lives, a byte when it gave up, empty when it was killed."""
    try:
        return os.read(pipe, 1)
    except BlockingIOError:
        return None


def open_lock(directory: str, name: str) -> int:
    """Open a lock file of the directory; the descriptor is not inherited by programs started later."""
    return os.open(os.path.join(directory, name), os.O_RDWR | os.O_CREAT, 0o600)  # noqa: PTH118 - no pathlib here


def try_lock(descriptor: int, kind: int) -> bool:
    """Take a lock if that is possible at once."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def server_lives(directory: str) -> bool:
    """Whether a server process holds the directory, answering or not."""
    descriptor = open_lock(directory, SERVER)
    try:
        return not try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def in_use(directory: str) -> bool:
    """Whether the directory has users. A supervisor that holds their lock exclusively is none."""
    descriptor = open_lock(directory, USERS)
    try:
        if try_lock(descriptor, fcntl.LOCK_EX) or not try_lock(descriptor, fcntl.LOCK_SH):
            return False
        return not try_lock(descriptor, fcntl.LOCK_EX)  # a supervisor, or another who asks, has let go meanwhile
    finally:
        os.close(descriptor)


def read_pid(directory: str) -> int | None:
    """The pid that the supervisor noted for the server; it means something only while server.lock is held."""
    descriptor = open_lock(directory, SERVER)
    try:
        text = os.pread(descriptor, 32, 0)
    finally:
        os.close(descriptor)
    return int(text) if text.isdigit() and int(text) > 1 else None


def status(directory: str) -> dict[str, object]:
    """What can be told from outside."""
    there = os.path.exists(directory + "/" + USERS)  # noqa: PTH110
    running = there and server_lives(directory)
    return {
        "directory": directory,
        "socket": socket_of(directory),
        "log": directory + "/" + LOG,
        "running": running,
        "answers": running and answers(socket_of(directory)),
        "pid": read_pid(directory) if running else None,
        "stay": os.path.exists(directory + "/" + STAY),  # noqa: PTH110
        "in_use": there and in_use(directory),
    }


class Supervisor:
    """The supervision of one server: :meth:`watch` runs in a thread of its own, :meth:`run` in the main one."""

    def __init__(self, directory: str, binary: str, pipe: int, *, throwaway: bool) -> None:
        self.directory, self.binary, self.pipe, self.throwaway = directory, binary, pipe, throwaway
        self.socket_path = socket_of(directory)
        self.log = directory + "/" + LOG
        self.child: int | None = None
        self.starts: list[float] = []
        self.spawning = threading.Lock()
        self.stopping = threading.Event()
        self.gone = threading.Event()

    def command(self) -> list[str]:
        """The command line of the server; one that reads no file, so nothing else can configure it."""
        return [
            *(self.binary, "--port", "0", "--unixsocket", self.socket_path, "--unixsocketperm", "700"),
            *("--dir", self.directory, "--logfile", self.log, "--daemonize", "no", "--protected-mode", "yes"),
            *("--save", "", "--appendonly", "no" if self.throwaway else "yes", "--appendfsync", "everysec"),
            *("--maxmemory-policy", "noeviction"),
        ]

    def watch(self) -> None:
        """Start the server whenever none lives, until told to stop."""
        try:
            self._watch()
        except OSError as error:
            self._give_up(f"cannot keep the server running: {error}")

    def _watch(self) -> None:
        while True:
            lock = open_lock(self.directory, SERVER)
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.ftruncate(lock, 0)  # the pid in it means nobody from here on
            self._refuse_hopeless()
            with self.spawning:
                if self.stopping.is_set():
                    os.close(lock)
                    self.gone.set()
                    return
                self._spawn(lock)
            os.close(lock)

    def _refuse_hopeless(self) -> None:
        """Reap the server that ended; give up when it would only end again, else wait longer each time."""
        child, self.child = self.child, None
        if child is not None:
            ending = os.waitpid(child, 0)[1]
            if os.WIFEXITED(ending) and os.WEXITSTATUS(ending) and not self.stopping.is_set():
                self._give_up()  # it refused to run, and its log says why; a crash ends by a signal
        now = time.monotonic()
        self.starts = [start for start in self.starts if now - start < RESTART_WINDOW]
        if len(self.starts) > RESTARTS and not self.stopping.is_set():
            self._give_up(f"the server ended {len(self.starts)} times in {RESTART_WINDOW:.0f} s; not starting it again")
        if self.starts:
            self.stopping.wait(0.05 * 2 ** (len(self.starts) - 1))

    def _spawn(self, lock: int) -> None:
        _quietly(os.unlink, self.socket_path)
        self._rotate()
        os.set_inheritable(lock, True)
        self.starts.append(time.monotonic())
        defaults = [signal.SIGINT, signal.SIGTERM]
        self.child = os.posix_spawn(self.binary, self.command(), os.environ, setsigmask=[], setsigdef=defaults)
        os.pwrite(lock, str(self.child).encode(), 0)

    def run(self, own_lock: int) -> None:
        """Wait until nobody uses the server, then stop it, unless it was asked to stay."""
        users = open_lock(self.directory, USERS)
        threading.Thread(target=self.watch, daemon=True).start()
        fcntl.flock(users, fcntl.LOCK_EX)
        self.stopping.set()
        with self.spawning:
            pass  # from here on `watch` starts nothing
        if not os.path.exists(self.directory + "/" + STAY):  # noqa: PTH110
            self._stop()
            self._clean()
        os.close(own_lock)
        os.close(users)

    def _stop(self) -> None:
        """Ask over the socket, which is heeded at once; a SIGTERM waits for the server's next tick."""
        try:
            refusal = ask(self.socket_path, b"SHUTDOWN NOSAVE\r\n", timeout=1)
        except (OSError, ImportError):  # a library may be upgraded away under a process as old as this
            refusal = b"no answer"
        if refusal:
            self._signal(signal.SIGTERM)
        if not self.gone.wait(STOP_SECONDS):
            self._signal(signal.SIGKILL)
            self.gone.wait(STOP_SECONDS)

    def _signal(self, number: int) -> None:
        pid = self.child or read_pid(self.directory)
        if pid and not self.gone.is_set():
            _quietly(os.kill, pid, number)

    def _clean(self) -> None:
        _quietly(os.unlink, self.socket_path)
        room = os.path.dirname(self.socket_path)  # noqa: PTH120
        if room != self.directory:
            _quietly(os.rmdir, room)
        if self.throwaway:
            import shutil

            shutil.rmtree(self.directory, ignore_errors=True)

    def _rotate(self) -> None:
        """Keep the log and one older file, each of bounded size; the server reopens its log for every line."""
        if os.path.exists(self.log) and os.stat(self.log).st_size > LOG_BYTES:  # noqa: PTH110, PTH116
            os.replace(self.log, self.log + ".1")  # noqa: PTH105
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)

    def _give_up(self, why: str = "") -> None:
        if why:
            os.write(2, f"supervisor: {why}\n".encode())
        _quietly(os.write, self.pipe, b"!")
        os._exit(1)  # from any thread; the kernel frees the locks


def _quietly(action: Callable[..., object], *arguments: object) -> None:
    try:  # noqa: SIM105 - contextlib is not loaded in the supervisor
        action(*arguments)
    except OSError:
        pass


def main(arguments: list[str]) -> None:
    """Detach from the starter and supervise: DIRECTORY BINARY OWN_LOCK_FD PIPE_FD throwaway|lasting."""
    directory, binary, own_lock, pipe, kind = arguments
    if os.fork():
        os._exit(0)  # the starter reaps this parent at once; the supervisor belongs to init and never is its zombie
    os.umask(0o077)
    for descriptor in (int(own_lock), int(pipe)):
        os.set_inheritable(descriptor, False)  # else the server would keep them open after we have ended
    Supervisor(directory, binary, int(pipe), throwaway=kind == "throwaway").run(int(own_lock))
    os._exit(0)  # the watching thread may still wait for a server that stays


if __name__ == "__main__":
    main(sys.argv[1:])

"""A place without a network: its loopback holds one port, and what listens there is served from outside of it.

A socket stays in the namespace in which it was made, so the listener is made inside, handed out, and the proxy accepts
from it here, where its provider is. Whatever runs inside reaches the proxy and nothing else: no other port of this
machine, no other machine, no name server.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PORT = 8080
"""As the documentation has it; nobody else is there."""
URL = f"http://127.0.0.1:{PORT}"
INSIDE = f"""
import fcntl, socket, struct, sys
link = socket.socket(fileno=int(sys.argv[1]))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    up_and_running = struct.pack("16sh22x", b"lo", 0x1 | 0x40)
    fcntl.ioctl(probe, 0x8914, up_and_running)  # SIOCSIFFLAGS
with socket.create_server(("127.0.0.1", {PORT}), backlog=128) as listener:
    socket.send_fds(link, [b"there"], [listener.fileno()])
link.recv(1)  # until the other end is closed
"""
LONGEST = 240


@dataclass(frozen=True)
class Apart:
    """The place. `listener` is its one port, to be served."""

    listener: socket.socket
    entering: tuple[str, ...]

    def run(
        self, command: Sequence[str | Path], environment: Mapping[str, str], folder: Path
    ) -> subprocess.CompletedProcess[str]:
        """Run a program there to its end."""
        return subprocess.run(
            [*self.entering, *command], env=dict(environment), cwd=folder, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="replace", timeout=LONGEST, check=False,
        )  # fmt: skip


@contextmanager
def apart() -> Iterator[Apart]:
    """Make one, until the block ends. Where that is not allowed the test is skipped, and says why."""
    unshare, nsenter = shutil.which("unshare"), shutil.which("nsenter")
    if unshare is None or nsenter is None:
        pytest.skip("needs unshare and nsenter of Linux, for a network namespace")
    own = os.geteuid() != 0  # others than root need a namespace of users around it
    tried = [unshare, "--net", *(["--map-root-user"] if own else [])]
    allowed = subprocess.run([*tried, "true"], capture_output=True, text=True, check=False)
    if allowed.returncode != 0:
        pytest.skip(f"this machine allows no network namespace: {allowed.stderr.strip()}")
    here, there = socket.socketpair()
    with here, subprocess.Popen(
        [*tried, sys.executable, "-c", INSIDE, str(there.fileno())], pass_fds=[there.fileno()]
    ) as holder:  # fmt: skip
        there.close()
        try:
            here.settimeout(LONGEST)
            _, (descriptor,), *_ = socket.recv_fds(here, 16, 1)
            more = ["--user", "--preserve-credentials"] if own else []
            with socket.socket(fileno=descriptor) as listener:
                yield Apart(listener, (nsenter, "--net", *more, "--target", str(holder.pid), "--"))
        finally:
            here.close()
            holder.wait(LONGEST)

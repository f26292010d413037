"""Which process this is, known without asking the system, which takes longer than a check may; and what a fork leaves.

A forked child has the memory of its parent, but none of its threads: what they worked on stands still for ever.
"""

from __future__ import annotations

import os
import threading
from weakref import WeakSet

from aegis_core.protocol.errors import ConfigurationError


class Process:
    """This process."""

    id = os.getpid()
    """Its number, in a forked child another one than in its parent."""


_locks: WeakSet[threading.Lock] = WeakSet()


def new_lock() -> threading.Lock:
    """A lock that a forked child finds free: whichever thread of its parent held it, it has no such thread."""
    lock = threading.Lock()
    _locks.add(lock)
    return lock


def check_process(owner: int, what: str = "connection") -> None:
    """Refuse what belongs to another process.

    Args:
        owner: the id of the process that made it.
        what: it is.

    Raises:
        ConfigurationError: this process was forked of that one.
    """
    if owner != Process.id:
        raise ConfigurationError(
            f"This {what} is that of process {owner}, of which this one ({Process.id}) was forked. A child needs its "
            "own: open `aegis_core.connect` in it, or use `connect_sync`, whose governors and agents connect anew.",
            code="forked",
        )


def _forked() -> None:
    Process.id = os.getpid()
    for lock in list(_locks):
        if lock.locked():
            lock.release()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forked)

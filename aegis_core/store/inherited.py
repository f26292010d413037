"""Sockets that a forked child inherits, and lets go of.

Through them it could speak in its parent's name. And as long as they stayed open in a child, the server would take a
parent that was killed for one that still listens, and hand it locks.
"""

from __future__ import annotations

import asyncio
import os
from typing import Protocol
from weakref import WeakSet


class SocketHolder(Protocol):
    """A connection whose protocol is our own."""

    transport: asyncio.Transport
    lost: bool


_open: WeakSet[SocketHolder] = WeakSet()


def keep_apart(holder: SocketHolder) -> None:
    """Let children that are forked from now on lose this connection, which its own process keeps."""
    _open.add(holder)


def closed(holder: SocketHolder) -> None:
    """It is closed, so its descriptor may soon be that of something else."""
    _open.discard(holder)


def _let_go() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for holder in list(_open):
        holder.lost = True
        socket = None if holder.transport.is_closing() else holder.transport.get_extra_info("socket")
        if socket is not None and (descriptor := socket.fileno()) >= 0:
            # Closing it would tell the selector, which a child shares with its parent, to watch it no longer.
            os.dup2(nowhere, descriptor, inheritable=False)
    os.close(nowhere)
    _open.clear()


os.register_at_fork(after_in_child=_let_go)

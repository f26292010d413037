"""The way from governors, agents and locks to what carries their calls out: in each process its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from aegis_core.client.portal import Portal
from aegis_core.client.ports import GovernorPort
from aegis_core.protocol.process import Process, check_process, new_lock

_moving = new_lock()


class _Connected(Protocol):
    @property
    def port(self) -> GovernorPort: ...


Opening = Callable[[], AbstractAsyncContextManager[_Connected]]
"""Connects anew to the same governor, as an asynchronous context manager."""


class Connection:
    """A governor's port, and the event loop in which it works.

    A forked child inherits neither the thread of the loop nor the right to the sockets. There `here` connects anew, in
    a loop of the child's own; what the parent holds (grants, leases, questions) stays the parent's.

    Args:
        port: what carries the calls out.
        opening: how a child connects; None: it cannot.
    """

    def __init__(self, port: GovernorPort, opening: Opening | None = None) -> None:
        self._port, self._opening = port, opening
        self._portal: Portal | None = None
        self._process = Process.id
        self.loop = asyncio.get_running_loop()
        """The event loop in which its methods are awaited."""

    @property
    def port(self) -> GovernorPort:
        """What carries the calls out.

        Raises:
            ConfigurationError: this is a forked child, and has not connected anew.
        """
        check_process(self._process)
        return self._port

    def live_in(self, portal: Portal) -> None:
        """It works in the loop of a portal, which plain code calls through."""
        self._portal, portal.settle = portal, self.here

    def here(self) -> None:
        """Make sure, in plain code, that the connection is this process's own.

        Raises:
            ConfigurationError: this is a forked child, and how to connect is not known.
            AegisError: it cannot connect; the next call tries again.
        """
        if self._process != Process.id:
            with _moving:
                if self._process != Process.id:  # no other thread of the child was faster
                    self._move()

    def _move(self) -> None:
        if self._opening is None:
            check_process(self._process)
            return
        portal = self._portal
        if portal is None:
            portal = Portal()
        else:
            portal.begin_anew()
        try:
            port = portal.enter(self._opening()).port
        except BaseException:
            portal.close()
            raise
        self._port, self._portal, self.loop, self._process = port, portal, portal.loop, Process.id

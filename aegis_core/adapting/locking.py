"""Locks for tools: which tool needs which, and the lease that is held while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aegis_core.adapting.calls import ToolCall
from aegis_core.client.agent import GovernedAgent
from aegis_core.client.leases import HELD, Lease, seconds
from aegis_core.client.lock_block import LockBlock
from aegis_core.protocol.errors import AegisError, ConfigurationError, LockLostError
from aegis_core.protocol.locks import lock_name

_log = logging.getLogger("aegis.adapting")
_ending: set[asyncio.Task[None]] = set()


@dataclass(frozen=True, slots=True)
class ToolLock:
    """The lock that a tool needs, where its name alone does not say enough.

    Attributes:
        name: the lock's name.
        wait: how long a call waits for it before it is refused: seconds, or a text such as ``5s``; 0 only tries.
        ttl: after how long a crashed process loses it. While the tool runs, the lease renews itself.
        priority: 1 to what the session may use; default 5.
    """

    name: str
    wait: float | str = 60
    ttl: float | str = 30
    priority: int | None = None


Lock = str | ToolLock
Locks = Mapping[str, Lock | Callable[[Any], Lock | None]] | Callable[[str, Any], Lock | None]


class ToolLocks:
    """What an adapter was told by ``locks=``: a mapping by tool, or a function of a tool's name and arguments.

    The value for a tool is a lock, or a function of the tool's arguments that answers one, or None for no lock.

    Raises:
        ConfigurationError: neither, or a value is something else.
        InvalidRequestError: a name or duration that cannot be accepted.
    """

    def __init__(self, locks: Locks | None) -> None:
        if locks is not None and not callable(locks) and not isinstance(locks, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _unclear(locks)
        self._function = locks if callable(locks) else None
        self._by_tool: dict[str, Any] = {} if locks is None or callable(locks) else dict(locks)
        for value in self._by_tool.values():
            _ = callable(value) or _lock(value)

    @property
    def by_tool(self) -> Mapping[str, Any]:
        """What was told by name."""
        return self._by_tool

    def of(self, call: ToolCall) -> ToolLock | None:
        """The lock that a call needs.

        Raises:
            ConfigurationError: a function answered something else than a lock.
            InvalidRequestError: a name that cannot be accepted.
        """
        if self._function is not None:
            found: Any = self._function(call.tool, call.arguments)
        else:
            found = self._by_tool.get(call.tool)
            found = found(call.arguments) if callable(found) else found
        return None if found is None else _lock(found)


class ToolLease:
    """The lease of one call: from before its tool runs until the call ends, and no longer than its grant lives."""

    def __init__(self, block: LockBlock, lease: Lease, longest: float | None) -> None:
        self.lease, self._block = lease, block
        self._timer: asyncio.TimerHandle | None = None
        if longest is not None:  # a framework may never tell of the end of a tool that it cancelled
            self._timer = asyncio.get_running_loop().call_later(longest, self._end)

    @classmethod
    async def taken(cls, agent: GovernedAgent, need: ToolLock, longest: float | None) -> ToolLease:
        """Wait for a lock, within those of the caller's blocks; in the loop of the agent.

        Args:
            agent: who takes it.
            need: the lock.
            longest: seconds after which it is given back, whatever the tool does.

        Raises:
            LockTimeoutError: it was not free in time. LockPreemptedError: waiting would close a cycle of waits.
            AegisError: it cannot be had like this, or the governor cannot be asked.
        """
        block = agent.lock(need.name, wait=need.wait, ttl=need.ttl, priority=need.priority)
        return cls(block, await block.acquire(HELD.get()), longest)

    def enter(self) -> None:
        """Let the code that now runs in this context know of the lock."""
        HELD.set((*HELD.get(), self.lease))

    def leave(self) -> None:
        """Undo `enter`."""
        HELD.set(tuple(each for each in HELD.get() if each is not self.lease))

    async def give_back(self) -> None:
        """End the lease. One that was lost before is logged, not raised: the tool has run, and its answer counts."""
        if self._timer is not None:
            self._timer.cancel()
        try:
            await self._block.release(failed=False)
        except LockLostError as error:
            _log.warning("The lock %s was not held to the end of its tool: %s", self.lease.resource, error)
        except AegisError as error:
            _log.warning("The lock %s could not be given back, so it ends by itself: %s", self.lease.resource, error)

    def _end(self) -> None:
        task = asyncio.ensure_future(self._cut_off())
        _ending.add(task)
        task.add_done_callback(_ending.discard)

    async def _cut_off(self) -> None:
        await self.give_back()
        with suppress(AegisError):
            await self.lease.renew()  # refused, and so the tool hears of it, should it still run


def current_fence() -> int | None:
    """The fence of the lock that the running tool, or the innermost block of `agent.lock`, holds; None: it holds none.

    It grows with each lease of the lock. Hand it to what the lock protects, and let that refuse lower ones.

    Raises:
        LockLostError: the lock was held and is no more; do not touch what it protects.
    """
    held = HELD.get()
    return held[-1].fence if held else None


def _lock(value: Any) -> ToolLock:
    lock = ToolLock(value) if isinstance(value, str) else value
    if not isinstance(lock, ToolLock):
        raise _unclear(value)
    lock_name(lock.name)
    seconds(lock.wait, "wait")
    seconds(lock.ttl, "ttl")
    return lock


def _unclear(value: object) -> ConfigurationError:
    return ConfigurationError(
        'locks= takes {"tool": "lock"}, with a ToolLock or a function of the tool\'s arguments in place of the name; '
        f"or a function of the tool's name and arguments. This is {type(value).__name__}."
    )

"""The messages about locks that library, HTTP API and adapters share. Times are seconds here, ms in the store."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.fields import Identifier, LockToken, LockTtl, identifier
from aegis_core.protocol.messages import HeldLock
from aegis_core.protocol.parsing import Message

LockMode = Literal["exclusive", "shared"]
Preemption = Literal[
    "never",
    "cooperative",
    "after_grace",
]
"""What notice a holder is given when somebody of higher priority waits; `queues.lua` says how each is done."""
Standing = Literal["held", "evicting", "waiting", "busy", "released"]

Fence = Annotated[int, Field(ge=1, le=2**53 - 1)]


class AcquireLock(Message):
    """Ask for a lock, or (with `also`) for several at once, all or none.

    `permits` (how many may hold it), `preemption` and `grace_seconds` say what the lock is; they are the first one's to
    say, and stay while it is held or waited for. `weight` permits are taken of it. `within` names the leases that the
    caller holds meanwhile, so that a cycle of waits is seen. The same `lock_token` again asks for the same lease.
    """

    agent_id: Identifier
    ttl_seconds: LockTtl = 30
    priority: Annotated[int, Field(ge=1, le=10)] | None = None
    permits: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    weight: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    mode: LockMode = "exclusive"
    preemption: Preemption | None = None
    grace_seconds: Annotated[float, Field(ge=0.05, le=600, allow_inf_nan=False)] | None = None
    also: tuple[Identifier, ...] = Field(default=(), max_length=15, fail_fast=True)
    within: tuple[HeldLock, ...] = Field(default=(), max_length=16, fail_fast=True)
    lock_token: LockToken | None = None


class RenewLock(Message):
    """Keep a lease: it ends `ttl_seconds` from now, by default as long as was asked for at first."""

    agent_id: Identifier
    lock_token: LockToken
    fence: Fence | None = None
    ttl_seconds: LockTtl | None = None


class ReleaseLock(Message):
    """Give a lease back, or leave the queue. With `fence`, only the very lease that has it."""

    agent_id: Identifier
    resource: Identifier
    lock_token: LockToken
    fence: Fence | None = None


class ForceRelease(Message):
    """Take a lock from all its holders, or from the one with this fence (operators)."""

    fence: Fence | None = None


@dataclass(slots=True)
class LockState:
    """How a claim stands.

    ``held``: the caller's until `expires_at`, unless renewed. ``evicting``: the same, but somebody with a higher
    priority waits for it; finish, and release it (at `expires_at` it is gone). ``waiting``: in the queue, in which the
    place is kept for 15 s; ask again with the same `lock_token`. ``busy``: not held, not in the queue. ``released``:
    given back. `fence` is the fence of `resource`, `fences` those of all that were taken together.
    """

    state: Standing
    resource: str
    agent_id: str
    lock_token: str
    fence: int | None = None
    fences: dict[str, int] = field(default_factory=dict[str, int])
    expires_at: datetime | None = None
    expires_in_seconds: float | None = None
    queue_position: int | None = None
    retry_after_seconds: float | None = None
    held_seconds: float | None = None
    waited_seconds: float | None = None


@dataclass(slots=True)
class LockHolder:
    """Who holds permits of a lock."""

    agent_id: str
    fence: int
    priority: int
    weight: int
    mode: LockMode
    since: datetime
    held_seconds: float
    waited_seconds: float
    expires_at: datetime
    evicting: bool


@dataclass(slots=True)
class LockWaiter:
    """Who waits for a lock. `queue_position` counts from 0, the next."""

    agent_id: str
    priority: int
    weight: int
    mode: LockMode
    since: datetime
    waited_seconds: float
    queue_position: int


@dataclass(slots=True)
class LockSummary:
    """A lock as an operator sees it: at most 50 holders and 50 waiters; `queued` counts all who wait."""

    resource: str
    permits: int
    preemption: Preemption
    holders: tuple[LockHolder, ...]
    waiters: tuple[LockWaiter, ...]
    queued: int


@dataclass(slots=True)
class LockTaken:
    """A lease that an operator ended."""

    agent_id: str
    fence: int


class Told(StrEnum):
    """What a notice says, by the letter that travels."""

    GRANTED = "G"
    MUST_GO = "P"  # by `LockNotice.at`
    LOST = "L"
    WOUNDED = "W"
    GIVEN_UP = "C"
    ABANDONED = "A"


class LockNotice(NamedTuple):
    """A message about a lock to one who holds or wants it. `kind` is one of `Told`."""

    kind: str
    token: str
    resource: str
    fence: int
    at: int


NoticeListener = Callable[[LockNotice | None], None]
"""Called with each notice about a token, and with None when some may have been missed."""


def lock_name(name: str) -> str:
    """The name of a lock, normalised.

    Raises:
        InvalidRequestError: not a name.
    """
    try:
        return identifier(name)
    except ValueError as error:
        raise InvalidRequestError(f"resource: {error}", field="resource", problem=str(error)) from None


def new_lock_token() -> str:
    """A fresh token, by which a claim is known from its first asking on."""
    return "lk_" + secrets.token_hex(16)

"""The records of locks, by name. Part of what `schema` declares."""

from __future__ import annotations

from typing import Any, NamedTuple

from aegis_core.store.records import Text


class Lien(NamedTuple):
    """A row: a lock, and the token by which it is held, or waited for."""

    lock: str
    token: str


class Lock(NamedTuple):
    """A lock. `due` is its next expiry."""

    permits: int
    preemption: str
    grace: int
    holders: list[list[Any]]
    queued: int
    due: int


class Holder(NamedTuple):
    """Who holds a lock. `waits` are `Lien` rows: what the same chain of claims waits for besides. `credential`: what
    opened the session, if anything did."""

    token: str
    agent: str
    fence: int
    expires: int
    priority: int
    rank: int
    weight: int
    mode: str
    since: int
    waited: int
    ttl: int
    claimed: bool
    evicted: int
    inbox: Text
    names: list[str]
    chain: str
    waits: list[Any]
    session: str
    credential: Text = False


class Waiter(NamedTuple):
    """Who waits for a lock. `within` are `Lien` rows: what it holds meanwhile. `credential`: as of a `Holder`."""

    agent: str
    priority: int
    rank: int
    weight: int
    mode: str
    since: int
    ttl: int
    alive: int
    inbox: Text
    names: list[str]
    chain: str
    within: list[Any]
    session: str
    credential: Text = False


class LockCounters(NamedTuple):
    """The last fence and the last rank that a tenant gave: no name's fence ever falls, even when its lock is gone."""

    fence: int
    rank: int

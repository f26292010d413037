"""What lies in Redis of a tenant's locks, and what must hold of it whatever happened."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack
import redis

from aegis_core.store import layout
from aegis_core.store.lock_records import Holder, Waiter

from .walk import named, rows_of

STEP = 2_000
"""ms by which one level of priority is worth an earlier asking."""
CLAIM = 3_000
WOUND = 100
"""ms that are left to one who is stopped because it closes a cycle of waits."""
LEVELS = 9


@dataclass
class Lock:
    permits: int = 1
    preemption: str = "after_grace"
    holders: dict[str, dict[str, Any]] = field(default_factory=dict)
    queue: list[str] = field(default_factory=list)
    waiters: dict[str, dict[str, Any]] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)

    def fits(self, weight: int, mode: str) -> bool:
        used = sum(holder["WEIGHT"] for holder in self.holders.values() if holder["MODE"] == "exclusive")
        shared = any(holder["MODE"] == "shared" for holder in self.holders.values())
        return used == 0 if mode == "shared" else not shared and used + weight <= self.permits


def read(plain: redis.Redis, tenant: str) -> tuple[dict[str, Lock], dict[str, set[str]], set[str]]:
    """The locks, what each agent and each key holds or waits for, and the index of locks. Every key is looked at."""
    names: Any = sorted(
        name.decode() for name in plain.keys(f"ae:{{{tenant}}}:l*")
    )  # what is drawn must not depend on chance
    locks: dict[str, Lock] = {}
    owned: dict[str, set[str]] = {}
    index: set[str] = set()
    prefix = len(f"ae:{{{tenant}}}:")
    for name in names:
        head, _, tail = name[prefix:].partition(":")
        expires = plain.pttl(name) > 0
        if head == "l":
            lock = locks.setdefault(tail, Lock())
            lock.permits, preemption, _, holders, queued, _ = msgpack.unpackb(plain.get(name))
            lock.preemption = preemption
            for packed in holders:
                holder = named(Holder, packed)
                holder["WAITS"] = rows_of(holder["WAITS"])
                assert holder["TOKEN"] not in lock.holders, "one token holds a lock twice"
                lock.holders[holder["TOKEN"]] = holder
            assert queued == plain.zcard(f"{name[:prefix]}lq:{tail}"), "the queue is not as long as its lock says"
        elif head == "lq":
            locks.setdefault(tail, Lock()).queue = [token.decode() for token in plain.zrange(name, 0, -1)]
        elif head == "lw":
            locks.setdefault(tail, Lock()).waiters = {
                token.decode(): named(Waiter, packed) for token, packed in plain.hgetall(name).items()
            }
        elif head == "lp":
            places = {whose.decode(): int(count) for whose, count in plain.hgetall(name).items()}
            locks.setdefault(tail, Lock()).places = places
        elif head in {"la", "lk"}:
            owned[f"{head}:{tail}"] = {member.decode() for member in plain.zrange(name, 0, -1)}
        elif head == "ld":
            index = {member.decode() for member in plain.zrange(name, 0, -1)}
        else:
            assert head == "lc", f"{name} is not documented"
        assert expires == (head in {"l", "lq", "lw", "lp"}), f"{name} expires or not, against what is documented"
    return locks, owned, index


def check_books(locks: dict[str, Lock], owned: dict[str, set[str]], index: set[str]) -> None:
    """Queues and indexes agree with the locks, and nobody both holds and waits."""
    claims: dict[str, set[str]] = {}
    for name, lock in locks.items():
        assert set(lock.queue) == set(lock.waiters), "a queue and its waiters differ"
        assert not set(lock.queue) & set(lock.holders), "a waiter was kept after its grant"
        assert lock.holders or lock.queue, f"{name} is kept though nobody needs it"
        for token, one in (*lock.holders.items(), *lock.waiters.items()):
            for whose in _counted(one, "la:", "lk:"):
                claims.setdefault(whose, set()).add(f"{token}\t{name}")
        places = Counter(whose for one in lock.waiters.values() for whose in _counted(one, "a:", "k:"))
        assert places == lock.places, f"the places in the queue of {name} are not counted right"
    assert claims == owned
    assert index == set(locks)


def _counted(one: dict[str, Any], agents: str, keys: str) -> list[str]:
    """With whom a holder or waiter counts."""
    return [f"{agents}{one['AGENT']}", *([f"{keys}{one['CREDENTIAL']}"] if one["CREDENTIAL"] else [])]


def check_permits(locks: dict[str, Lock]) -> None:
    """At most N holders, and sharers never beside one who excludes."""
    for name, lock in locks.items():
        exclusive = [holder for holder in lock.holders.values() if holder["MODE"] == "exclusive"]
        assert sum(holder["WEIGHT"] for holder in exclusive) <= lock.permits, f"more than {lock.permits} hold {name}"
        assert not exclusive or len(exclusive) == len(lock.holders), "a sharer beside one who excludes"


def check_no_permit_is_lost(locks: dict[str, Lock], opened: set[str], now: int) -> None:
    """Whoever is first, alive and could have all it wants has it. Locks that no call opened may hold the expired."""
    for name in opened & set(locks):
        lock = locks[name]
        assert all(holder["EXPIRES"] > now for holder in lock.holders.values()), "an expired lease was kept"
        if not lock.queue:
            continue
        first = lock.waiters[lock.queue[0]]
        assert first["ALIVE"] > now, "a dead waiter is first"
        ready = all(
            locks[other].queue[0] == lock.queue[0] and locks[other].fits(first["WEIGHT"], first["MODE"])
            for other in first["NAMES"]
        )
        assert not ready, f"{name} is free, and its first waiter does not have it"


def check_no_cycle(locks: dict[str, Lock]) -> None:
    """Nobody waits, through whatever others, for itself."""
    edges: dict[str, set[str]] = {}
    for lock in locks.values():
        for place, token in enumerate(lock.queue):
            waiter = lock.waiters[token]
            ahead = [lock.waiters[other]["CHAIN"] for other in lock.queue[:place]]
            # One who was told to go is gone at the end of its grace. Who stays holds nobody up who then fits beside.
            staying = {held: holder for held, holder in lock.holders.items() if holder["EVICTED"] <= 0}
            fits = replace(lock, holders=staying).fits(waiter["WEIGHT"], waiter["MODE"])
            holding = [] if fits else [holder["CHAIN"] for holder in staying.values()]
            edges.setdefault(waiter["CHAIN"], set()).update({*ahead, *holding} - {waiter["CHAIN"]})
    done: set[str] = set()

    def visit(chain: str, path: tuple[str, ...]) -> None:
        assert chain not in path, f"a cycle of waits: {path}"
        if chain not in done:
            for other in edges.get(chain, ()):
                visit(other, (*path, chain))
            done.add(chain)

    for chain in edges:
        visit(chain, ())


def tallied(plain: redis.Redis, tenant: str, after: str) -> tuple[dict[str, int], str]:
    """How many events of each kind there were since, and the id to go on from."""
    entries: Any = plain.xrange(layout.key(tenant, "e"), after, "+")
    counts: dict[str, int] = {}
    for _, fields in entries:
        kind = fields[b"k"].decode()
        counts[kind] = counts.get(kind, 0) + 1
    return counts, f"({entries[-1][0].decode()}" if entries else after

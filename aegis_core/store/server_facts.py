"""What a server says of itself, as one process of all looks at it every few seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

NEVER = "noeviction"
"""The only policy under which a server forgets nothing."""
FULL = 90
"""Percent of `maxmemory` from which it is told."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What INFO says.

    Attributes:
        product, version: ``valkey`` or ``redis``, and which.
        eviction: its maxmemory-policy.
        used_bytes: what it holds.
        aof: it keeps an append-only file.
        forgetful: it has replicas, and takes writes while none of them hears of it.
        full_percent: how much of its maxmemory is used; 0 where it has none.
        primary: it is no replica.
    """

    product: str
    version: str
    eviction: str
    used_bytes: int
    aof: bool
    forgetful: bool = False
    full_percent: int = 0
    primary: bool = True

    @property
    def evicting(self) -> str:
        """The policy by which it may evict keys; empty where it may not."""
        return "" if self.eviction == NEVER else self.eviction


def facts_of(info: dict[str, Any]) -> ServerFacts:
    """Read the answer to INFO. What a server does not say is taken to be as it should."""
    product = "valkey" if "valkey_version" in info else "redis"
    used, most = int(info["used_memory"]), int(info.get("maxmemory", 0))
    return ServerFacts(
        product, str(info.get("valkey_version") or info.get("redis_version")),
        str(info.get("maxmemory_policy", NEVER)), used, aof=bool(info.get("aof_enabled")),
        forgetful=int(info.get("connected_slaves", 0)) > 0 and "min_slaves_good_slaves" not in info,
        full_percent=100 * used // most if most else 0, primary=info.get("role", "master") == "master",
    )  # fmt: skip


def changes(before: ServerFacts, now: ServerFacts) -> Iterator[tuple[bool, str]]:
    """What became of a server between two looks: whether it is for the worse, and a sentence."""
    if before.evicting != now.evicting:
        worse = "Redis may evict keys; nothing is granted until it may not"
        yield bool(now.evicting), worse if now.evicting else "Redis evicts no keys any more"
    if before.aof != now.aof:
        yield not now.aof, f"Redis keeps {'an' if now.aof else 'no'} append-only file from now on"
    if before.forgetful != now.forgetful:
        worse = "Redis has replicas that need not hear of what it grants (min-replicas-to-write 0)"
        yield now.forgetful, worse if now.forgetful else "Redis has no replica that need not hear of what it grants"
    if (before.full_percent >= FULL) != (now.full_percent >= FULL):
        full = now.full_percent >= FULL
        yield full, f"Redis uses {now.full_percent} % of its maxmemory"
    if before.primary != now.primary:
        yield not now.primary, f"Redis is a {'primary' if now.primary else 'replica'} from now on"

"""What the scripts counted of a tenant, by name: decisions of every process, in-process governors included."""

from __future__ import annotations

from dataclasses import dataclass, field

from aegis_core.protocol.money import to_usd
from aegis_core.store import layout
from aegis_core.store.counts import COUNTS, WAIT_BUCKETS_MS
from aegis_core.store.deliveries import DeliveryState, DeliveryStore, served_destinations
from aegis_core.store.ledger import Ledger
from aegis_core.store.packing import decode, unpack
from aegis_core.store.rollups import RollupStore
from aegis_core.store.schema import Tenant
from aegis_core.store.streams import EventStream

_STATUS = {"granted": "GRANTED", "pending": "PENDING", "rejected": "REJECTED"}
_AS_VERDICTS = {("pending", "escalated"): "approval_needed", ("pending", "ok"): "lock_busy"}


@dataclass(slots=True)
class TenantCounts:
    """Sums since the tenant was made, and how things stand now. Money in dollars, times in seconds.

    `waits`: by the upper bound of a bucket, how many leases were waited for that long. `uncounted`: events that are not
    summed up by the hour yet. `webhooks`: how each is served, by its name.
    """

    decisions: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    events: dict[str, int] = field(default_factory=dict[str, int])
    last_number: int = 0
    charged: float = 0
    estimated: float = 0
    answers: int = 0
    answer_seconds: float = 0
    waits: dict[float, int] = field(default_factory=dict[float, int])
    wait_seconds: float = 0
    approvals_open: int = 0
    oldest_approval_seconds: float = 0
    events_kept: int = 0
    oldest_event_seconds: float = 0
    policy_version: int = 0
    observing: bool = False
    halted: bool = False
    blocked_agents: int = 0
    keys: int = 0
    uncounted: int = 0
    webhooks: dict[str, DeliveryState] = field(default_factory=dict[str, DeliveryState])


async def counts_of(ledger: Ledger) -> TenantCounts:
    """Look at all of it: a few commands, whose cost does not grow with the tenant."""
    store, tenant = ledger.store, ledger.tenant

    def key(name: str) -> str:
        return layout.key(tenant, name)

    flat = await store.command("HGETALL", key("c"))
    pairs = flat.items() if hasattr(flat, "items") else zip(flat[::2], flat[1::2], strict=True)
    found = read_counts({name.decode(): int(value) for name, value in pairs})
    now = await ledger.now()
    oldest = await store.command("ZRANGE", key("ap"), 0, 0, "WITHSCORES")
    found.approvals_open = int(await store.command("ZCARD", key("ap")))
    if oldest:
        since = oldest[0][1] if isinstance(oldest[0], list | tuple) else oldest[1]
        found.oldest_approval_seconds = max(0.0, (now - float(since)) / 1000)
    found.events_kept = int(await store.command("XLEN", key("e")))
    if first := await EventStream(store, tenant).first():
        found.oldest_event_seconds = max(0.0, (now - int(first[0].partition("-")[0])) / 1000)
    record = decode(Tenant, unpack(await store.command("GET", key("t"))))
    found.policy_version, found.observing, found.halted = (
        record.policy,
        record.mode == "observe",
        record.status == "halted",
    )
    found.blocked_agents, found.keys = int(await store.command("SCARD", key("bl"))), record.keys
    found.uncounted = max(0, found.last_number - (await RollupStore(ledger).progress()).number)
    for name in await served_destinations(ledger):
        found.webhooks[name] = await DeliveryStore(ledger, name).state()
    return found


def read_counts(stored: dict[str, int]) -> TenantCounts:
    """The hash by name; what a newer version counts besides goes to the events, under its own name."""
    found, known = TenantCounts(), {value: name for name, value in COUNTS.items()}
    for name, value in stored.items():
        kind, _, code = name.partition("\t")
        waited = name.removeprefix(COUNTS["COUNT_WAITED"])
        if code:
            code = _AS_VERDICTS.get((kind, code), code)
            found.decisions[_STATUS.get(kind, kind), code] = value
        elif name not in known and waited != name and waited.isdigit():
            found.waits[int(waited) / 1000] = value
        elif name not in known:
            found.events[kind] = value
    at = {name: stored.get(value, 0) for name, value in COUNTS.items()}
    found.last_number, found.answers = at["COUNT_EVENTS"], at["COUNT_ANSWERED"]
    found.charged, found.estimated = (float(to_usd(at[name])) for name in ("COUNT_CHARGED", "COUNT_ESTIMATED"))
    found.answer_seconds, found.wait_seconds = at["COUNT_ANSWER_MS"] / 1000, at["COUNT_WAITED_MS"] / 1000
    found.waits = {ms / 1000: found.waits.get(ms / 1000, 0) for ms in WAIT_BUCKETS_MS}
    return found

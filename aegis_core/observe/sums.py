"""What one event adds to the sums of its hour, by agent, model, type of task, rule, lock and labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from aegis_core.protocol.events import Event
from aegis_core.protocol.money import to_nanos

HOUR_MS = 3_600_000
MEASURES = (
    "requests", "granted", "pending", "rejected", "asked_nanos", "settled", "overruns", "late", "released", "expired",
    "approved", "declined", "timed_out", "reserved_nanos", "charged_nanos", "estimated_nanos", "expired_nanos",
    "refunded_nanos", "input_tokens", "output_tokens", "cached_input_tokens", "outcomes", "outcome_millis", "retries",
    "retried_nanos", "errors", "latencies", "latency_ms", "answer_ms", "leases", "waited_ms", "held_ms", "lost",
)  # fmt: skip
"""The order in which sums are stored. It only grows. All are whole numbers: nano-dollars, ms, thousandths."""

_MOST_LABELS = 256
_LOST_LEASES = {"lock_evicted", "lock_expired", "lock_unclaimed", "lock_forced"}
_Added = dict[str, int]


class Names(NamedTuple):
    """What a row of sums is of; empty where an event does not say. `labels`: ``a=x,b=y``."""

    agent: str = ""
    model: str = ""
    task_type: str = ""
    rule: str = ""
    lock: str = ""
    labels: str = ""


class HourSums(NamedTuple):
    """What is to be added to one row of one hour, which is counted from 1970."""

    hour: int
    names: Names
    sums: list[int]


def sums_of(events: Iterable[Event]) -> list[HourSums]:
    """What these events add, rows in the order in which they first appear, so that it is all the same in how many
    parts events are counted."""
    rows: dict[tuple[int, Names], list[int]] = {}
    for event in events:
        added = _added(event)
        if not added:
            continue
        row = rows.setdefault((int(event.at.timestamp() * 1000) // HOUR_MS, names_of(event)), [0] * len(MEASURES))
        for name, more in added.items():
            row[_PLACE[name]] += more
    return [HourSums(hour, names, sums) for (hour, names), sums in rows.items()]


_PLACE = {name: at for at, name in enumerate(MEASURES)}


def names_of(event: Event) -> Names:
    """Of which row an event is."""
    facts = event.facts
    labels: dict[str, str] = facts.get("labels") or {}
    text = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return Names(
        event.agent_id or "", facts.get("model") or "", facts.get("task_type") or "", facts.get("rule") or "",
        facts.get("lock") or facts.get("resource") or "", text if len(text) <= _MOST_LABELS else "",
    )  # fmt: skip


def _added(event: Event) -> _Added:
    kind, facts = event.kind, event.facts
    if kind.startswith("lock_"):
        return _of_lock(kind, facts)
    match kind:
        case "granted" | "pending" | "rejected":
            if facts["created_at"] != event.at.isoformat():
                return {}  # a request that waited for its lock and got it: it was counted when it asked
            return {"requests": 1, kind: 1, "asked_nanos": _nanos(facts, "amount_usd")}
        case "refusals_repeated":
            return {"requests": facts["count"], "rejected": facts["count"]}
        case "settled" | "overrun":
            return _of_settlement(kind, facts)
        case "expired":
            charged = _nanos(facts, "charged_usd")
            reserved = _nanos(facts, "amount_usd")
            return {
                "expired": 1, "reserved_nanos": reserved, "charged_nanos": charged, "estimated_nanos": charged,
                "expired_nanos": charged,
            }  # fmt: skip
        case "released" | "timed_out":  # what an agent that is not trusted gives back may be charged all the same
            return {kind: 1, "charged_nanos": _nanos(facts, "charged_usd")} | _estimated(facts) | _instead(facts)
        case "approved" | "declined":
            asked = datetime.fromisoformat(facts["created_at"])
            return {kind: 1, "answer_ms": round((event.at - asked).total_seconds() * 1000)}
        case "refunded":
            return {"refunded_nanos": _nanos(facts, "refund_usd")}
        case _:
            return {}


def _of_settlement(kind: str, facts: Mapping[str, Any]) -> _Added:
    """One that comes late stands in place of what was charged, as an estimate, when the grant expired."""
    charged, usage = _nanos(facts, "charged_usd"), facts.get("usage", {})
    added = {
        "settled": 1, "overruns": int(kind == "overrun"), "reserved_nanos": _nanos(facts, "amount_usd"),
        "charged_nanos": charged, "errors": int("error_class" in facts),
        **{name: usage.get(name, 0) for name in ("input_tokens", "output_tokens", "cached_input_tokens")},
        **_estimated(facts),
    }  # fmt: skip
    if "late" in facts:
        before = added["reserved_nanos"]
        added |= {
            "late": 1, "reserved_nanos": 0, "charged_nanos": charged - before, "expired_nanos": -before,
            "estimated_nanos": added.get("estimated_nanos", 0) - before,
        }  # fmt: skip
    if "outcome" in facts:
        added |= {"outcomes": 1, "outcome_millis": round(facts["outcome"] * 1000)}
    if facts.get("attempt", 1) > 1:
        added |= {"retries": 1, "retried_nanos": charged}
    if "latency_ms" in facts:
        added |= {"latencies": 1, "latency_ms": facts["latency_ms"]}
    return added


def _estimated(facts: Mapping[str, Any]) -> _Added:
    return {"estimated_nanos": _nanos(facts, "charged_usd")} if facts.get("estimated") else {}


def _instead(facts: Mapping[str, Any]) -> _Added:
    """Of what was withdrawn after it had expired: it takes the charge away again."""
    if "late" not in facts:
        return {}
    before = _nanos(facts, "amount_usd")
    return {"late": 1, "charged_nanos": -before, "expired_nanos": -before, "estimated_nanos": -before}


def _of_lock(kind: str, facts: Mapping[str, Any]) -> _Added:
    if kind == "lock_acquired":
        return {"leases": 1, "waited_ms": _ms(facts, "waited_seconds")}
    if kind == "lock_released":
        return {"held_ms": _ms(facts, "held_seconds")}
    return {"lost": 1, "held_ms": _ms(facts, "held_seconds")} if kind in _LOST_LEASES else {}


def _nanos(facts: Mapping[str, Any], name: str) -> int:
    return to_nanos(facts.get(name, 0))


def _ms(facts: Mapping[str, Any], name: str) -> int:
    return round(facts.get(name, 0) * 1000)

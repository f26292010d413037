"""Makes the facts of a day of its events, in any number of parts. Pure: the same events give the same day."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from aegis_core.kaizen.facts import Call, Day, End, LockUse, Rates
from aegis_core.protocol.events import Event
from aegis_core.protocol.money import to_nanos

CONTEXT_MS = 3_600_000
"""Events of so long before a day are read with it: what they say of requests that end in it is said nowhere else."""

_ENDS: Mapping[str, End] = {
    "settled": "settled", "overrun": "settled", "released": "released", "expired": "expired", "declined": "declined",
    "timed_out": "timed_out", "rejected": "rejected",
}  # fmt: skip
_KINDS = frozenset({*_ENDS, "granted", "pending", "approved", "extended"})
_CHARGING = frozenset({"settled", "expired", "released", "timed_out"})


class DayFold:
    """The facts of one day while its events are read, in their order."""

    def __init__(self, rates: Callable[[str], Rates | None]) -> None:
        """`rates`: what a model costs; None where nobody knows."""
        self._rates = rates
        self._calls: dict[str, Call] = {}
        self._today: set[str] = set()
        self._locks: list[LockUse] = []
        self._corrections = 0

    def add(self, events: Iterable[Event], *, before: bool = False) -> None:
        """Take events in; those `before` the day only say what its own do not."""
        for event in events:
            if event.kind in _KINDS:
                self._call(event, before=before)
            elif event.kind == "refunded" and not before:
                self._refund(event)
            elif event.kind.startswith("lock_") and not before:
                self._locks.append(_lock_use(event))

    def day(self, name: str, start: int, end: int, **given: Any) -> Day:
        """What was taken in. `given`: other fields of `Day`."""
        # Of those asked in one millisecond the order of their events counts, which is that of `_calls`.
        calls = sorted((call for key, call in self._calls.items() if key in self._today), key=lambda call: call.at)
        return Day(
            name=name, start=start, end=end, calls=tuple(calls), locks=tuple(self._locks),
            corrections=self._corrections, **given,
        )  # fmt: skip

    def _call(self, event: Event, *, before: bool) -> None:
        facts = event.facts
        grant: str = facts.get("grant_id") or event.id
        known = self._calls.get(grant)
        call = self._updated(known or _new(grant, event), event)
        if not before:
            self._today.add(grant)
            call = replace(call, events=(*call.events, event.id))
            if call.end in _CHARGING and event.kind in _ENDS:
                call = self._charged(call, known, facts)
        self._calls[grant] = call

    def _updated(self, call: Call, event: Event) -> Call:
        """What an event adds to what is known of a call."""
        facts, at = event.facts, _ms(event.at)
        usage: Mapping[str, int] = facts.get("usage") or {}
        model = facts.get("model") or call.model
        added: dict[str, Any] = {
            **_said(facts), "model": model, "rates": call.rates or (self._rates(model) if model else None),
            "reserved": to_nanos(facts.get("amount_usd", 0)), "code": facts.get("code", ""),
            "rule": facts.get("rule") or call.rule, "estimated": bool(facts.get("estimated")),
        }  # fmt: skip
        if stopped := facts.get("stopped_by"):
            added["stopped_by"] = str(stopped.get("name", ""))
            if stopped.get("unit") == "usd" and "asked" in stopped:
                added["short"] = to_nanos(stopped["asked"]) - to_nanos(stopped.get("left", 0))
        if event.kind == "pending" and facts.get("code") == "escalated":
            added["asked"] = True
        elif event.kind in {"approved", "declined"}:
            added |= {"asked": True, "approved": event.kind == "approved", "answered_at": at, **_shown(facts)}
        if event.kind in _ENDS:
            added |= {"end": _ENDS[event.kind], "ended_at": at, "late": bool(facts.get("late"))}
        if usage:
            added |= {
                "input": usage.get("input_tokens", 0), "output": usage.get("output_tokens", 0),
                "cached": usage.get("cached_input_tokens", 0),
            }  # fmt: skip
        for name, fact in _OF_CALLS.items():
            if fact in facts:
                added[name] = facts[fact]
        return replace(call, **added)

    def _charged(self, call: Call, before: Call | None, facts: Mapping[str, Any]) -> Call:
        """One that comes late stands in place of what was charged, perhaps on an earlier day, when it expired."""
        charged = to_nanos(facts.get("charged_usd", 0))
        if not call.late:
            return replace(call, charged=charged)
        if before is not None and before.end == "expired" and before.counts and before.events:
            return replace(call, charged=charged)  # it expired on this day, too
        self._corrections += charged - call.reserved
        return replace(call, charged=charged, counts=False)

    def _refund(self, event: Event) -> None:
        refund = to_nanos(event.facts["refund_usd"])
        call = self._calls.get(event.facts["grant_id"])
        if call is None or call.id not in self._today or not call.charged or not call.counts:
            self._corrections -= refund
        else:
            self._calls[call.id] = replace(call, charged=max(0, call.charged - refund), events=(*call.events, event.id))


_OF_CALLS = {
    "outcome": "outcome", "error": "error_class", "attempt": "attempt", "parent": "parent_request_id",
    "task_type": "task_type", "labels": "labels",
}  # fmt: skip
_OF_REQUESTS = {
    "prompt": "prompt_hash", "prefix": "prefix_hash", "max_output": "max_output_tokens", "temperature": "temperature",
    "arguments": "arguments_hash", "tool": "tool",
}  # fmt: skip


def _new(grant: str, event: Event) -> Call:
    facts = event.facts
    asked = facts.get("created_at")
    return Call(
        id=grant, at=_ms(datetime.fromisoformat(asked)) if asked else _ms(event.at), agent=event.agent_id or "",
        session=facts.get("session_id") or "", resource=facts.get("resource_type", ""), end="open",
    )  # fmt: skip


def _said(facts: Mapping[str, Any]) -> dict[str, Any]:
    request = cast("Mapping[str, Any]", facts.get("request") or {})
    return {name: request[fact] for name, fact in _OF_REQUESTS.items() if fact in request}


def _shown(facts: Mapping[str, Any]) -> dict[str, int]:
    times = cast("Mapping[str, str]", facts.get("shown_at") or {})
    return {"shown_at": min(_ms(datetime.fromisoformat(each)) for each in times.values())} if times else {}


def _lock_use(event: Event) -> LockUse:
    facts = event.facts
    return LockUse(
        event.kind.removeprefix("lock_"), _ms(event.at), event.agent_id or "", facts.get("resource", ""),
        facts.get("fence"), round(facts.get("waited_seconds", 0) * 1000), round(facts.get("held_seconds", 0) * 1000),
        event.id,
    )  # fmt: skip


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)

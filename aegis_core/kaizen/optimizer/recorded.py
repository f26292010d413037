"""What was asked, as events tell of it: to be put to other rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast

from aegis_core.protocol.events import Event
from aegis_core.protocol.kaizen import OWN_AGENT
from aegis_core.protocol.money import to_nanos

_ASKED = frozenset({"granted", "pending", "rejected"})
GONE = "Something that is not remembered"
"""Stands for an intent whose words are kept no longer. Rules on words see nothing in it."""


class Recorded(NamedTuple):
    """One request. `amount` is what it might have cost at most (nano-dollars), `at` is in ms."""

    at: int
    agent: str
    session: str
    intent: str
    resource: str
    amount: int
    model: str | None = None
    tool: str | None = None
    arguments: str | None = None
    target: str | None = None
    task_type: str | None = None
    priority: int = 5


def recorded(events: Iterable[Event]) -> tuple[Recorded, ...]:
    """The requests of events in their order, without Kaizen's own."""
    found: dict[str, Recorded] = {}
    for event in events:
        grant = event.facts.get("grant_id")
        if event.kind in _ASKED and grant and grant not in found and event.agent_id not in {None, OWN_AGENT}:
            found[grant] = _one(event)
    return tuple(found.values())


def _one(event: Event) -> Recorded:
    facts = event.facts
    said = cast("Mapping[str, Any]", facts.get("request") or {})
    return Recorded(
        at=round(event.at.timestamp() * 1000), agent=event.agent_id or "", session=str(facts.get("session_id", "")),
        intent=str(said.get("intent") or GONE), resource=str(facts.get("resource_type", "compute")),
        amount=to_nanos(facts.get("amount_usd", 0)), model=facts.get("model"), tool=said.get("tool"),
        arguments=said.get("arguments_hash"), target=said.get("target_resource"), task_type=facts.get("task_type"),
        priority=int(said.get("priority") or 5),
    )  # fmt: skip

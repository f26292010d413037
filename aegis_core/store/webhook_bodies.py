"""What events about the delivery of events hold; as `event_bodies` has the others."""

from __future__ import annotations

from typing import NamedTuple

from aegis_core.store.records import Text


class EventsLost(NamedTuple):
    """The events of these numbers were gone before they could be delivered."""

    at: int
    first_number: int
    last_number: int
    author: str


class WebhookDeadLettered(NamedTuple):
    """An event that its receiver did not take was put aside."""

    at: int
    event_id: str
    event_kind: str
    attempts: int
    problem: str
    author: str


class WebhookReplayed(NamedTuple):
    """An operator had so many events posted again; `since`: all that happened from then on."""

    at: int
    channel: str
    since: Text
    again: int
    author: str

"""An event as CloudEvents 1.0 spells it (https://cloudevents.io), in JSON, structured: the whole in one document."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from pydantic import TypeAdapter

from aegis_core.protocol.events import Event

MEDIA_TYPE = "application/cloudevents+json; charset=utf-8"
TYPE_PREFIX = "dev.aegis."

_dump = TypeAdapter(Event).dump_python


def cloud_event(event: Event) -> dict[str, Any]:
    """The members of one event. `id` and `source` together name it, for ever; `data` is what the HTTP API says of it.

    `sequence` orders events as text does: their dense number, in twenty digits.
    """
    found: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "source": f"/aegis/{quote(event.tenant, safe='')}",
        "type": TYPE_PREFIX + event.kind,
        "time": event.at.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
    }
    if event.agent_id is not None:
        found["subject"] = event.agent_id
    if event.number is not None:
        found["sequence"] = f"{event.number:020d}"
    if traceparent := event.facts.get("traceparent"):
        found["traceparent"] = traceparent
    return found | {"data": _dump(event, mode="json")}


def written(event: Event) -> bytes:
    """The body of a message."""
    return json.dumps(cloud_event(event), ensure_ascii=False).encode()


def message_id(event: Event) -> str:
    """By what a receiver knows repeats: the same however often, by whom and to whom an event is sent."""
    return sha256(f"{event.tenant}\0{event.id}".encode()).hexdigest()[:32]

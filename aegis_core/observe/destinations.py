"""Which webhooks are told of which events, as the settings have it."""

from __future__ import annotations

from dataclasses import dataclass

from aegis_core.observe.receivers import Receiver, Variables, receiver_of
from aegis_core.protocol.errors import NotFoundError
from aegis_core.protocol.events import EventQuery
from aegis_core.settings import Settings

VARIABLE = "AEGIS_EVENT_WEBHOOKS"


@dataclass(frozen=True, slots=True)
class Destination:
    """One webhook: where it is, and of which events it is told."""

    name: str
    receiver: Receiver
    wanted: EventQuery


def destinations(settings: Settings) -> list[Destination]:
    """The webhooks of the settings, by name.

    Raises:
        ConfigurationError: one of them is described by halves.
    """
    return [_destination(name, settings) for name in sorted(settings.event_webhooks)]


def destination(name: str, settings: Settings) -> Destination:
    """One of them. Raises NotFoundError: there is none of this name; and as `destinations`."""
    if name not in settings.event_webhooks:
        known = ", ".join(sorted(settings.event_webhooks)) or "none"
        raise NotFoundError(f"{VARIABLE} has no webhook {name}; it has {known}.", kind="webhook", name=name)
    return _destination(name, settings)


def _destination(name: str, settings: Settings) -> Destination:
    given = settings.event_webhooks[name]
    place = f"{VARIABLE}: {name}"
    named = Variables(f"{place}: url", f"{place}: secret", f'"allow_private": true of {name} in {VARIABLE}')
    receiver = receiver_of(given.url, given.secret, named, allow_private=given.allow_private)
    return Destination(name, receiver, EventQuery(kind=given.kind, agent=given.agent, code=given.code))

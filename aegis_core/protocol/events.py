"""What happened, as observers read it, and what they may ask for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from aegis_core.protocol.fields import Identifier
from aegis_core.protocol.parsing import Message


def _moment(text: str) -> str:
    try:
        moment(text, datetime(2000, 1, 1, tzinfo=UTC))
    except (ValueError, OverflowError):
        problem = "must be a time in UTC, such as 2026-11-30T03:00 or 03:00, or how long ago, such as 15m or 2h"
        raise ValueError(problem) from None
    return text


Moment = Annotated[str, Field(max_length=40), AfterValidator(_moment)]
Names = Annotated[str, Field(max_length=500, pattern=r"^[a-z_]+(,[a-z_]+)*$")]
Cursor = Annotated[str, Field(pattern=r"^(\$|[0-9]{1,19}(-[0-9]{1,19}(\.[0-9]{1,19})?)?)$")]
# The id of an event, also with its number as `cursor_of` spells it; ``0`` for the oldest kept, ``$`` for now.


@dataclass(slots=True)
class Event:
    """One thing that happened, in the order in which it was decided. `id` resumes a listing after it.

    `number` counts the events of a tenant one by one, so that a number that is missing between two is an event that is
    gone. Events that older versions wrote have none.
    """

    id: str
    at: datetime
    kind: str
    tenant: str
    agent_id: str | None = None
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    number: int | None = None


def cursor_of(event: Event) -> str:
    """The place right after an event. It holds the number, too: once the event itself is gone, that tells whether
    others went with it."""
    return event.id if event.number is None else f"{event.id}.{event.number}"


@dataclass(slots=True)
class EventPage:
    """Some events. Pass `next` as `after` for those that follow; `more`: there are some at once.

    `trimmed`: what came right after the cursor is kept no longer, so between it and the first of these events are gone.
    After the id of an event that is gone itself, that is a guess; after a `next` it is exact.
    """

    events: tuple[Event, ...]
    next: str
    more: bool = False
    trimmed: bool = False


class EventQuery(Message):
    """Which events to look at. Everything given must hold; of `kind` and `code` one of several, with commas.

    `since` and `until` are times in UTC (``2026-11-30T03:00``, ``03:00`` for today) or how long ago (``90s``, ``15m``,
    ``2h``, ``7d``); `until` is not included. `after` is the id of an event or the `next` of a page; ``order=desc`` goes
    back from there.
    `rule` is any that matched.
    """

    since: Moment | None = None
    until: Moment | None = None
    kind: Names | None = None
    agent: Identifier | None = None
    session: Identifier | None = None
    code: Names | None = None
    rule: Identifier | None = None
    model: Identifier | None = None
    order: Literal["asc", "desc"] = "asc"
    after: Cursor | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100

    @property
    def selects(self) -> bool:
        """Whether it asks for other than all of a time."""
        return any((self.kind, self.agent, self.session, self.code, self.rule, self.model))

    def matches(self, event: Event) -> bool:
        """Whether an event is one of those."""
        facts = event.facts
        return (
            (self.kind is None or event.kind in self.kind.split(","))
            and (self.agent is None or event.agent_id == self.agent)
            and (self.session is None or facts.get("session_id") == self.session)
            and (self.code is None or facts.get("code") in self.code.split(","))
            and (self.rule is None or facts.get("rule") == self.rule or self.rule in facts.get("rules", ()))
            and (self.model is None or self.model in {facts.get(name) for name in _MODELS})
        )

    @property
    def words(self) -> tuple[bytes, ...]:
        """What the stored form of each such event holds somewhere, so that most others need not be read."""
        given = (self.agent, self.session, self.rule, self.model)
        return tuple(word.encode() for word in given if word is not None)


_MODELS = ("model", "recommended_model", "answered_by")
_AGO = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def moment(text: str, now: datetime) -> datetime:
    """A time as people and programs write it (see `EventQuery`), in UTC.

    Raises:
        ValueError: it is none.
    """
    if found := re.fullmatch(r"(\d{1,6})([smhd])", text):
        return now - timedelta(seconds=int(found[1]) * _AGO[found[2]])
    if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text):
        parts = [int(part) for part in text.split(":")]
        return now.replace(hour=parts[0], minute=parts[1], second=parts[2] if len(parts) > 2 else 0, microsecond=0)
    when = datetime.fromisoformat(text)
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)

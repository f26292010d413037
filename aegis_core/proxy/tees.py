"""What passes by of an answer is read for its usage; of a stream only the events that hold some are parsed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

from aegis_core.metering.extract import StreamMeter
from aegis_core.metering.reading import Reading
from aegis_core.proxy.routes import Api

MOST_HELD = 8 * 1024 * 1024
"""Bytes of an answer that is not streamed, up to which it is held back until its call is settled."""
_MOST_EVENT = 32 * 1024 * 1024
_MOST_READ = 64 * 1024 * 1024
_PARSED_WHOLE = 4 * 1024 * 1024

_EVENT_END = re.compile(rb"\r?\n\r?\n|\r\r")
_USAGE = re.compile(rb'"usage"\s*:\s*[^n\s]')  # not those that are null
_NO_USAGE_YET = re.compile(rb',\s*"usage"\s*:\s*null(?=\s*[,}])|"usage"\s*:\s*null\s*,\s*')
"""What stands in every other chunk of a stream whose usage was asked for. Within a text its quotes would be escaped."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which events of an API are parsed, and which are the last that say what a call cost."""

    pattern: re.Pattern[bytes]
    last: re.Pattern[bytes]
    ends: bool = True
    """Whether nothing that counts follows the last one."""
    first: bool = False
    """Whether the first event says something, too: the tier that serves the call."""


_CHAT = _Wanted(
    re.compile(rb'"usage"\s*:\s*[^n\s]|"error"|url_citation'),
    re.compile(rb"^data:\s*\[DONE\]", re.MULTILINE),
    first=True,
)
_BY_API: dict[Api, _Wanted] = {
    "chat": _CHAT,
    "completions": _CHAT,
    "responses": _Wanted(
        re.compile(rb'"(?:response\.(?:completed|incomplete|failed|cancelled)|error)"'),
        re.compile(rb'"response\.(?:completed|incomplete|failed|cancelled)"'),
    ),
    "messages": _Wanted(
        re.compile(rb'"(?:message_start|message_delta|message|error)"|code_execution_tool_result'),
        re.compile(rb'"message_stop"'),
    ),
    "generate": _Wanted(
        re.compile(rb'"(?:usageMetadata|groundingMetadata|error)"'), re.compile(rb'"(?:finishReason|blockReason)"'),
        ends=False,
    ),
}  # fmt: skip


class Passed(NamedTuple):
    """What goes on to the client, and whether the call has said all that it will say of its cost."""

    data: bytes
    done: bool = False


class Tee(Protocol):
    """Takes an answer in as it comes."""

    def feed(self, chunk: bytes) -> Passed:
        """Take some of it in."""
        ...

    def end(self, *, broken: bool) -> bytes:
        """It is over; answers what was held back."""
        ...

    def reading(self) -> Reading:
        """What the call consumed."""
        ...


class WholeTee:
    """An answer that is one JSON document, held back until it is whole, as far as that is short enough."""

    def __init__(self, meter: StreamMeter) -> None:
        self._meter = meter
        self._seen = bytearray()
        self._held = True
        self._read = False

    def feed(self, chunk: bytes) -> Passed:
        """Keep it."""
        if len(self._seen) <= _MOST_READ:
            self._seen += chunk
        if not self._held:
            return Passed(chunk)
        if len(self._seen) <= MOST_HELD:
            return Passed(b"")
        self._held = False
        return Passed(bytes(self._seen))

    def end(self, *, broken: bool) -> bytes:
        """Parse it, and let it go."""
        try:
            if broken or len(self._seen) > _MOST_READ:
                raise ValueError("not the whole answer")
            found = _usage_alone(self._seen) if len(self._seen) > _PARSED_WHOLE else json.loads(self._seen)
            for part in cast("list[object]", found) if isinstance(found, list) else [found]:
                self._meter.add(part)
        except (ValueError, RecursionError) as error:
            self._meter.fail(error)
        return bytes(self._seen) if self._held else b""

    def reading(self) -> Reading:
        """As of `Tee`."""
        return self._meter.reading()


class EventTee:
    """Server-sent events. They go on as they come, unless some are to be left out."""

    def __init__(self, meter: StreamMeter, api: Api, *, strips_usage: bool = False, whole: bool = False) -> None:
        """How a stream is handed on.

        `strips_usage`: leave the event out in which a chat's usage comes, which its client had not asked for, and what
        says in the others that it comes later.
        `whole`: let events go on only when they are.
        """
        self._meter, self._wanted, self._strips = meter, _BY_API[api], strips_usage
        self._holds = strips_usage or whole
        self._rest = b""
        self._first, self._over = self._wanted.first, False
        self._later: bytes | None = None  # of Gemini's running totals only the last ones count

    def feed(self, chunk: bytes) -> Passed:
        """Look at the events that are whole now."""
        data = self._rest + chunk if self._rest else chunk
        kept: list[bytes] = []
        begin = 0
        for found in _EVENT_END.finditer(data):
            event = data[begin : found.end()]
            if not self._look(event):
                kept.append(_NO_USAGE_YET.sub(b"", event, count=1) if self._strips else event)
            begin = found.end()
        self._rest = data[begin:]
        if len(self._rest) > _MOST_EVENT:
            self._meter.fail(ValueError("an event without an end"))
            self._rest, kept = b"", [*kept, self._rest]
        done = self._over and self._wanted.ends
        return Passed(b"".join(kept) if self._holds else chunk, done)

    def end(self, *, broken: bool) -> bytes:
        """What is left, and perhaps is an event without its last line."""
        rest, self._rest = self._rest, b""
        if rest and self._look(rest):
            rest = b""
        if self._later is not None:
            self._add(self._later)
        if not self._over and (broken or not self._wanted.ends):
            self._meter.fail(ValueError("a stream without its end"))
        return rest if self._holds else b""

    def reading(self) -> Reading:
        """As of `Tee`."""
        return self._meter.reading()

    def _look(self, event: bytes) -> bool:
        """Read an event, if it says something; true when it is to be left out."""
        if not self._over and self._wanted.last.search(event):
            self._over = True
        if not (self._first or self._wanted.pattern.search(event)):
            return False
        if not self._wanted.ends and b"groundingMetadata" not in event and b'"error"' not in event:
            self._later = event
            return False
        if b'"usageMetadata"' in event:
            self._later = None
        part = self._add(event)
        if part is not None:
            self._first = False
        return self._strips and isinstance(part, dict) and _is_usage_alone(cast("dict[str, Any]", part))

    def _add(self, event: bytes) -> object:
        """Parse the data of an event; None: there is none that is JSON."""
        lines = [line[5:] for line in event.splitlines() if line.startswith(b"data:")]
        data = b"\n".join(lines).strip()
        if not data or data == b"[DONE]":
            return None
        try:
            part: object = json.loads(data)
        except (ValueError, RecursionError) as error:
            self._meter.fail(error)
            return None
        self._meter.add(part)
        return part


def _is_usage_alone(part: dict[str, Any]) -> bool:
    """Whether this is the chunk that a chat has for its usage only."""
    return part.get("choices") == [] and isinstance(part.get("usage"), dict)


def _usage_alone(body: bytearray) -> object:
    """The usage of a very long answer, which stands at its end."""
    found = [*_USAGE.finditer(body, max(0, len(body) - 65_536))]
    if not found:
        raise ValueError("no usage at the end of a long answer")
    usage, _ = json.JSONDecoder().raw_decode(bytes(body[found[-1].end() - 1 :]).decode())
    return {"object": "list", "usage": usage, "choices": []}

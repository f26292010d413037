"""Writes events into a file of JSON lines, each once and in order, also when it is killed and begun again.

Its place lies beside the file, and is written after the events. What was written last shows where a place is behind, so
no event is there twice; what a kill left of half a line is cut off. A file may be moved away at any time: a new one is
begun. Numbers are dense, so one that is missing is an event that was gone before it was exported, or was not asked for.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, Self, cast

from pydantic import TypeAdapter

from aegis_core.protocol.errors import ConfigurationError, ConflictError
from aegis_core.protocol.events import Event, EventPage, EventQuery

LOOK_SECONDS = 1.0
_PAGE = 500
_TAIL = 1 << 20
"""Bytes at the end of a file in which its last line must lie; events are far smaller."""
_dump = TypeAdapter(Event).dump_python

Find = Callable[[EventQuery], Awaitable[EventPage]]


class Output(Protocol):
    """Where events are written, and how far that was done."""

    def place(self) -> str | None:
        """The cursor after the last event; None: nothing was exported yet."""
        ...

    def write(self, events: tuple[Event, ...], cursor: str) -> None:
        """Write events, and then the cursor after them."""
        ...


class Step(NamedTuple):
    """One step of an export: so many events were written; `trimmed`: some before them were gone."""

    written: int
    trimmed: bool


async def export(find: Find, wanted: EventQuery, output: Output, *, follow: bool) -> AsyncIterator[Step]:
    """Write events from the place of the output on, else from the beginning of what is wanted; without `follow` up to
    those that there are now.

    Raises:
        InvalidRequestError: the place is none of this tenant's events.
    """
    after = output.place()
    while True:
        page = await find(wanted.model_copy(update={"after": after, "limit": _PAGE, "order": "asc"}))
        if page.next not in {after, "0"}:
            after = page.next
            output.write(page.events, after)
            yield Step(len(page.events), page.trimmed)
        if page.more:
            continue
        if not follow:
            return
        await asyncio.sleep(LOOK_SECONDS)


class Lines:
    """Standard output. Where it ended is nobody's to know."""

    def place(self) -> str | None:
        """From the beginning."""
        return None

    def write(self, events: tuple[Event, ...], cursor: str) -> None:
        """Write events."""
        del cursor
        for event in events:
            sys.stdout.write(line_of(event).decode())
        sys.stdout.flush()


class ExportFile:
    """A file of JSON lines for its owner to read, and its place in ``FILE.cursor``. One process at a time writes it."""

    def __init__(self, path: Path, tenant: str) -> None:
        self._path, self._beside = path, path.with_name(path.name + ".cursor")
        self._tenant = tenant
        self._cursor: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Hold the file.

        Raises:
            ConfigurationError: it cannot be written.
            ConflictError: another process exports into it.
        """
        try:
            descriptor = os.open(self._beside, os.O_RDWR | os.O_CREAT, 0o600)
            os.close(self._opened())
        except OSError as error:
            raise ConfigurationError(f"{self._path} cannot be written: {error.strerror}") from None
        self._cursor = os.fdopen(descriptor, "r+b")
        try:
            fcntl.flock(self._cursor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._cursor.close()
            raise ConflictError(f"Another process exports into {self._path}.", code="exported_elsewhere") from None
        return self

    def __exit__(self, *_: object) -> None:
        """Let it go."""
        if self._cursor is not None:
            self._cursor.close()

    def place(self) -> str | None:
        """The later of the stored place and the last event of the file, whose half a line after that is cut off.

        Raises:
            ConfigurationError: the file is of another tenant, or no export.
        """
        stored, last = self._stored(), self._last()
        if stored is None or last is None:
            return last or stored
        return max(stored, last, key=_order)

    def write(self, events: tuple[Event, ...], cursor: str) -> None:
        """Write events, and then the cursor after them; both reach the disk in this order."""
        if self._cursor is None:
            raise ValueError("The file is not open.")
        if events:
            with os.fdopen(self._opened(), "ab") as file:
                file.write(b"".join(map(line_of, events)))
                file.flush()
                os.fsync(file.fileno())
        text = json.dumps({"tenant": self._tenant, "after": cursor}).encode() + b"\n"
        self._cursor.seek(0)
        self._cursor.write(text)
        self._cursor.truncate()
        self._cursor.flush()
        os.fsync(self._cursor.fileno())

    def _opened(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _stored(self) -> str | None:
        text = self._beside.read_bytes()
        return self._cursor_in(text, self._beside, "after") if text else None

    def _last(self) -> str | None:
        with self._path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            tail = file.read()
            whole = tail.rfind(b"\n") + 1
            if whole == 0 and size > _TAIL:
                raise self._strange(self._path)
            file.truncate(size - len(tail) + whole)
        if not whole:
            return None
        return self._cursor_in(tail[tail.rfind(b"\n", 0, whole - 1) + 1 : whole], self._path, "id")

    def _cursor_in(self, text: bytes, path: Path, name: str) -> str:
        try:
            said: Any = json.loads(text)
            found = cast("dict[str, Any]", said if isinstance(said, dict) else {})
            tenant, cursor = found["tenant"], str(found[name])
            _order(cursor)
        except (ValueError, KeyError):
            raise self._strange(path) from None
        if tenant != self._tenant:
            raise ConfigurationError(f"{path} holds events of the tenant {tenant}, not of {self._tenant}.")
        number = found.get("number")
        return f"{cursor}.{number}" if name == "id" and number is not None else cursor

    def _strange(self, path: Path) -> ConfigurationError:
        return ConfigurationError(f"{path} is no export of events; give another file, or move this one away.")


def line_of(event: Event) -> bytes:
    """An event as the HTTP API says it, in ASCII on one line, whatever its words are."""
    return json.dumps(_dump(event, mode="json")).encode() + b"\n"


def _order(cursor: str) -> tuple[int, int]:
    ms, _, rest = cursor.partition("-")
    return int(ms), int(rest.partition(".")[0] or 0)

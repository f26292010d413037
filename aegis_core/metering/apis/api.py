"""What an API's reader is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aegis_core.metering.reading import Reading


class Meter(Protocol):
    """Takes the parts of one answer in as they come. An answer that is not streamed is one part."""

    def add(self, part: object) -> None:
        """Take in a part: a whole answer, a chunk or an event."""
        ...

    def reading(self, model: str | None) -> Reading:
        """What was read so far, for the model as the caller names it; None: as the answer does."""
        ...


@dataclass(frozen=True, slots=True)
class Api:
    """One API.

    Attributes:
        names: what callers call it: its provider's names, and its own.
        meter: makes a reader for one answer.
        recognises: whether a part of an answer is in this API's shape.
    """

    names: frozenset[str]
    meter: Callable[[], Meter]
    recognises: Callable[[object], bool]

"""What became of a thread that was carried on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Resumed:
    """A thread that was carried on: to its `state` at the end or at the next pause, or to the graph's own `error`."""

    thread: str
    state: Any = None
    error: Exception | None = None


def raised(resumed: Resumed | None) -> Resumed | None:
    """The same, unless it ended by the graph's own error, which is raised."""
    if resumed is not None and resumed.error is not None:
        raise resumed.error
    return resumed

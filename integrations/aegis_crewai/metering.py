"""What one call of a CrewAI model consumed, though CrewAI counts tokens for the model's whole life.

A model adds each call's tokens to its own running counters. Here the counters also tell the call in whose context they
are added, so calls that run at the same time are not mixed up, whichever way a provider's class counts.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from crewai.events import LLMStreamChunkEvent
from crewai.events.stream_context import add_stream_sink, reset_stream_sinks
from crewai.llms.base_llm import BaseLLM

from aegis_core.adapting import Reading, ReceivedText, Reservation, read_counts
from aegis_core.protocol.process import new_lock

_lock = new_lock()

_COUNTERS = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "cached_input_tokens": "cached_prompt_tokens",
    "reasoning_tokens": "reasoning_tokens",
}
"""CrewAI's counters by the fields of `Usage`."""


@dataclass(slots=True)
class Meter:
    """One call: the tokens it added, and whether the provider had begun to stream an answer."""

    llm: BaseLLM
    begun: bool = False
    added: dict[str, int] = field(default_factory=dict[str, int])
    read: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def counted(self) -> bool:
        """Whether the provider reported usage."""
        return bool(self.added.get("prompt_tokens") or self.added.get("completion_tokens"))

    def reading(self, held: Reservation, answer: object = None) -> Reading:
        """The provider's counts; where it reported none, the text of the answer.

        CrewAI tells what was written to the cache, and not for how long: it is taken for the longest that was asked.
        """
        received = ReceivedText()
        received.text(answer)
        if not self.counted:
            return read_counts(held.model, None, received=received, finished=isinstance(answer, str))
        hour = held.bound is not None and held.bound.cache_write == "1h"
        names = _COUNTERS | {f"cache_write_{'1h' if hour else '5m'}_tokens": "cache_creation_tokens"}
        counts = {name: self.added.get(theirs, 0) for name, theirs in names.items()}
        return read_counts(held.model, counts, total=self.added.get("total_tokens"), received=received)

    def hear(self, source: object, event: object) -> None:
        """Notice the model's stream; the sink of CrewAI's events in this context."""
        if source is self.llm and isinstance(event, LLMStreamChunkEvent):
            self.begun = True


_running: ContextVar[Meter | None] = ContextVar("aegis_crewai_meter", default=None)


class RunningCounters(dict[str, int]):
    """A model's running counters. An addition is a read and a write; its difference belongs to the running call."""

    def __getitem__(self, key: str) -> int:
        value = super().__getitem__(key)
        meter = self._meter()
        if meter is not None:
            meter.read[key] = value
        return value

    def __setitem__(self, key: str, value: int) -> None:
        meter = self._meter()
        if meter is None:
            super().__setitem__(key, value)
            return
        with _lock:  # another call may have added between this call's read and write
            now = self.get(key, 0)
            added = value - meter.read.pop(key, now)
            super().__setitem__(key, now + added)
        meter.added[key] = meter.added.get(key, 0) + added

    def _meter(self) -> Meter | None:
        meter = _running.get()
        return meter if meter is not None and counters(meter.llm) is self else None


def counters(llm: BaseLLM) -> Any:
    """The model's running counters, which CrewAI keeps private."""
    return getattr(llm, "_token_usage", None)


@contextmanager
def metered(llm: BaseLLM) -> Generator[Meter]:
    """Measure the call of `llm` that is made inside the block."""
    if not isinstance(found := counters(llm), RunningCounters):
        llm._token_usage = RunningCounters(found or {})  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001
    meter = Meter(llm)
    token, sink = _running.set(meter), add_stream_sink(meter.hear)
    try:
        yield meter
    finally:
        reset_stream_sinks(sink)
        _running.reset(token)

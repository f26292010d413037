"""From what a provider's API or SDK answered to a usage, or to the reasons why there is none. Nothing here raises."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

from aegis_core.metering.apis import APIS
from aegis_core.metering.apis.api import Api, Meter
from aegis_core.metering.reading import NO_USAGE, Reading, get
from aegis_core.protocol.parsing import loads

_SSE = "data:"


def extract(provider: str | None, payload: object, *, model: str | None = None) -> Reading:
    """Read what a call consumed.

    Args:
        provider: the provider or API (``openai``, ``anthropic``, ``gemini``, ``bedrock``, ``openrouter``, …), in any
            case; None: found by the payload's shape.
        payload: an SDK's object, a mapping, JSON or a server-sent event stream as text or bytes, or a list or iterator
            of chunks. An iterator is used up.
        model: the model that was asked for, which counts before the one that the answer names: an answer may name a
            deployment or a dated release.

    Returns:
        The counts, and a doubt for each thing that cannot be true; see `Reading`.
    """
    meter = StreamMeter(provider, model=model)
    try:  # the call was paid: its answer must not be lost to its bookkeeping, whatever an object does when asked
        for part in _parts(payload):
            meter.add(part)
    except Exception as error:  # noqa: BLE001
        meter.fail(error)
    return meter.reading()


class StreamMeter:
    """Reads one answer part by part, for those who see chunks pass and do not keep them."""

    def __init__(self, provider: str | None, *, model: str | None = None) -> None:
        """Arguments as of `extract`."""
        self._model = model
        self._apis = _named(provider)
        self._meter: Meter | None = self._apis[0].meter() if len(self._apis) == 1 else None
        self._waiting: list[object] = []
        self._broken = "" if self._apis else f"no reader is called {str(provider)[:40]!r}"

    def add(self, part: object) -> None:
        """Take in a chunk, an event or a whole answer."""
        try:
            self._add(part)
        except Exception as error:  # noqa: BLE001
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Say that the answer could not be read to its end."""
        self._broken = f"the answer could not be read ({type(error).__name__})"

    def reading(self) -> Reading:
        """What was read so far."""
        reading = Reading(None, (NO_USAGE,))
        try:
            for part in self._waiting:  # of no known shape: the reader that claims the most may still find usage
                self._choose(self._apis[-1]).add(part)
            self._waiting = []
            if self._meter is not None:
                reading = self._meter.reading(self._model)
        except Exception as error:  # noqa: BLE001
            self.fail(error)
        if not self._broken:
            return reading
        return Reading(reading.usage, (self._broken, *reading.doubts), reading.received_tokens, reading.response_id)

    def _add(self, part: object) -> None:
        if self._meter is None:
            api = next((api for api in self._apis if api.recognises(part)), None)
            if api is None and self._apis and get(part, "choices") is not None:
                api = self._apis[-1]  # chat completions by a server that leaves their mark out
            if api is None:
                self._waiting = [*self._waiting[-7:], part]
                return
            self._choose(api)
        assert self._meter is not None
        self._meter.add(part)

    def _choose(self, api: Api) -> Meter:
        if self._meter is None:
            self._meter = api.meter()
        return self._meter


def _named(provider: str | None) -> tuple[Api, ...]:
    if provider is None:
        return APIS
    name = str(provider).lower().replace(" ", "_")
    return tuple(api for api in APIS if name in api.names)


def _parts(payload: object) -> Iterable[object]:
    if isinstance(payload, bytes | bytearray):
        payload = bytes(payload).decode("utf-8", "replace")
    if isinstance(payload, str):
        return _of_text(payload)
    # An SDK's models can be iterated, too, so only what is plainly several parts is taken apart.
    if isinstance(payload, list | tuple | Iterator):
        return cast("Iterable[Any]", payload)
    return (payload,)


def _of_text(text: str) -> list[object]:
    """The parts of a body: one JSON value, a JSON list, or the events of a stream."""
    lines = [line[len(_SSE) :].strip() for line in text.splitlines() if line.startswith(_SSE)]
    if lines:
        return [loads(line) for line in lines if line and line != "[DONE]"]
    whole: object = loads(text)
    return cast("list[object]", whole) if isinstance(whole, list) else [whole]

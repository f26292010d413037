"""What a stream has cost at least while it flows, for keys whose streams are cut when their reservation is exhausted.

Nothing says that exactly before the end. Every event that carries text holds a token or more, so their number is less
than what is billed; where a provider states counts meanwhile, those are taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from aegis_core.protocol.errors import AegisError
from aegis_core.protocol.money import MAX_NANOS
from aegis_core.protocol.usage import MOST_TOKENS, Usage
from aegis_core.proxy.replies import Reply
from aegis_core.proxy.routes import Api

_EMPTY = 16
"""Events that carry no text, although they look so: the first and last ones of each part."""

_TEXTS: dict[Api, re.Pattern[bytes]] = {
    "chat": re.compile(rb'"delta"\s*:\s*\{'),
    "completions": re.compile(rb'"text"\s*:\s*"[^"]'),
    "responses": re.compile(rb'"type"\s*:\s*"response\.[a-z_.]+\.delta"'),
    "messages": re.compile(rb'"type"\s*:\s*"content_block_delta"'),
}
_OUTPUTS: dict[Api, re.Pattern[bytes]] = {
    "messages": re.compile(rb'"output_tokens"\s*:\s*(\d{1,9})\b'),
    "generate": re.compile(rb'"candidatesTokenCount"\s*:\s*(\d{1,9})\b'),
}
"""Running totals of the answer."""
_INPUTS: dict[Api, re.Pattern[bytes]] = {"messages": re.compile(rb'"input_tokens"\s*:\s*(\d{1,9})\b')}
"""Input at its full price, which this provider states at first."""


class Gauge:
    """Counts one stream."""

    def __init__(self, api: Api, model: str, reserved: int, price: Callable[[Usage], int]) -> None:
        """Begin to count.

        Args:
            api: the shape of the stream.
            model: as it is priced.
            reserved: nano-dollars.
            price: of a usage, in nano-dollars.
        """
        self._api: Api = api
        self._model, self._reserved, self._price = model, reserved, price
        self._events = self._stated = self._input = 0

    def exhausted(self, events: bytes) -> int | None:
        """Take some of the stream in.

        Returns:
            What it has cost at least, in nano-dollars, once that is more than was reserved.
        """
        if (texts := _TEXTS.get(self._api)) is not None:
            self._events += len(texts.findall(events))
        self._stated = max(self._stated, _most(_OUTPUTS.get(self._api), events))
        self._input = max(self._input, _most(_INPUTS.get(self._api), events))
        output = max(self._stated, self._events - _EMPTY)
        usage = Usage(model=self._model, input_tokens=self._input, output_tokens=min(output, MOST_TOKENS))
        try:
            nanos = self._price(usage)
        except AegisError:
            return None  # it is settled by what the answer says at its end
        return min(nanos, MAX_NANOS) if nanos > self._reserved else None


def cut_event(api: Api, told: Reply) -> bytes:
    """The last event of a stream that is cut, by which clients raise their own error."""
    data = told.body
    if api == "responses":
        held = json.loads(data)["error"]
        data = json.dumps({"type": "error", **held, "sequence_number": 2**31 - 1, "error": held}).encode()
    name = b"event: error\n" if api in {"messages", "responses"} else b""
    return b"%bdata: %b\n\n" % (name, data)


def _most(pattern: re.Pattern[bytes] | None, events: bytes) -> int:
    return max(map(int, pattern.findall(events)), default=0) if pattern else 0

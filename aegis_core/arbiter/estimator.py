"""From sizes to tokens: upper bounds to reserve by, and a forecast to compare prices by.

The bounds are those of text as agents send it, not of every conceivable byte string. Prose, code, JSON and Chinese
stay at or under one token for two bytes, base64 under one for 1.4. A tokenizer may still spend a token on each byte of
a rare script, or on each digit of a long table of numbers: for such text, send a claim or a count of your own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from aegis_core.protocol.canonical import canonical_json
from aegis_core.protocol.messages import BYTES_PER_TOKEN

MESSAGE_TOKENS = 8
"""Tokens for the frame of one message: role, separators, the answer's first tokens."""

TOOL_TOKENS = 16
"""Tokens for the frame of one tool definition, beside its JSON."""

IMAGE_TOKENS = 6_000
"""Tokens for one image at full detail; the ``-mini`` models of OpenAI count more and want an explicit size."""

FORECAST_INPUT, FORECAST_OUTPUT = 1_000, 250
"""The mix by which models are compared when a request gives no sizes."""

_DENSE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_.%-"
_SHAPE = bytes(65 if byte in _DENSE else 32 for byte in range(256))
_RUN = b"A" * 32
"""So many such bytes on end are base64, a hash, a UUID or a long path: few characters a token."""

_STRUCTURE = frozenset({"role", "tool_call_id", "tool_calls", "function_call"})
"""Fields of a message that are counted otherwise than as their text: the first two are part of the frame."""

_TEXTS = frozenset({"text", "input_text", "output_text"})
_spelt = json.JSONEncoder(ensure_ascii=False).encode


def input_bound(prompt_bytes: int) -> int:
    """Most tokens that a prompt of so many UTF-8 bytes holds: half of them, rounded up."""
    return -(-prompt_bytes // BYTES_PER_TOKEN)


def text_bound(text: str | bytes) -> int:
    """Most tokens of a text: a token for 1.4 bytes in base64-like runs, for 2 bytes elsewhere, each rounded up."""
    if len(text) < len(_RUN) and (isinstance(text, bytes) or text.isascii()):
        return input_bound(len(text))  # too short for a run
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    dense = _dense_bytes(data)
    return -(-dense * 5 // 7) + input_bound(len(data) - dense)


def _dense_bytes(data: bytes) -> int:
    """How many bytes stand in long runs. Twenty times as fast as a regular expression: it looks at every prompt."""
    shape, dense, end = data.translate(_SHAPE), 0, 0
    while (start := shape.find(_RUN, end)) >= 0:
        end = shape.find(b" ", start)
        end = len(shape) if end < 0 else end
        dense += end - start
    return dense


def messages_bound(messages: Iterable[Mapping[str, object]], tools: Sequence[object] = ()) -> int:
    """Most input tokens of a chat call.

    Args:
        messages: in the shape of OpenAI: ``role``, ``content`` as text or a list of parts, ``tool_calls``.
        tools: tool definitions, as JSON-compatible values.

    Returns:
        Tokens: the text of every field of a message, the names and arguments of its calls of tools, the JSON of what is
        neither and of tool definitions; `MESSAGE_TOKENS` a message, `TOOL_TOKENS` a tool, `IMAGE_TOKENS` an image.
    """
    return sum(map(_message_bound, messages)) + sum(TOOL_TOKENS + text_bound(_json(tool)) for tool in tools)


def forecast(input_tokens: int | None, max_output_tokens: int | None) -> tuple[int, int]:
    """Input and output tokens to expect of a call with at most so many, for comparing prices only.

    A prompt has half of the tokens of its bound, which is four bytes for each; an answer is a quarter of its prompt, at
    least 250 tokens, at most its cap.
    """
    expected_input = FORECAST_INPUT if input_tokens is None else (input_tokens + 1) // 2
    expected_output = max(FORECAST_OUTPUT, expected_input // 4)
    return expected_input, expected_output if max_output_tokens is None else min(expected_output, max_output_tokens)


def _message_bound(message: Mapping[str, Any]) -> int:
    tokens = MESSAGE_TOKENS
    for name, value in message.items():
        if name not in _STRUCTURE:
            tokens += _value_bound(value)
        elif name == "tool_calls":
            tokens += sum(map(_call_bound, value or ()))
        elif name == "function_call":
            tokens += _call_bound(value)
    return tokens


def _call_bound(call: object) -> int:
    """A call of a tool that a message holds: name and arguments; one of another shape by its JSON."""
    if isinstance(call, Mapping):
        outer = cast("Mapping[str, object]", call)
        said = cast("Mapping[str, object]", outer.get("function") or outer)
        if isinstance(said, Mapping) and "arguments" in said:  # pyright: ignore[reportUnnecessaryIsInstance]
            return _value_bound(said.get("name")) + _value_bound(said["arguments"])
    return 0 if call is None else text_bound(_json(call))


def _value_bound(value: object) -> int:
    """Text, a list of parts, or one part: text, an image, or anything else by its JSON."""
    if isinstance(value, str | bytes):
        return text_bound(value)
    if value is None:
        return 0
    if isinstance(value, list | tuple):
        return sum(map(_value_bound, cast("Sequence[object]", value)))
    if isinstance(value, Mapping):
        part = cast("Mapping[str, object]", value)
        kind, text = str(part.get("type", "")), part.get("text")
        if "image" in kind:
            return IMAGE_TOKENS
        if kind in _TEXTS and isinstance(text, str):
            return text_bound(text)
    return text_bound(_json(value))


def _json(value: Any) -> str:
    """A value as providers are sent it; what JSON has no form for, as everywhere else here."""
    try:
        return _spelt(value)
    except (TypeError, ValueError, RecursionError):
        return canonical_json(value)

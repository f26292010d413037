"""From text to tokens without a tokenizer: the most that a text may be, and the least that it must be.

The bounds are those of text as agents send it, not of every conceivable byte string. Prose, code, JSON and Chinese
stay at or under one token for two bytes, base64 under one for 1.4. A tokenizer may still spend a token on each byte of
a rare script, or on each digit of a long table of numbers: for such text, send a claim or a count of your own.
"""

from __future__ import annotations

import json
from typing import Any

from aegis_core.protocol.canonical import canonical_json
from aegis_core.protocol.messages import BYTES_PER_TOKEN

_DENSE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_.%-"
_SHAPE = bytes(65 if byte in _DENSE else 32 for byte in range(256))
_RUN = b"A" * 32
"""So many such bytes on end are base64, a hash or a long path, which take a token for 1.4 bytes."""

_NO_WORDS = bytes(byte for byte in range(128) if not chr(byte).isalnum())
_LONGEST_WORD = 32
"""Bytes of letters and digits in one token at most; runs of spaces and dashes may be longer, so they do not count."""

_spelt = json.JSONEncoder(ensure_ascii=False).encode


def input_bound(prompt_bytes: int) -> int:
    """Most tokens that a prompt of so many UTF-8 bytes holds: half of them, rounded up."""
    return -(-prompt_bytes // BYTES_PER_TOKEN)


def text_bound(text: str | bytes) -> int:
    """Most tokens of a text, for any of the providers' tokenizers on what agents send."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) < len(_RUN):
        return input_bound(len(data))
    dense = _dense_bytes(data)
    return -(-dense * 5 // 7) + input_bound(len(data) - dense)


def least_tokens(word_bytes: int) -> int:
    """Fewest tokens of a text that is not empty, from `word_bytes` of it."""
    return max(1, word_bytes // _LONGEST_WORD)


def word_bytes(text: str) -> int:
    """Bytes of letters and digits in a text, and of all that is not ASCII."""
    return len(text.encode("utf-8", "surrogatepass").translate(None, _NO_WORDS))


def json_bound(value: Any) -> int:
    """Most tokens of a value in the form in which providers are sent it."""
    return text_bound(spelt(value))


def spelt(value: Any) -> str:
    """A value as JSON; what JSON has no form for gets the project's own."""
    try:
        return _spelt(value)
    except (TypeError, ValueError, RecursionError):
        return canonical_json(value)


def _dense_bytes(data: bytes) -> int:
    """How many bytes stand in long runs of base64-like characters."""
    shape, dense, end = data.translate(_SHAPE), 0, 0
    while (start := shape.find(_RUN, end)) >= 0:
        end = shape.find(b" ", start)
        end = len(shape) if end < 0 else end
        dense += end - start
    return dense

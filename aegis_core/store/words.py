"""What agents wrote, apart from the facts: a stream of its own for each agent, and digests of it in the events."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from aegis_core.store.arguments import Said
from aegis_core.store.packing import pack, unpack

DAY_MS = 86_400_000
WORDS: Mapping[str, Any] = {
    "WORDS_DAY": DAY_MS,  # ms between two looks at how long an agent's words live
    "WORDS_KEPT": 400 * DAY_MS,  # how long the last words of an agent live, where events have no age
    "RESULT_FORGOTTEN": '"It was done. What came of it was removed."',  # JSON, as results of tools are
}
"""What scripts name of it."""

NAMES = ("intent", "prompt_end", "metadata", "tool", "target_resource", "capability")
"""What of a request is its agent's words. ``lua/lib/words.lua`` names the same."""

_MOST, _TEXT = 4_096, 1_024
"""Bytes from which words are shortened, and the bytes of each text that are left then."""


def said_of(words: Mapping[str, Any]) -> Said:
    """Words with a salted digest, without which nobody could tell that they were changed. Intents are guessable."""
    whole, salt = pack(words), os.urandom(16)
    kept = whole if len(whole) <= _MOST else pack(_shortened(words))
    return Said(kept, salt, sha256(salt + kept).digest(), False if kept is whole else whole)


def opened(entry: Sequence[bytes] | None, digest: bytes | None) -> dict[str, Any] | None:
    """Words as they are kept, with their salt; None where they are not, or are not those of the digest."""
    if entry is None:
        return None
    words, salt = entry
    if digest is not None and not hmac.compare_digest(sha256(salt + words).digest(), digest):
        return None
    return unpack(words)


def _shortened(words: Mapping[str, Any]) -> dict[str, Any]:
    """Of long texts the beginning; metadata that is longer than one goes whole."""
    kept = {name: _cut(value) if isinstance(value, str) else value for name, value in words.items()}
    if len(pack(kept.get("metadata"))) > _TEXT:
        del kept["metadata"]
    return kept


def _cut(text: str) -> str:
    spelt = text.encode()
    return text if len(spelt) <= _TEXT else spelt[:_TEXT].decode(errors="ignore") + "…"

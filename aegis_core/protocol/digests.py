"""Answers that are kept by a digest of what was asked about."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Generic, TypeVar

_T = TypeVar("_T")


class DigestCache(Generic[_T]):
    """Answers about what strangers send. Neither how much of it is kept nor what is theirs to choose.

    Answers must have a size that nobody who asks can choose, either. The oldest makes room.
    """

    def __init__(self, answer: Callable[[bytes], _T], *, most: int, key: bytes = b"") -> None:
        self._answer, self._most, self._key = answer, most, key
        self._kept: dict[bytes, _T] = {}

    def __call__(self, sent: bytes) -> _T:
        """The answer, found again or made. An error is not kept."""
        digest = blake2b(sent, digest_size=16, key=self._key).digest()
        found = self._kept.get(digest)
        if found is None:
            found = self._kept[digest] = self._answer(sent)
            if len(self._kept) > self._most:
                self._kept.pop(next(iter(self._kept)), None)
        return found

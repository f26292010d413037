"""Names and patterns of names: ``bot-7``, ``old-*``. Letters that look alike, and upper and lower case, are one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, Field

from aegis_core.policy.text import fold
from aegis_core.protocol.fields import Glob, check_size
from aegis_core.protocol.unicode import normal

_PATTERN = re.compile(r"[\w.:@/*-]{1,128}")


def _pattern(value: str) -> str:
    check_size(value)
    text = normal("NFKC", value)
    if not _PATTERN.fullmatch(text):
        raise ValueError("must be 1 to 128 letters, digits or any of _ . : @ / - and * for anything")
    return text


NamePatterns = Annotated[tuple[Annotated[str, AfterValidator(_pattern)], ...], Field(min_length=1)]


class PatternList:
    """A list of names and patterns, ready to be asked."""

    __slots__ = ("_exact", "_globs", "sources")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.sources = tuple(patterns)
        self._exact = {fold(name): name for name in reversed(self.sources) if "*" not in name}
        self._globs = tuple((Glob.parse(fold(name)), name) for name in self.sources if "*" in name)

    def entry(self, name: str) -> str | None:
        """The entry of the list that a name falls under."""
        return self.find(fold_name(name))

    def find(self, folded: str) -> str | None:
        """The same for a name that went through `fold_name`."""
        if folded in self._exact:
            return self._exact[folded]
        for glob, source in self._globs:
            if folded.startswith(glob.head) and glob.matches(folded):
                return source
        return None


def fold_name(name: str) -> str:
    """A name as names are compared."""
    return name.lower() if name.isascii() else fold(name)

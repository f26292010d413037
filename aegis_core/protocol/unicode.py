"""Unicode's normal forms in linear time.

Normalising sorts each run of combining marks, and that takes the square of its length: a megabyte takes hours.
Text of people holds no more than a handful in a row, and Unicode's own Stream-Safe Text Format allows 30 (UAX #15), so
of a longer run the first 30 are read, and the rest is dropped.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal
from unicodedata import combining, normalize

LONGEST_RUN = 30

# What may decompose into a mark: no letter or digit does, but the two half-width marks of Katakana, which count as
# letters. A test compares this with the tables. One class of characters is looked through three times as fast as two.
_RUN = re.compile(rf"[\W\uff9e\uff9f]{{{LONGEST_RUN + 1},}}")


def normal(form: Literal["NFC", "NFD", "NFKC"], text: str) -> str:
    """The text in a normal form, without the marks of a run beyond the first 30."""
    return text if text.isascii() else normalize(form, _RUN.sub(_shortened, text))


def _shortened(run: re.Match[str]) -> str:
    text, signs = run[0], set(run[0])  # few, where there are many: what each is need be looked up but once
    those = set(filter(is_mark, signs))
    if len(those) == len(signs):
        return text[:LONGEST_RUN]
    kept: list[str] = []
    marks = 0
    for char in text:
        marks = marks + 1 if char in those else 0
        if marks <= LONGEST_RUN:
            kept.append(char)
    return "".join(kept)


@lru_cache(maxsize=4_096)
def is_mark(char: str) -> bool:
    """Whether it takes part in the sorting: it is, or decomposes into, marks of a combining class."""
    return combining(normalize("NFKD", char)[0]) != 0

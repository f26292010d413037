"""How an intent is read: once, into lower-case words that look the same however they were typed.

Punctuation separates words and has no meaning of its own, so ``drop_database``, ``DROP   DATABASE;`` and
``drop-database`` are one text, and ``rm -rf /`` is the words ``rm rf``. Characters that nobody sees are dropped: with a
zero-width space inside, ``drop`` is still ``drop``. As they may also stand where a space should, a text that has them
between letters is read both ways, one after the other. Letters that look like Latin ones are read as those, with or
without accents, so a Cyrillic ``о`` hides nothing.
"""

from __future__ import annotations

import re
import string
from functools import lru_cache
from typing import NamedTuple
from unicodedata import category

from aegis_core.protocol.lookalikes import LOOKALIKES
from aegis_core.protocol.unicode import normal

# Scripts written without spaces: each character is a word, which makes a phrase match as a substring does.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
WORD = re.compile(f"[{_UNSPACED}]|[^\\W_{_UNSPACED}]+")

_ACCENTS = re.compile("([a-z])[\u0300-\u036f]+")
_UNSEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc\U00013441\U00013442\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
"""What Unicode calls ignorable by default, and what is drawn as nothing though it counts as a letter or a sign: the
fillers of Hangul, blank Braille, blank hieroglyphs, the null note head, and the anchors of what was embedded."""
_ODD = re.compile(f"[{_UNSEEN}]")
_INSIDE = re.compile(f"(?<=[^\\W_])(?:[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]|[{_UNSEEN}])+(?=[^\\W_])")
"""A run of them, or of controls, between letters or digits."""
_WORD_BYTES = (string.ascii_letters + string.digits).encode()
_SEPARATED = bytes(ord(chr(code).lower()) if code in _WORD_BYTES else 0x20 for code in range(256))
_UNSEEN_BYTES = bytes(code for code in range(128) if not chr(code).isprintable() and not chr(code).isspace())


class _Dropped(dict[int, int | None]):
    """A table for `str.translate` that learns; it stops growing, so that no text can make it large."""

    def __init__(self, *categories: str) -> None:
        super().__init__()
        self._categories = categories

    def __missing__(self, code: int) -> int | None:
        char = chr(code)
        unseen = (category(char) in self._categories and not char.isspace()) or _ODD.match(char)
        kept = None if unseen else code
        if len(self) < 4_096:
            self[code] = kept
        return kept


_CONTROLS = _Dropped("Cc", "Cf")
_MARKS = _Dropped("Mn", "Me")


def normalise(text: str) -> str:
    """Fold what looks alike into one form: width, case, white space; what is invisible goes.

    Combining marks that belong to no letter (struck-through text, variation selectors) are dropped as well.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.lower().split())
    if not text.isprintable():
        # Before composing: a hidden character must not keep a letter and its accent apart.
        text = text.translate(_CONTROLS)
    text = normal("NFKC", normal("NFKC", text).casefold()).translate(_MARKS)
    return " ".join(normal("NFKC", text).split())


def fold(text: str) -> str:
    """Normalise, and read letters that look Latin as Latin. What rules and texts are compared by."""
    if text.isascii():
        return normalise(text)
    # Once in the writer's own case, which decides what a letter looks like, and once for what case folding brings up.
    text = normalise(normal("NFKC", text).translate(LOOKALIKES))
    if text.isascii():
        return text
    apart = normal("NFD", text).translate(LOOKALIKES)
    return normal("NFC", _ACCENTS.sub(r"\1", apart))


def words(text: str) -> list[str]:
    """The words of a text in order, folded, without punctuation; once more with what is unseen for spaces, if it is
    between letters."""
    if text.isascii():
        found = text.encode("ascii").translate(_SEPARATED, _UNSEEN_BYTES).decode("ascii").split()
    else:
        found = WORD.findall(fold(text))
    apart = set_apart(text)
    return found if apart is None else found + words(apart)


def set_apart(text: str) -> str | None:
    """The text with a space for what is unseen between letters; None where nothing is."""
    if text.isascii() and text.isprintable():
        return None
    apart = _INSIDE.sub(" ", text)
    return None if apart == text else apart


class Reading(NamedTuple):
    """A text as rules compare it."""

    normalised: str
    folded: str
    words: tuple[str, ...]


HEAVY = 500
"""Characters beyond ASCII from which reading a text may take milliseconds, so that a server does it beside its loop."""


def is_heavy(text: str) -> bool:
    """Whether `reading` of it should not be made in an event loop."""
    return len(text) > HEAVY and not text.isascii()


@lru_cache(maxsize=8)
def reading(text: str) -> Reading:
    """All readings of an intent, kept for the moment in which one decision asks for them several times.

    An intent stands for at most 16,000 characters, so the eight hold some 10 MB at the very most.
    """
    return Reading(normalise(text), fold(text), tuple(words(text)))


def words_of(text: str) -> list[str]:
    """The `words` of an intent, read once where that takes long."""
    return list(reading(text).words) if is_heavy(text) else words(text)


def spaced(words: list[str]) -> str:
    """Words as `Phrase.occurs` reads them: each with a space before and after it."""
    return f" {' '.join(words)} "

"""The phrase language: ``transfer* … all … funds``.

A word stands for itself, ``word*`` for any word that begins so, and ``…`` (or ``...``) for anything in between,
nothing included. Matching never goes back: between gaps there are runs of neighbouring words, and the leftmost place
of each run after the previous one is always the best. So the work grows with the length of the intent, whatever that
says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from aegis_core.policy.text import WORD, normalise

STEM = 4
"""Characters of a word by which phrases are looked up."""

_GAP = re.compile(r"\.{3,}")


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring words as literal pieces; after a piece that ends in a ``word*`` the rest of that word is skipped."""

    first: str
    rest: tuple[str, ...]

    def end(self, text: str, start: int) -> int:
        """Where the leftmost occurrence from `start` ends (the next word's leading space at the earliest), or -1."""
        at = text.find(self.first, start)
        while at >= 0:
            last, end = self.first, at + len(self.first)
            for piece in self.rest:
                end = text.find(" ", end)
                if not text.startswith(piece, end):
                    break
                last, end = piece, end + len(piece)
            else:
                # A closing space may open the next run as well.
                return end - 1 if last[-1] == " " else end
            at = text.find(self.first, at + 1)
        return -1


@dataclass(frozen=True, slots=True)
class Phrase:
    """A compiled phrase. Every text it occurs in has a word that begins with `stem`; None when nothing is that sure."""

    source: str
    runs: tuple[Run, ...]
    stem: str | None

    @property
    def opening(self) -> str:
        """Literal text without which the phrase occurs nowhere."""
        return self.runs[0].first

    def occurs(self, text: str) -> bool:
        """Whether the phrase occurs in a text made by `text.spaced`."""
        at = 0
        for run in self.runs:
            at = run.end(text, at)
            if at < 0:
                return False
        return True


def compile_phrase(source: str) -> Phrase:
    """Read a phrase.

    Raises:
        ValueError: what is wrong with it, in words.
    """
    segments = [_tokens(segment) for segment in _GAP.split(normalise(source))]
    if not any(segments):
        raise ValueError("has no word in it")
    if not all(segments):
        raise ValueError("has no word before or after a …; leave that … out")
    stems = [stem for tokens in segments for stem in _stems(tokens)]
    return Phrase(source, tuple(_run(tokens) for tokens in segments), max(stems, key=len, default=None))


def _tokens(segment: str) -> list[str]:
    """The words of a segment, a star kept at the end of those that have one."""
    tokens: list[str] = []
    for match in WORD.finditer(segment):
        after = segment[match.end() : match.end() + 2]
        if after[:1] == "*" and WORD.match(after[1:]):
            raise ValueError("has a * inside a word; it may only end one")
        tokens.append(match[0] + ("*" if after[:1] == "*" else ""))
    if segment.count("*") != sum(token.endswith("*") for token in tokens):
        raise ValueError("has a * that ends no word; write … for anything in between")
    return tokens


def _stems(tokens: Iterable[str]) -> list[str]:
    """What must begin some word of a matching text. A short ``word*`` promises fewer characters than are looked up."""
    return [token[:STEM] for token in tokens if token[-1] != "*" or len(token) > STEM]


def _run(tokens: list[str]) -> Run:
    pieces = [""]
    for token in tokens:
        pieces[-1] += f" {token.removesuffix('*')}"
        if token[-1] == "*":
            pieces.append("")
    if pieces[-1]:
        pieces[-1] += " "
    else:
        pieces.pop()
    return Run(pieces[0], tuple(pieces[1:]))

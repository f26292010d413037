"""In which scripts a name is written, so that whoever decides sees when it mixes some whose letters look alike, or is
a Latin name to the eye only."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

from aegis_core.protocol.lookalikes import LOOKALIKES
from aegis_core.protocol.masking import visible

_SCRIPTS = (
    "Latin", "Cyrillic", "Greek", "Armenian", "Georgian", "Coptic", "Cherokee", "Lisu", "Deseret", "Gothic", "Runic",
    "Glagolitic", "Canadian_Aboriginal", "Tifinagh", "Vai", "Hebrew", "Arabic", "Syriac", "Thaana", "Ethiopic",
    "Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala",
    "Thai", "Lao", "Khmer", "Myanmar", "Tibetan", "Mongolian", "Han", "Hiragana", "Katakana", "Hangul", "Bopomofo",
)  # fmt: skip
"""Those that are told by their names; RE2 has Unicode's tables."""

_OTHER = "another script"
_TOGETHER = (
    {"Latin", "Han", "Hiragana", "Katakana"}, {"Latin", "Han", "Hangul"}, {"Latin", "Han", "Bopomofo"},
)  # fmt: skip
"""What one language writes in several, with Latin letters beside it (UTS #39: highly restrictive)."""


def told_name(name: str) -> str:
    """A name for people, on one line, with what its letters may hide: ``pаy-bot (mixes Latin and Cyrillic)``.

    No name holds a space or a bracket, so none can say so, or the opposite, by itself.
    """
    hides = told_letters(mixed_scripts(name), looks_like(name))
    return f"{visible(name)} ({hides})" if hides else visible(name)


def told_letters(mixed: str | None, alike: str | None) -> str:
    """What a person is told of a name that mixes scripts, or looks like another; empty where it does neither."""
    return f"mixes {mixed}" if mixed else f"looks like {alike}" if alike else ""


def mixed_scripts(name: str) -> str:
    """The scripts that a name mixes, in their order, such as ``Latin and Cyrillic``; empty where it mixes none."""
    return "" if name.isascii() else _mixed(name)


def looks_like(name: str) -> str:
    """The name in ASCII for which a name in one other script may be taken, such as ``ada`` for one in Cyrillic; empty
    where it looks like none, is written in Latin letters, or mixes scripts, which is told anyway."""
    return "" if name.isascii() or mixed_scripts(name) else _alike(name)


@lru_cache(1_024)
def _alike(name: str) -> str:
    latin = name.translate(LOOKALIKES).lower()
    return latin if latin.isascii() and not _patterns()[0][1].search(name) else ""


@lru_cache(1_024)
def _mixed(name: str) -> str:
    first: list[tuple[int, str]] = []
    for script, pattern in _patterns():
        if found := pattern.search(name):
            first.append((found.start(), script))
    scripts = [script for _, script in sorted(first)]
    if len(scripts) < 2 or any(set(scripts) <= language for language in _TOGETHER):
        return ""
    told = [script.replace("_", " ") for script in scripts]
    return f"{', '.join(told[:-1])} and {told[-1]}"


@lru_cache(1)
def _patterns() -> list[tuple[str, Any]]:
    re2: Any = import_module("re2")
    classes = {script: rf"\p{{{script}}}" for script in _SCRIPTS}
    rest = "".join((*classes.values(), r"\p{Common}", r"\p{Inherited}"))
    return [(script, re2.compile(each)) for script, each in (*classes.items(), (_OTHER, f"[^{rest}]"))]

"""In which scripts a name is written, so that whoever decides sees when it mixes some whose letters look alike."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

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
    """A name for people, on one line, with the scripts that it mixes: ``pаy-bot (mixes Latin and Cyrillic)``.

    No name holds a space or a bracket, so none can say so, or the opposite, by itself.
    """
    mixed = mixed_scripts(name)
    return f"{visible(name)} (mixes {mixed})" if mixed else visible(name)


def mixed_scripts(name: str) -> str:
    """The scripts that a name mixes, in their order, such as ``Latin and Cyrillic``; empty where it mixes none."""
    return "" if name.isascii() else _mixed(name)


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

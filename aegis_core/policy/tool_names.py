"""Names of tools, whatever they are spelt: frameworks and servers put a place before them, models vary the rest.

``delete_file``, ``delete-file``, ``deleteFile``, ``fs.delete_file``, ``functions.delete_file`` and
``mcp__fs__delete_file`` are one tool to a rule. A rule that names the place, such as ``fs.delete_file``, is about the
tool of that place only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from aegis_core.policy.globs import PatternList, fold_name
from aegis_core.policy.text import WORD, fold
from aegis_core.protocol.fields import Glob

_PLACES = re.compile(r"__+|[.:/@]+")
"""What stands between a place and the tool that is found there."""
_HUMPS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class ToolName:
    """A tool that a request names, in the forms in which rules may name it.

    Attributes:
        folded: as names are compared.
        plain: without the places before it, from none left out to all; their words joined by ``_``.
        joined: the same without the ``_``.
    """

    __slots__ = ("folded", "joined", "plain")

    def __init__(self, name: str) -> None:
        self.folded = fold_name(name)
        self.plain = tuple(dict.fromkeys(_plain(name)))
        self.joined = tuple(dict.fromkeys(plain.replace("_", "") for plain in self.plain))


class ToolList:
    """Names and patterns of tools, ready to be asked."""

    __slots__ = ("_joined", "_patterns", "_plain", "sources")

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = PatternList(patterns)
        self.sources = sources = self._patterns.sources
        self._joined = {_words(name).replace("_", ""): name for name in reversed(sources) if "*" not in name}
        self._joined.pop("", None)
        globs = ((source, "*".join(map(_words_within, source.split("*")))) for source in sources if "*" in source)
        self._plain = tuple((Glob.parse(plain), source) for source, plain in globs if plain.strip("*_"))

    def entry(self, tool: ToolName) -> str | None:
        """The entry of the list under which a tool falls."""
        if (found := self._patterns.find(tool.folded)) is not None:
            return found
        for joined in tool.joined:
            if joined in self._joined:
                return self._joined[joined]
        return next((name for glob, name in self._plain for plain in tool.plain if _fits(glob, plain)), None)


def _plain(name: str) -> Iterator[str]:
    pieces = [piece for piece in map(_words, _PLACES.split(name)) if piece]
    for left_out in range(len(pieces)):
        yield "_".join(pieces[left_out:])


def _words(name: str) -> str:
    """The words of a name, joined by ``_``, with those that only capitals set apart."""
    return "_".join(word for piece in WORD.findall(fold(_HUMPS.sub("_", name))) for word in piece.split("_") if word)


def _words_within(piece: str) -> str:
    """A part of a pattern, which may begin or end within a word or between two."""
    separators = "_-.:/@"
    found = _words(piece)
    if not found:
        return "_" if piece else ""
    return ("_" if piece[0] in separators else "") + found + ("_" if piece[-1] in separators else "")


def _fits(glob: Glob, plain: str) -> bool:
    return plain.startswith(glob.head) and glob.matches(plain)

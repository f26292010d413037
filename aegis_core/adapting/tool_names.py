"""What adapters are told of tools: the list of them, and names in `costs=` and `locks=`.

A name that is misspelt would let its tool run free, or unlocked.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, cast

from aegis_core.protocol.errors import ConfigurationError

_MOST_SHOWN = 8
_ALIKE = 0.75
"""How much of two names agrees, 0 to 1, where one is taken for the other's misspelling."""


def tool_list(who: str, tools: object, fits: Callable[[object], bool], kinds: str) -> list[Any]:
    """The tools that were given.

    Args:
        who: takes them.
        tools: what was given.
        fits: whether a value is a tool.
        kinds: what tools are, in words.

    Raises:
        ConfigurationError: it is no list, or something in it is no tool.
    """
    if isinstance(tools, str | bytes | Mapping) or not isinstance(tools, Iterable):
        raise ConfigurationError(
            f"{who} takes a list of tools and then an agent of Aegis; the first is {shown(cast('object', tools))}.",
            code="not_tools",
        )
    found = list(cast("Iterable[Any]", tools))
    wrong = next((each for each in found if not fits(each)), None)
    if wrong is not None:
        raise ConfigurationError(f"{who} takes {kinds}; among them is {shown(wrong)}.", code="not_tools")
    return found


def shown(value: object) -> str:
    """What a wrong value is, in words."""
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, type):
        return f"the class {value.__qualname__}, not an object of it"
    return "None" if value is None else f"of type {type(value).__module__}.{type(value).__qualname__}"


class ToolNames:
    """The names that an adapter was told costs and locks of; a function of names has none. Safe from many threads."""

    def __init__(self, **settings: object) -> None:
        """Take in each setting by its name."""
        mappings = {
            name: cast("Mapping[Any, Any]", each) for name, each in settings.items() if isinstance(each, Mapping)
        }
        self._named = {setting: [str(name) for name in each] for setting, each in mappings.items() if each}
        self._told: set[str] = set()

    def check(self, tools: Collection[str]) -> None:
        """Look for names of other tools than these, which are all.

        Raises:
            ConfigurationError: there is one; it says which is the nearest.
        """
        for setting, name in self._unknown(tools):
            raise ConfigurationError(_told(setting, name, tools), code="unknown_tool", setting=setting, tool=name)

    def warn(self, tools: Collection[str]) -> None:
        """The same as a warning, once, where others may come later; none where each of these has its own entry."""
        for setting, name in self._unknown(tools):
            if not tools or not set(tools) <= set(self._named[setting]):
                self._warn(setting, name, tools)

    def warn_of(self, tool: str) -> None:
        """Warn once where this tool has no entry and a name looks like its own, misspelt: others are not known here."""
        for setting, names in self._named.items():
            if tool not in names and (near := get_close_matches(tool, names, 1, _ALIKE)):
                self._warn(setting, near[0], [tool])

    def _unknown(self, tools: Collection[str]) -> list[tuple[str, str]]:
        return [(setting, name) for setting, names in self._named.items() for name in names if name not in tools]

    def _warn(self, setting: str, name: str, tools: Collection[str]) -> None:
        if (key := f"{setting} {name}") not in self._told:
            self._told.add(key)
            warnings.warn(_told(setting, name, tools), UserWarning, stacklevel=4)


def _told(setting: str, name: str, tools: Collection[str]) -> str:
    near = get_close_matches(name, list(tools), 1, 0.5)
    hint = f"; the nearest is {near[0]!r}" if near else ""
    shown = ", ".join(sorted(tools)[:_MOST_SHOWN]) + (", …" if len(tools) > _MOST_SHOWN else "")
    known = f"the tools here are {shown}{hint}" if len(tools) > 1 or not near else f"the nearest is {near[0]!r}"
    return f"{setting}={{{name!r}: …}} names no tool: {known if tools else 'there is none here'}."

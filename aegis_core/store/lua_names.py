"""What scripts call by name, put in as plain Lua when they are assembled, so that names cost nothing at run time.

====================  ==================================================================================
``R_STATE``           the position of a field; in rows, counted from just before the row
``M_WIDTH``           how many fields there are
``NEW_R``             a new list with every field: False, or its default; of rows: none yet
``fill_M(list, at)``  the fields with a default of a row that this script appends to a list of its own
``pad_M(list, at)``   the same for a list that may be another version's, whose rows may be longer
``complete_R(list)``  the list, with the defaults of what an older version did not write, in all that it holds
``complete_held``     the same for what is held under a name: (list, name)
``STATE_LIVE``        a constant of `schema.CONSTANTS`
====================  ==================================================================================

Declared as locals they would be upvalues: a Lua function has room for 60 of those, a chunk for 200 locals, and a number
in place costs less than either. What completes records lies in one table for that reason, too. While no field has a
default there is nothing to complete, and ``complete_…`` leaves no trace in a script.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from aegis_core.store.schema import CONSTANTS, HELD, KINDS, Kind

TOKEN = re.compile(
    r"""--[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|(?P<name>[A-Za-z_]\w*)|\d[\w.]*|\.\.\.?|[=~<>]=|\S"""
)
_NAME = re.compile(
    r"""--[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|\b(?P<name>[A-Z]{2,}(?:_[A-Z_]+)?|[A-Z]_[A-Z_]+|complete_\w+)\b"""
)
"""Such a name, or what must not be taken for one."""
_ROW_CALL = re.compile(r"\b(fill|pad)_([A-Z]+)\((\w+), (\w+)\)")
_HELD_CALL = re.compile(r"\bcomplete_held\((.+?), name\)")
_BY_KIND = re.compile(r"(NEW|complete)_([A-Z]+)")
_POSITION = re.compile(r"([A-Z]+)_([A-Z_]+)")


class LuaNames:
    """The names under the schema as it is declared now."""

    def __init__(self, arguments: Mapping[str, tuple[str, ...]]) -> None:
        """`arguments`: besides stored records, the lists within the arguments of scripts, by prefix."""
        self._kinds = {kind.prefix: kind for kind in KINDS}
        fields = {kind.prefix: kind.fields._fields for kind in KINDS} | dict(arguments)
        self._known = {name: _literal(value) for name, value in CONSTANTS.items()}
        for prefix, names in fields.items():
            self._known |= {f"{prefix}_{name.upper()}": str(at) for at, name in enumerate(names, start=1)}
            self._known[f"{prefix}_WIDTH"] = str(len(names))
        self._prefixes = fields.keys() | {"STATE", "TELL"}
        self.needed: dict[str, dict[str, None]] = {}
        self._growing = {prefix for prefix in self._kinds if self._grows(prefix)}

    def put_into(self, source: str, file: str) -> str:
        """A part of a script with its names replaced; `needed` says then whose older records it must complete.

        Raises:
            ValueError: it names a field or constant that is not declared.
        """
        needed = self.needed[file] = {}
        source = _ROW_CALL.sub(lambda call: self._row_filled(*call.groups(), file=file), source)
        if not self._growing & {prefix for prefix, _ in HELD.values()}:
            source = _HELD_CALL.sub(r"(\1)", source)

        def replaced(found: re.Match[str]) -> str:
            name = found["name"]
            return found[0] if name is None else self._replaced(name, file, needed)

        return _NAME.sub(replaced, source)

    def _replaced(self, name: str, file: str, needed: dict[str, None]) -> str:
        if name in self._known:
            return self._known[name]
        if name == "complete_held":
            needed["held"] = None
        elif found := _BY_KIND.fullmatch(name):
            kind = self._kind(found[2], name, file)
            if found[1] == "NEW":
                return _literal([len(kind.fields._fields)] if kind.rows else _new(kind))
            if kind.prefix not in self._growing:
                return ""
            needed[kind.prefix] = None
        elif (found := _POSITION.fullmatch(name)) and found[1] in self._prefixes:
            raise _undeclared(name, file)
        return name.replace("complete_", "complete.", 1)

    def _kind(self, prefix: str, name: str, file: str) -> Kind:
        if prefix not in self._kinds:
            raise _undeclared(name, file)
        return self._kinds[prefix]

    def _row_filled(self, what: str, prefix: str, flat: str, at: str, *, file: str) -> str:
        kind = self._kind(prefix, f"{what}_{prefix}", file)
        text = "".join(f"{flat}[{at} + {place}] = {value}; " for place, value in _defaults(kind))
        if what == "pad":
            text += f"for i = {len(kind.fields._fields) + 1}, {flat}[1] do {flat}[{at} + i] = false end"
        return text

    def _grows(self, prefix: str) -> bool:
        kind = self._kinds[prefix]
        return bool(kind.fields._field_defaults) or any(map(self._grows, (*kind.one.values(), *kind.many.values())))

    def functions(self, needed: dict[str, None]) -> str:
        """What completes older records of the kinds needed, and of those inside them."""
        wanted = list(needed)
        if "held" in needed:
            wanted += [prefix for prefix, _ in HELD.values()]
        texts: dict[str, str] = {}

        def want(prefix: str) -> None:
            kind = self._kinds[prefix]
            if prefix in texts or prefix not in self._growing:
                return
            for inner in (*kind.one.values(), *kind.many.values()):
                want(inner)
            texts[prefix] = self._function(kind)

        for prefix in wanted:
            if prefix != "held":
                want(prefix)
        made = "".join(texts.values()) + (self._held() if "held" in needed else "")
        return made and "local complete = {}\n" + made  # one local for all kinds, of which there are more and more

    def _function(self, kind: Kind) -> str:
        names = kind.fields._fields
        inside = [f"complete.{inner}(r[{names.index(name) + 1}])" for name, inner in kind.one.items()
                  if inner in self._growing]  # fmt: skip
        inside += [
            f"for i = 1, #r[{names.index(name) + 1}] do complete.{inner}(r[{names.index(name) + 1}][i]) end"
            for name, inner in kind.many.items() if inner in self._growing
        ]  # fmt: skip
        own = _rows_completed(kind) if kind.rows else _completed(kind)
        return f"complete.{kind.prefix} = function(r)\nif r then\n" + "\n".join((own, *inside, "end return r end\n"))

    def _held(self) -> str:
        lines = ["complete.held = function(r, name)", "local head = string.match(name, '^%a%a?:?')"]
        for head, (prefix, many) in HELD.items():
            if prefix in self._growing:
                each = f"for i = 1, #r do complete.{prefix}(r[i]) end" if many else f"complete.{prefix}(r)"
                lines.append(f"if r and head == '{head}' then {each} end")
        return "\n".join((*lines, "return r end\n"))


def _new(kind: Kind) -> list[Any]:
    return [kind.fields._field_defaults.get(name, False) for name in kind.fields._fields]


def _defaults(kind: Kind) -> Iterator[tuple[int, str]]:
    for at, name in enumerate(kind.fields._fields, start=1):
        if name in kind.fields._field_defaults:
            yield at, _literal(kind.fields._field_defaults[name])


def _completed(kind: Kind) -> str:
    missing = " ".join(f"if r[{at}] == nil then r[{at}] = {value} end" for at, value in _defaults(kind))
    return f"if #r < {len(kind.fields._fields)} then {missing} end" if missing else ""


def _rows_completed(kind: Kind) -> str:
    """Shorter rows are moved apart. Older code that appends a row to longer ones puts false where it knows no field."""
    width = len(kind.fields._fields)
    added = " ".join(f"if width < {at} then r[to + {at}] = {value} end" for at, value in _defaults(kind))
    unknown = " ".join(
        f"if r[at + {at}] == false then r[at + {at}] = {value} end" for at, value in _defaults(kind) if value != "false"
    )
    return f"""local width = r[1]
if width < {width} then
  local old, to = {{}}, 1
  for i = 1, #r do old[i] = r[i] end
  for at = 1, #old - 1, width do
    for i = 1, width do r[to + i] = old[at + i] end
    {added}
    to = to + {width}
  end
  r[1] = {width}
end
""" + (f"for at = 1, #r - 1, r[1] do {unknown} end" if unknown else "")


def _literal(value: Any) -> str:
    if isinstance(value, Mapping):
        return "({" + ", ".join(f"{name} = {_literal(each)}" for name, each in value.items()) + "})"  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return "{" + ", ".join(map(_literal, value)) + "}"  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else f"'{value}'"


def _undeclared(name: str, file: str) -> ValueError:
    return ValueError(f"lua/{file}.lua names {name}, which schema.py does not declare")

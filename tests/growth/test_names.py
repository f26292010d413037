"""What scripts and Python name is declared, and what is stored reads by name, whatever version wrote it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest
from lua_check import check, check_all

from aegis_core.protocol.errors import StoreError
from aegis_core.store import layout, scripts
from aegis_core.store.lua_names import LuaNames
from aegis_core.store.packing import columns, decode, row_list, rows
from aegis_core.store.schema import HELD, KINDS, Cell
from aegis_core.store.states import STATES


class Row(NamedTuple):
    name: str
    count_of: int
    since: int = 7
    by: str | bool = False


def test_shorter_lists_have_defaults_and_longer_ones_are_cut() -> None:
    assert decode(Row, ["a", 1]) == Row("a", 1)
    assert decode(Row, ["a", 1, 2, "me", "unknown"]) == Row("a", 1, 2, "me")
    with pytest.raises(StoreError, match="INVARIANT: a stored Row of 1 fields lacks count_of"):
        decode(Row, ["a"])


def test_rows_go_by_their_own_length() -> None:
    assert rows(Row, [2, "a", 1, "b", 2]) == [Row("a", 1), Row("b", 2)]
    assert rows(Row, [5, "a", 1, 2, "me", "unknown"]) == [Row("a", 1, 2, "me")]
    assert rows(Row, [4, "a", 1, False, False]) == [Row("a", 1)], "where older code appends, it knows no default"
    assert rows(Row, row_list(Row, [Row("a", 1, 2), Row("b", 2)])) == [Row("a", 1, 2), Row("b", 2)]
    assert list(columns(Cell, "number", "reserved")([4, 1, 2, 3, "x", 4, 5, 6, "y"])) == [(1, 3), (4, 6)]


@pytest.mark.parametrize("wrong", ["R[R_STAT]", "L[L_WIDTHS]", "NEW_QQ", "complete_ZZ(x)", "if x == STATE_LOST then"])
def test_a_script_cannot_name_what_is_not_declared(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    read = scripts._read
    monkeypatch.setattr(scripts, "_read", lambda part: read(part) + (f"-- {wrong}\n" if part == "sweep" else ""))
    scripts.ScriptSet()  # a comment may
    monkeypatch.setattr(scripts, "_read", lambda part: read(part) + (f"x = {wrong}\n" if part == "sweep" else ""))
    with pytest.raises(ValueError, match=r"lua/sweep\.lua names \w+, which schema\.py does not declare"):
        scripts.ScriptSet()


def test_every_shipped_verb_names_only_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_all() > 50
    read = scripts._read
    monkeypatch.setattr(scripts, "_read", lambda part: read(part) + ("x = misspelt\n" if part == "sweep" else ""))
    with pytest.raises(ValueError, match=r"lua/sweep\.lua names misspelt, x, which nothing declares"):
        check_all()


@pytest.mark.parametrize(
    ("lua", "problem"),
    [
        ("local a = one + two\nreturn a", None),
        ("return one + three", "lua/x.lua names three, which nothing declares"),
        ("return one", "lua/x.lua does not use two, with which it is called"),
        ("call('GET', PREFIX .. 'zz:' .. one .. two)", "lua/x.lua names the key zz:, which nothing declares"),
        ("for i, v in ipairs(one) do two[i] = {three = v} end", None),
        ("local function f(a, ...) return a.three, one:four(two) end\nreturn f", None),
        ("if one then two = 'three' end -- three", None),
        ("if one then two = LOST end", "lua/x.lua names LOST, which nothing declares"),
    ],
)
def test_a_script_is_checked_for_names_that_nothing_declares(lua: str, problem: str | None) -> None:
    parts = {"prelude": "local call, PREFIX = redis.call, 'ae:'\n", "x": lua}
    if problem is None:
        check("x", parts, [("one", "two")])
        return
    with pytest.raises(ValueError, match=problem):
        check("x", parts, [("one", "two")])


def test_what_is_shipped_leaves_no_trace_of_names_and_completes_nothing_yet() -> None:
    source = re.sub("--.*", "", scripts.ScriptSet().source.decode())
    assert not any(f"{kind.prefix}_{name.upper()}" in source for kind in KINDS for name in kind.fields._fields)
    grows = any(kind.fields._field_defaults for kind in KINDS)
    assert ("local complete = {}" in source) == grows


def test_the_declarations_agree_with_each_other() -> None:
    prefixes = {kind.prefix for kind in KINDS}
    for kind in KINDS:
        assert {*kind.one.values(), *kind.many.values()} <= prefixes
        assert {*kind.one, *kind.many} <= set(kind.fields._fields)
    assert {prefix for prefix, _ in HELD.values()} <= prefixes
    assert set(HELD) <= layout.HEADS
    assert len({state.letter for state in STATES}) == len(STATES)


def test_names_are_replaced_in_code_only() -> None:
    names = LuaNames({})
    text: Any = names.put_into("-- R_STATE\nx[R_STATE] = 'R_STATE' .. \"R_STATE\"\ny = RING\n", "x")
    assert text == "-- R_STATE\nx[1] = 'R_STATE' .. \"R_STATE\"\ny = 24\n"

"""The list of keys by which every test is judged is the documented one."""

from __future__ import annotations

import re

from leftovers import ENDING, UNENDING

from aegis_core.store import layout

_CHANNELS = {"i"}  # of PUBSUB, and no keys


def documented() -> dict[str, str]:
    """The heads of keys in the table of `layout`, with what bounds them."""
    assert layout.__doc__ is not None
    table = layout.__doc__.split("=\n", 1)[1].rsplit("\n====", 1)[0]
    rows: dict[str, str] = {}
    heads: list[str] = []
    for line in table.splitlines():
        if line.startswith("``"):
            names = re.findall(r"``(\w+)[^`]*``", re.split(r"  +", line, maxsplit=1)[0])
            heads = names
        for head in heads:
            rows[head] = rows.get(head, "") + line
    return rows


def test_every_documented_key_is_judged_by_what_bounds_it() -> None:
    found = documented()
    assert set(found) == UNENDING | ENDING | _CHANNELS
    assert not UNENDING & ENDING
    unsaid = [head for head in ENDING if "expire" not in found[head]]
    assert not unsaid, "they must expire, and the table does not say so"
    ends = {head for head in UNENDING if "expires" in found[head]}
    assert ends == {"r"}, "only records stay while they are open, and expire then"

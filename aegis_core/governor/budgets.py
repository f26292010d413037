"""Budgets in words: scopes and windows to the short forms that scripts know, and their rows to what people read."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import cast

from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.fields import identifier
from aegis_core.protocol.messages import RESOURCE_TYPES, BudgetLine, BudgetState, Scope
from aegis_core.protocol.money import format_usd, to_usd
from aegis_core.protocol.windows import window_kind, window_name
from aegis_core.store.ledger import BudgetRow
from aegis_core.store.packing import columns, decode, rows
from aegis_core.store.records import LineRow, Record
from aegis_core.store.schema import Budget

_SCOPES: dict[str, Scope] = {
    "a": "agent",
    "s": "session",
    "t": "tenant",
    "m": "model",
    "k": "resource",
    "l": "label",
    "o": "agent",
}
"""By the letters under which owners stand in records; ``o:NAME`` is the agent who opened the caller's workflow."""
_OWNERS = {scope: letter for letter, scope in _SCOPES.items() if letter != "o"}
_NOTHING = Decimal(0)
_lines = columns(LineRow, "owner", "kind", "limit", "room")
_usd = lru_cache(maxsize=1_024)(to_usd)  # limits and windows repeat from decision to decision
_window = lru_cache(maxsize=1_024)(window_name)


def kind_of(window: str) -> str | int:
    """`window_kind` with the project's error.

    Raises:
        InvalidRequestError: not a window.
    """
    try:
        return window_kind(window)
    except ValueError as error:
        raise _bad("window", str(error)) from None


def owner_of(scope: str, name: str) -> str:
    """The short form of a scope and name, e.g. ``l:team=research``; agents and sessions are named apart.

    Raises:
        InvalidRequestError: an unknown scope, resource type, or a label that is not ``key=value``.
    """
    if scope not in _OWNERS:
        raise _bad("scope", f"must be one of {', '.join(_OWNERS)}")
    letter = _OWNERS[cast("Scope", scope)]
    if letter in "ast":
        return letter
    if scope == "resource" and name not in RESOURCE_TYPES:
        raise _bad("name", f"must be one of {', '.join(RESOURCE_TYPES)}")
    if scope == "label":
        return "l:" + label(name)
    return f"{letter}:{checked(name, 'name')}"


def label(text: str) -> str:
    """Check ``key=value``.

    Raises:
        InvalidRequestError: no equals sign, or a part that is not an identifier.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise _bad("label", "must be key=value, such as team=research")
    return f"{checked(key, 'label')}={checked(value, 'label')}"


def checked(name: str, field: str) -> str:
    """`identifier` with the project's error."""
    try:
        return identifier(name)
    except ValueError as error:
        raise _bad(field, str(error)) from None


def lines_of(record: Record) -> tuple[tuple[BudgetLine, ...], Decimal]:
    """The budgets of a decision, the one with the least left marked; and what is left of the agent's day."""
    lines: list[BudgetLine] = []
    tightest, least, day = None, 0, _NOTHING
    for owner, kind, limit, room in _lines(record.lines):
        left = to_usd(room) if room > 0 else _NOTHING
        name = owner[2:] or owner_name(owner, record.agent, record.session)
        line = BudgetLine(_SCOPES[owner[0]], name, _window(kind), _usd(limit), left)
        if tightest is None or room < least:
            tightest, least = line, room
        if kind == "d" and owner == "a":
            day = left
        lines.append(line)
    if tightest is not None:
        tightest.tightest = True
    return tuple(lines), day


def line_facts(record: Record) -> list[dict[str, object]]:
    """The budgets of a decision as its event names them: what was left of each, for a refusal without what it asked."""
    return [
        {
            "budget": budget_name(owner), "window": _window(kind), "limit_usd": float(_usd(limit)),
            "left_usd": float(_usd(max(0, room))),
        }
        for owner, kind, limit, room in _lines(record.lines)
    ]  # fmt: skip


def shortage(record: Record) -> str:
    """One sentence on why the money did not suffice: which budget, its limit, what was left and what was asked."""
    if record.short is False:
        return "A budget does not suffice."
    line = rows(LineRow, record.lines)[record.short]
    owner = line.owner
    name = owner_name(owner, record.agent, record.session)
    window = "" if line.kind == "t" else f" {window_name(line.kind)}"
    whose = f"{_SCOPES[owner[0]]}'s" if owner in "ast" else f"{_SCOPES[owner[0]]} {name}'s"
    text = (
        f"The {whose}{window} budget has {format_usd(max(0, line.room))} of {format_usd(line.limit)} left, "
        f"and {format_usd(record.amount)} was asked."
    )
    return text + (f" It starts again at {at_ms(record.retry):%Y-%m-%d %H:%M} UTC." if record.retry else "")


def owner_name(owner: str, agent: str | None, session: str | None) -> str:
    """Whom a budget belongs to, for people."""
    if len(owner) > 1:
        return owner[2:]
    return {"a": agent, "s": session, "t": "tenant"}[owner] or ""


def budget_name(owner: str) -> str:
    """``l:team=research`` as ``label team=research``, ``a`` as ``agent``."""
    return f"{_SCOPES[owner[0]]} {owner[2:]}".strip()


def state_of(row: BudgetRow, agent: str | None, session: str | None) -> BudgetState:
    """A row of the ledger for people."""
    return BudgetState(
        scope=_SCOPES[row.owner[0]],
        name=owner_name(row.owner, agent, session),
        window=window_name(row.kind),
        limit_usd=to_usd(row.limit),
        spent_usd=to_usd(row.spent),
        reserved_usd=to_usd(row.reserved),
        remaining_usd=to_usd(max(0, row.limit - row.spent - row.reserved)),
        resets_at=at_ms(row.ends) if row.ends else None,
    )


def lines_of_purses(purses: dict[str, list[list[object]]], agent: str, session: str) -> tuple[BudgetLine, ...]:
    """The budgets of a fresh session, as a handshake found them."""
    lines: list[BudgetLine] = []
    for owner, purse in purses.items():
        for budget in (decode(Budget, values) for values in purse):
            left = to_usd(max(0, budget.limit - budget.spent - budget.reserved))
            name, window = owner_name(owner, agent, session), window_name(budget.kind)
            lines.append(BudgetLine(_SCOPES[owner], name, window, to_usd(budget.limit), left))
    if lines:
        min(lines, key=lambda line: line.remaining_usd).tightest = True
    return tuple(lines)


def at_ms(milliseconds: int) -> datetime:
    """Milliseconds since 1970 as an aware ``datetime``."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _bad(field: str, problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field}: {problem}", field=field, problem=problem)

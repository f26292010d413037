"""What Kaizen may do by itself, and between which amounts it may move the limits of rules, as settings spell it."""

from __future__ import annotations

from decimal import Decimal

from aegis_core.protocol.money import to_nanos


def bounds_of(text: str) -> dict[str, tuple[int, int]]:
    """``rule=0.5..5,other=1..2`` as nano-dollars by rule.

    Raises:
        ValueError: it is spelt otherwise, or upside down.
    """
    found: dict[str, tuple[int, int]] = {}
    for part in filter(None, text.split(",")):
        name, equals, span = part.partition("=")
        low, dots, high = span.partition("..")
        try:
            ends = to_nanos(Decimal(low), name), to_nanos(Decimal(high), name)
        except ArithmeticError:
            ends = 1, 0
        if not (equals and dots and name.strip() and ends[0] <= ends[1]):
            raise ValueError(f"{part!r} is not like cost-limit=0.5..5")
        found[name.strip()] = ends
    return found


def checked_bounds(text: str) -> str:
    """The text as it is. Raises as `bounds_of`."""
    bounds_of(text)
    return text


def checked_acts(text: str) -> str:
    """The text as it is.

    Raises:
        ValueError: it names something else than ``tighten`` and ``substitute``.
    """
    if unknown := {each.strip() for each in text.split(",") if each.strip()} - {"tighten", "substitute"}:
        raise ValueError(f"{min(unknown)!r} is not tighten or substitute")
    return text

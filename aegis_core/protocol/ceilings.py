"""Between which amounts the limits of rules may be moved, as settings spell it."""

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

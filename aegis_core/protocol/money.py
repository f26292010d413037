"""Exact money: integer nano-dollars inside, ``Decimal``, text or number at the edges.

One nano-dollar is 1e-9 USD. Amounts end at `MAX_USD`: below it every nano-dollar survives both a JSON double
(spacing under one nano below 2**23 USD) and a Lua number (exact to 2**53).
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, InvalidOperation
from math import isfinite

from aegis_core.protocol.errors import InvalidRequestError

NANOS_PER_USD = 1_000_000_000
MAX_USD = 8_000_000
MAX_NANOS = MAX_USD * NANOS_PER_USD

_HINT = "give a number or a decimal string such as 0.035"

_NANO = Decimal("1e-9")
_LARGEST = Decimal(MAX_USD)
_AMOUNTS = (Decimal, str, int, float)

UsdLike = Decimal | int | float | str


def to_nanos(value: object, field: str = "amount") -> int:
    """Read an amount of dollars exactly.

    A float with 15 or more significant digits is the residue of arithmetic (0.1 + 0.2) and is rounded up to the
    next nano-dollar; any other value must be a whole number of nano-dollars.

    Args:
        value: dollars as ``Decimal``, ``int``, ``float`` or decimal text.
        field: the name used in the error.

    Returns:
        Nano-dollars, 0 to `MAX_NANOS`.

    Raises:
        InvalidRequestError: not a number, NaN, infinite, negative, finer than a nano-dollar, or beyond `MAX_USD`.
    """
    if isinstance(value, bool) or not isinstance(value, _AMOUNTS):
        raise _refusal(field, value, f"is not an amount of dollars: {_HINT}")
    if isinstance(value, float) and not isfinite(value):
        raise _refusal(field, value, "is not finite")
    try:
        amount = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise _refusal(field, value, f"is not an amount of dollars: {_HINT}") from None
    if not amount.is_finite():
        raise _refusal(field, value, "is not finite")
    if amount.is_signed() and amount != 0:
        raise _refusal(field, value, "is negative; the least amount is 0")
    if amount > _LARGEST:
        raise _refusal(field, value, f"is beyond the largest amount, {MAX_USD} USD")
    if amount.adjusted() < -18 and amount != 0:
        raise _refusal(field, value, "is finer than a nano-dollar (0.000000001)")
    nanos = amount.scaleb(9)
    whole = nanos.to_integral_value(rounding=ROUND_CEILING)
    if whole != nanos and not (isinstance(value, float) and len(amount.as_tuple().digits) >= 15 and nanos >= 1):
        raise _refusal(field, value, "is finer than a nano-dollar (0.000000001)")
    return int(whole)


def to_usd(nanos: int) -> Decimal:
    """Nano-dollars as an exact ``Decimal`` of dollars."""
    return _NANO * nanos


def format_usd(nanos: int) -> str:
    """Dollars for a person: at least two decimals, more only where they carry value (``$9.965``, ``$10.00``)."""
    sign, nanos = ("-", -nanos) if nanos < 0 else ("", nanos)
    dollars, rest = divmod(nanos, NANOS_PER_USD)
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}${dollars:,}.{decimals}"


def _refusal(field: str, value: object, problem: str) -> InvalidRequestError:
    shown = repr(value) if len(repr(value)) <= 40 else repr(value)[:37] + "..."
    return InvalidRequestError(f"{field}: {shown} {problem}", field=field, problem=problem)

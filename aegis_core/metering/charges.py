"""What a call is settled at: exactly what it cost, or what was reserved, marked as estimated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from aegis_core.metering.bound import Bound
from aegis_core.metering.maxima import maxima_by_name
from aegis_core.metering.reading import NO_USAGE, Reading
from aegis_core.protocol.errors import AegisError
from aegis_core.protocol.usage import Usage

if TYPE_CHECKING:
    from aegis_core.metering.price_book import PriceBook


@dataclass(frozen=True, slots=True)
class Charge:
    """What to settle a call at.

    Attributes:
        nanos: nano-dollars.
        estimated: the amount is not what the provider's own count comes to.
        reasons: why it is estimated, as sentences.
    """

    nanos: int
    estimated: bool = False
    reasons: tuple[str, ...] = ()


def charged(book: PriceBook, reading: Reading, reserved: int, bound: Bound | None, at: datetime | None) -> Charge:
    """See `PriceBook.charge`."""
    reasons = reading.doubts
    if reading.exact and reading.usage is not None:
        try:
            if not given_away(book, reading.usage, at):
                return Charge(book.price(reading.usage, at))
            reasons = (f"a cost of nothing is stated for a call of {reading.usage.model}, which has a price",)
        except AegisError as error:
            reasons = (error.message,)
    if bound is not None and reading.complete and reading.doubts == (NO_USAGE,):
        return _by_received_text(book, reading, reserved, bound)
    return Charge(reserved, True, reasons or (NO_USAGE,))


def given_away(book: PriceBook, usage: Usage, at: datetime | None = None) -> bool:
    """Whether a cost of nothing is stated although the list has a price: an account may be billed elsewhere."""
    if usage.stated_cost_usd is None or usage.stated_cost_usd > 0:
        return False
    return book.price(usage.model_copy(update={"stated_cost_usd": None}), at) > 0


def usage_of_text(reading: Reading, bound: Bound, model: str) -> Usage | None:
    """A whole answer without a count: input at its bound, output by the text that was received.

    Only of models that are known to have no thoughts, of which no text arrives; None: what was reserved is charged.
    """
    if not reading.complete or reading.doubts != (NO_USAGE,):
        return None
    known = maxima_by_name(model)
    if known is None or known.reasons:
        return None
    output = reading.received_tokens
    most = output if bound.output_tokens is None else min(output, bound.output_tokens)
    return Usage(model=model, input_tokens=bound.input_tokens, output_tokens=most)


def _by_received_text(book: PriceBook, reading: Reading, reserved: int, bound: Bound) -> Charge:
    """Input at its bound and output by its text; only of models without thoughts, of which no text arrives."""
    why = f"{NO_USAGE}, so input counts at its bound and output by the text that was received"
    try:
        known = book.maxima(bound.model)
        if known is not None and not known.reasons:
            counted = book.bound(replace(bound, output_tokens=reading.received_tokens))
            return Charge(min(counted, reserved), True, (why,))
    except AegisError as error:
        return Charge(reserved, True, (error.message,))
    return Charge(reserved, True, (NO_USAGE,))

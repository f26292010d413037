"""A trace as Kaizen looks at a day: what its calls cost at the present prices, and what is known of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aegis_core.kaizen.facts import Call, Day, Rates
from aegis_core.kaizen.prices import rates_of
from aegis_core.metering.price_book import PriceBook
from aegis_core.protocol.messages import Usage
from aegis_core.replay import trace as recorded
from aegis_core.replay.trace import Trace, printable

_ALONE = "The file tells no sessions, so every call stands for itself in the intervals."


def day_of(trace: Trace, model: str, prices: PriceBook) -> Day:
    """The calls of a trace, each a settled request.

    Args:
        trace: what was recorded.
        model: of calls that name none.
        prices: what tokens cost, where the trace does not say what its calls cost.

    Raises:
        UnknownModelError: a model has no known price.
    """
    rates: dict[str, Rates | None] = {}
    calls = tuple(_call(number, each, model, prices, rates) for number, each in enumerate(trace.calls))
    notes = trace.notes if trace.runs else (*trace.notes, _ALONE)
    return Day(
        name=printable(trace.path.name), start=trace.calls[0].at, end=trace.calls[-1].at + 1, calls=calls, notes=notes
    )


def _call(number: int, each: recorded.Call, model: str, prices: PriceBook, rates: dict[str, Rates | None]) -> Call:
    common: dict[str, Any] = {
        "id": f"call-{number}", "at": each.at, "agent": each.agent, "session": each.run, "ended_at": each.at,
        "events": (f"line {each.line}",), "error": each.error, "outcome": each.outcome,
    }  # fmt: skip
    if each.tool is not None:
        cost = each.cost or 0
        return Call(
            **common, resource="api_call", tool=each.tool, arguments=each.arguments_hash, charged=cost, reserved=cost
        )
    name = each.model or model
    if name not in rates:
        rates[name] = rates_of(prices, name)
    usage = Usage(model=name, input_tokens=each.input_tokens, output_tokens=each.output_tokens)
    cost = prices.price(usage, datetime.now(UTC)) if each.cost is None else each.cost
    return Call(
        **common, model=name, charged=cost, reserved=cost, input=each.input_tokens, output=each.output_tokens,
        rates=rates[name],
    )  # fmt: skip

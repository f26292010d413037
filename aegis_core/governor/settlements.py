"""What a settlement charges, and what its event says of the call."""

from __future__ import annotations

from hashlib import blake2b
from itertools import zip_longest
from typing import NamedTuple

from pydantic import TypeAdapter

from aegis_core.metering.charges import given_away
from aegis_core.metering.price_book import PriceBook
from aegis_core.protocol.errors import InvalidRequestError, UnknownModelError
from aegis_core.protocol.evidence import SettlementEvidence
from aegis_core.protocol.messages import SettleRequest, Usage
from aegis_core.protocol.money import to_nanos
from aegis_core.store.call_evidence import COUNTS_OF_USAGE, CallFacts
from aegis_core.store.packing import pack


class Settlement(NamedTuple):
    """What a settlement charges in nano-dollars (None: what was reserved), a fingerprint of its content, and the
    outcome that it counts.

    `answered` is the model whose tokens it reports, by the one name that this has here. `estimated`: nobody knows.
    `capped`: what it comes to above the reservation is not believed. `facts`: what its event says of the call.
    """

    cost: int | None
    digest: str
    outcome: float | None
    answered: str | None
    estimated: bool
    capped: bool
    facts: bytes


def settlement_of(message: SettleRequest, prices: PriceBook) -> Settlement:
    """Read a settlement.

    Raises:
        UnknownModelError, InvalidRequestError: it reports tokens without a known price, and is not `estimated`.
    """
    cost, answered = _cost_of(message, prices)
    outcome = message.outcome
    if outcome is None and message.escalation_usage is not None:
        outcome = 0.0  # the first answer did not pass
    digest = blake2b(_content_of(message), digest_size=16).hexdigest()
    return Settlement(
        cost, digest, outcome, answered, message.estimated or cost is None, capped=message.within_reservation,
        facts=_facts_of(message, answered, outcome),
    )  # fmt: skip


def failure_facts(message: SettlementEvidence) -> bytes | None:
    """What the event of a call that cost nothing says of it; None: nothing is known."""
    if not message.model_fields_set & SettlementEvidence.model_fields.keys():
        return None
    return pack(list(CallFacts._make([False, [], False, *_evidence_of(message), False])))


def _evidence_of(message: SettlementEvidence) -> tuple[object, ...]:
    """Class of the error, attempt, of which request, and latency, as `CallFacts` has them."""
    latency = message.latency_ms
    return (
        message.error_class or False, message.attempt or 0, message.parent_request_id or False,
        False if latency is None else latency,
    )  # fmt: skip


def _facts_of(message: SettleRequest, answered: str | None, outcome: float | None) -> bytes:
    usage, second = message.usage, message.escalation_usage
    counts = _stored_counts(usage) if usage else []
    if second:
        more = _stored_counts(second)
        counts = [one + two for one, two in zip_longest(counts, more, fillvalue=0)]
    model = answered or (usage.model if usage else None)
    facts = [
        model or False, counts, False if outcome is None else outcome, *_evidence_of(message),
        second.model if second else False,
    ]  # fmt: skip
    return pack(list(CallFacts._make(facts)))


def _stored_counts(usage: Usage) -> list[int]:
    """The counts of a usage, without the zeros at the end, as most calls have only the first kinds."""
    given = usage.model_fields_set
    counts: list[int] = [getattr(usage, name) if name in given else 0 for name in COUNTS_OF_USAGE]
    while counts and not counts[-1]:
        counts.pop()
    return counts


def _content_of(message: SettleRequest) -> bytes:
    """What two settlements say alike when they are one.

    Later fields that are not given are left out, so that a repeat of an older version's settlement is one, too.
    """
    usd = message.cost_usd
    said: dict[str, object] = {"cost_usd": None if usd is None else float(usd), "usage": _counts_of(message.usage)}
    if message.escalation_usage is not None:
        said["escalation_usage"] = _counts_of(message.escalation_usage)
    if message.outcome is not None:
        said["outcome"] = message.outcome
    said |= {name: True for name in ("estimated", "within_reservation") if getattr(message, name)}
    return _CONTENT.dump_json(said)


def _counts_of(usage: Usage | None) -> dict[str, object] | None:
    """The counts that a usage gives, and the first ones always."""
    return usage and usage.model_dump(
        mode="json", exclude=set(Usage.model_fields) - _FIRST_COUNTS - usage.model_fields_set
    )


def _cost_of(message: SettleRequest, prices: PriceBook) -> tuple[int | None, str | None]:
    """What a settlement says that it cost, None where nobody knows, and the model that answered."""
    if message.usage is None:
        return None if message.cost_usd is None else to_nanos(message.cost_usd, "cost_usd"), None
    used = [usage for usage in (message.usage, message.escalation_usage) if usage]
    answered: str | None = None
    try:
        if prices.knows(message.usage.model):  # else the provider may have stated the cost
            answered = prices.canonical(message.usage.model)
        if any(given_away(prices, usage) for usage in used):
            return None, answered
        return sum(map(prices.price, used)), answered
    except (UnknownModelError, InvalidRequestError):
        if not message.estimated:
            raise
        return None, answered


_CONTENT = TypeAdapter(dict[str, object])
_FIRST_COUNTS = frozenset({"model", "input_tokens", "output_tokens", "cached_input_tokens"})

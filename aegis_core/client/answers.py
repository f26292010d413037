"""What a provider answered, as a settlement: its exact usage, or that nobody knows what it cost."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from aegis_core.protocol.errors import InvalidRequestError, UnknownModelError
from aegis_core.protocol.keywords import RequestFields, SettleFields
from aegis_core.protocol.messages import BYTES_PER_TOKEN, Receipt, SettleRequest, Usage, Verdict
from aegis_core.protocol.parsing import parse

_log = logging.getLogger("aegis.metering")


_MOST_KEPT = 256
_LONGEST_TOKEN = 256
"""Bytes; no tokenizer of a provider has a longer one, runs of spaces included."""


class Sizes(NamedTuple):
    """What a request said of its size: tokens that were certainly sent, and the most of input and output.

    Framing and rare scripts can make a few more tokens of a prompt than are reserved for it, so that counts above these
    are doubted only where they come to more than the whole reservation.
    """

    least_input: int = 0
    most_input: int | None = None
    most_output: int | None = None

    @classmethod
    def of(cls, asked: RequestFields, cap: int | None) -> Sizes:
        """The sizes of a request. `cap`: what its verdict cut the answer to."""
        said, tokens = asked.get("prompt_bytes"), asked.get("prompt_tokens")
        least, most = (0, None) if tokens is None else (min(1, tokens), tokens)
        if said is not None:
            least, most = -(-said // _LONGEST_TOKEN), -(-said // BYTES_PER_TOKEN)
        return cls(least, most, cap or asked.get("max_output_tokens"))

    def exceeded_by(self, usage: Usage) -> bool:
        """Whether a usage counts more than the request said."""
        pairs = ((usage.all_input_tokens, self.most_input), (usage.all_output_tokens, self.most_output))
        return any(most is not None and counted > most for counted, most in pairs)


class RecentSizes:
    """The sizes of an agent's last grants, for answers that are settled by the id of a grant alone."""

    def __init__(self) -> None:
        self._kept: dict[str, Sizes] = {}

    def keep(self, asked: RequestFields, verdict: Verdict) -> None:
        """Remember what a request said, where it was granted by its sizes; the oldest makes room."""
        if verdict.grant_id and ("prompt_bytes" in asked or "prompt_tokens" in asked):
            self._kept[verdict.grant_id] = Sizes.of(asked, verdict.max_output_tokens)
            if len(self._kept) > _MOST_KEPT:
                del self._kept[next(iter(self._kept))]

    def of(self, grant_id: str) -> Sizes | None:
        """Its sizes, where they are remembered."""
        return self._kept.get(grant_id)


class Settlement(NamedTuple):
    """What is settled, and whether its usage was `read` from an answer: then it is the governor's to doubt."""

    message: SettleRequest
    read: bool = False


def settlement_of(
    said: SettleFields, *, model: str | None = None, otherwise: str | None = None, sizes: Sizes | None = None
) -> Settlement:
    """What `settle` was told, as a message.

    Args:
        said: its arguments.
        model: the model that was asked for, whatever an answer calls it.
        otherwise: the model where an answer names none.
        sizes: of the request that was granted, by which counts are judged where its body is not given.

    Raises:
        InvalidRequestError: an amount that cannot be accepted. An answer always can: its call was paid.
    """
    fields: dict[str, object] = dict(said)
    response, provider, request = (fields.pop(name, None) for name in ("response", "provider", "request"))
    if "response" not in said:
        return Settlement(parse(SettleRequest, **fields))
    for name in ("cost_usd", "usage", "estimated"):
        if fields.get(name):
            problem = f"stands for {name}, too; give one of them"
            raise InvalidRequestError(f"response: {problem}", field="response", problem=problem)
    body = cast("Mapping[str, Any] | None", request)
    usage = _usage_in(response, cast("str | None", provider), body, model, otherwise)
    doubted = False
    if usage and sizes and body is None:
        if usage.all_input_tokens < sizes.least_input:
            counted = f"{usage.all_input_tokens:,} input tokens are fewer than the {sizes.least_input:,} that were sent"
            _log.warning("What was reserved is charged: %s at least.", counted)
            usage = None
        else:
            doubted = sizes.exceeded_by(usage)
    counts: dict[str, object] = {"usage": usage} if usage else {"estimated": True, "escalation_usage": None}
    counts |= {"within_reservation": True} if doubted else {}
    return Settlement(parse(SettleRequest, **fields | counts), read=usage is not None)


async def settled(send: Callable[[SettleRequest], Awaitable[Receipt]], settlement: Settlement) -> Receipt:
    """Settle; what was read of an answer and has no price is charged as reserved."""
    message = settlement.message
    try:
        receipt = await send(message)
        if message.within_reservation and receipt.estimated:
            _log.warning("What was reserved is charged: the answer counts more than the request allowed.")
        return receipt
    except (UnknownModelError, InvalidRequestError) as error:
        if not settlement.read:
            raise
        _log.warning("What was reserved is charged: %s", error.message)
        unknown = {"usage": None, "escalation_usage": None, "estimated": True, "within_reservation": False}
        return await send(message.model_copy(update=unknown))


def _usage_in(
    response: object, provider: str | None, request: Mapping[str, Any] | None, model: str | None, otherwise: str | None
) -> Usage | None:
    """The exact usage of an answer; None where it is not known, which the log explains."""
    # What reads answers loads with the first one.
    from aegis_core.metering.bound import check
    from aegis_core.metering.extract import extract

    payload = list(cast("Iterator[object]", response)) if isinstance(response, Iterator) else response
    reading = extract(provider, payload, model=model)
    if reading.usage is None and model is None and otherwise is not None:
        reading = extract(provider, payload, model=otherwise)
    if request is not None and reading.usage is not None:
        most = _bound_of(request, provider, reading.usage.model)
        reading = check(reading, most) if most is not None else reading
    if not reading.exact:
        _log.warning("What was reserved is charged: %s.", "; ".join(reading.doubts) or "nothing says what it cost")
        return None
    return reading.usage


def _bound_of(request: Mapping[str, Any], provider: str | None, model: str) -> Any:
    """The most that a request allows; None where nobody can bound it."""
    from aegis_core.metering.bound import bound

    try:
        return bound(request, api=provider or _api_of(request, model), model=model)
    except InvalidRequestError:
        return None


def _api_of(request: Mapping[str, Any], model: str) -> str:
    """The API by the shape of a request's body."""
    if "contents" in request:
        return "gemini"
    if "inferenceConfig" in request or "modelId" in request:
        return "bedrock"
    return "anthropic" if "claude" in model and "max_tokens" in request else "openai"

"""Single values of a trace, from text or JSON. A parser raises `ValueError` with what it found and expected."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal, InvalidOperation

from aegis_core.protocol.fields import identifier
from aegis_core.protocol.money import MAX_USD
from aegis_core.replay.trace import shown

MAX_TOKENS = 100_000_000

_NUMBER = re.compile(r"\d+(\.\d+)?")
_LATEST = 253_402_300_799_999
"""The last millisecond of the year 9999."""


def names_of(*aliases: str) -> tuple[str, ...]:
    """Aliases as they compare: see `plain`."""
    return tuple(plain(alias) for alias in aliases)


def plain(name: str) -> str:
    """A column's name without case, spaces and signs: ``Prompt Tokens`` and ``promptTokens`` are the same."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


TIME = names_of(
    "timestamp", "time", "datetime", "date", "created", "created_at", "start_time", "started_at", "request_time",
    "arrival_time", "arrived_at", "ts",
)  # fmt: skip
INPUT = names_of(
    "context_tokens", "prompt_tokens", "input_tokens", "request_tokens", "tokens_in", "prompt_token_count",
    "input_token_count", "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens",
)  # fmt: skip
OUTPUT = names_of(
    "generated_tokens", "completion_tokens", "output_tokens", "response_tokens", "tokens_out", "completion_token_count",
    "output_token_count", "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens",
)  # fmt: skip
MODEL = names_of("model", "model_name", "model_id", "gen_ai.request.model")
AGENT = names_of("agent", "agent_id", "agent_name", "user", "user_id", "session", "session_id")
OUTCOME = names_of("outcome", "reward", "success")
COST = names_of("cost_usd", "cost", "total_cost", "total_cost_usd", "spend", "spend_usd")


def milliseconds(value: object) -> int:
    """A time as ISO 8601 (UTC where it names no zone) or as a number since 1970, whose size tells s, ms, µs and ns."""
    expected = f"{shown(value)} is not a time; expected ISO 8601 (2023-11-16 18:15:46.68) or seconds since 1970"
    text = str(value).strip()
    if _NUMBER.fullmatch(text):
        at = Decimal(text)
        for most, factor in ((Decimal("1e11"), 1000), (Decimal("1e14"), 1), (Decimal("1e17"), Decimal("0.001"))):
            if at < most:
                return int(at * factor)
        at = at / 1_000_000
    else:
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(expected) from None
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when
        at = Decimal((when - datetime.fromtimestamp(0, UTC)) // _MILLISECOND)
    if not 0 <= at <= _LATEST:
        raise ValueError(f"{shown(value)} lies outside of the years 1970 to 9999")
    return int(at)


def tokens(value: object) -> int:
    """A count of tokens: a whole number, also as ``374.0``."""
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,12}(\.0+)?", text):
        raise ValueError(f"{shown(value)} is not a count of tokens; expected a whole number, 0 or more")
    count = int(text.partition(".")[0])
    if count > MAX_TOKENS:
        raise ValueError(f"{shown(value)} is beyond the largest count of tokens, {MAX_TOKENS:,}")
    return count


def outcome(value: object) -> float | None:
    """How well a task was done: a number from 0 to 1, or whether it was. None: it is on another scale."""
    try:
        score = float(str(value)) if not isinstance(value, bool) else float(value)
    except ValueError:
        return None
    return score if 0 <= score <= 1 else None


def nano_dollars(value: object) -> int:
    """Dollars, with or without ``$``; what is finer than a nano-dollar is rounded up."""
    try:
        amount = Decimal(str(value).strip().removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= MAX_USD:
        raise ValueError(f"{shown(value)} is not a cost; expected dollars from 0 to {MAX_USD:,}")
    return int(amount.scaleb(9).to_integral_value(rounding=ROUND_CEILING))


def name(value: object) -> str:
    """An agent's, a tool's or a model's name."""
    try:
        return identifier(str(value).strip())
    except ValueError as error:
        raise ValueError(f"{shown(value)} {error}") from None


_MILLISECOND = datetime.resolution * 1000

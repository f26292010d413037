"""A refusal in one sentence for a model: what was refused, why, what is left, and what to do instead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from aegis_core.adapting.calls import ModelCall, ToolCall
from aegis_core.protocol.denial import RUN_ENDS, AegisDenied
from aegis_core.protocol.messages import BudgetLine, Verdict
from aegis_core.protocol.money import format_usd, to_nanos

MOST_REFUSALS = 3
"""The same call refused so often in a session ends the run."""

CHANGED = "It was approved only after a change, which the approver made"

_LOCK_CODES = {"lock_timeout", "lock_preempted"}
"""The call was fine, but another one was in its way."""

_WAITING = "nobody approved it in time"


def denied(call: ModelCall | ToolCall, verdict: Verdict, times: int = 1) -> AegisDenied:
    """The error for a refused call. Facts: ``tool``, ``times``, ``final``; for money ``asked_usd`` and ``left_usd``."""
    line = _short_line(verdict)
    final = times >= MOST_REFUSALS
    why = _shortage(call, verdict, line) if line else _reason(verdict)
    advice = _final_advice(times) if final else _advice(call, verdict, line)
    return AegisDenied(
        f"Aegis refused {call.name}: {why}. {advice}",
        verdict=verdict,
        tool=call.tool if isinstance(call, ToolCall) else None,
        times=times,
        final=final,
        asked_usd=None if verdict.asked_usd is None else str(verdict.asked_usd),
        left_usd=str(line.remaining_usd) if line else None,
    )


def _short_line(verdict: Verdict) -> BudgetLine | None:
    """The budget that did not reach, where that is why."""
    if verdict.code != "budget_exceeded" or verdict.asked_usd is None:
        return None
    short = [line for line in verdict.budgets if line.remaining_usd < verdict.asked_usd]
    return min(short, key=lambda line: line.remaining_usd, default=None)


def _shortage(call: ModelCall | ToolCall, verdict: Verdict, line: BudgetLine) -> str:
    assert verdict.asked_usd is not None
    asked, left, limit = (format_usd(to_nanos(usd)) for usd in (verdict.asked_usd, line.remaining_usd, line.limit_usd))
    why = ""
    if isinstance(call, ModelCall) and call.max_output_tokens is None and verdict.least_usd is not None:
        least = format_usd(to_nanos(verdict.least_usd))
        why = f", because nothing caps its answer (the smallest useful one costs up to {least}; give the model a cap),"
    return f"it costs up to {asked}{why} and {left} of {limit} is left{_until(verdict.retry_after_seconds)}"


def _until(seconds: float | None) -> str:
    if not seconds:
        return ""
    ends = datetime.now(UTC) + timedelta(seconds=seconds)
    ends = (ends + timedelta(seconds=30)).replace(second=0, microsecond=0)
    if (ends.hour, ends.minute) == (0, 0):
        return " until midnight UTC" if seconds <= 86_400 else f" until {ends:%Y-%m-%d}, midnight UTC"
    return f" until {ends:%H:%M} UTC" if seconds < 86_400 else f" until {ends:%Y-%m-%d %H:%M} UTC"


def _reason(verdict: Verdict) -> str:
    if verdict.status == "PENDING":
        return _WAITING
    if verdict.status == "GRANTED":
        return f"this very call is already {verdict.state}"
    reason = verdict.reason.strip().removesuffix(".")
    return reason[:1].lower() + reason[1:] if reason[:2].lower() != reason[:2].upper() else reason


def _advice(call: ModelCall | ToolCall, verdict: Verdict, line: BudgetLine | None) -> str:
    if isinstance(call, ModelCall):
        return "Finish with what you have or ask the user."
    if verdict.code in _LOCK_CODES:
        return f"Do something else before you call {call.tool} again, finish with what you have, or ask the user."
    again = f"Do not call {call.tool} again"
    if line is None:
        return f"{again} with these arguments; finish with what you have or ask the user."
    left = format_usd(to_nanos(line.remaining_usd))
    if not line.remaining_usd:
        return f"{again}; finish with what you have or ask the user."
    return f"{again} with more than {left}; finish with what you have or ask the user."


def _final_advice(times: int) -> str:
    return f"It was refused {times} times in this session, {RUN_ENDS}"

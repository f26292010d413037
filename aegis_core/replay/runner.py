"""Puts a trace to a real governor on a throw-away server, whose clock is the trace's own time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from aegis_core.arbiter.book import price_book
from aegis_core.arbiter.catalog import load_catalog
from aegis_core.connect import open_governor, open_store
from aegis_core.governor.governor import SESSIONS_KEPT, ResourceGovernor
from aegis_core.metering.price_book import PriceBook
from aegis_core.protocol.errors import UnknownModelError
from aegis_core.protocol.messages import (
    Handshake,
    PermissionRequest,
    Receipt,
    ReleaseRequest,
    SettleRequest,
    Usage,
    Verdict,
)
from aegis_core.protocol.money import to_usd
from aegis_core.protocol.parsing import parse
from aegis_core.replay.tally import BY_RULE, Tally
from aegis_core.replay.trace import Call, Trace, printable, refusal
from aegis_core.settings import EMBEDDED, Settings

if TYPE_CHECKING:
    from aegis_core.store.store import Store

_IDLE_MS = 31_536_000_000
"""A session of the replay that rests longer is opened again, as its agent would."""

Rate = Literal["max", "realtime"] | float


@dataclass(frozen=True, slots=True)
class Plan:
    """How a trace is replayed.

    Attributes:
        model: for calls that name none.
        density: the logic density of every call, 1 to 10, for the recommendation.
        rate: as fast as possible, at the trace's own pace, or calls a second.
    """

    model: str = "gpt-4o"
    density: int = 5
    rate: Rate = "max"


def replay_settings(
    settings: Settings, *, policy: Path | None, budget: Decimal | None, tenant_budget: Decimal | None
) -> Settings:
    """The caller's settings, on a server of its own: zone, catalog, limits and rules hold, its data is out of reach.

    Args:
        settings: those of the process.
        policy: a rules file instead of that of the settings.
        budget: dollars per agent and day instead of that of the settings.
        tenant_budget: dollars per tenant and day instead of that of the settings.
    """
    given = {"policy_file": policy, "agent_day_usd": budget, "tenant_day_usd": tenant_budget}
    own = {
        "url": EMBEDDED, "use_fake_redis": True, "embedded_stay": False, "tenant": "replay", "pepper": None,
        "session_idle_seconds": _IDLE_MS / 1000, "idempotency_seconds": 60, "events_kept": 1_000,
    }  # fmt: skip
    return settings.model_copy(update=own | {name: value for name, value in given.items() if value is not None})


async def replay(trace: Trace, plan: Plan, settings: Settings, tally: Tally, advance: Callable[[], None]) -> None:
    """Put every call of a trace to the governor, and count the answers.

    Args:
        trace: what to replay.
        plan: how.
        settings: from `replay_settings`.
        tally: counts; when this is cancelled, it holds what was answered so far.
        advance: called after each answer.

    Raises:
        InvalidRequestError: a model of the trace has no known price. UnknownModelError: `plan.model` has none.
        PolicyError: the rules file cannot be loaded.
    """
    prices = price_book(load_catalog(settings.catalog_file))
    _check_models(trace, plan, prices)
    store = await open_store(settings, throwaway=True, virtual_time=True)
    try:
        await store.turn_clock(trace.calls[0].at)
        # A call that the server does not know yet is sent a second time, behind what should have come after it.
        await store.load()
        governor = await open_governor(store, settings)
        try:
            await _Run(store, governor, prices, plan, tally).all(trace, advance)
        finally:
            await governor.aclose()
    finally:
        await store.aclose()


def _check_models(trace: Trace, plan: Plan, prices: PriceBook) -> None:
    prices.text_rates(plan.model)
    known: set[str] = set()
    for call in trace.calls:
        if call.model and call.model not in known:
            try:
                prices.text_rates(call.model)
            except UnknownModelError as error:
                raise refusal(
                    f"{printable(str(trace.path))}:{call.line}", "model", error.message, line=call.line
                ) from None
            known.add(call.model)


@dataclass(slots=True)
class _Session:
    """An open session: the `number` of sessions that its agent had opened before, and when it was last used."""

    id: str
    number: int
    seen: int = 0


class _Run:
    """One replay under way."""

    def __init__(self, store: Store, governor: ResourceGovernor, prices: PriceBook, plan: Plan, tally: Tally) -> None:
        self._store, self._governor, self._prices, self._plan, self._tally = store, governor, prices, plan, tally
        self._priced_at = datetime.now(UTC)  # one price list for the whole report, not one by the hour
        self._sessions: dict[tuple[str, str], _Session] = {}
        self._opened: Counter[str] = Counter()
        self._closing: tuple[Call, str, str, SettleRequest | ReleaseRequest] | None = None

    async def all(self, trace: Trace, advance: Callable[[], None]) -> None:
        """Every call in order. The settlement of one leaves in the same write as the next question, before it."""
        started = time.monotonic()
        try:
            for number, call in enumerate(trace.calls):
                if self._plan.rate != "max":
                    await self._close()
                    await _until(started + self._due(trace, number))
                await self._put(number, call)
                advance()
        finally:
            # Also when interrupted: the last grant is settled, so that counts and costs agree.
            await self._close()
            self._tally.seconds = time.monotonic() - started

    def _due(self, trace: Trace, number: int) -> float:
        """Seconds from the start until a call is due."""
        if isinstance(self._plan.rate, float):
            return number / self._plan.rate
        return (trace.calls[number].at - trace.calls[0].at) / 1000

    async def _put(self, number: int, call: Call) -> None:
        session = await self._session(call)
        model = "" if call.tool else call.model or self._plan.model
        request = self._request(number, call, model, session)
        # Started in this order, they are written in it: the last call's settlement, the time, the question.
        _, _, verdict = await asyncio.gather(
            self._close(), self._store.turn_clock(call.at), self._governor.request_permission(request)
        )
        cost = 0
        if call.tool is None:
            cost = self._cost(call, model) if call.cost is None else call.cost
            better = verdict.recommended_model
            self._tally.recommend(better, cost if better is None or better == model else self._cost(call, better))
        self._tally.count(call, model, cost, verdict)
        if verdict.grant_id:
            self._closing = (call, model, verdict.grant_id, self._closing_of(call, model, verdict))
        elif verdict.code == "budget_exceeded":
            self._blame_budget(call, cost, request, verdict)
        elif verdict.code not in BY_RULE:
            self._tally.others[verdict.code] += 1

    def _request(self, number: int, call: Call, model: str, session: str) -> PermissionRequest:
        # The id is no time-based one: the trace's time and the machine's have nothing to do with each other.
        common = {
            "agent_id": call.agent, "task_intent": call.intent, "session_id": session, "request_id": f"call-{number}",
            "logic_density": self._plan.density, "task_type": call.task_type, "priority": call.priority,
        }  # fmt: skip
        if call.tool is not None:
            return parse(
                PermissionRequest, resource_type=call.resource or "api_call", tool=call.tool,
                estimated_cost_usd=to_usd(call.cost or 0),
                arguments_hash=call.arguments_hash, target_resource=call.target, **common,
            )  # fmt: skip
        return parse(
            PermissionRequest, resource_type="llm_tokens", model=model, prompt_tokens=call.prompt_tokens,
            max_output_tokens=call.max_output_tokens,
            estimated_cost_usd=None if call.cost is None else to_usd(call.cost), **common,
        )  # fmt: skip

    def _closing_of(self, call: Call, model: str, verdict: Verdict) -> SettleRequest | ReleaseRequest:
        """What becomes of the money held: a question to a person goes unanswered here, so it is withdrawn."""
        if not verdict.granted:
            return ReleaseRequest()
        if call.tool is not None or call.cost is not None:
            return SettleRequest(cost_usd=to_usd(call.cost or 0))
        return SettleRequest(usage=_usage(call, model))

    async def _close(self) -> None:
        if self._closing is None:
            return
        call, model, grant, message = self._closing
        # It counts as open until it is closed: who is interrupted meanwhile closes it again, which changes nothing.
        if isinstance(message, ReleaseRequest):
            await self._governor.release(grant, message)
            self._closing = None
            return
        receipt: Receipt = await self._governor.settle(grant, message)
        self._closing = None
        self._tally.charge(call, model, int(receipt.charged_usd.scaleb(9)))

    async def _session(self, call: Call) -> str:
        """The session of the call's run, opened again where the governor forgot it: idle for long, or one of many."""
        known = self._sessions.get((call.agent, call.run))
        opened = self._opened[call.agent]
        if known is None or call.at - known.seen >= _IDLE_MS or opened - known.number >= SESSIONS_KEPT:
            await self._close()
            await self._store.turn_clock(call.at)
            answer = await self._governor.handshake(Handshake(agent_id=call.agent, max_priority=10))
            self._opened[call.agent] = opened + 1
            known = self._sessions[call.agent, call.run] = _Session(answer.session_id, opened)
        known.seen = call.at
        return known.id

    def _cost(self, call: Call, model: str) -> int:
        return self._prices.price(_usage(call, model), self._priced_at)

    def _blame_budget(self, call: Call, cost: int, request: PermissionRequest, verdict: Verdict) -> None:
        """The first budget, in the order in which they are judged, that has less left than was asked."""
        asked = to_usd(self._governor.arbiter.appraise(request).candidates[0].nanos)
        line = next(line for line in verdict.budgets if line.remaining_usd < asked)
        wait = verdict.retry_after_seconds
        self._tally.blame_budget(call, cost, line, None if wait is None else call.at + round(wait * 1000))


async def _until(when: float) -> None:
    delay = when - time.monotonic()
    if delay > 0:
        await asyncio.sleep(delay)


def _usage(call: Call, model: str) -> Usage:
    return Usage(model=model, input_tokens=call.input_tokens, output_tokens=call.output_tokens)

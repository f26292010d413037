"""How grants of forwarded calls end: exactly once, tried again while Redis is away, and never to the client's harm."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import monotonic

from aegis_core.client.answers import Settlement, settled
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.metering.bound import Bound, check
from aegis_core.metering.failures import error_class
from aegis_core.metering.maxima import maxima_by_name
from aegis_core.metering.prompt import WIDEST_WINDOW
from aegis_core.metering.reading import NO_USAGE, Reading
from aegis_core.protocol.errors import AegisError, StoreError
from aegis_core.protocol.evidence import milliseconds_since
from aegis_core.protocol.keywords import CallEvidence
from aegis_core.protocol.messages import ExtendRequest, Receipt, ReleaseRequest, SettleRequest, Verdict
from aegis_core.protocol.money import to_nanos, to_usd
from aegis_core.proxy.sizing import Sized, Sizing

_log = logging.getLogger("aegis.proxy")

_PAUSES = (0.1, 0.3, 1.0, 2.0, 5.0, 10.0, 20.0)
"""Seconds between tries to tell Redis how a call ended; the last one is repeated."""
_PATIENCE = 900.0
"""Seconds for which that is tried. A grant that nobody ended is charged at its estimate."""
_TOLD_WITHIN = 5.0
"""Seconds for which a fallback waits for the end of what was held before it."""


def _nothing() -> CallEvidence:
    return {}


@dataclass(slots=True, eq=False)
class Held:
    """What is held for one call, until it is settled or released: exactly one of the two, once.

    Attributes:
        verdict: of the governor.
        sized: the call.
        cap: on one answer, as it was granted.
        open: until it is ended.
        receipt: what became of the money, once that is known.
        ending: what tells the governor that it ended.
        timer: of its next extension.
        went: what its end says of it for later.
        began: when it was held, by the clock of this process.
    """

    verdict: Verdict
    sized: Sized
    cap: int | None
    open: bool = True
    receipt: Receipt | None = None
    ending: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    went: CallEvidence = field(default_factory=_nothing)
    began: float = field(default_factory=monotonic)

    def failed(self, error: BaseException | int) -> None:
        """Let its end name the class of an error, or the status of an answer, in which the call ended."""
        self.went["error_class"] = error_class(error)

    @property
    def grant_id(self) -> str:
        """The id under which the money is held."""
        return self.verdict.grant_id or ""


class Settler:
    """Ends what is held. Nothing here raises: the call was made, and its answer must not be lost to its bookkeeping."""

    def __init__(self, governor: ResourceGovernor, sizing: Sizing) -> None:
        self._governor, self._sizing = governor, sizing
        self._running: set[asyncio.Task[None]] = set()

    def hold(self, verdict: Verdict, sized: Sized, went: CallEvidence) -> Held:
        """Take a granted verdict over, and keep it alive until it ends. `went`: what is known of the call already."""
        cut = verdict.max_output_tokens
        cap = cut // sized.answers if cut else sized.cap
        cap = cap if cap is None or sized.cap is None else min(cap, sized.cap)
        held = Held(verdict, sized, cap, went={**went})
        self._keep_alive(held)
        return held

    def settle(self, held: Held, reading: Reading) -> None:
        """Charge what was read of the answer; where that cannot be all of the truth, what was reserved."""
        if not self._claim(held):
            return
        believed = check(reading, _believed(held.sized))
        if not believed.exact or believed.usage is None:
            self._charge_reserved(held, "; ".join(believed.doubts) or NO_USAGE)
            return
        usage = believed.usage
        self._sizing.learn(held.sized, usage.input_tokens, usage.output_tokens, believed.response_id)
        said = Settlement(SettleRequest(agent_id=held.verdict.agent_id, usage=usage, **held.went), read=True)
        self._post(held, lambda: settled(lambda message: self._governor.settle(held.grant_id, message), said))

    def charge(self, held: Held, reason: str) -> None:
        """Charge what was reserved, marked as estimated: nobody can know what the call cost."""
        if self._claim(held):
            self._charge_reserved(held, reason)

    def cut(self, held: Held, nanos: int) -> None:
        """Charge at least so much, marked as estimated: the answer was broken off when it had cost that."""
        if self._claim(held):
            usd = to_usd(max(nanos, to_nanos(held.verdict.reserved_usd)))
            message = SettleRequest(agent_id=held.verdict.agent_id, cost_usd=usd, estimated=True, **held.went)
            self._post(held, lambda: self._governor.settle(held.grant_id, message))

    def release(self, held: Held, *, sent: bool = True) -> None:
        """Give the money back: certainly nothing was computed; or the call was not even `sent`."""
        if self._claim(held, sent=sent):
            message = ReleaseRequest(agent_id=held.verdict.agent_id, **held.went)
            self._post(held, lambda: self._governor.release(held.grant_id, message))

    async def ended(self, held: Held) -> None:
        """Wait until the governor knows how it ended, as long as it answers."""
        if held.ending is not None:
            await asyncio.wait({held.ending}, timeout=_TOLD_WITHIN)

    async def drain(self) -> None:
        """Wait until everything that is on its way has ended."""
        while self._running:
            await asyncio.wait(self._running)

    @property
    def unsettled(self) -> int:
        """Ends that Redis was not told of yet."""
        return len(self._running)

    def _claim(self, held: Held, *, sent: bool = True) -> bool:
        claimed, held.open = held.open, False
        if claimed and sent:
            held.went["latency_ms"] = milliseconds_since(held.began)
        if held.timer is not None:
            held.timer.cancel()
        return claimed

    def _charge_reserved(self, held: Held, reason: str) -> None:
        _log.warning("what was reserved is charged", extra={"facts": {"grant": held.grant_id, "reason": reason}})
        message = SettleRequest(agent_id=held.verdict.agent_id, estimated=True, **held.went)
        self._post(held, lambda: self._governor.settle(held.grant_id, message))

    def _post(self, held: Held, act: Callable[[], Awaitable[Receipt]]) -> None:
        task = held.ending = asyncio.create_task(self._tell(held, act))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _tell(self, held: Held, act: Callable[[], Awaitable[Receipt]]) -> None:
        loop = asyncio.get_running_loop()
        until, tries = loop.time() + _PATIENCE, 0
        while True:
            try:
                held.receipt = await act()
                return
            except StoreError as error:
                if loop.time() > until:
                    _lost(held, error)
                    return
            except AegisError as error:
                _lost(held, error)
                return
            await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
            tries += 1

    def _keep_alive(self, held: Held) -> None:
        """While the call is on its way its grant must not end before it does."""
        seconds = _lifetime(held.verdict)
        if seconds is not None:
            loop = asyncio.get_running_loop()
            held.timer = loop.call_later(seconds / 2, lambda: self._extend(held, seconds))

    def _extend(self, held: Held, seconds: float) -> None:
        if held.open:
            task = asyncio.create_task(self._extended(held, seconds))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _extended(self, held: Held, seconds: float) -> None:
        message = ExtendRequest(agent_id=held.verdict.agent_id, seconds=min(86_400, seconds))
        try:
            await self._governor.extend(held.grant_id, message)
        except AegisError as error:
            if held.open:
                _log.warning("a grant could not be extended", extra={"facts": _facts(held, error)})
        if held.open:
            self._keep_alive(held)


def _lost(held: Held, error: AegisError) -> None:
    _log.warning("a grant could not be ended, so its estimate counts", extra={"facts": _facts(held, error)})


def _facts(held: Held, error: AegisError) -> dict[str, str]:
    return {"grant": held.grant_id, "error": error.message}


def _lifetime(verdict: Verdict) -> float | None:
    since: datetime | None = verdict.granted_at
    if since is None or verdict.expires_at is None:
        return None
    return max(0.05, (verdict.expires_at - since).total_seconds())


def _believed(sized: Sized) -> Bound:
    """Up to what a count is the provider's bill: no call has more input than its model reads at once."""
    known = maxima_by_name(sized.bound.model)
    window = max(sized.bound.input_tokens, (known.context_tokens if known else 0) or WIDEST_WINDOW)
    return replace(sized.bound, input_tokens=window, output_tokens=None)

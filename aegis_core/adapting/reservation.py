"""What is held for one call of a model or tool, until it is settled or released: exactly one of the two, once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pydantic import ValidationError

from aegis_core.adapting.calls import ModelCall, ToolCall
from aegis_core.client.answers import Settlement
from aegis_core.metering.bound import Bound, check
from aegis_core.metering.charges import usage_of_text
from aegis_core.metering.failures import error_class, judge
from aegis_core.metering.maxima import maxima_by_name
from aegis_core.metering.prompt import WIDEST_WINDOW
from aegis_core.metering.reading import NO_USAGE, Reading
from aegis_core.protocol.errors import AegisError
from aegis_core.protocol.evidence import milliseconds_since
from aegis_core.protocol.keywords import CallEvidence
from aegis_core.protocol.messages import Receipt, SettleRequest, Usage, Verdict
from aegis_core.protocol.money import UsdLike
from aegis_core.protocol.process import Process

if TYPE_CHECKING:
    from aegis_core.adapting.bridge import Bridge
    from aegis_core.adapting.locking import ToolLease

_log = logging.getLogger("aegis.adapting")


class Learn(Protocol):
    """Takes in what the provider counted, for the bounds of later calls."""

    def __call__(
        self, input_tokens: int, model: str | None, /, *, response_id: str | None = None, output_tokens: int = 0
    ) -> None: ...


class _Spent(NamedTuple):
    """What to settle at: a usage, else dollars, else what was reserved."""

    usage: Usage | None = None
    cost_usd: UsdLike | None = None
    estimated: bool = False
    response_id: str | None = None


_UNKNOWN = _Spent()


class Reservation:
    """What a granted call may do. The first of settle and release counts; later ones change nothing.

    An end that cannot be delivered is logged, not raised: the call was made, and its answer must not be lost. The grant
    is then charged at its estimate when its deadline passes.

    Attributes:
        call: the call as the adapter described it.
        verdict: the whole answer of the governor.
        model: the model to call: the recommended one where Aegis may choose, else the one that was named.
        max_output_tokens: the output cap to send, of one answer; None where nothing was declared and the model's
            maximum is held.
        estimated: true once it was settled without the provider's own usage.
        receipt: what became of the money, once ended and delivered.
        lease: of the lock that a tool call needs, until it is settled or released.
        bound: what a model call was reserved for, in kinds of tokens and calls.
        attempts_held: whether each attempt that an SDK makes by itself is held and ended by itself.
        went: what its end says of it for later: how long it took, the class of its error, which attempt it was.
    """

    def __init__(
        self,
        bridge: Bridge,
        call: ModelCall | ToolCall,
        verdict: Verdict,
        *,
        cap: int | None = None,
        bound: Bound | None = None,
        learn: Learn | None = None,
    ) -> None:
        self.call, self.verdict = call, verdict
        self.model: str | None = None
        self.max_output_tokens: int | None = None
        if isinstance(call, ModelCall):
            self.model = (verdict.recommended_model if call.models else call.model) or call.model
            cut = verdict.max_output_tokens
            self.max_output_tokens = cut // call.answers if cut else cap
            if bound is not None and cut:
                bound = replace(bound, output_tokens=cut)
        self.estimated = self.attempts_held = False
        self.receipt: Receipt | None = None
        self.lease: ToolLease | None = None
        self._bridge, self._learn, self.bound = bridge, learn, bound
        self._open, self._process = True, Process.id
        self._began, self._ran = monotonic(), False
        self.went: CallEvidence = {}
        self._entered: ToolLease | None = None
        self._lock = threading.Lock()

    @property
    def open(self) -> bool:
        """True until settled or released."""
        return self._open

    @property
    def grant_id(self) -> str:
        """The id under which the money is held."""
        return self.verdict.grant_id or ""

    @contextmanager
    def inside(self) -> Generator[None]:
        """Run the tool in this block: its code finds the lock's fence by `current_fence`."""
        self.enter()
        try:
            yield
        except BaseException as error:
            self.failed(error)
            raise
        finally:
            self.leave()

    def enter(self) -> None:
        """The beginning of `inside`, where a framework tells of it by a call."""
        self._began, self._ran = monotonic(), True  # it may have waited for its lock
        if self.lease is not None:
            self._entered = self.lease
            self.lease.enter()

    def leave(self) -> None:
        """The end of `inside`."""
        if self._entered is not None:
            self._entered.leave()

    def settle(
        self,
        reading: Reading | None = None,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cached_input_tokens: int = 0,
        cost_usd: UsdLike | None = None,
    ) -> Receipt | None:
        """Say what the call really consumed: what was read of its answer, tokens, or dollars.

        Without any of them, or where what was read cannot be true, what was reserved is charged, marked as estimated.

        Args:
            reading: of the provider's answer, by `aegis_core.metering.extract`; it is as wide as the bill.
            input_tokens: all input tokens that the provider counted, cached ones included.
            output_tokens: all output tokens, reasoning included.
            cached_input_tokens: how many of the input tokens were read from the provider's cache.
            cost_usd: dollars instead; 0 for an answer that came from the framework's own cache.
        """
        if not self._claim():
            return self.receipt
        spent = self._spent(reading, input_tokens, output_tokens, cached_input_tokens, cost_usd)
        return self._bridge.run(lambda: self._end(spent))

    async def asettle(
        self,
        reading: Reading | None = None,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cached_input_tokens: int = 0,
        cost_usd: UsdLike | None = None,
    ) -> Receipt | None:
        """As `settle`."""
        if not self._claim():
            return self.receipt
        spent = self._spent(reading, input_tokens, output_tokens, cached_input_tokens, cost_usd)
        return await self._bridge.await_(lambda: self._end(spent))

    def fail(self, error: BaseException, *, begun: bool = False) -> Receipt | None:
        """End a call of a model that failed: free where it certainly computed nothing, else charged.

        It is charged exactly where the error carries the answer's usage, else as reserved, marked as estimated; see
        `aegis_core.metering.failures`.

        Args:
            error: what was raised.
            begun: whether a part of the answer had arrived.
        """
        if not isinstance(error, Exception | GeneratorExit):  # interrupted: nobody may wait here
            self.failed(error)
            self.abandon(consumed=True)
            return self.receipt
        if not self._claim():
            return self.receipt
        self.failed(error)
        spent = self._failure(error, begun)
        return self._bridge.run(self._give_back if spent is None else lambda: self._end(spent))

    async def afail(self, error: BaseException, *, begun: bool = False) -> Receipt | None:
        """As `fail`. Of a cancelled call, or a stream that was left, nothing is awaited any more."""
        if not isinstance(error, Exception):
            self.failed(error)
            self.abandon(consumed=True)
            return self.receipt
        if not self._claim():
            return self.receipt
        self.failed(error)
        spent = self._failure(error, begun)
        return await self._bridge.await_(self._give_back if spent is None else lambda: self._end(spent))

    def release(self) -> Receipt | None:
        """Give the money back: the provider refused, or the call was never made."""
        return self._bridge.run(self._give_back) if self._claim(made=self._ran) else self.receipt

    async def arelease(self) -> Receipt | None:
        """As `release`."""
        return await self._bridge.await_(self._give_back) if self._claim(made=self._ran) else self.receipt

    def abandon(self, *, consumed: bool) -> None:
        """End it without waiting, for a cancelled caller: charged as reserved if the call was `consumed`, else free."""
        if self._claim(made=consumed):
            self._bridge.post((lambda: self._end(_UNKNOWN)) if consumed else self._give_back)

    def failed(self, error: BaseException | int) -> None:
        """Let its end name the class of an error, or the status of an answer, in which the call ended."""
        self.went["error_class"] = error_class(error)

    def _claim(self, *, made: bool = True) -> bool:
        """Whether this end is the first one. `made`: the call was, so it took some time."""
        if self._process != Process.id:  # a forked child unwinds what its parent runs on
            return False
        with self._lock:
            claimed, self._open = self._open, False
        if claimed and made:
            self.went["latency_ms"] = milliseconds_since(self._began)
        return claimed

    def _spent(
        self,
        reading: Reading | None,
        input_tokens: int | None,
        output_tokens: int | None,
        cached: int,
        cost_usd: UsdLike | None,
    ) -> _Spent:
        """What a call consumed, as far as it is known."""
        if reading is not None:
            return self._checked(reading)
        if input_tokens is None and output_tokens is None:
            return _Spent(cost_usd=cost_usd)
        assert self.model is not None
        try:
            counted = input_tokens or 0
            usage = Usage(
                model=self.model,
                input_tokens=counted,
                output_tokens=output_tokens or 0,
                cached_input_tokens=min(cached, counted),
            )
        except (ValidationError, TypeError):  # the call was paid, and its answer must not be lost to its bookkeeping
            self._doubt(f"the provider counted {input_tokens!r} and {output_tokens!r} tokens, which cannot be")
            return _UNKNOWN
        return _Spent(usage)

    def _checked(self, reading: Reading) -> _Spent:
        """What was read, unless it cannot be true of this call; of an answer without a count its text."""
        reading = reading if self.bound is None else check(reading, self._believed(self.bound))
        if reading.exact:
            return _Spent(reading.usage, response_id=reading.response_id)
        self._doubt("; ".join(reading.doubts) or NO_USAGE)
        if self.bound is None or self.model is None:
            return _UNKNOWN
        return _Spent(usage_of_text(reading, self.bound, self.model), estimated=True)

    def _believed(self, bound: Bound) -> Bound:
        """Up to what a count is the provider's bill: beyond the bound a framework or gateway may have sent more than
        was seen here, but no call has more input than its model reads at once."""
        known = maxima_by_name(self.model or "")
        window = max(bound.input_tokens, (known.context_tokens if known else 0) or WIDEST_WINDOW)
        return replace(bound, input_tokens=window, output_tokens=None)

    def _failure(self, error: BaseException, begun: bool) -> _Spent | None:
        """What a failed call consumed; None: certainly nothing."""
        outcome = judge(error, received=begun, model=self.model)
        if outcome.kind == "released":
            return None
        if outcome.reading is not None:
            return self._checked(outcome.reading)
        self._doubt(outcome.reason)
        if outcome.attempts > 1 and not self.attempts_held:
            # The SDK sent it again by itself, each time with the same answer to fear.
            return _Spent(cost_usd=self.verdict.reserved_usd * outcome.attempts, estimated=True)
        return _UNKNOWN

    def _doubt(self, reason: str) -> None:
        _log.warning("Grant %s is not charged by a count of the provider: %s.", self.grant_id, reason)

    async def unlock(self) -> None:
        """Give the lock of a tool call back, in the loop of the bridge."""
        lease, self.lease = self.lease, None
        if lease is not None:
            await lease.give_back()

    async def _end(self, spent: _Spent) -> Receipt | None:
        await self.unlock()
        usage, cost_usd, self.estimated, response_id = spent
        if usage is None and cost_usd is None:
            self.estimated = isinstance(self.call, ModelCall)
            cost_usd = self.verdict.reserved_usd
        if usage is not None and usage.input_tokens and self._learn is not None and not self.estimated:
            output = usage.output_tokens
            self._learn(usage.input_tokens, usage.model, response_id=response_id, output_tokens=output)
        try:
            agent = self._bridge.agent
            if usage is not None:  # the provider's own count: what has no price is charged as reserved
                said = Settlement(SettleRequest(usage=usage, estimated=self.estimated, **self.went), read=True)
                self.receipt = await agent.settle_as(self.grant_id, said)
            else:
                self.receipt = await agent.settle(
                    self.grant_id, cost_usd=cost_usd, estimated=self.estimated, **self.went
                )
        except AegisError as error:
            _log.warning("Grant %s could not be settled, so its estimate counts: %s", self.grant_id, error)
        return self.receipt

    async def _give_back(self) -> Receipt | None:
        await self.unlock()
        try:
            self.receipt = await self._bridge.agent.release(self.grant_id, **self.went)
        except AegisError as error:
            _log.warning("Grant %s could not be released, so its estimate counts: %s", self.grant_id, error)
        return self.receipt

"""What is held for one call of a model or tool, until it is settled or released: exactly one of the two, once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic import ValidationError

from aegis_core.adapting.calls import ModelCall, ToolCall
from aegis_core.client.answers import Settlement
from aegis_core.protocol.errors import AegisError
from aegis_core.protocol.messages import Receipt, SettleRequest, Usage, Verdict
from aegis_core.protocol.money import UsdLike

if TYPE_CHECKING:
    from aegis_core.adapting.bridge import Bridge
    from aegis_core.adapting.locking import ToolLease

_log = logging.getLogger("aegis.adapting")


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
    """

    def __init__(
        self,
        bridge: Bridge,
        call: ModelCall | ToolCall,
        verdict: Verdict,
        *,
        cap: int | None = None,
        learn: Callable[[int, str], None] | None = None,
    ) -> None:
        self.call, self.verdict = call, verdict
        self.model: str | None = None
        self.max_output_tokens: int | None = None
        if isinstance(call, ModelCall):
            self.model = (verdict.recommended_model if call.models else call.model) or call.model
            cut = verdict.max_output_tokens
            self.max_output_tokens = cut // call.answers if cut else cap
        self.estimated = False
        self.receipt: Receipt | None = None
        self.lease: ToolLease | None = None
        self._bridge, self._learn = bridge, learn
        self._open = True
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
        finally:
            self.leave()

    def enter(self) -> None:
        """The beginning of `inside`, where a framework tells of it by a call."""
        if self.lease is not None:
            self._entered = self.lease
            self.lease.enter()

    def leave(self) -> None:
        """The end of `inside`."""
        if self._entered is not None:
            self._entered.leave()

    def settle(
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cached_input_tokens: int = 0,
        cost_usd: UsdLike | None = None,
    ) -> Receipt | None:
        """Say what the call really consumed: the provider's tokens, or dollars; neither settles at the reservation.

        Args:
            input_tokens: all input tokens that the provider counted, cached ones included.
            output_tokens: all output tokens, reasoning included.
            cached_input_tokens: how many of the input tokens were read from the provider's cache.
            cost_usd: dollars instead; 0 for an answer that came from the framework's own cache.
        """
        usage = self._usage(input_tokens, output_tokens, cached_input_tokens)
        if not self._claim():
            return self.receipt
        return self._bridge.run(lambda: self._end(usage, cost_usd))

    async def asettle(
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cached_input_tokens: int = 0,
        cost_usd: UsdLike | None = None,
    ) -> Receipt | None:
        """As `settle`."""
        usage = self._usage(input_tokens, output_tokens, cached_input_tokens)
        if not self._claim():
            return self.receipt
        return await self._bridge.await_(lambda: self._end(usage, cost_usd))

    def release(self) -> Receipt | None:
        """Give the money back: the provider refused, or the call was never made."""
        return self._bridge.run(self._give_back) if self._claim() else self.receipt

    async def arelease(self) -> Receipt | None:
        """As `release`."""
        return await self._bridge.await_(self._give_back) if self._claim() else self.receipt

    def abandon(self, *, consumed: bool) -> None:
        """End it without waiting, for a cancelled caller: charged as reserved if the call was `consumed`, else free."""
        if self._claim():
            self._bridge.post((lambda: self._end(None, None)) if consumed else self._give_back)

    def _claim(self) -> bool:
        with self._lock:
            claimed, self._open = self._open, False
        return claimed

    def _usage(self, input_tokens: int | None, output_tokens: int | None, cached: int) -> Usage | None:
        if input_tokens is None and output_tokens is None:
            return None
        assert self.model is not None
        try:
            counted = input_tokens or 0
            return Usage(
                model=self.model,
                input_tokens=counted,
                output_tokens=output_tokens or 0,
                cached_input_tokens=min(cached, counted),
            )
        except (ValidationError, TypeError):  # the call was paid, and its answer must not be lost to its bookkeeping
            _log.warning(
                "Grant %s: the provider counted %r and %r tokens, which cannot be, so what was reserved is charged.",
                self.grant_id, input_tokens, output_tokens,
            )  # fmt: skip
            return None

    async def unlock(self) -> None:
        """Give the lock of a tool call back, in the loop of the bridge."""
        lease, self.lease = self.lease, None
        if lease is not None:
            await lease.give_back()

    async def _end(self, usage: Usage | None, cost_usd: UsdLike | None) -> Receipt | None:
        await self.unlock()
        if usage is None and cost_usd is None:
            self.estimated = isinstance(self.call, ModelCall)
            cost_usd = self.verdict.reserved_usd
        if usage is not None and usage.input_tokens and self._learn is not None:
            self._learn(usage.input_tokens, usage.model)
        try:
            agent = self._bridge.agent
            if usage is not None:  # the provider's own count: what has no price is charged as reserved
                said = Settlement(SettleRequest(usage=usage), read=True)
                self.receipt = await agent.settle_as(self.grant_id, said)
            else:
                self.receipt = await agent.settle(self.grant_id, cost_usd=cost_usd, estimated=self.estimated)
        except AegisError as error:
            _log.warning("Grant %s could not be settled, so its estimate counts: %s", self.grant_id, error)
        return self.receipt

    async def _give_back(self) -> Receipt | None:
        await self.unlock()
        try:
            self.receipt = await self._bridge.agent.release(self.grant_id)
        except AegisError as error:
            _log.warning("Grant %s could not be released, so its estimate counts: %s", self.grant_id, error)
        return self.receipt

"""What a `permit` block holds."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Literal, Protocol, Unpack, get_args

from aegis_core.client.answers import Settlement, Sizes, settlement_of
from aegis_core.protocol.approvals import check_call
from aegis_core.protocol.arguments import hash_arguments
from aegis_core.protocol.errors import AegisError, InvalidRequestError, LockLostError
from aegis_core.protocol.evidence import milliseconds_since
from aegis_core.protocol.keywords import CallEvidence, RequestFields, SettleFields
from aegis_core.protocol.messages import Receipt, SettleRequest, TakenBackBy, Verdict
from aegis_core.protocol.process import Process, check_process

if TYPE_CHECKING:
    from aegis_core.client.leases import Lease

OnError = Literal["charge", "release"]
"""What an exception in a `permit` block means: that something may have been spent, or that certainly nothing was."""

_log = logging.getLogger("aegis.metering")


def check_on_error(value: object) -> None:
    """Refuse, before anything is asked, what `permit` does not know.

    Raises:
        InvalidRequestError: neither of the two words.
    """
    if value not in get_args(OnError):
        problem = f"must be one of {', '.join(map(repr, get_args(OnError)))}"
        raise InvalidRequestError(f"on_error: {problem}", field="on_error", problem=problem)


class GrantCloser(Protocol):
    """The agent that a grant was given to, as far as its end needs it."""

    async def settle_as(self, grant_id: str, settlement: Settlement) -> Receipt: ...

    async def release(self, grant_id: str, *, by: TakenBackBy = "agent", **went: Unpack[CallEvidence]) -> Receipt: ...

    async def extend(self, grant_id: str, seconds: float = 600) -> Receipt: ...


class Grant:
    """A live grant inside a `permit` block. What is said here is carried out when the block ends."""

    def __init__(self, agent: GrantCloser, verdict: Verdict, asked: RequestFields | None = None) -> None:
        """`asked`: what the request said."""
        asked = asked or {}
        self._agent, self.verdict, self._asked = agent, verdict, asked.get("model")
        self._said, self._process, self._began = asked, Process.id, monotonic()
        self._settlement: Settlement | None = None
        self._released = self._misreported = False
        self.receipt: Receipt | None = None
        self.lease: Lease | None = None
        """The lock that came with the money, where it was asked for."""

    @property
    def grant_id(self) -> str:
        """The id under which the money is held."""
        assert self.verdict.grant_id is not None
        return self.verdict.grant_id

    @property
    def model(self) -> str | None:
        """The model to use."""
        return self.verdict.recommended_model

    @property
    def fence(self) -> int:
        """The fence of its lock.

        Raises:
            LockLostError: the lease is no more, or there never was one.
        """
        if self.lease is None:
            raise LockLostError("This grant came with no lock.")
        return self.lease.fence

    def check(self, tool: str, arguments: object) -> None:
        """Make sure, before it runs, that a call is the one that was approved. Where nobody was asked, any is.

        Raises:
            AegisDenied: another tool or other arguments were approved; nothing may run on this grant.
        """
        check_call(self.verdict, tool, hash_arguments(arguments))

    def settle(self, **said: Unpack[SettleFields]) -> None:
        """Say what it really cost: dollars, token usage, or simply what the provider answered. The last word counts.

        Args:
            **said: one of ``cost_usd``, ``usage`` and ``response``, and what belongs to it; see `SettleFields`.

        Raises:
            InvalidRequestError: an amount that cannot be accepted; the grant stays as it was.
            ConfigurationError: this is a forked child of the process that the grant was given to, and ends there.
        """
        check_process(self._process, "grant")
        self._misreported = True  # something was spent; if nothing can be made of it, it was not nothing
        sizes = Sizes.of(self._said, self.verdict.max_output_tokens) if "response" in said else None
        self._settlement = settlement_of(said, model=self._asked, otherwise=self.model, sizes=sizes)
        self._released = self._misreported = False

    def release(self) -> None:
        """Say that nothing was consumed. Raises as `settle` in a forked child."""
        check_process(self._process, "grant")
        self._settlement, self._released, self._misreported = None, True, False

    async def extend(self, seconds: float = 600) -> Receipt:
        """Keep the grant alive for so many seconds from now. Raises as `settle` in a forked child."""
        check_process(self._process, "grant")
        return await self._agent.extend(self.grant_id, seconds)

    async def finish(self) -> None:
        """Carry out what was said. Called by `permit`; a child that was forked in its block ends nothing."""
        if self._process != Process.id:
            return
        if self._released:
            self.receipt = await self._agent.release(self.grant_id)
            return
        said = self._settlement or settlement_of({"cost_usd": self.verdict.reserved_usd})
        self.receipt = await self._agent.settle_as(
            self.grant_id, _with(said, {"latency_ms": milliseconds_since(self._began)})
        )

    async def fail(self, error: BaseException, on_error: OnError) -> None:
        """End it for a block that an error left. Called by `permit`, which raises that error whatever happens here."""
        if self._process != Process.id:
            return
        try:
            from aegis_core.metering.failures import error_class  # with what reads answers, which only failures need

            went: CallEvidence = {"error_class": error_class(error), "latency_ms": milliseconds_since(self._began)}
            said = self._settlement
            if not self._released and said is None and on_error != "release":
                said = self._spent_by(error)
            if self._released or said is None:
                self.receipt = await self._agent.release(self.grant_id, **went)
            else:
                self.receipt = await self._agent.settle_as(self.grant_id, _with(said, went))
        except AegisError as problem:  # its deadline ends it, and the block's own error matters more
            _log.warning("Grant %s could not be ended, so its estimate counts: %s", self.grant_id, problem)

    def _spent_by(self, error: BaseException) -> Settlement | None:
        """What a block cost that nothing was said of: None where certainly nothing was computed."""
        if self._misreported:
            return settlement_of({"estimated": True})
        from aegis_core.metering.failures import judge

        outcome = judge(error, model=self._asked)
        if outcome.kind == "released":
            return None
        usage = outcome.reading.usage if outcome.reading and outcome.reading.exact else None
        if usage is None:
            _log.warning("What was reserved is charged: %s.", outcome.reason)
            return settlement_of({"estimated": True})
        return Settlement(SettleRequest(usage=usage), read=True)


def _with(said: Settlement, went: CallEvidence) -> Settlement:
    """A settlement that tells how the call went, where it does not say so itself."""
    own = {name: value for name, value in went.items() if getattr(said.message, name) is None}
    return Settlement(said.message.model_copy(update=own), said.read)

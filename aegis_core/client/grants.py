"""What a `permit` block holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from aegis_core.protocol.approvals import check_call
from aegis_core.protocol.arguments import hash_arguments
from aegis_core.protocol.errors import ConflictError, LockLostError
from aegis_core.protocol.messages import Receipt, SettleRequest, Usage, Verdict
from aegis_core.protocol.money import UsdLike
from aegis_core.protocol.parsing import parse

if TYPE_CHECKING:
    from aegis_core.client.leases import Lease


class GrantCloser(Protocol):
    """The agent that a grant was given to, as far as its end needs it."""

    async def settle(
        self, grant_id: str, *, cost_usd: UsdLike | None = None, usage: Usage | None = None,
        escalation_usage: Usage | None = None, outcome: float | None = None,
    ) -> Receipt: ...  # fmt: skip

    async def release(self, grant_id: str) -> Receipt: ...

    async def extend(self, grant_id: str, seconds: float = 600) -> Receipt: ...


class Grant:
    """A live grant inside a `permit` block. What is said here is carried out when the block ends."""

    def __init__(self, agent: GrantCloser, verdict: Verdict) -> None:
        self._agent, self.verdict = agent, verdict
        self._settlement: dict[str, Any] | None = None
        self._released = False
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

    def settle(
        self, *, cost_usd: UsdLike | None = None, usage: Usage | None = None, escalation_usage: Usage | None = None,
        outcome: float | None = None,
    ) -> None:  # fmt: skip
        """Say what it really cost: exactly one of dollars and usage. The last word counts.

        Args:
            cost_usd: dollars for all calls.
            usage: tokens of the call.
            escalation_usage: tokens of the second call, where the answer of the first did not pass.
            outcome: how well the task was done, 0 to 1; the choice of models learns from it.

        Raises:
            InvalidRequestError: an amount that cannot be accepted; the grant stays as it was.
        """
        said: dict[str, object] = {
            "cost_usd": cost_usd, "usage": usage, "escalation_usage": escalation_usage, "outcome": outcome,
        }  # fmt: skip
        parse(SettleRequest, **said)
        self._settlement, self._released = said, False

    def release(self) -> None:
        """Say that nothing was consumed."""
        self._settlement, self._released = None, True

    async def extend(self, seconds: float = 600) -> Receipt:
        """Keep the grant alive for so many seconds from now."""
        return await self._agent.extend(self.grant_id, seconds)

    async def finish(self, *, failed: bool) -> None:
        """Carry out what was said. Called by `permit`."""
        if self._settlement is not None:
            self.receipt = await self._agent.settle(self.grant_id, **self._settlement)
        elif self._released or failed:
            try:
                self.receipt = await self._agent.release(self.grant_id)
            except ConflictError:
                if not failed:  # past its deadline and charged: the caller's own error matters more
                    raise
        else:
            self.receipt = await self._agent.settle(self.grant_id, cost_usd=self.verdict.reserved_usd)

"""What `agent.wallet` gives: an account of a chain, whose transactions are judged, reserved, sent and settled."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

from aegis_core.protocol.chains import QuoteTransaction, TransactionPreview
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import AegisError, LockLostError
from aegis_core.protocol.messages import ReleaseRequest, Verdict
from aegis_core.protocol.parsing import parse
from aegis_core.protocol.transactions import SendTransaction, TransactionOrder, TransactionReport

if TYPE_CHECKING:
    from aegis_core.client.agent import GovernedAgent
    from aegis_core.client.lock_block import LockBlock

_WAIT = 604_800.0


class HeldTransaction:
    """A transaction whose money is held, inside of a `Wallet.transact` block."""

    def __init__(self, agent: GovernedAgent, verdict: Verdict, signed: str, block: LockBlock | None) -> None:
        self._agent, self.verdict, self._signed, self._block = agent, verdict, signed, block
        self.report: TransactionReport | None = None
        """How it stood when it was last looked at."""

    @property
    def grant_id(self) -> str:
        """The id under which the money is held."""
        assert self.verdict.grant_id is not None
        return self.verdict.grant_id

    async def send(self, signed: bytes | str | None = None, *, replaces: bool = False) -> TransactionReport:
        """Send it; done once a node accepted it. From then on its chain says what it costs, whoever dies.

        Args:
            signed: on Solana the same message signed only now, or again with a newer blockhash, because the one that
                was judged is over; by default the bytes that were judged.
            replaces: it is meant to take the place of one with the same nonce.

        Raises:
            InvalidRequestError: `signed` does something else than what was judged, or is signed by nobody.
            ConflictError: its lock was lost, or its nonce was used before; nothing was sent.
            ChainError: every node refused it (reason ``refused``), and the money is back; or whether one took it is not
                known (``unknown``), and it is watched.
        """
        raw = self._signed if signed is None else _text(signed)
        message = parse(
            SendTransaction, agent_id=self._agent.agent_id, grant_id=self.grant_id, transaction=raw,
            replaces=replaces,
        )  # fmt: skip
        session = self._agent.session
        self.report = await self._agent.connection.port.transactions.send(message, token=session.session_token)
        return self.report

    async def settled(self, wait: float = 60) -> TransactionReport:
        """How it stands once it is final and settled, or after `wait` seconds."""
        session = self._agent.session
        self.report = await self._agent.connection.port.transactions.report(
            self.grant_id, self._agent.agent_id, token=session.session_token, wait=wait
        )
        return self.report


class Wallet:
    """An account of a chain that the agent's profile lists. Its key stays with who signs."""

    def __init__(self, agent: GovernedAgent, chain: str, address: str) -> None:
        self._agent, self.chain, self.address = agent, chain, address

    async def preview(self, signed: bytes | str) -> TransactionPreview:
        """What a signed transaction can cost, and would do now. Nothing is reserved, and nothing sent.

        Raises:
            InvalidRequestError: the bytes cannot be read, or are of another chain.
            ChainError: nobody says what the coin costs.
        """
        text = signed if isinstance(signed, str) else "0x" + signed.hex()
        message = parse(QuoteTransaction, chain=self.chain, transaction=text)
        return await self._agent.connection.port.transactions.preview(message, token=self._agent.session.session_token)

    @asynccontextmanager
    async def transact(
        self, signed: bytes | str, *, intent: str, wait: float = _WAIT, priority: int = 5, ttl: float = 30
    ) -> AsyncGenerator[HeldTransaction]:
        """Hold the most that a signed transaction can take, and its wallet, for a block that sends it.

        A block that sends nothing gives the money back. What was sent is settled by its chain, also when this process
        dies: see `HeldTransaction.send`.

        Args:
            signed: the signed bytes, or their hexadecimal text. On Solana, where what is signed soon expires, the
                signatures may still be zeros: see `HeldTransaction.send`.
            intent: what the agent wants, in its own words.
            wait: seconds to wait for an approval, or for the wallet.
            priority: of the agent's wait for the wallet.
            ttl: seconds after which a crashed holder loses the wallet.

        Raises:
            InvalidRequestError: the bytes cannot be read, or are of another account or chain. Nothing was decided.
            AegisDenied: refused, or not approved (or the wallet not had) within `wait` seconds.
        """
        agent, text = self._agent, _text(signed)
        order = parse(
            TransactionOrder, agent_id=agent.agent_id, session_id=agent.session.session_id, chain=self.chain,
            wallet=self.address, transaction=text, task_intent=intent, priority=priority, lock_ttl_seconds=ttl,
        )  # fmt: skip
        port, token = agent.connection.port, agent.session.session_token
        verdict = await port.transactions.open(order, token=token, wait=wait)
        if not verdict.granted:
            if verdict.grant_id and verdict.state in {"live", "pending"}:
                await self._release(verdict.grant_id)
            raise AegisDenied(f"Aegis refused: {verdict.reason}", verdict=verdict)
        held = HeldTransaction(agent, verdict, text, None)
        if verdict.lock_token is None:  # sent before: the same bytes are the same transaction
            yield held
            return
        block = agent.lock(verdict.lock_resource or "", token=verdict.lock_token, ttl=ttl)
        block.tells_of_loss = False  # it ends with the sending, and one that is lost before refuses that
        try:
            async with AsyncExitStack() as entered:
                with suppress(LockLostError):  # another sent the same bytes meanwhile, or sending refuses it
                    await entered.enter_async_context(block)
                yield held
        finally:
            if held.report is None:
                await self._release(held.grant_id)

    async def _release(self, grant_id: str) -> None:
        """Give back what was not sent. Where it was after all, that is refused, and its chain says what it cost."""
        message = parse(ReleaseRequest, agent_id=self._agent.agent_id)
        with suppress(AegisError):
            token = self._agent.session.session_token
            await self._agent.connection.port.release(grant_id, message, token=token)


def _text(signed: bytes | str) -> str:
    return signed if isinstance(signed, str) else "0x" + signed.hex()

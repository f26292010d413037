"""An `AsyncClient` of solana-py whose sending goes to the governor; all else goes on to it."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any, SupportsBytes

from aegis_core.adapting import Bridge
from aegis_core.chains.solana.wire import decode
from aegis_core.errors import AegisDenied, AegisError

_WAIT = 60.0


def governed(
    client: object, aegis: object, *, chain: str = "solana", wallet: str | None = None,
    intent: str = "Send a transaction through solana-py", wait: float = _WAIT,
) -> GovernedClient:  # fmt: skip
    """A client to use in the place of another.

    Args:
        client: an `AsyncClient` of solana-py, which reads.
        aegis: an agent, of `connect` or `connect_sync`.
        chain: as its operator calls it.
        wallet: whose money it is about; by default who pays the fee.
        intent: what the agent wants, in its own words.
        wait: seconds to wait for an approval, or for the wallet.

    Raises:
        ConfigurationError: `aegis` is not an agent.
    """
    return GovernedClient(client, Bridge.of(aegis), chain, wallet, intent, wait)


class GovernedClient:
    """All that the client has; what sends is judged first.

    A refusal is an `RPCException` with our sentence, as the client raises it behind the RPC URL of the proxy.
    """

    def __init__(
        self, client: object, bridge: Bridge, chain: str, wallet: str | None, intent: str, wait: float
    ) -> None:
        self._client, self._bridge = client, bridge
        self._chain, self._wallet, self._intent, self._wait = chain, wallet, intent, wait

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def __aenter__(self) -> GovernedClient:
        """Open the client."""
        await self._client.__aenter__()  # type: ignore[attr-defined]
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close it."""
        await self._client.__aexit__(*error)  # type: ignore[attr-defined]

    async def send_transaction(self, txn: SupportsBytes, opts: Any = None) -> Any:
        """Judge, reserve and send a transaction; done once a node accepted it, or confirmed it, where `opts` ask for
        that. Answers what the client answers."""
        return await self.send_raw_transaction(bytes(txn), opts)

    async def send_raw_transaction(self, txn: bytes, opts: Any = None) -> Any:
        """The same for bytes. Options of the node's checks are the governor's, and have no effect here."""
        try:
            name = await self._bridge.await_(lambda: self._sent(txn))
        except AegisDenied as denied:
            raise _refusal(str(denied)) from denied
        except AegisError as error:
            raise _refusal(f"Aegis: {error.message}") from error
        signature = import_module("solders.signature").Signature.from_string(name)
        if opts is not None and not opts.skip_confirmation:
            await self._client.confirm_transaction(  # type: ignore[attr-defined]
                signature, opts.preflight_commitment, last_valid_block_height=opts.last_valid_block_height
            )
        return import_module("solders.rpc.responses").SendTransactionResp(signature)

    async def _sent(self, raw: bytes) -> str:
        """The signature of what was sent."""
        transaction = await asyncio.to_thread(decode, raw)
        wallet = self._bridge.agent.wallet(self._chain, self._wallet or transaction.payer)
        async with wallet.transact(raw, intent=self._intent, wait=self._wait) as tx:
            await tx.send()
        return transaction.signature


def _refusal(message: str) -> Exception:
    error: object = import_module("solders.rpc.errors").InvalidParamsMessage(message)
    refused: Exception = import_module("solana.rpc.core").RPCException(error)
    return refused

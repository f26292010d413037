"""The innermost layer of a `Web3` or `AsyncWeb3`: what carries signed bytes goes to the governor, reading goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from aegis_core.adapting import Bridge
from aegis_core.chains.transaction import decode
from aegis_core.errors import AegisDenied, AegisError, InvalidRequestError

Answer = dict[str, Any]
"""An answer of JSON-RPC: with ``result``, or ``error``."""
Request = tuple[str, Any]
MakeRequest = Callable[[str, Any], Answer]
MakeBatch = Callable[[list[Request]], "list[Answer] | Answer"]

SEND = "eth_sendRawTransaction"
_OTHERWISE = ("eth_send", "eth_sign", "personal_", "wallet_", "account_", "miner_")
"""How methods begin that send or sign past the governor: a key in the node, bundles, user operations."""
_REFUSED, _NO_METHOD, _BAD_PARAMETERS = -32003, -32601, -32602
_WAIT = 60.0


def governed(
    aegis: object, *, intent: str = "Send a transaction through web3.py", wait: float = _WAIT
) -> Callable[[object], GovernedRequests]:
    """What ``w3.middleware_onion.inject(…, layer=0)`` takes.

    Args:
        aegis: an agent, of `connect` or `connect_sync`. A `Web3`, which blocks, needs one of `connect_sync`.
        intent: what the agent wants, in its own words.
        wait: seconds to wait for an approval, or for the wallet.

    Raises:
        ConfigurationError: `aegis` is not an agent.
    """
    bridge = Bridge.of(aegis)
    return lambda _w3: GovernedRequests(bridge, intent, wait)


class GovernedRequests:
    """One layer, for code that blocks and for coroutines.

    A refusal is an error of JSON-RPC, as from the RPC URL of the proxy: web3.py raises it with our sentence, once, and
    the nonce stays usable.
    """

    def __init__(self, bridge: Bridge, intent: str, wait: float) -> None:
        self._bridge, self._intent, self._wait = bridge, intent, wait

    def wrap_make_request(self, make_request: MakeRequest) -> MakeRequest:
        """For `Web3`."""

        def make(method: str, params: Any) -> Answer:
            if not _concerns(method):
                return make_request(method, params)
            return self._bridge.run(lambda: self._answer(method, params))

        return make

    async def async_wrap_make_request(
        self, make_request: Callable[[str, Any], Awaitable[Answer]]
    ) -> Callable[[str, Any], Awaitable[Answer]]:
        """For `AsyncWeb3`."""

        async def make(method: str, params: Any) -> Answer:
            if not _concerns(method):
                return await make_request(method, params)
            return await self._bridge.await_(lambda: self._answer(method, params))

        return make

    def wrap_make_batch_request(self, make_batch: MakeBatch) -> MakeBatch:
        """For batches of `Web3`: what sends is judged one by one."""

        def make(requests: list[Request]) -> list[Answer] | Answer:
            passed = [each for each in requests if not _concerns(each[0])]
            answers = make_batch(passed) if passed else []
            if not isinstance(answers, list):
                return answers  # an error about all of them
            return self._bridge.run(lambda: self._merged(requests, answers))

        return make

    async def async_wrap_make_batch_request(
        self, make_batch: Callable[[list[Request]], Awaitable[list[Answer] | Answer]]
    ) -> Callable[[list[Request]], Awaitable[list[Answer] | Answer]]:
        """For batches of `AsyncWeb3`."""

        async def make(requests: list[Request]) -> list[Answer] | Answer:
            passed = [each for each in requests if not _concerns(each[0])]
            answers = await make_batch(passed) if passed else []
            if not isinstance(answers, list):
                return answers
            return await self._bridge.await_(lambda: self._merged(requests, answers))

        return make

    async def _merged(self, requests: Sequence[Request], answers: Sequence[Answer]) -> list[Answer]:
        passed = iter(answers)
        return [
            await self._answer(method, params) if _concerns(method) else next(passed) for method, params in requests
        ]

    async def _answer(self, method: str, params: Any) -> Answer:
        if method != SEND:
            return _error(_NO_METHOD, f"Aegis passes on no {method[:64]}: sign with your own key, and send by {SEND}.")
        given = cast("Sequence[object]", params)
        raw = _raw(given[0]) if len(given) == 1 else None
        if raw is None:
            return _error(_BAD_PARAMETERS, f"{SEND} takes the signed bytes as 0x…")
        try:
            return {"jsonrpc": "2.0", "id": 0, "result": await self._sent(raw)}
        except InvalidRequestError as error:
            return _error(_BAD_PARAMETERS, f"Aegis: {error.message}")
        except AegisDenied as denied:
            verdict = denied.verdict
            return _error(_REFUSED, str(denied), {"code": verdict.code, "rule": verdict.rule})
        except AegisError as error:
            return _error(_REFUSED, f"Aegis: {error.message}", {"code": error.code})

    async def _sent(self, raw: bytes) -> str:
        """The hash of what was sent, once a node accepted it."""
        transaction = await asyncio.to_thread(decode, raw)
        wallet = self._bridge.agent.wallet(f"eip155:{transaction.chain_id}", transaction.sender)
        async with wallet.transact(raw, intent=self._intent, wait=self._wait) as tx:
            # Who signs a nonce again means to replace what has it.
            await tx.send(replaces=True)
        return transaction.hash or ""


def _concerns(method: str) -> bool:
    return method.startswith(_OTHERWISE)


def _raw(value: object) -> bytes | None:
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    try:
        return bytes.fromhex(value[2:]) if isinstance(value, str) and value.startswith("0x") else None
    except ValueError:
        return None


def _error(code: int, message: str, data: object = None) -> Answer:
    more = {} if data is None else {"data": data}
    return {"jsonrpc": "2.0", "id": 0, "error": {"code": code, "message": message, **more}}

"""The road for any library in any language: an RPC URL whose transactions are judged, reserved, sent and settled.

A refusal is HTTP 200 with a JSON-RPC error, because clients send again what an HTTP status refuses, up to five times,
and show the message of an error as it is. Reading is passed on by a list of methods; whatever could sign or send
otherwise is not there.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from typing import Any, cast

from aegis_core.chains.node import NodeFault, NodeRefusal
from aegis_core.chains.transaction import decode
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.proxy_keys import ProxyKey
from aegis_core.protocol.errors import AegisError, ChainError, InvalidRequestError, NotFoundError
from aegis_core.protocol.messages import ReleaseRequest, Verdict
from aegis_core.protocol.parsing import loads, parse
from aegis_core.protocol.transactions import SendTransaction, TransactionOrder
from aegis_core.proxy.exchange import Exchange
from aegis_core.proxy.identity import Identity
from aegis_core.proxy.replies import Reply

PATH = re.compile(rb"/rpc/([A-Za-z0-9:-]{1,64})/?")

READING = frozenset({
    "eth_blockNumber", "eth_call", "eth_chainId", "eth_createAccessList", "eth_estimateGas", "eth_feeHistory",
    "eth_gasPrice", "eth_getBalance", "eth_getBlockByHash", "eth_getBlockByNumber", "eth_getBlockReceipts",
    "eth_getCode", "eth_getLogs", "eth_getStorageAt", "eth_getTransactionByHash", "eth_getTransactionCount",
    "eth_getTransactionReceipt", "eth_maxPriorityFeePerGas", "eth_syncing", "net_version",
})  # fmt: skip
"""What is passed on to the nodes of the operator, as it is."""

_SEND = "eth_sendRawTransaction"
_REFUSED, _NO_METHOD, _BAD_REQUEST, _BAD_PARAMETERS, _NO_ANSWER = -32003, -32601, -32600, -32602, -32603
_MOST_BATCH = 100
_WAIT = 60.0
"""Seconds to wait for the wallet, which another transaction may hold; a person is not waited for."""


class _RpcError(Exception):
    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


class RpcRoad:
    """Answers JSON-RPC for the chains of one governor."""

    def __init__(self, governor: ResourceGovernor, identity: Identity) -> None:
        self._governor, self._identity = governor, identity

    async def answer(self, exchange: Exchange, chain: str, key: ProxyKey, content: bytes) -> None:
        """Answer one request, or each of a batch in turn."""
        try:
            said: Any = loads(content)
        except ValueError:
            said = None
        if isinstance(said, list) and 1 <= len(cast("list[Any]", said)) <= _MOST_BATCH:
            answers: Any = [await self._one(each, chain, key) for each in cast("list[Any]", said)]
        else:
            answers = await self._one(said, chain, key)
        body = json.dumps(answers).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await exchange.reply(Reply(200, headers, body, ""))

    async def _one(self, said: Any, chain: str, key: ProxyKey) -> dict[str, Any]:
        asked = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
        found: dict[str, Any] = {"jsonrpc": "2.0", "id": asked.get("id")}
        try:
            found["result"] = await self._result(asked, chain, key)
        except _RpcError as error:
            more = {} if error.data is None else {"data": error.data}
            found["error"] = {"code": error.code, "message": error.message, **more}
        except InvalidRequestError as error:
            found["error"] = {"code": _BAD_PARAMETERS, "message": f"Aegis: {error.message}"}
        except AegisError as error:
            found["error"] = {"code": _REFUSED, "message": f"Aegis: {error.message}", "data": {"code": error.code}}
        return found

    async def _result(self, asked: dict[str, Any], chain: str, key: ProxyKey) -> Any:
        method, given = asked.get("method"), asked.get("params", [])
        if not isinstance(method, str) or not isinstance(given, list):
            raise _RpcError(_BAD_REQUEST, f"A request is an object, or up to {_MOST_BATCH}, with method and params.")
        parameters = cast("list[Any]", given)
        if method == _SEND:
            if len(parameters) != 1 or not isinstance(parameters[0], str):
                raise _RpcError(_BAD_PARAMETERS, f"{_SEND} takes the signed bytes as 0x…")
            return await self._send(parameters[0], chain, key)
        if method == "eth_accounts":
            return []  # no key is here
        if method not in READING:
            raise _RpcError(
                _NO_METHOD, f"Aegis passes on no {method[:64]}: sign with your own key, and send by {_SEND}."
            )
        return await self._read(method, parameters, chain)

    async def _read(self, method: str, parameters: list[Any], chain: str) -> Any:
        """The answer of the first node that has one."""
        faults: list[str] = []
        for node in self._governor.transactions.chains.find(chain).network.nodes:
            try:
                return await node.call(method, *parameters)
            except NodeRefusal as refusal:
                raise _RpcError(refusal.code, str(refusal), refusal.data) from None
            except NodeFault as fault:
                faults.append(str(fault))
        raise _RpcError(_NO_ANSWER, f"No node of {chain} answers: {'; '.join(faults)}")

    async def _send(self, text: str, chain: str, key: ProxyKey) -> str:
        transactions = self._governor.transactions
        profile = transactions.chains.profile_of(chain)
        transaction = await asyncio.to_thread(decode, _raw(text))
        caller = await self._identity.caller(key, b"")
        order = parse(
            TransactionOrder, agent_id=caller.session.agent_id, session_id=caller.session.session_id, chain=profile.id,
            wallet=transaction.sender, transaction=text,
            task_intent=f"Send a transaction on {profile.name} through the RPC proxy",
        )  # fmt: skip
        try:
            verdict = await transactions.open(order, token=caller.session.session_token, wait=_WAIT)
        except NotFoundError:  # its session had ended
            caller = await self._identity.opened(key, b"")
            order = order.model_copy(update={"session_id": caller.session.session_id})
            verdict = await transactions.open(order, token=caller.session.session_token, wait=_WAIT)
        token = caller.session.session_token
        if not verdict.granted:
            await self._refuse(verdict, caller.session.agent_id, token, transaction.hash or "")
            return transaction.hash or ""
        grant = verdict.grant_id or ""
        # A client that signs a nonce again means to replace what has it.
        message = SendTransaction(agent_id=caller.session.agent_id, grant_id=grant, transaction=text, replaces=True)
        try:
            await transactions.send(message, token=token)
        except NotFoundError:
            pass  # the same bytes were sent before, and are settled
        except ChainError as error:
            await self._release(grant, caller.session.agent_id, token)
            raise _RpcError(_REFUSED, error.message, {"reason": error.facts.get("reason"), "grant_id": grant}) from None
        except AegisError:
            await self._release(grant, caller.session.agent_id, token)
            raise
        return transaction.hash or ""

    async def _refuse(self, verdict: Verdict, agent: str, token: str, name: str) -> None:
        """Say why it is not sent; nothing, where the same bytes were sent before."""
        if verdict.status == "GRANTED":
            return
        if verdict.grant_id and verdict.state in {"live", "pending"}:
            await self._release(verdict.grant_id, agent, token)
        facts = {"code": verdict.code, "rule": verdict.rule, "request": verdict.request_id, "transaction": name}
        raise _RpcError(_REFUSED, f"Aegis refused: {verdict.reason}", facts)

    async def _release(self, grant: str, agent: str, token: str) -> None:
        """Give back what was not sent; where it may have been, that is refused, and its chain says what it cost."""
        with suppress(AegisError):
            await self._governor.release(grant, ReleaseRequest(agent_id=agent), token=token)


def _raw(text: str) -> bytes:
    try:
        if text.startswith("0x"):
            return bytes.fromhex(text[2:])
    except ValueError:
        pass
    raise _RpcError(_BAD_PARAMETERS, "The signed bytes are not hexadecimal with 0x before them.")

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
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.proxy_keys import ProxyKey
from aegis_core.protocol.accounts import EVM, SUI
from aegis_core.protocol.errors import AegisError, InvalidRequestError
from aegis_core.protocol.parsing import loads
from aegis_core.proxy.exchange import Exchange
from aegis_core.proxy.identity import Identity
from aegis_core.proxy.replies import Reply
from aegis_core.proxy.rpc_dialects import DIALECTS, RpcDialect
from aegis_core.proxy.rpc_sending import NotSentError, govern, sent_by
from aegis_core.proxy.sui_road import SuiRoad

PATH = re.compile(rb"/rpc/([A-Za-z0-9:-]{1,64})/?")

_NO_METHOD, _BAD_REQUEST, _BAD_PARAMETERS, _NO_ANSWER = -32601, -32600, -32602, -32603
_MOST_BATCH = 100


class _RpcError(Exception):
    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


class RpcRoad:
    """Answers JSON-RPC for the chains of one governor."""

    def __init__(self, governor: ResourceGovernor, identity: Identity) -> None:
        self._governor, self._identity, self._sui = governor, identity, SuiRoad(governor, identity)

    async def answer(self, exchange: Exchange, chain: str, key: ProxyKey, content: bytes) -> None:
        """Answer one request, or each of a batch in turn; of Sui, one of GraphQL."""
        if self._family(chain) == SUI:
            await self._sui.answer(exchange, chain, key, content)
            return
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
            code = self._dialect(chain).refused
            found["error"] = {"code": code, "message": f"Aegis: {error.message}", "data": {"code": error.code}}
        return found

    async def _result(self, asked: dict[str, Any], chain: str, key: ProxyKey) -> Any:
        method, given = asked.get("method"), asked.get("params", [])
        if not isinstance(method, str) or not isinstance(given, list):
            raise _RpcError(_BAD_REQUEST, f"A request is an object, or up to {_MOST_BATCH}, with method and params.")
        parameters, dialect = cast("list[Any]", given), self._dialect(chain)
        if method == dialect.send:
            try:
                raw = dialect.raw(parameters)
            except ValueError as error:
                raise _RpcError(_BAD_PARAMETERS, str(error)) from None
            return await self._send(raw, chain, key, dialect.refused)
        if method in dialect.answers:
            return dialect.answers[method]
        if method not in dialect.reading:
            raise _RpcError(
                _NO_METHOD, f"Aegis passes on no {method[:64]}: sign with your own key, and send by {dialect.send}."
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

    def _family(self, chain: str) -> str:
        """Of which kind a chain is; one that is not set up is spoken to as Ethereum is."""
        with suppress(InvalidRequestError):
            return self._governor.transactions.chains.profile_of(chain).family
        return EVM

    def _dialect(self, chain: str) -> RpcDialect:
        return DIALECTS[self._family(chain)]

    async def _send(self, raw: bytes, chain: str, key: ProxyKey, refused: int) -> str:
        found = self._governor.transactions.chains.find(chain)
        wallets, name = await asyncio.to_thread(sent_by, found, raw)
        try:
            await govern(self._governor, self._identity, key, found, raw, wallets)
        except NotSentError as error:
            raise _RpcError(refused, str(error), error.facts | {"transaction": name}) from None
        return name

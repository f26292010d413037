"""The road for clients of Sui: a GraphQL URL whose transactions are judged, reserved, sent and settled.

A document that executes is read here so far that its bytes are known; it is governed and sent, and then passed on as it
is, so that the client has the answer that it asked for: Sui executes the same transaction once. A refusal is HTTP 200
with an error of GraphQL, because clients show that.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from itertools import pairwise
from typing import Any, cast

from aegis_core.chains.node import NodeFault
from aegis_core.chains.sui.network import SuiNode
from aegis_core.chains.sui.wire import signed
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.proxy_keys import ProxyKey
from aegis_core.protocol.errors import AegisError
from aegis_core.protocol.parsing import loads
from aegis_core.proxy.exchange import Exchange
from aegis_core.proxy.identity import Identity
from aegis_core.proxy.replies import Reply
from aegis_core.proxy.rpc_sending import NotSentError, govern, sent_by

_TOKENS = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"""|"(?:[^"\\\n]|\\.)*"|#[^\n]*|\.\.\.|[A-Za-z_]\w*|-?\d[\w.+-]*|[{}()\[\]:$!=@|&]|[\s,\ufeff]+|.',
    re.DOTALL,
)
_EXECUTE, _DATA, _SIGNATURES = "executeTransaction", "transactionDataBcs", "signatures"
_MOST_SIGNATURES = 2


class GraphqlRefusal(Exception):  # noqa: N818 - an answer to the client
    """Nothing was passed on."""


class SuiRoad:
    """Answers GraphQL for the chains of one governor."""

    def __init__(self, governor: ResourceGovernor, identity: Identity) -> None:
        self._governor, self._identity = governor, identity

    async def answer(self, exchange: Exchange, chain: str, key: ProxyKey, content: bytes) -> None:
        """Answer one request."""
        try:
            found = await self._result(chain, key, content)
        except (GraphqlRefusal, AegisError) as error:
            text = error.message if isinstance(error, AegisError) else str(error)
            more: dict[str, Any] = {"code": error.code} if isinstance(error, AegisError) else {}
            found = _error(text if text.startswith("Aegis") else f"Aegis: {text}", more)
        except NotSentError as error:
            found = _error(str(error), error.facts)
        body = json.dumps(found).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await exchange.reply(Reply(200, headers, body, ""))

    async def _result(self, chain: str, key: ProxyKey, content: bytes) -> dict[str, Any]:
        try:
            said: Any = loads(content)
        except ValueError:
            said = None
        asked = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
        query = asked.get("query")
        stated: Any = asked.get("variables") or {}
        if not isinstance(query, str) or not isinstance(stated, dict):
            raise GraphqlRefusal("a request is an object with query and variables")
        variables = cast("dict[str, Any]", stated)
        given = executed(query, variables)
        found = self._governor.transactions.chains.find(chain)
        if given is not None:
            raw = signed(*given)
            wallets, _ = sent_by(found, raw)
            await govern(self._governor, self._identity, key, found, raw, wallets)
        # Nothing beside what was read goes to the nodes.
        passed: dict[str, Any] = {"query": query, "variables": variables}
        if isinstance(asked.get("operationName"), str):
            passed["operationName"] = asked["operationName"]
        faults: list[str] = []
        for node in found.network.nodes:
            if isinstance(node, SuiNode):
                try:
                    return await node.passed(passed)
                except NodeFault as fault:
                    faults.append(str(fault))
        raise GraphqlRefusal(f"no node of {chain} answers: {'; '.join(faults)}")


def _error(message: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {"data": None, "errors": [{"message": message, "extensions": facts}]}


def executed(query: str, variables: dict[str, Any]) -> tuple[bytes, tuple[bytes, ...]] | None:
    """The bytes and signatures that a document executes; None where it only reads.

    Args:
        query: the document. One that executes has one operation, which does nothing else.
        variables: of the request.

    Raises:
        GraphqlRefusal: it might do something else.
    """
    tokens = [each for each in _TOKENS.findall(query) if each.strip(" \t\r\n,\ufeff") and not each.startswith("#")]
    writing = [place for place, each in enumerate(tokens) if each in {"mutation", "subscription", _EXECUTE}]
    if not writing:
        return None
    if any(each.startswith('"""') for each in tokens):
        raise GraphqlRefusal("a document that executes has no block of text")
    operations = [place for place, each in _top(tokens) if each != "fragment"]
    if len(operations) != 1 or tokens[operations[0]] != "mutation" or tokens.count(_EXECUTE) != 1 + _named(tokens):
        raise GraphqlRefusal(f"a document that executes is one mutation with one {_EXECUTE}, and nothing else")
    given = _arguments(tokens, operations[0])
    data, listed = _value(given.get(_DATA), variables), _value(given.get(_SIGNATURES), variables)
    if not isinstance(data, str) or not isinstance(listed, list) or len(cast("list[Any]", listed)) > _MOST_SIGNATURES:
        raise GraphqlRefusal(f"{_EXECUTE} takes {_DATA} and {_SIGNATURES}")
    try:
        return b64decode(data, validate=True), tuple(
            b64decode(each, validate=True) for each in cast("list[str]", listed)
        )
    except (ValueError, TypeError):
        raise GraphqlRefusal(f"{_DATA} and {_SIGNATURES} are base64") from None


def _named(tokens: list[str]) -> int:
    """Whether the operation itself is called so, as the SDK does."""
    return int(any(pair == ("mutation", _EXECUTE) for pair in pairwise(tokens)))


def _top(tokens: list[str]) -> list[tuple[int, str]]:
    """Where definitions begin, with their first words."""
    found, depth, begins = list[tuple[int, str]](), 0, True
    for place, each in enumerate(tokens):
        if begins and depth == 0:
            found.append((place, each))
            begins = False
        depth += (each in "{([") - (each in "})]") if len(each) == 1 else 0
        if depth == 0 and each == "}":
            begins = True
    return found


def _arguments(tokens: list[str], start: int) -> dict[str, list[str]]:
    """The arguments of the only field of a mutation, by name."""
    place = start + 1
    while place < len(tokens) and tokens[place] != "{":  # its name, and its variables, which have no braces
        if tokens[place] == "@":
            raise GraphqlRefusal("a mutation has no directives here")
        place += 1
    place += 1
    if tokens[place : place + 1] != [_EXECUTE]:
        place += 2  # an alias
    if tokens[place : place + 2] != [_EXECUTE, "("]:
        raise GraphqlRefusal(f"a mutation has nothing but {_EXECUTE}")
    place, given, name = place + 2, dict[str, list[str]](), ""
    while place < len(tokens) and tokens[place] != ")":
        if tokens[place + 1 : place + 2] == [":"]:
            name = tokens[place]
            if name in given:
                raise GraphqlRefusal(f"{name} is given twice")
            given[name] = []
            place += 2
            continue
        given.setdefault(name, []).append(tokens[place])
        place += 1
    _check_alone(tokens, place + 1)
    return given


def _check_alone(tokens: list[str], place: int) -> None:
    """See that behind the only field's own selection the operation ends."""
    depth = 0
    while place < len(tokens):
        each = tokens[place]
        depth += (each == "{") - (each == "}")
        place += 1
        if depth == 0:
            break
    if tokens[place : place + 1] != ["}"]:
        raise GraphqlRefusal(f"a mutation has nothing but {_EXECUTE}")


def _value(tokens: list[str] | None, variables: dict[str, Any]) -> Any:
    """A value: a variable, a text, or a list of texts."""
    if tokens is None:
        return None
    if len(tokens) == 2 and tokens[0] == "$":
        return variables.get(tokens[1])
    try:
        if len(tokens) == 1 and tokens[0].startswith('"'):
            return json.loads(tokens[0])
        if tokens[:1] == ["["] and tokens[-1:] == ["]"]:
            return [json.loads(each) for each in tokens[1:-1]]
    except ValueError:
        pass
    return None

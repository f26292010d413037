"""One node of a chain, asked by JSON-RPC over HTTP. It is somebody else's, so nothing it says is taken for granted."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from aegis_core.chains.quantities import mapping, quantity
from aegis_core.protocol.parsing import loads

if TYPE_CHECKING:
    import httpx

MOST_BYTES = 2 * 2**20
"""The longest answer that is read."""
_CHECKED_SECONDS = 60.0
"""How long a node is believed to serve the chain that it named."""
_MOST_TEXT = 200
_LONGEST = 300.0


class NodeFault(Exception):  # noqa: N818 - what is wrong with an answer, told to whoever weighs several
    """A node that could not be asked, or whose answer is none. The text says why, and never the URL, which may hold a
    key."""


class NodeRefusal(NodeFault):
    """A node that understood and said no: a JSON-RPC error, with its `code` and whatever `data` came along."""

    def __init__(self, text: str, code: int, data: object) -> None:
        super().__init__(text)
        self.code, self.data = code, data


def called(method: str) -> str:
    """How a method is called in a sentence: of GraphQL, whose methods are whole queries, by their names."""
    return method.partition("{")[0].partition("(")[0].strip()


class Node:
    """One endpoint.

    Attributes:
        name: its place in the settings and its host, for people; no path, no credentials.
    """

    def __init__(self, url: str, place: int, chain: int, client: httpx.AsyncClient, timeout: float) -> None:
        self.name = f"node {place} ({urlsplit(url).hostname})"
        self._url, self._chain, self._client, self._timeout = url, chain, client, timeout
        self._numbers, self._checked_until = count(1), 0.0
        self._checking = asyncio.Lock()

    async def call(self, method: str, *parameters: object) -> Any:
        """Ask, within the time that is allowed for all of it.

        Raises:
            NodeRefusal: the node answered with an error of its own.
            NodeFault: no answer, or none that is one; or it serves another chain.
        """
        try:
            async with asyncio.timeout(self._timeout):
                await self._check_chain()
                return await self._asked(method, parameters)
        except TimeoutError:
            raise NodeFault(f"{self.name} did not answer {called(method)} within {self._timeout:g} s") from None

    async def _check_chain(self) -> None:
        if time.monotonic() < self._checked_until:
            return
        async with self._checking:
            if time.monotonic() < self._checked_until:
                return
            await self._served()
            self._checked_until = time.monotonic() + _CHECKED_SECONDS

    async def _served(self) -> None:
        """See that it serves its chain; raises `NodeFault`."""
        answer = await self._asked("eth_chainId", ())
        try:
            found = quantity(answer, "eth_chainId")
        except ValueError as error:
            raise NodeFault(f"{self.name}: {error}") from None
        if found != self._chain:
            raise NodeFault(f"{self.name} serves chain {found}, not {self._chain}")

    async def _asked(self, method: str, parameters: tuple[object, ...]) -> Any:
        number = next(self._numbers)
        asked = {"jsonrpc": "2.0", "id": number, "method": method, "params": list(parameters)}
        content = await self._posted(json.dumps(asked).encode())
        try:
            answer: Any = loads(content, parse_constant=_no_number)
        except ValueError:
            raise NodeFault(f"{self.name} did not answer {method} with JSON") from None
        return self._result(answer, number, method)

    async def _posted(self, content: bytes) -> bytes:
        try:
            return await read_answer(self._client, "POST", self._url, self.name, content)
        except NodeFault:
            self._checked_until = 0.0  # who is there again may be another one
            raise

    def _result(self, answer: Any, number: int, method: str) -> Any:
        try:
            said = mapping(answer, "the answer")
        except ValueError as error:
            raise NodeFault(f"{self.name}: {error}") from None
        # True is equal to 1, and 1.0 too; the answer to this question has the very number.
        if type(said.get("id")) is not int or said["id"] != number:
            raise NodeFault(f"{self.name} answered another question than {method}")
        error = said.get("error")
        if error is not None:
            raise self._refusal(error, method)
        if "result" not in said:
            raise NodeFault(f"{self.name} answered {method} with neither a result nor an error")
        return said["result"]

    def _refusal(self, error: Any, method: str) -> NodeFault:
        said = cast("dict[str, Any]", error) if isinstance(error, dict) else {}
        code, message = said.get("code"), said.get("message")
        if type(code) is not int or not isinstance(message, str):
            return NodeFault(f"{self.name} answered {method} with an error of no known form")
        text = "".join(letter if letter.isprintable() else " " for letter in message[:_MOST_TEXT])
        return NodeRefusal(f"{self.name} refuses {method}: {text} (code {code})", code, said.get("data"))


async def read_answer(
    client: httpx.AsyncClient, method: str, url: str, name: str, content: bytes | None = None
) -> bytes:
    """Ask somebody over HTTP, and read at most `MOST_BYTES` of what they answer.

    Args:
        client: from `new_client`.
        method: of HTTP.
        url: whom; never shown.
        name: what they are called in what is told of them.
        content: JSON to send.

    Raises:
        NodeFault: it cannot be reached, does not answer with 200, or with more; or packed, as what is packed could
            unpack to any size.
    """
    import httpx

    headers = {"accept-encoding": "identity"} | ({} if content is None else {"content-type": "application/json"})
    try:
        async with client.stream(method, url, content=content, headers=headers) as answer:
            if answer.status_code != 200:
                raise NodeFault(f"{name} answered with HTTP {answer.status_code}")
            if answer.headers.get("content-encoding", "identity").lower() != "identity":
                raise NodeFault(f"{name} packed its answer although it was asked not to")
            found = bytearray()
            async for some in answer.aiter_raw():
                found += some
                if len(found) > MOST_BYTES:
                    raise NodeFault(f"{name} answered with more than {MOST_BYTES:,} bytes")
            return bytes(found)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise NodeFault(f"{name} cannot be reached: {type(error).__name__}") from None


def new_client() -> httpx.AsyncClient:
    """What nodes are asked through: no redirects, and no settings of the environment."""
    import httpx

    return httpx.AsyncClient(  # `Node.call` has one time for everything
        trust_env=False, follow_redirects=False, timeout=_LONGEST, limits=httpx.Limits(max_connections=64)
    )


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def texts(faults: Iterable[NodeFault]) -> str:
    """What was wrong with several nodes, in one line."""
    return "; ".join(dict.fromkeys(map(str, faults)))

"""Nodes that say what a test tells them to: sound ones, and every way in which one can be broken."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

CHAIN = 31337
Answer = Callable[[str, list[Any], int], bytes]
"""From the method, its parameters and the id to the whole of an HTTP answer."""


def http(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


def result(value: object, number: object) -> bytes:
    return http(json.dumps({"jsonrpc": "2.0", "id": number, "result": value}).encode())


def error(code: object, message: object, number: object, data: object = None) -> bytes:
    said = {"code": code, "message": message, "data": data}
    return http(json.dumps({"jsonrpc": "2.0", "id": number, "error": said}).encode())


def block(**changed: object) -> dict[str, object]:
    return {"number": hex(1_000), "timestamp": hex(int(time.time())), "baseFeePerGas": hex(100 * 10**9)} | changed


def sound(fee: int = 100 * 10**9, *, number: int = 1_000, age: int = 0) -> Answer:
    """A node that serves the chain and its newest block."""

    def answer(method: str, parameters: list[Any], number_of_question: int) -> bytes:
        if method == "eth_chainId":
            return result(hex(CHAIN), number_of_question)
        at = hex(int(time.time()) - age)
        return result(block(baseFeePerGas=hex(fee), number=hex(number), timestamp=at), number_of_question)

    return answer


def says(value: object) -> Answer:
    """A node that answers this to all but which chain it serves."""
    return lambda method, parameters, number: result(hex(CHAIN) if method == "eth_chainId" else value, number)


def sends(content: bytes) -> Answer:
    """The same with the whole answer as it goes over the wire."""
    return lambda method, parameters, number: result(hex(CHAIN), number) if method == "eth_chainId" else content


def numbered(make: Callable[[int], bytes]) -> Answer:
    """The same, made from the id of the question."""
    return lambda method, parameters, number: result(hex(CHAIN), number) if method == "eth_chainId" else make(number)


def fee(value: object) -> Answer:
    return says(block(baseFeePerGas=value))


BROKEN: dict[str, Answer] = {
    "zero": fee("0x0"),
    "the largest number": fee("0x" + "f" * 64),
    "beyond what is judged": fee(hex(2**53)),
    "too long a number": fee("0x" + "1" * 65),
    "negative": fee("-0x1"),
    "a decimal": fee("100000000000"),
    "a JSON number": fee(100_000_000_000),
    "a float": fee(1e11),
    "a leading zero": fee("0x0174876e800"),
    "null": fee(None),
    "a list": fee(["0x174876e800"]),
    "an old block": sound(number=10),
    "an old time": sound(age=3_600),
    "a future time": sound(age=-3_600),
    "another chain": lambda method, parameters, number: result("0x1", number),
    "no block": says(None),
    "a block as text": says("0x1"),
    "a page": sends(http(b"<html><body>Just a moment...</body></html>", headers="content-type: text/html\r\n")),
    "HTTP 500": sends(http(b"oops", status="500 Internal Server Error")),
    "HTTP 429": sends(http(b"{}", status="429 Too Many Requests")),
    "a redirect": sends(http(b"", status="307 Temporary Redirect", headers="location: http://127.0.0.1:1/\r\n")),
    "an error": numbered(lambda number: error(-32005, "limit exceeded\x1b[31m", number)),
    "an error of no form": numbered(lambda number: error("no", 5, number)),
    "an error that is a text": numbered(lambda number: http(json.dumps({"id": number, "error": "no"}).encode())),
    "not a number": numbered(lambda number: http(b'{"id": %d, "result": NaN}' % number)),
    "the wrong id": numbered(lambda number: result(block(), number + 1)),
    "true for an id": numbered(lambda number: result(block(), True)),
    "no id": numbered(lambda number: http(json.dumps({"result": block()}).encode())),
    "neither result nor error": numbered(lambda number: http(json.dumps({"id": number}).encode())),
    "a batch": numbered(lambda number: http(json.dumps([{"id": number, "result": block()}]).encode())),
    "nesting": sends(http(b"[" * 100_000)),
    "digits": sends(http(b'{"id": ' + b"1" * 10_000 + b"}")),
    "10 MB": sends(http(b'"' + b"x" * 10_000_000 + b'"')),
    "something packed": numbered(
        lambda number: http(gzip.compress(bytes(10_000_000)), headers="content-encoding: gzip\r\n")
    ),
    "half an answer": sends(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"),
    "no HTTP": sends(b"\x00\x01\x02\r\n\r\n"),
    "nothing": sends(b""),
}
"""Every kind of node that must not be believed, beside those that take their time."""


@asynccontextmanager
async def serving(*answers: Answer) -> AsyncIterator[list[str]]:
    """So many nodes, by their URLs."""
    servers = [await asyncio.start_server(_talker(answer), "127.0.0.1", 0) for answer in answers]
    try:
        yield [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/key-of-the-operator" for server in servers]
    finally:
        for server in servers:
            server.close()


def _talker(answer: Answer) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                asked = json.loads(await reader.readexactly(length))
                # In GraphQL it is the query.
                content = answer(asked.get("method") or asked["query"], asked.get("params", []), asked.get("id", 0))
                if content is SILENT or content is DRIP:
                    while content is DRIP:
                        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n " if length else b" ")
                        length = 0
                        await writer.drain()
                        await asyncio.sleep(0.02)
                    await asyncio.sleep(3_600)
                writer.write(content)
                await writer.drain()
                if b"content-length: 500\r\n" in content or not content.startswith(b"HTTP"):
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    return talk


SILENT, DRIP = b"SILENT", b"DRIP"
SLOW: dict[str, Answer] = {"silence": sends(SILENT), "a slow drip": sends(DRIP)}

"""The client of upstreams: what it reads, what it never reuses, and whether anything had been sent when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from aegis_core.metering.failures import judge
from aegis_core.proxy import upstream_http
from aegis_core.proxy.upstream_http import ConnectError, ReadError, ReadTimeout, UpstreamHttp

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def upstream(serve: Serve, *, seconds: float = 20) -> AsyncIterator[UpstreamHttp]:
    """A client of a server that answers each connection by `serve`."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    client = UpstreamHttp(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", read_seconds=seconds)
    try:
        yield client
    finally:
        client.close()
        server.close()


async def request(reader: asyncio.StreamReader) -> bytes:
    """One request, with its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    return head + await reader.readexactly(length)


async def got(client: UpstreamHttp, body: bytes = b"x") -> tuple[int, bytes]:
    answer = await client.send(b"POST", b"/a?b=c", [(b"x-one", b"1"), (b"x-one", b"2")], body)
    return answer.status, b"".join([chunk async for chunk in answer.chunks()])


async def test_a_request_goes_out_as_it_is_and_connections_are_used_again() -> None:
    seen: list[bytes] = []
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            seen.append(await request(reader))
            writer.write(OK)

    async with upstream(serve) as client:
        for _ in range(3):
            assert await got(client, b"body") == (200, b"ok")
        answer = await client.send(b"GET", b"/", [], b"")
        assert b"".join([chunk async for chunk in answer.chunks()]) == b"ok"
    assert connections == 1
    head, _, rest = seen[0].partition(b"\r\n")
    assert head == b"POST /a?b=c HTTP/1.1"
    assert rest.partition(b"\r\n")[2] == b"x-one: 1\r\nx-one: 2\r\ncontent-length: 4\r\n\r\nbody"
    assert b"content-length" not in seen[-1]


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nt: 1\r\n\r\n", b"ok"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
async def test_answers_end_where_http_says_that_they_end(sent: bytes, body: bytes) -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await request(reader)
        for at in range(len(sent)):
            writer.write(sent[at : at + 1])
            await writer.drain()

    async with upstream(serve) as client:
        for _ in range(2):
            status, found = await got(client)
            assert (status in {200, 204}, found) == (True, body)
    assert connections == 2, "each was closed by the server"


@pytest.mark.parametrize(
    ("sent", "headed"),
    [
        (b"", False), (b"HTTP/1.1 200 OK\r\ncontent-le", False), (b"SSH-2.0-OpenSSH\r\n", False),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000, False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", True),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n", True),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok\r\n", True),
    ],
)  # fmt: skip
async def test_what_breaks_off_had_been_sent(sent: bytes, headed: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(sent)
        await writer.drain()

    async with upstream(serve) as client:
        with pytest.raises(ReadError) as broken:
            await got(client)
    assert judge(broken.value, received=headed).kind == "unknown"


async def test_silence_ends_after_its_time() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok")
        await reader.read()

    async with upstream(serve, seconds=0.05) as client:
        with pytest.raises(ReadTimeout) as late:
            await got(client)
    assert judge(late.value).kind == "unknown"


async def test_without_a_connection_nothing_was_sent() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConnectError) as plain:  # it speaks no TLS
        await got(UpstreamHttp(f"https://127.0.0.1:{port}", read_seconds=9))
    server.close()
    with pytest.raises(ConnectError) as refused:
        await got(UpstreamHttp(f"http://127.0.0.1:{port}", read_seconds=9))
    for error in (plain.value, refused.value):
        assert judge(error).kind == "released"


async def test_a_connection_on_which_something_came_unasked_is_not_used_again() -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await request(reader)
            writer.write(OK + (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil" if connections == 1 else b""))

    async with upstream(serve) as client:
        assert [await got(client) for _ in range(3)] == [(200, b"ok")] * 3
    assert connections == 2


async def test_a_connection_that_was_idle_too_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await request(reader)
            writer.write(OK)

    monkeypatch.setitem(upstream_http._IDLE_SECONDS, "http", -1)
    async with upstream(serve) as client:
        assert [await got(client) for _ in range(2)] == [(200, b"ok")] * 2
    assert connections == 2


async def test_an_answer_that_nobody_reads_is_not_gathered() -> None:
    """More than so many bytes stay with the upstream, however long the answer is."""
    size = 64 * 1024 * 1024
    written = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(size // 65_536):
            writer.write(b"x" * 65_536)
            await writer.drain()
            written += 65_536

    async with upstream(serve) as client:
        answer = await client.send(b"POST", b"/", [], b"")
        before = -1
        while before != written:  # until it goes no further
            before = written
            await asyncio.sleep(0.1)
        assert written < size // 2
        assert sum([len(chunk) async for chunk in answer.chunks()]) == size


async def test_a_cancelled_request_leaves_no_connection_behind() -> None:
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        await reader.read()
        closed.set()

    async with upstream(serve) as client:
        waiting = asyncio.create_task(got(client))
        await asyncio.sleep(0.05)
        waiting.cancel()
        async with asyncio.timeout(20):
            await closed.wait()

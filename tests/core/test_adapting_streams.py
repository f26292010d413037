"""A stream is asked for its usage once for each server that refuses to be asked, and never against anybody's word."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest

from aegis_core.adapting import stream_usage
from aegis_core.adapting.stream_usage import awith_usage, with_usage


class RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status_code = status


class Server:
    """Streams two parts; what it raises where it was asked, at which part, and how often it was begun."""

    def __init__(self, error: Exception | None = None, after: int = 0) -> None:
        self.error, self.after = error, after
        self.begun: list[bool] = []
        self.closed = 0

    def begin(self, asks: bool) -> Generator[str]:
        self.begun.append(asks)
        try:
            for number, part in enumerate(("one", "two")):
                if asks and self.error is not None and number == self.after:
                    raise self.error
                yield part
        finally:
            self.closed += 1

    async def abegin(self, asks: bool) -> AsyncGenerator[str]:
        for part in self.begin(asks):
            yield part


UNKNOWN = RefusedError(400, "Unknown parameter: 'stream_options'.")


@pytest.fixture(autouse=True)
def nobody_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_usage, "_refusing", set())


async def read(server: Server, address: str | None, way: str) -> list[str]:
    if way == "plain":
        return list(with_usage(address, server.begin))
    return [part async for part in awith_usage(address, server.abegin)]


@pytest.mark.parametrize("way", ["plain", "awaited"])
async def test_a_server_that_refuses_to_be_asked_is_asked_once(way: str) -> None:
    first, second, elsewhere = Server(UNKNOWN), Server(UNKNOWN), Server(UNKNOWN)
    assert await read(first, "http://a", way) == ["one", "two"]
    assert await read(second, "http://a", way) == ["one", "two"]
    assert await read(elsewhere, "http://b", way) == ["one", "two"]
    assert (first.begun, second.begun, elsewhere.begun) == ([True, False], [False], [True, False])


@pytest.mark.parametrize("way", ["plain", "awaited"])
@pytest.mark.parametrize(
    ("error", "after"),
    [
        (RefusedError(400, "Unknown model."), 0),
        (RefusedError(500, "stream_options made it fail."), 0),
        (UNKNOWN, 1),
    ],
    ids=["of the request", "of the server", "in the middle"],
)
async def test_another_failure_is_the_callers(way: str, error: Any, after: int) -> None:
    server = Server(error, after)
    with pytest.raises(RefusedError):
        await read(server, "http://a", way)
    assert server.begun == [True]
    assert await read(Server(), "http://a", way) == ["one", "two"]


@pytest.mark.parametrize("way", ["plain", "awaited"])
async def test_who_cannot_be_asked_is_not(way: str) -> None:
    server = Server(UNKNOWN)
    assert await read(server, None, way) == ["one", "two"]
    assert server.begun == [False]


def test_a_stream_that_is_left_is_closed() -> None:
    server = Server()
    parts = with_usage("http://a", server.begin)
    assert next(parts) == "one"
    parts.close()
    assert server.closed == 1

"""A call on its way: forwarded as it is, answered as it comes, and what was held for it ended by that answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aegis_core.metering.extract import StreamMeter
from aegis_core.metering.failures import judge
from aegis_core.proxy.exchange import DRAIN_SECONDS, Exchange
from aegis_core.proxy.replies import Client, Reply, reply
from aegis_core.proxy.routes import Api, Route
from aegis_core.proxy.settling import Held, Settler
from aegis_core.proxy.tees import EventTee, Tee, WholeTee
from aegis_core.proxy.upstream_http import Answer, ConnectError, Headers, ReadError, ReadTimeout
from aegis_core.proxy.upstreams import Upstream, passed_back

_METERS: dict[Api, str] = {
    "responses": "openai_responses", "messages": "anthropic", "generate": "gemini", "gemini_embeddings": "gemini",
    "embeddings": "openai_chat",
}  # fmt: skip
_BILLED_BY = frozenset({"openai", "anthropic"})
"""Upstreams whose documents say which failures are free."""


@dataclass(frozen=True, slots=True)
class Sending:
    """What is sent to an upstream.

    Attributes:
        client: who asked.
        route: what it asked for.
        upstream: who answers.
        headers: as they are sent.
        query: likewise.
        body: likewise.
        model: as it is priced.
        strips_usage: leave out of a stream the usage for which the client had not asked.
    """

    client: Client
    route: Route
    upstream: Upstream
    headers: Headers
    query: bytes
    body: bytes
    model: str = ""
    strips_usage: bool = False

    @property
    def target(self) -> bytes:
        """The path at the upstream, with its query."""
        path = self.upstream.path.encode("ascii") + self.route.target
        return path + b"?" + self.query if self.query else path


class Forwarder:
    """Forwards calls, and what is free."""

    def __init__(self, settler: Settler) -> None:
        self._settler = settler

    async def call(self, exchange: Exchange, sending: Sending, held: Held, said: Headers) -> None:
        """Forward a call for which money is held, and end that. `said`: headers of ours for its client.

        Whatever comes of it, what is held ends: by the usage of the answer, free where certainly nothing was computed,
        else as it was reserved.
        """
        exchange.watch()
        try:
            async with asyncio.timeout(None) as exchange.limit:
                answer = await self._sent(exchange, sending, held)
                if answer is not None:
                    await self._relay(exchange, sending, held, answer, said)
        except TimeoutError:
            self._settler.charge(held, f"its client had left {DRAIN_SECONDS:g} s before")
        except BaseException as error:
            self._settler.charge(held, f"{type(error).__name__} after it was sent")
            raise

    async def free(self, exchange: Exchange, sending: Sending) -> None:
        """Forward what costs nothing."""
        answer: Answer | None = None
        try:
            upstream = sending.upstream.http
            answer = await upstream.send(exchange.method, sending.target, sending.headers, sending.body)
            await exchange.start(answer.status, passed_back(answer.headers, changed=False))
            async for chunk in answer.chunks():
                await exchange.write(chunk)
            await exchange.write(b"", more=False)
        except (ConnectError, ReadError, ReadTimeout) as error:
            if not exchange.status:
                await exchange.reply(_failed(sending, error))
        except BaseException:
            if answer is not None:
                answer.abort()
            raise

    async def _sent(self, exchange: Exchange, sending: Sending, held: Held) -> Answer | None:
        """The answer's head; None: there is none, and the client was told why."""
        upstream = sending.upstream.http
        try:
            return await upstream.send(b"POST", sending.target, sending.headers, sending.body)
        except (ConnectError, ReadError, ReadTimeout) as error:
            await self._fail(held, error, received=False)
            await exchange.reply(_failed(sending, error))
            return None

    async def _relay(self, exchange: Exchange, sending: Sending, held: Held, answer: Answer, said: Headers) -> None:
        whole = False
        try:
            if not 200 <= answer.status < 300:
                await self._refusal(exchange, sending, held, answer, said)
            else:
                await self._answer(exchange, sending, held, answer, said)
            whole = True
        finally:
            if not whole:
                answer.abort()

    async def _refusal(self, exchange: Exchange, sending: Sending, held: Held, answer: Answer, said: Headers) -> None:
        """The upstream's own error goes on as it is; what it cost is judged by its status."""
        provider = sending.upstream.name if sending.upstream.name in _BILLED_BY else ""
        outcome = judge(answer.status, provider=provider)
        if outcome.kind == "released":
            self._settler.release(held)
        else:
            self._settler.charge(held, outcome.reason)
        await asyncio.sleep(0)
        headers = [each for each in passed_back(answer.headers, changed=False) if each[0] != b"location"]
        await exchange.start(answer.status, [*headers, *said])
        try:
            async for chunk in answer.chunks():
                await exchange.write(chunk)
        except (ReadError, ReadTimeout):
            return  # the connection is closed before the end, as the upstream did
        await exchange.write(b"", more=False)

    async def _answer(self, exchange: Exchange, sending: Sending, held: Held, answer: Answer, said: Headers) -> None:
        tee = _tee(sending, answer)
        stripped = sending.strips_usage and isinstance(tee, EventTee)
        headers = [*passed_back(answer.headers, changed=stripped), *said]
        try:
            async for chunk in answer.chunks():
                data, done = tee.feed(chunk)
                if done:
                    await self._settle(held, tee)
                if data:
                    await _begin(exchange, answer, headers)
                    await exchange.write(data)
        except (ReadError, ReadTimeout) as error:
            rest = tee.end(broken=True)
            await self._settle(held, tee)
            if not exchange.status:
                await exchange.reply(_failed(sending, error))
            elif rest:
                await exchange.write(rest)
            return
        rest = tee.end(broken=False)
        await self._settle(held, tee)
        await _begin(exchange, answer, headers)
        await exchange.write(rest, more=False)

    async def _settle(self, held: Held, tee: Tee) -> None:
        """Charge what was read; on its way before the client sees the end, and so before its next call is asked for."""
        if held.open:
            self._settler.settle(held, tee.reading())
            await asyncio.sleep(0)

    async def _fail(self, held: Held, error: Exception, *, received: bool) -> None:
        outcome = judge(error, received=received)
        if outcome.kind == "released":
            self._settler.release(held)
        else:
            self._settler.charge(held, outcome.reason)
        await asyncio.sleep(0)


async def _begin(exchange: Exchange, answer: Answer, headers: Headers) -> None:
    if not exchange.status:
        await exchange.start(answer.status, headers)


def _tee(sending: Sending, answer: Answer) -> Tee:
    """What reads an answer. One that is compressed although that was not asked for is not read."""
    api = sending.route.api
    meter = StreamMeter(_METERS.get(api) or sending.upstream.chat_meter, model=sending.model)
    named = {name.lower(): value for name, value in answer.headers}
    if named.get(b"content-encoding", b"identity").lower() != b"identity":
        meter.fail(ValueError("the answer is compressed"))
    if named.get(b"content-type", b"").lower().startswith(b"text/event-stream") and api in _STREAMED:
        return EventTee(meter, api, strips_usage=sending.strips_usage)
    return WholeTee(meter)


_STREAMED = frozenset({"chat", "completions", "responses", "messages", "generate"})


def _failed(sending: Sending, error: Exception) -> Reply:
    name = sending.upstream.name
    if isinstance(error, ConnectError):
        text = f"Aegis could not reach the upstream {name}, so nothing was sent or charged: {error}"
        return reply(sending.client, 502, "upstream_unreachable", text, again=True)
    status, code = (504, "upstream_timeout") if isinstance(error, ReadTimeout) else (502, "upstream_failed")
    text = f"The upstream {name} did not answer to the end: {error}. It may bill that, so what was reserved is charged."
    return reply(sending.client, status, code, text)

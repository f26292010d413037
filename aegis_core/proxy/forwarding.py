"""A call on its way: forwarded as it is, answered as it comes, and what was held for it ended by that answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from aegis_core.metering.extract import StreamMeter
from aegis_core.metering.failures import judge
from aegis_core.proxy.exchange import DRAIN_SECONDS, Exchange
from aegis_core.proxy.fallbacks import FALLS_BACK
from aegis_core.proxy.gauge import Gauge, cut_event
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
        gauge: what says when a stream has cost more than was reserved; None: it is never cut.
        told: makes what a client is told of its stream that is cut, and is answered when it asks again.
    """

    client: Client
    route: Route
    upstream: Upstream
    headers: Headers
    query: bytes
    body: bytes
    model: str = ""
    strips_usage: bool = False
    gauge: Gauge | None = None
    told: Callable[[], Reply] | None = None

    @property
    def target(self) -> bytes:
        """The path at the upstream, with its query."""
        path = self.upstream.path.encode("ascii") + self.route.target
        return path + b"?" + self.query if self.query else path


class Ready(NamedTuple):
    """A call with the money that is held for it, and headers of ours for its client."""

    sending: Sending
    held: Held
    said: Headers


Spare = Callable[[], Awaitable[Ready | None]]
"""Makes a failed call ready for its fallback, with a grant of its own; None: that is refused, too."""


class Forwarder:
    """Forwards calls, and what is free."""

    def __init__(self, settler: Settler) -> None:
        self._settler = settler

    async def call(self, exchange: Exchange, ready: Ready, spare: Spare | None = None) -> Held:
        """Forward a call for which money is held, and end that; where its upstream fails, its fallback's.

        Whatever comes of it, what is held ends: by the usage of the answer, free where certainly nothing was computed,
        else as it was reserved. Answers what was held for the call whose answer went on.
        """
        exchange.watch()
        following = await self._attempt(exchange, ready, spare)
        if following is None:
            return ready.held
        await self._attempt(exchange, following, None)
        return following.held

    async def _attempt(self, exchange: Exchange, ready: Ready, spare: Spare | None) -> Ready | None:
        """Forward one call, and answer the client; else the one that follows it, before the first byte."""
        held = ready.held
        try:
            async with asyncio.timeout(None) as exchange.limit:
                try:
                    upstream, sending = ready.sending.upstream.http, ready.sending
                    answer = await upstream.send(b"POST", sending.target, sending.headers, sending.body)
                except (ConnectError, ReadError, ReadTimeout) as error:
                    return await self._unanswered(exchange, ready, error, spare)
                return await self._relay(exchange, ready, answer, spare)
        except TimeoutError:
            held.went["error_class"] = "client_gone"
            self._settler.charge(held, f"its client had left {DRAIN_SECONDS:g} s before")
        except BaseException as error:
            held.failed(error)
            self._settler.charge(held, f"{type(error).__name__} after it was sent")
            raise
        return None

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

    async def _unanswered(
        self, exchange: Exchange, ready: Ready, error: Exception, spare: Spare | None
    ) -> Ready | None:
        """The call that follows; None: there is none, and the client was told why."""
        await self._fail(ready.held, error, received=False)
        following = None if isinstance(error, ReadTimeout) else await self._following(exchange, ready.held, spare)
        if following is None:
            await exchange.reply(_failed(ready.sending, error))
        return following

    async def _following(self, exchange: Exchange, held: Held, spare: Spare | None) -> Ready | None:
        """The fallback's call, while its client is there."""
        if spare is None or exchange.gone_at is not None:
            return None
        await self._settler.ended(held)  # what comes back of its money may pay the other one
        return await spare()

    async def _relay(self, exchange: Exchange, ready: Ready, answer: Answer, spare: Spare | None) -> Ready | None:
        whole = False
        try:
            if not 200 <= answer.status < 300:
                following = await self._refusal(exchange, ready, answer, spare)
                whole = following is None
                return following
            whole = await self._answer(exchange, ready, answer)
            return None
        finally:
            if not whole:
                answer.abort()

    async def _refusal(self, exchange: Exchange, ready: Ready, answer: Answer, spare: Spare | None) -> Ready | None:
        """The upstream's own error goes on as it is, if no fallback does; what it cost is judged by its status."""
        sending, held, said = ready
        provider = sending.upstream.name if sending.upstream.name in _BILLED_BY else ""
        outcome = judge(answer.status, provider=provider)
        held.failed(answer.status)
        if outcome.kind == "released":
            self._settler.release(held)
        else:
            self._settler.charge(held, outcome.reason)
        await asyncio.sleep(0)
        if answer.status in FALLS_BACK and (following := await self._following(exchange, held, spare)):
            return following
        headers = [each for each in passed_back(answer.headers, changed=False) if each[0] != b"location"]
        await exchange.start(answer.status, [*headers, *said])
        try:
            async for chunk in answer.chunks():
                await exchange.write(chunk)
        except (ReadError, ReadTimeout):
            return None  # the connection is closed before the end, as the upstream did
        await exchange.write(b"", more=False)
        return None

    async def _answer(self, exchange: Exchange, ready: Ready, answer: Answer) -> bool:
        """Hand an answer on; false: not to its end, because it was cut."""
        sending, held, said = ready
        tee = _tee(sending, answer)
        gauge = sending.gauge if isinstance(tee, EventTee) else None
        stripped = (sending.strips_usage or sending.gauge is not None) and isinstance(tee, EventTee)
        headers = [*passed_back(answer.headers, changed=stripped), *said]
        try:
            async for chunk in answer.chunks():
                data, done = tee.feed(chunk)
                if done:
                    await self._settle(held, tee)
                if data:
                    await _begin(exchange, answer, headers)
                    await exchange.write(data)
                    if gauge and held.open and (nanos := gauge.exhausted(data)) is not None:
                        await self._cut(exchange, ready, nanos)
                        return False
        except (ReadError, ReadTimeout) as error:
            rest = tee.end(broken=True)
            held.failed(error)
            await self._settle(held, tee)
            if not exchange.status:
                await exchange.reply(_failed(sending, error))
            elif rest:
                await exchange.write(rest)
            return True
        rest = tee.end(broken=False)
        await self._settle(held, tee)
        await _begin(exchange, answer, headers)
        await exchange.write(rest, more=False)
        return True

    async def _cut(self, exchange: Exchange, ready: Ready, nanos: int) -> None:
        """End a stream that has cost more than was reserved, with an error that its client raises."""
        self._settler.cut(ready.held, nanos)
        assert ready.sending.told is not None
        told = ready.sending.told()  # before the client hears of it, so that it cannot ask again before
        await asyncio.sleep(0)
        await exchange.write(cut_event(ready.sending.route.api, told))
        await exchange.write(b"", more=False)

    async def _settle(self, held: Held, tee: Tee) -> None:
        """Charge what was read; on its way before the client sees the end, and so before its next call is asked for."""
        if held.open:
            self._settler.settle(held, tee.reading())
            await asyncio.sleep(0)

    async def _fail(self, held: Held, error: Exception, *, received: bool) -> None:
        outcome = judge(error, received=received)
        held.failed(error)
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
        return EventTee(meter, api, strips_usage=sending.strips_usage, whole=sending.gauge is not None)
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

"""One governed call from its first byte to its last: read, sized, asked for, forwarded, settled; or refused."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, cast

from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.proxy_keys import KeyTerms, ProxyKey
from aegis_core.kaizen.experiments.judges import Judge
from aegis_core.protocol.errors import AegisError, InvalidRequestError
from aegis_core.protocol.fields import identifier
from aegis_core.protocol.keywords import CallEvidence
from aegis_core.protocol.money import format_usd, to_nanos
from aegis_core.proxy.asking import APPROVAL_NEEDED, DECLINED_SECONDS, Asking, Call
from aegis_core.proxy.call_facts import attempt_of, facts_of, log_call, said_of
from aegis_core.proxy.duplicates import WAIT_SECONDS, Attempt, Duplicates
from aegis_core.proxy.exchange import Exchange
from aegis_core.proxy.fallbacks import Fallback
from aegis_core.proxy.forwarding import Forwarder, Ready, Sending
from aegis_core.proxy.gauge import Gauge
from aegis_core.proxy.identity import Identity, Shown, session_name
from aegis_core.proxy.replies import Client, Reply, refused, reply
from aegis_core.proxy.request_body import RequestBody
from aegis_core.proxy.rerouting import no_dearer, renamed
from aegis_core.proxy.routes import Route
from aegis_core.proxy.settling import Held, Settler
from aegis_core.proxy.shadowing import ProxyShadow, Reserve, task_type_of
from aegis_core.proxy.sizing import Sized, Sizing, call_digest, edits_of
from aegis_core.proxy.turns import Turns
from aegis_core.proxy.upstreams import Upstream

_log = logging.getLogger("aegis.proxy")

REMEMBERED_SECONDS = 1.0
"""How long the same call is refused from memory, so that storms of retries do not reach Redis."""
_MOST_REMEMBERED = 4_096
_CHATS = frozenset({"chat", "completions"})
Fallbacks = Mapping[tuple[str, str], Fallback]
"""By upstream and model."""
_Storm = tuple[str, bytes, bytes, str]
"""By what the same call is known again: its key, session, target and body."""


class Calls:
    """Governs the calls of one proxy."""

    def __init__(
        self, governor: ResourceGovernor, identity: Identity, settler: Settler, sizing: Sizing, fallbacks: Fallbacks,
        turns: Turns, judge: Judge | None = None,
    ) -> None:  # fmt: skip
        self._governor, self._fallbacks = governor, fallbacks
        self._sizing, self._settler, self._forwarder = sizing, settler, Forwarder(settler)
        self._shadow = ProxyShadow(governor, self._forwarder, judge) if judge is not None else None
        self._asking = Asking(governor, identity, settler)
        self._refused: OrderedDict[_Storm, tuple[float, Reply]] = OrderedDict()
        self._duplicates, self._turns = Duplicates(), turns

    @property
    def shadow(self) -> ProxyShadow | None:
        """What asks cheaper models the same; None: nothing does."""
        return self._shadow

    async def free(
        self, exchange: Exchange, route: Route, upstream: Upstream, client: Client, shown: Shown, body: bytes
    ) -> None:
        """Pass on what costs nothing."""
        headers = upstream.headers(exchange.headers, own_credential=shown.own_credential)
        await self._forwarder.free(exchange, Sending(client, route, upstream, headers, shown.query, body))

    async def call(
        self, exchange: Exchange, route: Route, upstream: Upstream, client: Client, key: ProxyKey, shown: Shown,
        raw: bytes,
    ) -> None:  # fmt: skip
        """Govern a call: answers it, whatever comes.

        Raises:
            AegisError: nothing was decided, and nothing answered yet.
        """
        digest = call_digest(raw)
        named = exchange.header(b"idempotency-key")[:256]
        if not named:
            await self._once(exchange, route, upstream, client, key, shown, raw, digest)
            return
        name = (key.key_id, named)
        attempt, mine = self._duplicates.begin(name, digest, exchange.loop.time())
        if not mine:
            await self._repeat(exchange, client, attempt, digest)
            return
        exchange.record = []
        try:
            await self._once(exchange, route, upstream, client, key, shown, raw, digest)
        finally:
            record, exchange.record = exchange.record, None
            self._duplicates.end(name, attempt, exchange.status, record)

    async def _repeat(self, exchange: Exchange, client: Client, attempt: Attempt, digest: str) -> None:
        """Answer a repeat as the first one was answered."""
        if attempt.digest != digest:
            text = "This Idempotency-Key was used for another call; use a new one."
            await exchange.reply(reply(client, 400, "idempotency_key_reused", text))
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                await attempt.ended.wait()
        if attempt.record is not None:
            await exchange.replay(attempt.record)
            return
        text = "The call with this Idempotency-Key has no answer that can be repeated (yet); try again later."
        await exchange.reply(reply(client, 503, "idempotency_in_flight", text))

    async def _once(
        self, exchange: Exchange, route: Route, upstream: Upstream, client: Client, key: ProxyKey, shown: Shown,
        raw: bytes, digest: str,
    ) -> None:  # fmt: skip
        session = session_name(exchange.headers)
        storm = (key.key_id, session, route.target, digest)
        until, told = self._refused.get(storm, (0.0, None))
        if told is not None and exchange.loop.time() < until:
            await exchange.reply(told)
            return
        read = partial(self._read, route, upstream, key.terms, raw)
        body, model, sized, models = await self._turns.take(key.key_id, raw, read)
        if sized is None:
            allowed = ", ".join(key.terms.models)
            text = f"Aegis refused this call: the key may call {allowed} only, not {model}. Choose one of those."
            await exchange.reply(refused(client, "model_not_allowed", text))
            return
        facts = facts_of(exchange, route, upstream, key)
        tools, trace = bool(body.values.get("tools")), exchange.traceparent()
        call = Call(
            key,
            session,
            client,
            model,
            sized,
            digest,
            facts,
            models,
            tools,
            trace,
            task_type_of(exchange),
            attempt_of(exchange),
        )
        held = await self._asking.ask(call, exchange)
        if held is None:
            return
        if isinstance(held, Reply):
            if held.code != APPROVAL_NEEDED:  # once it is approved, the same call goes through
                self._remember(storm, exchange.loop.time(), held)
            await exchange.reply(held)
            return
        try:
            await self._forward(exchange, route, upstream, call, held, shown, body)
        finally:
            self._settler.release(held, sent=False)  # where it was not sent; else it has ended

    def _read(
        self, route: Route, upstream: Upstream, terms: KeyTerms, raw: bytes
    ) -> tuple[RequestBody, str, Sized | None, tuple[str, ...]]:
        """A body, its model, its size (None: the key may not call it), and the models of which one may answer."""
        body = RequestBody(raw)
        model = _model(route, body)
        if not terms.allows(model):
            return body, model, None, ()
        sized, models = self._sizing.of(body, route.api, upstream.price_name(model), terms), ()
        if terms.route != "keep":
            models = no_dearer(self._governor.arbiter, upstream, route.api, body, sized, terms)
        if models:
            name = upstream.price_name(model)
            sized = self._sizing.of(body, route.api, name, terms, (name, *models))
        return body, model, sized, models

    async def _forward(
        self, exchange: Exchange, route: Route, upstream: Upstream, call: Call, held: Held, shown: Shown,
        body: RequestBody,
    ) -> None:  # fmt: skip
        make = partial(self._ready, exchange, route, upstream, call, held, shown, body)
        ready = await self._turns.take(call.key.key_id, body.raw, make)
        fallback = None
        if not shown.own_credential:  # a client's own credential is for the one provider
            served = held.sized.bound.model if call.models else call.model
            fallback = self._fallbacks.get((upstream.name, served)) or self._fallbacks.get((upstream.name, call.model))

        async def spare() -> Ready | None:
            assert fallback is not None
            return await self._instead(exchange, route, fallback, call, shown, body, held.verdict.request_id)

        shadow = self._shadow
        if shadow and not shadow.listens(exchange, route, call, held, own_credential=shown.own_credential):
            shadow = None
        ended = await self._forwarder.call(exchange, ready, spare if fallback else None)
        log_call(exchange, call, ended)
        if shadow and ended is held:
            shadow.after(
                exchange, route, call, held, body, partial(self._again, exchange, route, upstream, shown, body)
            )

    async def _again(
        self, exchange: Exchange, route: Route, upstream: Upstream, shown: Shown, body: RequestBody, call: Call,
        reserve: Reserve,
    ) -> Ready:  # fmt: skip
        """The same call to another model, as Aegis asks it by itself."""
        size = partial(self._sizing.of, body, route.api, upstream.price_name(call.model), call.key.terms)
        other = replace(call, sized=await self._turns.take(call.key.key_id, body.raw, size))
        held = self._settler.hold(await reserve(other), other.sized, {})
        try:
            make = partial(self._ready, exchange, route, upstream, other, held, shown, body)
            return await self._turns.take(call.key.key_id, body.raw, make)
        except BaseException:
            self._settler.release(held, sent=False)
            raise

    async def _instead(
        self, exchange: Exchange, route: Route, fallback: Fallback, call: Call, shown: Shown, body: RequestBody,
        first: str,
    ) -> Ready | None:  # fmt: skip
        """The same call to its fallback, with a grant of its own; None: it may not be made. `first`: the request whose
        call failed."""
        upstream, terms = fallback.upstream, call.key.terms
        if not upstream.has_key or not terms.allows(fallback.model):
            return None
        try:
            size = partial(self._sizing.of, body, route.api, upstream.price_name(fallback.model), terms)
            sized = await self._turns.take(call.key.key_id, body.raw, size)
            facts = {**call.facts, "upstream": upstream.name, "fallback_of": call.facts["upstream"]}
            went: CallEvidence = {"attempt": (call.went.get("attempt") or 1) + 1, "parent_request_id": first}
            other = replace(call, model=fallback.model, sized=sized, facts=facts, models=(), went=went)
            held = await self._asking.at_once(other)
        except AegisError as error:
            _log.warning("there is no fallback", extra={"facts": {**call.facts, "error": error.code}})
            return None
        if held is None:
            return None
        try:
            make = partial(self._ready, exchange, route, upstream, other, held, shown, body, asked=call)
            ready = await self._turns.take(call.key.key_id, body.raw, make)
        except BaseException:
            self._settler.release(held, sent=False)  # it was not sent
            raise
        name = f"{upstream.name}/{fallback.model}".encode("ascii", "replace")
        return ready._replace(said=[*ready.said, (b"x-aegis-fallback", name)])

    def _ready(
        self, exchange: Exchange, route: Route, upstream: Upstream, call: Call, held: Held, shown: Shown,
        body: RequestBody, asked: Call | None = None,
    ) -> Ready:  # fmt: skip
        """A call as it is sent. `asked`: as its client named it, where this is its fallback."""
        served, terms = held.sized.bound.model, call.key.terms
        chosen = call.model if served == call.sized.bound.model else served
        told = partial(self._cut_off, exchange, route, asked or call, held)
        route, renames = renamed(route, body, chosen)
        streams = route.streams or bool(body.values.get("stream"))
        wants_usage = route.api in _CHATS and streams and not _asks_for_usage(body.values)
        edits = edits_of(
            body, route.api, held.sized, held.cap, terms,
            compatible=upstream.chat_meter != "openai_chat", usage=wants_usage,
        )  # fmt: skip
        gauge = None
        if terms.cut_streams and streams:
            reserved = to_nanos(held.verdict.reserved_usd)
            gauge = Gauge(route.api, served, reserved, self._governor.arbiter.prices.price)
        sending = Sending(
            call.client, route, upstream,
            upstream.headers(exchange.headers, own_credential=shown.own_credential), shown.query,
            body.spliced([*renames, *edits]), served, wants_usage, gauge,
            told,
        )  # fmt: skip
        said = said_of(held)
        if chosen != call.model:
            said.append((b"x-aegis-model", chosen.encode("ascii", "replace")))
        return Ready(sending, held, said)

    def _cut_off(self, exchange: Exchange, route: Route, call: Call, held: Held) -> Reply:
        """What is told a client whose stream is cut, and further calls like it."""
        reserved = format_usd(to_nanos(held.verdict.reserved_usd))
        text = (
            f"Aegis cut this answer of {call.model}: it had cost more than the {reserved} that were reserved for it. "
            "For a minute the same is refused; give the answer a lower cap, or the key a higher one."
        )
        told, now = refused(call.client, "reservation_exhausted", text), exchange.loop.time()
        if call.session:
            self._asking.decline(call, told, now)
        else:
            storm = (call.key.key_id, call.session, route.target, call.digest)
            self._remember(storm, now - REMEMBERED_SECONDS + DECLINED_SECONDS, told)
        return told

    def _remember(self, storm: _Storm, now: float, told: Reply) -> None:
        self._refused[storm] = (now + REMEMBERED_SECONDS, told)
        self._refused.move_to_end(storm)
        if len(self._refused) > _MOST_REMEMBERED:
            self._refused.popitem(last=False)


def _model(route: Route, body: RequestBody) -> str:
    """The model, as the client names it.

    Raises:
        InvalidRequestError: it names none, or what cannot be one.
    """
    said = route.model or body.values.get("model")
    try:
        return identifier(said) if isinstance(said, str) else identifier("")
    except ValueError:
        problem = "is no name of a model"
        raise InvalidRequestError(f"model: {str(said)[:64]!r} {problem}", field="model", problem=problem) from None


def _asks_for_usage(values: Mapping[str, Any]) -> bool:
    options = values.get("stream_options")
    return isinstance(options, Mapping) and bool(cast("Mapping[str, Any]", options).get("include_usage"))

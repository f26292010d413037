"""The proxy as an ASGI application, without a framework: a call takes as little as can be on its way."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from traceback import extract_tb

from aegis_core.api.gate import MAX_PARAMETERS, MAX_TARGET
from aegis_core.connect import connect
from aegis_core.governor.failed_logins import FailedLogins
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.proxy_keys import ProxyKey
from aegis_core.kaizen.experiments.judges import Judge
from aegis_core.protocol.errors import AegisError, ConfigurationError, InvalidRequestError
from aegis_core.protocol.masking import mask_text
from aegis_core.proxy import rpc
from aegis_core.proxy.calls import Calls, Fallbacks
from aegis_core.proxy.exchange import ClientGoneError, Exchange, Message, Receive, Send
from aegis_core.proxy.fallbacks import open_fallbacks
from aegis_core.proxy.identity import Identity, Shown, shown_by
from aegis_core.proxy.replies import Client, refused, reply, reply_to
from aegis_core.proxy.routes import Dialect, Route, find
from aegis_core.proxy.settling import Settler
from aegis_core.proxy.shadowing import ProxyShadow, judge_named
from aegis_core.proxy.sizing import Sizing
from aegis_core.proxy.turns import Turns
from aegis_core.proxy.upstreams import Upstream, open_upstreams
from aegis_core.settings import Settings, load_settings

_log = logging.getLogger("aegis.proxy")

HEALTH = b"/aegis/health"
_DRAIN_SECONDS = 10.0
"""How long a proxy that stops tries to tell Redis how its last calls ended; the rest is charged as reserved."""


class Proxy:
    """What answers: one governor, and the upstreams.

    Attributes:
        governor: what decides.
        upstreams: by name.
        settler: what ends grants.
        failed: keys that did not hold.
    """

    def __init__(
        self, governor: ResourceGovernor, upstreams: Mapping[str, Upstream], fallbacks: Fallbacks, most_body: int,
        judge: Judge | None = None,
    ) -> None:  # fmt: skip
        self.upstreams, self._most = dict(upstreams), most_body
        self.governor = governor
        self._identity, sizing = Identity(governor), Sizing()
        self.settler = Settler(governor, sizing)
        self.failed = FailedLogins(governor.tenant_store)
        self._rpc, self._turns = rpc.RpcRoad(governor, self._identity), Turns()
        self._calls = Calls(governor, self._identity, self.settler, sizing, fallbacks, self._turns, judge)

    @property
    def shadow(self) -> ProxyShadow | None:
        """What asks cheaper models the same."""
        return self._calls.shadow

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request, whatever comes of it."""
        hint = _hint(exchange)
        upgrades = bool(exchange.header(b"upgrade"))
        route = find(exchange.method, exchange.path[:MAX_TARGET], self.upstreams.keys(), hint, upgrades=upgrades)
        client = Client(route.dialect)
        try:
            _judge_target(exchange)
            shown = shown_by(exchange.headers, exchange.query)
            key = await self._identity.key_of(shown.key)
            if found := rpc.PATH.fullmatch(exchange.path):
                return await self._rpc_road(exchange, found[1].decode(), key)
            client = Client.of(route.dialect, key.terms.refusal_status, exchange.header(b"user-agent"))
            await self._routed(exchange, route, client, key, shown)
        except ClientGoneError:
            return None
        except AegisError as error:
            self.failed.note(error, exchange.address)
            if not exchange.status:
                await exchange.reply(reply_to(client, error))
        except Exception as error:  # noqa: BLE001 - the last resort: the client learns no internals
            _log.error("INVARIANT: unforeseen error", extra={"facts": _frames(exchange, error)})
            if exchange.status:
                return None
            text = "An unforeseen error of the proxy of Aegis; its log says more. What was sent is charged as reserved."
            await exchange.reply(reply(client, 503, "unforeseen", text))
        finally:
            exchange.close()

    async def _rpc_road(self, exchange: Exchange, chain: str, key: ProxyKey) -> None:
        if exchange.method != b"POST":
            text = "JSON-RPC is asked by POST."
            return await exchange.reply(reply(Client("openai"), 404, "not_forwarded", text))
        with self._turns.holding(key.key_id) as take:
            return await self._rpc.answer(exchange, chain, key, await exchange.body(self._most, take))

    async def _routed(self, exchange: Exchange, route: Route, client: Client, key: ProxyKey, shown: Shown) -> None:
        if route.kind == "upgrade":
            return await exchange.reply(reply(client, 426, "post_instead", route.reason))
        if route.kind == "refused":
            return await exchange.reply(reply(client, 404, "not_forwarded", route.reason))
        upstream = self.upstreams.get(route.upstream)
        if upstream is None or not (upstream.has_key or shown.own_credential):
            name = route.upstream.upper().replace("-", "_")
            text = (
                f"The proxy of Aegis has no key for the upstream {route.upstream}: start it with {name}_API_KEY set, "
                "or name a file of keys in AEGIS_PROXY_KEYS_FILE."
            )
            return await exchange.reply(refused(client, "no_upstream_key", text))
        with self._turns.holding(key.key_id) as take:
            body = await exchange.body(self._most, take)
            if route.kind == "free":
                return await self._calls.free(exchange, route, upstream, client, shown, body)
            return await self._calls.call(exchange, route, upstream, client, key, shown, body)


class ProxyApp:
    """The application: what a server calls, from its start to its end."""

    def __init__(self, settings: Settings | None = None) -> None:
        """`settings`: default: the environment.

        Raises:
            ConfigurationError: a setting that cannot be accepted.
        """
        self._settings = settings or load_settings()
        self._proxy: Proxy | None = None
        self._life = AsyncExitStack()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send)
        if exchange.path == HEALTH:
            await _health(exchange, self._proxy)
        else:
            assert self._proxy is not None  # servers begin with the lifespan
            await self._proxy.handle(exchange)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self._proxy = await self._life.enter_async_context(opened(self._settings))
        except Exception as error:  # noqa: BLE001 - the server puts it into words
            await send({"type": "lifespan.startup.failed", "message": getattr(error, "message", str(error))})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._life.aclose()
        await send({"type": "lifespan.shutdown.complete"})


@asynccontextmanager
async def opened(settings: Settings) -> AsyncGenerator[Proxy]:
    """A proxy as the settings say, from its start to its end.

    Raises:
        ConfigurationError: a setting, an upstream or a server that cannot be used. StoreError: Redis is not reached.
    """
    upstreams = open_upstreams(settings.proxy_upstreams, settings.proxy_keys_file)
    fallbacks = open_fallbacks(settings.proxy_fallbacks, upstreams)
    async with connect(settings=settings) as governor:
        if not isinstance(governor.port, ResourceGovernor):
            raise ConfigurationError("The proxy decides on Redis itself; point AEGIS_URL at it, not at an HTTP API.")
        await asyncio.to_thread(governor.port.arbiter.warm)
        judge = judge_named(settings.shadow_judge) if settings.shadow_judge else None
        proxy = Proxy(governor.port, upstreams, fallbacks, settings.proxy_max_body_mb * 1024 * 1024, judge)
        try:
            yield proxy
        finally:
            if proxy.shadow is not None:
                await proxy.shadow.aclose()
            with suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await proxy.settler.drain()
                    await proxy.failed.aclose()
            for upstream in upstreams.values():
                upstream.http.close()


async def _health(exchange: Exchange, proxy: Proxy | None) -> None:
    body = json.dumps({"status": "ok" if proxy else "starting"}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await exchange.start(200, headers)
    await exchange.write(body, more=False)


def _judge_target(exchange: Exchange) -> None:
    """A key may stand in the query, so that is read before anybody is known: never more of it than anybody sends."""
    if len(exchange.path) + len(exchange.query) > MAX_TARGET:
        text = f"The path and its query are longer than {MAX_TARGET // 1024} KB."
        raise InvalidRequestError(text, code="path_too_long")
    if exchange.query.count(b"&") >= MAX_PARAMETERS:
        text = f"The query has more than {MAX_PARAMETERS} parameters."
        raise InvalidRequestError(text, code="too_many_parameters")


def _hint(exchange: Exchange) -> Dialect:
    """Whose client this is, where its path does not tell."""
    names = {name for name, _ in exchange.headers}
    if b"anthropic-version" in names:
        return "anthropic"
    if (
        b"x-goog-api-key" in names
        or b"x-goog-api-client" in names
        or exchange.path.startswith((b"/v1beta", b"/v1alpha"))
    ):
        return "gemini"
    return "openai"


def _frames(exchange: Exchange, error: Exception) -> dict[str, object]:
    """Where an error came from. Its own words might quote a prompt."""
    frames = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in extract_tb(error.__traceback__)]
    path = mask_text(exchange.path[:256].decode("latin-1"))
    return {"path": path, "error": type(error).__name__, "at": frames}

"""A store: one Redis, embedded or not, on which scripts run. Opening it refuses servers that could lose budgets."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import hiredis
from redis.exceptions import AuthenticationError, RedisClusterException, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from aegis_core.protocol.errors import AegisError, ConfigurationError
from aegis_core.protocol.process import Process, check_process
from aegis_core.settings import Settings
from aegis_core.store import layout
from aegis_core.store.address import Address, Clients, make_clients, parse_address
from aegis_core.store.embedded import EmbeddedHandle, join
from aegis_core.store.failures import RECONNECT, explained, refuse_other_kind, word_of
from aegis_core.store.libraries import keep_library
from aegis_core.store.link import Link
from aegis_core.store.listening import Hear, listen
from aegis_core.store.lost_state import KnownState
from aegis_core.store.packing import pack
from aegis_core.store.pipeline import Pipeline, UnreachableError, lost
from aegis_core.store.schema import FIELDS
from aegis_core.store.scripts import Script, ScriptSet

_FAILED = (RedisError, RedisClusterException, OSError)
"""What redis-py raises; its clusters have a class of their own."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What the server said of itself when the store was opened."""

    product: str
    version: str
    eviction: str
    used_bytes: int
    aof: bool
    forgetful: bool = False
    """It has replicas, and takes writes while none of them hears of it."""


class Store:
    """Runs scripts on one Redis. Open it with `open_store`; use it from one event loop."""

    def __init__(self, address: Address, clients: Clients, scripts: ScriptSet, timeout: float) -> None:
        self.address, self.clients, self.scripts = address, clients, scripts
        self.server = ServerFacts("", "", "", 0, aof=False)
        self.pepper = b""
        self.embedded: EmbeddedHandle | None = None
        self.timeout = timeout
        self.link, self.state = Link(clients, timeout), KnownState(self)
        self._loads = 0
        self._process = Process.id

    def send(self, script: Script[Any], key: str, arguments: Any) -> asyncio.Future[Any] | None:
        """The first try of `run` without its care: None when not connected, and errors as the server put them."""
        pipeline = self.link.open
        if pipeline is None:
            return None
        return pipeline.call(b"FCALL", script.function, 1, key, pack(arguments))

    async def run(
        self, script: Script[Any], key: str, arguments: Any, zone: Any = None, sent: asyncio.Future[Any] | None = None,
        *, seconds: float | None = None,
    ) -> Any:  # fmt: skip
        """Run a script on one tenant, in one round trip; `sent` is a first try that `send` has begun.

        Args:
            script: the verb.
            key: the tenant's root.
            arguments: what it is called with.
            zone: after it asked for one.
            sent: a first try.
            seconds: for the answer, connecting included; default: the setting.

        Raises:
            StoreError: the server is down, slow, read-only, full, or failed in the script. No decision was made.
            AnswerLostError: it was sent, and whether it was carried out is unknown.
        """
        more = () if zone is None else (pack(zone),)
        pipeline = self.link.open
        if sent is not None or (pipeline is not None and seconds is None):
            return await self._asked(script, key, arguments, more, sent, pipeline)  # which the pipeline bounds
        asked = False
        try:
            async with asyncio.timeout(self.timeout if seconds is None else seconds):
                if self.clients.cluster is None:
                    pipeline = await self._connected(script, seconds)
                asked = True
                return await self._asked(script, key, arguments, more, None, pipeline)
        except TimeoutError as error:
            if asked:
                raise lost(f"Redis did not answer within {self.timeout:g} s", "slow") from None
            raise self._explain(error, script.name) from None

    async def _connected(self, script: Script[Any], seconds: float | None) -> Pipeline:
        try:
            return await self.link.get(seconds)
        except _FAILED as error:
            raise self._explain(error, script.name) from None

    async def _asked(
        self, script: Script[Any], key: str, arguments: Any, more: tuple[bytes, ...], sent: asyncio.Future[Any] | None,
        pipeline: Pipeline | None,
    ) -> Any:  # fmt: skip
        try:
            if pipeline is None and sent is None:
                return await self._run_on_cluster(script, key, pack(arguments), *more)
            known = -1
            while known != (known := self._loads):
                try:
                    trying, sent = (
                        sent or _open(pipeline).call(b"FCALL", script.function, 1, key, pack(arguments), *more),
                        None,
                    )
                    return await trying
                except hiredis.ReplyError as error:
                    if not _is_unknown(error):
                        raise
            # Of thousands that are told so at once only the first loads the library, before what they send again.
            self._loads += 1
            loading = _open(pipeline).call(b"FUNCTION", b"LOAD", b"REPLACE", self.scripts.source)
            answer = _open(pipeline).call(b"FCALL", script.function, 1, key, pack(arguments), *more)
            return (await asyncio.gather(loading, answer))[1]
        except (hiredis.ReplyError, *_FAILED) as error:
            if isinstance(error, TimeoutError):
                raise
            raise self._explain(error, script.name) from None

    async def _run_on_cluster(self, script: Script[Any], key: str, *arguments: bytes) -> Any:
        check_process(self._process)
        try:
            try:
                return await self.clients.any.execute_command("FCALL", script.function, 1, key, *arguments)
            except ResponseError as error:
                if not _is_unknown(error):
                    raise
                await self.load()
                return await self.clients.any.execute_command("FCALL", script.function, 1, key, *arguments)
        except RedisTimeoutError:
            raise lost(f"Redis did not answer within {self.timeout:g} s", "slow") from None
        except RedisConnectionError as error:
            if "connecting to" in str(error) or isinstance(error, AuthenticationError):
                raise
            raise lost(f"Redis closed the connection ({error})", "down") from None

    async def load(self) -> None:
        """Have the server know all verbs, which `run` does by itself when it finds that it does not.

        Raises:
            StoreError: as for `run`.
        """
        await self.command("FUNCTION LOAD", "REPLACE", self.scripts.source)  # one word: on a cluster, each primary

    async def command(self, *parts: Any) -> Any:
        """One plain command, outside the hot path.

        Raises:
            StoreError: as for `run`.
        """
        check_process(self._process)
        began = asyncio.get_running_loop().time()
        try:
            await self.link.refuse_hung()
            async with asyncio.timeout(self.timeout):
                return await self.clients.any.execute_command(*parts)
        except _FAILED as error:
            if isinstance(error, TimeoutError):
                self.link.hung(began)
            raise self._explain(error, str(parts[0])) from None

    async def turn_clock(self, milliseconds: int) -> None:
        """Move the virtual time of a throw-away server; ordered before every script that starts later."""
        await (await self.link.get()).call(b"SET", layout.CLOCK_KEY, milliseconds)

    async def listen(self, hear: Hear, *channels: str) -> None:
        """Bring every message on some channels to `hear`, until cancelled."""
        check_process(self._process)
        await listen(self.clients, self.timeout, channels, hear)

    def _explain(self, error: Exception, doing: str) -> AegisError:
        if word_of(error) in RECONNECT:
            self.link.drop()
        return explained(error, doing, self.address)

    async def check(self) -> ServerFacts:
        """Ask the server what it is.

        Raises:
            ConfigurationError: older than 7.0, of another kind than AEGIS_URL says, or it may evict keys.
            StoreError: it cannot be asked.
        """
        try:
            info = await self._info()
        except _FAILED as error:
            raise self._explain(error, "INFO") from None
        refuse_other_kind(info, self.address)
        product = "valkey" if "valkey_version" in info else "redis"
        version = str(info.get("valkey_version") or info.get("redis_version"))
        if int(str(info.get("redis_version", "0")).split(".")[0]) < 7:
            raise ConfigurationError(
                f"{product} {version} is too old; Aegis needs Redis 7.0 or Valkey 7.2", version=version
            )
        eviction = str(info.get("maxmemory_policy", "unknown"))
        if eviction != "noeviction":
            raise ConfigurationError(
                f"The server may evict keys (maxmemory-policy {eviction}), and with them budgets. "
                "Mend it: redis-cli CONFIG SET maxmemory-policy noeviction",
                eviction=eviction,
            )
        self.server = ServerFacts(
            product, version, eviction, int(info["used_memory"]), aof=bool(info.get("aof_enabled")),
            forgetful=int(info.get("connected_slaves", 0)) > 0 and "min_slaves_good_slaves" not in info,
        )  # fmt: skip
        return self.server

    async def eviction(self) -> str:
        """How the server evicts keys; empty where it does not, as every server that is opened.

        Raises:
            StoreError: it cannot be asked.
        """
        try:
            found = str((await self._info()).get("maxmemory_policy", "noeviction"))
        except _FAILED as error:
            raise self._explain(error, "INFO") from None
        return "" if found == "noeviction" else found

    async def _info(self) -> dict[str, Any]:
        if self.clients.cluster is not None:
            answer: Any = await self.clients.cluster.info(target_nodes="primaries")  # pyright: ignore[reportUnknownMemberType]
            nodes: list[dict[str, Any]] = list(answer.values()) if "used_memory" not in answer else [answer]
            evicting = [node for node in nodes if node.get("maxmemory_policy") != "noeviction"]
            return (evicting or nodes)[0]
        async with asyncio.timeout(self.timeout):
            return await self.clients.any.info()

    async def prepare(self, pepper: str | None) -> None:
        """Check the schema of the data, and agree on the pepper that hashes tokens.

        Raises:
            ConfigurationError: the data was written by a newer Aegis, or by one too old to be read.
        """
        found = int(await self._agree(layout.SCHEMA_KEY, layout.SCHEMA))
        if found > layout.SCHEMA:
            raise newer_schema(found)
        if found < layout.SCHEMA:
            raise ConfigurationError(
                f"The data was written by a development version of Aegis (schema {found}, this one reads "
                f"{layout.SCHEMA}) and cannot be read. Use an empty database, or another AEGIS_DATA_DIR.",
                schema=found,
            )
        await self.command("ZADD", layout.WRITERS_KEY, "GT", FIELDS, aegis_version())
        await self.state.begin(secrets.token_hex(16))
        await keep_library(self, self.scripts.library)
        if pepper is not None:
            self.pepper = pepper.encode()
        else:
            self.pepper = await self._agree(layout.PEPPER_KEY, secrets.token_hex(32))

    async def writers(self) -> dict[str, int]:
        """The versions of Aegis that opened this database, with how many stored fields each knows."""
        flat: Any = await self.command("ZRANGE", layout.WRITERS_KEY, 0, -1, "WITHSCORES")
        pairs: Any = zip(flat[::2], flat[1::2], strict=True) if flat and not isinstance(flat[0], list | tuple) else flat
        return {name.decode(): int(float(fields)) for name, fields in pairs}

    async def _agree(self, key: str, proposal: str | int) -> bytes:
        """What the first to come wrote. Two commands: redis-py reads the answer of SET NX GET as a yes or no."""
        await self.command("SET", key, proposal, "NX")
        return await self.command("GET", key)

    async def aclose(self) -> None:
        """Close all connections and leave the embedded server."""
        await self.link.aclose()
        with suppress(*_FAILED):
            await self.clients.aclose()
        if self.embedded is not None:
            await self.embedded.leave()


@cache
def aegis_version() -> str:
    """The version of this Aegis; ``0`` where it was never installed."""
    try:
        return version("aegis-governor")
    except PackageNotFoundError:
        return "0"


def _open(pipeline: Pipeline | None) -> Pipeline:
    """Where something was sent there is one, but it may be lost by now."""
    if pipeline is None:
        raise UnreachableError("The connection to Redis is closed; no decision was made.", reason="down")
    return pipeline


def _is_unknown(error: Exception) -> bool:
    """Whether the server says that it does not know the function; redis-py leaves out the first word."""
    return str(error).removeprefix("ERR ") == "Function not found"


def newer_schema(found: int) -> ConfigurationError:
    """The refusal of data that a newer Aegis wrote."""
    return ConfigurationError(
        f"The data was written by a newer Aegis (schema {found}, this one reads {layout.SCHEMA}). "
        "Upgrade: pip install -U aegis-governor",
        schema=found,
    )


async def open_store(settings: Settings, *, throwaway: bool = False, virtual_time: bool = False) -> Store:
    """Connect to the server that the settings name, starting the embedded one if none is named.

    Args:
        settings: the process's settings.
        throwaway: a private embedded server whose data goes when the store is closed.
        virtual_time: scripts read `layout.CLOCK_KEY` instead of the server's time; never on a server with
            live budgets.

    Raises:
        ConfigurationError: the URL is not understood, or the server is not fit to hold budgets.
        StoreError: the server cannot be reached.
    """
    embedded = None
    url = settings.url
    if throwaway or settings.is_embedded:
        embedded = await join(settings.data_dir, stay=settings.embedded_stay, throwaway=throwaway)
        url = embedded.url
    address = parse_address(url)
    clients = make_clients(address, settings.store_timeout_seconds)
    store = Store(address, clients, ScriptSet(virtual_time=virtual_time), settings.store_timeout_seconds)
    store.embedded = embedded
    try:
        await store.check()
        await store.prepare(settings.pepper.get_secret_value() if settings.pepper else None)
    except BaseException:
        await store.aclose()
        raise
    return store

"""A store: one Redis, embedded or not, on which scripts run. Opening it refuses servers that could lose budgets."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import hiredis
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from aegis_core.protocol.errors import AegisError, ConfigurationError, StoreError
from aegis_core.protocol.process import Process, check_process
from aegis_core.settings import Settings
from aegis_core.store import layout
from aegis_core.store.address import Address, Clients, make_clients, parse_address
from aegis_core.store.embedded import EmbeddedHandle, join
from aegis_core.store.failures import RECONNECT, explained, refuse_other_kind, word_of
from aegis_core.store.libraries import keep_library
from aegis_core.store.listening import Hear, listen
from aegis_core.store.packing import pack
from aegis_core.store.pipeline import Pipeline
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


class Store:
    """Runs scripts on one Redis. Open it with `open_store`; use it from one event loop."""

    def __init__(self, address: Address, clients: Clients, scripts: ScriptSet, timeout: float) -> None:
        self.address, self.clients, self.scripts = address, clients, scripts
        self.server = ServerFacts("", "", "", 0, aof=False)
        self.pepper = b""
        self.embedded: EmbeddedHandle | None = None
        self.timeout = timeout
        self._pipeline: Pipeline | None = None
        self._connection: Any = None
        self._connecting = asyncio.Lock()
        self._closed = False
        self._loads = 0
        self._process = Process.id

    def send(self, script: Script[Any], key: str, arguments: Any) -> asyncio.Future[Any] | None:
        """The first try of `run` without its care: None when not connected, and errors as the server put them."""
        pipeline = self._pipeline
        if pipeline is None or pipeline.lost:
            return None
        return pipeline.call(b"FCALL", script.function, 1, key, pack(arguments))

    async def run(
        self, script: Script[Any], key: str, arguments: Any, zone: Any = None, sent: asyncio.Future[Any] | None = None
    ) -> Any:
        """Run a script on one tenant, in one round trip; `sent` is a first try that `send` has begun.

        Raises:
            StoreError: the server is down, slow, read-only, full, or failed in the script. No decision was made,
                except that after a lost connection (`ConnectionLostError`) it is unknown.
        """
        more = () if zone is None else (pack(zone),)
        try:
            if self.clients.cluster is not None:
                return await self._run_on_cluster(script, key, pack(arguments), *more)
            pipeline = self._pipeline
            if sent is None and (pipeline is None or pipeline.lost):
                pipeline = await self._connect()
            assert pipeline is not None  # it carries what was sent
            known = -1
            while known != (known := self._loads):
                try:
                    trying, sent = (
                        sent or pipeline.call(b"FCALL", script.function, 1, key, pack(arguments), *more),
                        None,
                    )
                    return await trying
                except hiredis.ReplyError as error:
                    if not _is_unknown(error):
                        raise
            # Of thousands that are told so at once only the first loads the library, before what they send again.
            self._loads += 1
            loading = pipeline.call(b"FUNCTION", b"LOAD", b"REPLACE", self.scripts.source)
            answer = pipeline.call(b"FCALL", script.function, 1, key, pack(arguments), *more)
            return (await asyncio.gather(loading, answer))[1]
        except hiredis.ReplyError as error:
            raise self._explain(error, script.name) from None
        except _FAILED as error:
            raise self._explain(error, script.name) from None

    async def _run_on_cluster(self, script: Script[Any], key: str, *arguments: bytes) -> Any:
        check_process(self._process)
        async with asyncio.timeout(self.timeout):
            try:
                return await self.clients.any.execute_command("FCALL", script.function, 1, key, *arguments)
            except ResponseError as error:
                if not _is_unknown(error):
                    raise
                await self.load()
                return await self.clients.any.execute_command("FCALL", script.function, 1, key, *arguments)

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
        try:
            async with asyncio.timeout(self.timeout):
                return await self.clients.any.execute_command(*parts)
        except _FAILED as error:
            raise self._explain(error, str(parts[0])) from None

    async def turn_clock(self, milliseconds: int) -> None:
        """Move the virtual time of a throw-away server; ordered before every script that starts later."""
        pipeline = self._pipeline
        if pipeline is None or pipeline.lost:
            pipeline = await self._connect()
        await pipeline.call(b"SET", layout.CLOCK_KEY, milliseconds)

    async def listen(self, hear: Hear, *channels: str) -> None:
        """Bring every message on some channels to `hear`, until cancelled."""
        check_process(self._process)
        await listen(self.clients, self.timeout, channels, hear)

    async def _connect(self) -> Pipeline:
        check_process(self._process)
        async with self._connecting:
            if self._closed:
                raise StoreError("The store was closed; no decision was made.", reason="closed")
            if self._pipeline is not None and not self._pipeline.lost:
                return self._pipeline
            assert self.clients.single is not None
            pool: Any = self.clients.single.connection_pool
            connection = pool.make_connection()
            async with asyncio.timeout(self.timeout):
                await connection.connect()
            await self._drop_connection()
            self._pipeline = Pipeline.adopt(connection._writer.transport, self.timeout)  # noqa: SLF001 - see the text of pipeline.py
            self._connection = connection  # redis-py closes a connection that nobody holds
            return self._pipeline

    async def _drop_connection(self) -> None:
        if self._connection is not None:
            await self._connection.disconnect(nowait=True)
            self._connection = None

    def _explain(self, error: Exception, doing: str) -> AegisError:
        if self._pipeline is not None and word_of(error) in RECONNECT:
            self._pipeline.close()
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
            product, version, eviction, int(info["used_memory"]), aof=bool(info.get("aof_enabled"))
        )
        return self.server

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
        self._closed = True
        if self._pipeline is not None:
            self._pipeline.close()
            await self._drop_connection()
            await asyncio.sleep(0)
        with suppress(*_FAILED):
            await self.clients.aclose()
        if self.embedded is not None:
            await self.embedded.leave()


def aegis_version() -> str:
    """The version of this Aegis; ``0`` where it was never installed."""
    try:
        return version("aegis-governor")
    except PackageNotFoundError:
        return "0"


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

"""What ``AEGIS_URL`` says: the kinds of server, and the redis-py client each one needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from aegis_core.protocol.errors import ConfigurationError

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.cluster import RedisCluster
    from redis.asyncio.sentinel import Sentinel

Kind = Literal["single", "sentinel", "cluster"]

_KINDS: dict[str, Kind] = {
    "redis": "single",
    "rediss": "single",
    "unix": "single",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
_FORMS = (
    "redis://HOST:PORT/DB, rediss://…, unix:///PATH, redis+sentinel://HOST:PORT,HOST:PORT/SERVICE, "
    "redis+cluster://HOST:PORT,HOST:PORT, or http(s)://HOST:PORT for a remote governor"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URL. ``shown`` is the URL without its password, for people and logs."""

    kind: Kind
    url: str
    shown: str
    hosts: tuple[tuple[str, int], ...]
    service: str
    options: dict[str, Any]


def parse_address(url: str) -> Address:
    """Read a store URL.

    Raises:
        ConfigurationError: an unknown scheme or a missing part, with the accepted forms.
    """
    try:
        parts = urlsplit(url)
        kind = _KINDS[parts.scheme]
    except (KeyError, ValueError):
        raise ConfigurationError(
            f"AEGIS_URL {hide_password(url)!r} is not understood; give {_FORMS}", url=hide_password(url)
        ) from None
    default = 26379 if kind == "sentinel" else 6379
    hosts = tuple(_host(part, default, url) for part in parts.netloc.rpartition("@")[2].split(",") if part)
    service, _, database = parts.path.strip("/").partition("/")
    if kind == "sentinel" and not (service and hosts):
        raise ConfigurationError(
            "AEGIS_URL for Sentinel lacks hosts or the service: redis+sentinel://HOST:26379/SERVICE"
        )
    if kind == "cluster" and not hosts:
        raise ConfigurationError("AEGIS_URL for a cluster lacks hosts: redis+cluster://HOST:6379,HOST:6379")
    options: dict[str, Any] = {"ssl": True} if parts.scheme.startswith("rediss") else {}
    if kind != "single":
        options |= _credentials(parts)
        options |= {name: values[-1] for name, values in parse_qs(parts.query).items() if name.startswith("ssl_")}
        if kind == "sentinel" and database:
            options["db"] = int(database) if database.isdigit() else 0
    return Address(kind, url, hide_password(url), hosts, service, options)


def hide_password(url: str) -> str:
    """The URL with its password replaced by three dots."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(unreadable)"
    head, at, tail = parts.netloc.rpartition("@")
    user = head.partition(":")[0]
    return parts._replace(netloc=f"{user}:…@{tail}" if at else parts.netloc, query="").geturl()


def _host(text: str, default: int, url: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":") if text.count(":") == 1 or "]" in text else (text, "", "")
    if port and not port.isdigit():
        raise ConfigurationError(f"AEGIS_URL {hide_password(url)!r}: {port!r} is not a port")
    return (host or text).strip("[]"), int(port) if port else default


def _credentials(parts: SplitResult) -> dict[str, str]:
    found: dict[str, str] = {}
    if parts.username:
        found["username"] = unquote(parts.username)
    if parts.password:
        found["password"] = unquote(parts.password)
    return found


@dataclass(slots=True)
class Clients:
    """The redis-py clients behind a store. ``single`` serves the hot path, ``cluster`` is used where there is one."""

    single: Redis | None = None
    cluster: RedisCluster | None = None
    sentinel: Sentinel | None = None

    @property
    def any(self) -> Any:
        """Whichever client there is, for the rare commands that both take."""
        return self.single or self.cluster

    async def aclose(self) -> None:
        """Close every connection."""
        for client in (self.single, self.cluster):
            if client is not None:
                await client.aclose()
        if self.sentinel is not None:
            for guard in self.sentinel.sentinels:
                await guard.aclose()


def make_clients(address: Address, timeout: float) -> Clients:
    """Build, without connecting, the redis-py clients for an address."""
    from redis.asyncio import Redis
    from redis.asyncio.cluster import ClusterNode, RedisCluster
    from redis.asyncio.retry import Retry
    from redis.asyncio.sentinel import Sentinel
    from redis.backoff import NoBackoff
    from redis.maint_notifications import MaintNotificationsConfig

    # Without a timeout of its own for sending: `asyncio.wait_for`, behind it, loses a cancellation on Python 3.11.
    common: dict[str, Any] = {"protocol": 2, "socket_connect_timeout": timeout, "socket_timeout": None}
    once: dict[str, Any] = {
        **common,
        "retry": Retry(NoBackoff(), 0),
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    try:
        if address.kind == "cluster":
            nodes = [ClusterNode(host, port) for host, port in address.hosts]
            return Clients(cluster=RedisCluster(startup_nodes=nodes, **common, **address.options))
        if address.kind == "sentinel":
            guards = common | {"socket_timeout": timeout}
            sentinel: Any = Sentinel(address.hosts, sentinel_kwargs=guards, **once, **address.options)
            return Clients(single=sentinel.master_for(address.service), sentinel=sentinel)
        client: Any = Redis
        return Clients(single=client.from_url(address.url, **once))
    except ValueError as error:
        raise ConfigurationError(f"AEGIS_URL {address.shown!r}: {error}", url=address.shown) from None

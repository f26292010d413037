"""What Redis and redis-py say when something fails, as one error of Aegis that says what to do."""

from __future__ import annotations

import hiredis
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    RedisClusterException,
    ResponseError,
    SlotNotCoveredError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from aegis_core.protocol.errors import AegisError, ConfigurationError, StoreError
from aegis_core.protocol.masking import visible
from aegis_core.store.address import Address
from aegis_core.store.pipeline import UnreachableError

_REASONS = {
    "READONLY": ("read_only", "Redis is read-only (a replica?); point AEGIS_URL at the primary"),
    "OOM": ("full", "Redis is out of memory; raise maxmemory: CONFIG SET maxmemory SIZE"),
    "LOADING": ("loading", "Redis is still loading its data"),
    "MASTERDOWN": ("down", "the Redis replica has lost its primary"),
    "NOREPLICAS": ("no_replicas", "Redis refuses writes because too few replicas are healthy"),
    "MISCONF": ("read_only", "Redis cannot write to its disk"),
    "BUSY": ("slow", "Redis is busy running another script"),
    "NOAUTH": ("auth", "Redis wants a password; put it into AEGIS_URL"),
    "WRONGPASS": ("auth", "Redis refuses the user or password in AEGIS_URL"),
    "CLUSTERDOWN": ("down", "slots of the Redis Cluster have no primary; CLUSTER INFO on one of its nodes says more"),
    "TRYAGAIN": ("slow", "the Redis Cluster is moving this tenant's slot"),
}
_STRIPPED = {
    "ReadOnlyError": "READONLY",
    "OutOfMemoryError": "OOM",
    "BusyLoadingError": "LOADING",
    "MasterDownError": "MASTERDOWN",
    "AuthenticationError": "NOAUTH",
    "AuthenticationWrongNumberOfArgsError": "NOAUTH",
    "TryAgainError": "TRYAGAIN",
}
"""redis-py's own classes, whose texts have lost the word."""
RECONNECT = frozenset({"READONLY", "MASTERDOWN"})
"""After these another server may be the primary."""

_NOT_PERMITTED = ("NoPermissionError", "NOPERM", "ACL failure", "no permission", "can't run this command")
_IS_CLUSTER = ("MOVED ", "ASK ")
_NO_DATABASE = ("SELECT is not allowed in cluster mode", "DB index is out of range")
_MOST_SAID = 200


def word_of(error: Exception) -> str:
    """The first word of Redis's answer, by which errors are told apart."""
    if isinstance(error, ClusterDownError | SlotNotCoveredError) and not isinstance(error, MasterDownError):
        return "CLUSTERDOWN"
    text = str(error)
    if type(error).__name__ == "AuthenticationError" and "invalid" in text:
        return "WRONGPASS"
    return _STRIPPED.get(type(error).__name__) or text.split(" ", 1)[0]


def explained(error: Exception, doing: str, address: Address) -> AegisError:
    """The error for what redis-py raised, or a server answered.

    Args:
        error: what was raised.
        doing: the command or verb that failed.
        address: of the server, shown without its password.

    Returns:
        A `ConfigurationError` where ``AEGIS_URL`` names another kind of server than there is; else a `StoreError`.
    """
    if isinstance(error, AegisError):
        return error
    text = str(error)
    misnamed = _misnamed(error, text, address)
    if misnamed is not None:
        return misnamed
    said = visible(text[:_MOST_SAID])
    word = word_of(error)
    if word in _REASONS:
        reason, meaning = _REASONS[word]
        return StoreError(f"{meaning[0].upper()}{meaning[1:]}; no decision was made.", reason=reason, server_said=text)
    if type(error).__name__ in _NOT_PERMITTED or any(part in text for part in _NOT_PERMITTED):
        return StoreError(
            f"The Redis user in AEGIS_URL lacks a permission that {doing} needs ({said}); no decision was made. "
            "Grant it those that docs/operations.md lists: ACL SETUSER.",
            reason="auth",
            server_said=text,
        )
    if isinstance(error, RedisClusterException) and "slots are not covered" in text:
        reason, meaning = _REASONS["CLUSTERDOWN"]
        return StoreError(f"{meaning[0].upper()}{meaning[1:]}; no decision was made.", reason=reason, server_said=text)
    if isinstance(error, hiredis.ReplyError | ResponseError):
        return StoreError(f"INVARIANT: {doing} failed: {said}", reason="script", server_said=text)
    if type(error).__name__ == "MasterNotFoundError":  # a failover may be under way
        return UnreachableError(
            f"No Sentinel at {address.shown} knows a primary {address.service!r} that answers; no decision was made. "
            "SENTINEL MASTERS there says which there are.",
            reason="down",
        )
    slow = {type(error), type(error.__cause__)} & {RedisTimeoutError, TimeoutError}
    return UnreachableError(
        f"Redis at {address.shown} cannot be reached ({said or type(error).__name__}); no decision was made. "
        "`aegis doctor` says what is wrong.",
        reason="slow" if slow else "down",
    )


def refuse_other_kind(info: dict[str, object], address: Address) -> None:
    """Refuse a server that is of another kind than the URL says.

    Raises:
        ConfigurationError: a Sentinel, or a node of a cluster, at a URL of one server.
    """
    mode = info.get("server_mode", info.get("redis_mode"))  # Valkey's name and Redis's
    if address.kind == "single" and mode == "sentinel":
        raise ConfigurationError(
            f"AEGIS_URL {address.shown} is a Sentinel; give redis+sentinel://HOST:PORT/SERVICE", url=address.shown
        )
    if address.kind == "single" and mode == "cluster":
        raise _names_a_node(address)


def _misnamed(error: Exception, text: str, address: Address) -> ConfigurationError | None:
    shown = address.shown
    if isinstance(error, AskError) or any(part in text for part in _IS_CLUSTER):
        return _names_a_node(address)
    if any(part in text for part in _NO_DATABASE):
        problem = "names a database that is not there; a node of a Redis Cluster has only 0, and wants redis+cluster://"
    elif isinstance(error, RedisClusterException) and "luster mode is not enabled" in text:
        problem = "is no Redis Cluster; give redis://HOST:PORT/DB"
    elif address.kind == "sentinel" and "unknown command" in text and "SENTINEL" in text.upper():
        problem = "is no Sentinel; give redis://HOST:PORT/DB, or the address of a Sentinel"
    else:
        return None
    return ConfigurationError(f"AEGIS_URL {shown} {problem}", url=shown, server_said=text)


def _names_a_node(address: Address) -> ConfigurationError:
    return ConfigurationError(
        f"AEGIS_URL {address.shown} is a node of a Redis Cluster; give redis+cluster://HOST:PORT,HOST:PORT",
        url=address.shown,
    )

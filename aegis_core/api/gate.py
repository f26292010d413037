"""What is judged before a request is read: how long it is, where it comes from, and what it claims to be.

Without keys the only protection is that nobody but programs of this machine reaches the server. A browser would carry
a foreign page's requests there, so Host (against DNS rebinding), Origin and Sec-Fetch-Site are judged. With keys the
server may have other addresses and names: a page that reaches it has no credential to send.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from urllib.parse import unquote_plus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aegis_core.api.problems import response_to
from aegis_core.protocol.digests import DigestCache
from aegis_core.protocol.errors import AegisError, AuthError, InvalidRequestError
from aegis_core.protocol.hosts import is_loopback

MAX_BODY = 256 * 1024
"""Bytes of a body; the largest honest message is some 50 KB."""

MAX_TARGET = 8 * 1024
"""Bytes of a path with its query."""
MAX_HEADERS = 32 * 1024
"""Bytes of all names and values of headers together."""
MAX_FIELDS = 128
"""Headers, of whatever size."""
MAX_PARAMETERS = 32
"""Parameters of a query."""
MAX_SEGMENTS = 160
"""Parts of a path: names may hold slashes, and have at most 128 letters."""

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_SHOWN_ONCE = frozenset({b"authorization", b"x-aegis-session", b"x-aegis-tenant", b"host"})
_READ = _SHOWN_ONCE | {
    b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"content-type", b"content-length", b"transfer-encoding",
}  # fmt: skip
_TOO_LARGE = f"The body is larger than {MAX_BODY // 1024} KB, which is the most that is accepted."


class RequestGate:
    """Pure ASGI middleware. Refusals are problem documents like all others."""

    def __init__(self, app: ASGIApp, *, host: str, keys: Callable[[Scope], Awaitable[bool]]) -> None:
        self._app, self._host, self._keys = app, host.lower(), keys
        self._ours = DigestCache(self._is_ours, most=256)
        self._local = lru_cache(maxsize=256)(is_loopback)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        try:
            _judge_target(scope)
            found = _read_headers(scope["headers"])
            stranger = self._stranger(scope, found)
            if stranger is not None and not await self._keys(scope):
                raise stranger
            self._judge(scope, found)
        except AegisError as error:
            return await response_to(error)(scope, receive, send)
        return await self._app(scope, _limited(receive), send)

    def _judge(self, scope: Scope, found: dict[bytes, bytes]) -> None:
        self._judge_origin(scope, found)
        _judge_query(scope["query_string"])
        length = found.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MAX_BODY:
            raise InvalidRequestError(_TOO_LARGE, code="too_large", limit_bytes=MAX_BODY)
        if scope["method"] not in _WITH_BODY or (length == b"0" and b"transfer-encoding" not in found):
            return
        if found.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
            raise InvalidRequestError("Send JSON, with the header Content-Type: application/json.", code="not_json")

    def _stranger(self, scope: Scope, found: dict[bytes, bytes]) -> AuthError | None:
        """Why the request cannot come from a program of this machine that means this server."""
        server = scope.get("server")
        if server and server[1] is not None and not self._local(server[0]):
            return AuthError(
                "Without API keys this server answers its own machine only; bind it to 127.0.0.1.", code="not_loopback"
            )
        host = found.get(b"host", b"")
        if not self._ours(host):
            return AuthError(
                "The Host header names another server; ask for localhost or 127.0.0.1.", code="foreign_host"
            )
        return None

    def _judge_origin(self, scope: Scope, found: dict[bytes, bytes]) -> None:
        host = found.get(b"host", b"")
        origin = found.get(b"origin")
        if origin is not None and origin not in (b"http://" + host, b"https://" + host):
            raise AuthError("A page of another origin may not drive this server.", code="foreign_origin")
        site = found.get(b"sec-fetch-site", b"none")
        if site not in (b"none", b"same-origin") and not (
            # Following a link to the documentation harms nobody.
            scope["path"] == "/docs" and found.get(b"sec-fetch-mode") == b"navigate"
        ):
            raise AuthError("A page of another site may not drive this server.", code="foreign_origin")

    def _is_ours(self, header: bytes) -> bool:
        try:
            text = header.decode("ascii").lower()
        except UnicodeDecodeError:
            return False
        name, colon, port = text.rpartition(":")
        if not colon or text.endswith("]"):
            name = text
        elif not port.isdigit():
            return False
        name = name.removeprefix("[").removesuffix("]")
        return bool(name) and (name == self._host or is_loopback(name))


def _judge_target(scope: Scope) -> None:
    """What costs nothing to count is counted before anything is looked into."""
    if len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"]) > MAX_TARGET:
        raise InvalidRequestError(
            f"The path and its query are longer than {MAX_TARGET // 1024} KB.", code="path_too_long",
            limit_bytes=MAX_TARGET,
        )  # fmt: skip
    if scope["path"].count("/") > MAX_SEGMENTS:
        raise InvalidRequestError(f"The path has more than {MAX_SEGMENTS} parts.", code="path_too_long")


def _read_headers(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Those that are judged, by their names. All are counted, in one pass, because every request goes through it."""
    if len(headers) > MAX_FIELDS:
        raise InvalidRequestError(f"There are more than {MAX_FIELDS} headers.", code="headers_too_large")
    size, repeated = 0, False
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        size += len(name) + len(value)
        if name in _READ:
            repeated = repeated or (name in found and name in _SHOWN_ONCE)
            found[name] = value
    if size > MAX_HEADERS:
        raise InvalidRequestError(
            f"The headers are larger than {MAX_HEADERS // 1024} KB together.", code="headers_too_large",
            limit_bytes=MAX_HEADERS,
        )  # fmt: skip
    if repeated:  # a proxy might judge one of two credentials, and the server obey the other
        raise InvalidRequestError("A header that says who calls is given more than once.", code="repeated_header")
    return found


def _judge_query(query: bytes) -> None:
    """No parameter takes several values: a proxy might judge one of two, and the server obey the other."""
    if b"&" not in query:
        return
    if query.count(b"&") >= MAX_PARAMETERS:
        raise InvalidRequestError(f"The query has more than {MAX_PARAMETERS} parameters.", code="too_many_parameters")
    seen: set[str] = set()
    for part in query.decode("latin-1").split("&"):
        name = unquote_plus(part.partition("=")[0])[:100]
        if name in seen:
            problem = "the parameter is given more than once"
            raise InvalidRequestError(f"{name}: {problem}", field=name, problem=problem)
        seen.add(name)


def _limited(receive: Receive) -> Receive:
    """Count what really arrives: a chunked body announces no length."""
    taken = 0

    async def counting() -> Message:
        nonlocal taken
        message = await receive()
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            if taken > MAX_BODY:
                raise InvalidRequestError(_TOO_LARGE, code="too_large", limit_bytes=MAX_BODY)
        return message

    return counting

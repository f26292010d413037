"""What became of a call that failed: it certainly computed nothing, it carries its usage, or nobody can know.

Judged by the names and attributes of errors, so that no SDK is imported. Errors wrap each other, so the whole chain of
causes is looked at, the outermost first; the first one counts that says whether anything was sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from aegis_core.metering.extract import extract
from aegis_core.metering.reading import Reading, get, text_of

Kind = Literal["released", "exact", "unknown"]

_NOT_SENT = frozenset(
    {
        # builtins, ssl, socket: https://docs.python.org/3/library/exceptions.html
        "ConnectionRefusedError", "gaierror", "SSLCertVerificationError", "CertificateError",
        # httpx and httpcore: https://www.python-httpx.org/exceptions/
        "ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "LocalProtocolError", "InvalidURL",
        "ProxyError",
        # aiohttp: https://docs.aiohttp.org/en/stable/client_reference.html#client-exceptions
        "ClientConnectorError", "ClientConnectorDNSError", "ClientConnectorSSLError", "ClientConnectorCertificateError",
        "ConnectionTimeoutError",
        # urllib3 and requests: https://urllib3.readthedocs.io/en/stable/reference/urllib3.exceptions.html
        "NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "InvalidSchema", "MissingSchema",
        # botocore: https://github.com/boto/botocore/blob/develop/botocore/exceptions.py
        "EndpointConnectionError", "NoCredentialsError", "PartialCredentialsError", "ParamValidationError",
        # our own refusals
        "AegisDenied", "InvalidRequestError", "UnknownModelError", "ConfigurationError",
    }
)  # fmt: skip
"""Errors that are raised before a request has left."""

_SENT = frozenset(
    {
        "ReadTimeout", "WriteTimeout", "ReadError", "WriteError", "RemoteProtocolError", "DecodingError", "CloseError",
        "ServerDisconnectedError", "ClientPayloadError", "ServerTimeoutError", "SocketTimeoutError", "ReadTimeoutError",
        "ProtocolError", "IncompleteRead", "ChunkedEncodingError", "ConnectionResetError", "BrokenPipeError",
        "ConnectionAbortedError", "RemoteDisconnected", "ConnectionClosedError", "ResponseStreamingError",
    }
)  # fmt: skip
"""Errors that are raised after a request has left, at least in part."""

_CUT_OFF = frozenset({"CancelledError", "TimeoutError", "KeyboardInterrupt", "GeneratorExit", "SystemExit"})

_TELLING = _NOT_SENT | _SENT | _CUT_OFF

_LOST = frozenset({"APIConnectionError", "APITimeoutError", "Timeout"})
"""Errors of SDKs without an answer; a status that some of them carry was invented."""

_WRAPPERS = frozenset(
    {"openai", "anthropic", "google", "botocore", "litellm", "httpx", "httpcore", "aiohttp", "requests", "urllib3"}
)
"""Packages whose errors stand for the error in whose handling they were raised. Of other code that is no cause: it may
have been the handling of a failure of another call."""

_CARRIERS = ("completion", "last_completion", "response", "message", "body")
"""Where an error keeps the answer that it complains of."""

_SDKS = frozenset({"openai", "anthropic"})
"""Packages that parse an answer that they hold, and whose error does not keep it where that fails."""
_HELD_AS = ("chat_completion", "completion", "raw_response", "response", "message", "snapshot")
"""What they call it there."""

_OPENAI = "https://platform.openai.com/docs/guides/error-codes"
_ANTHROPIC = "https://platform.claude.com/docs/en/api/errors"


@dataclass(frozen=True, slots=True)
class _Row:
    """What a status means for the bill. `providers`: only there; none: everywhere."""

    statuses: frozenset[int]
    released: bool
    source: str
    providers: frozenset[str] = frozenset()


_STATUSES: tuple[_Row, ...] = (
    _Row(
        frozenset({400, 401, 402, 403, 404, 405, 406, 410, 411, 413, 414, 415, 421, 422, 424, 426, 428, 431, 451}),
        True,
        "https://www.rfc-editor.org/rfc/rfc9110#name-client-error-4xx: refused before anything was generated",
    ),
    _Row(frozenset({429}), True, "https://www.rfc-editor.org/rfc/rfc6585#section-4: refused before it was begun"),
    _Row(frozenset({408, 409, 499}), False, "the server had begun, or the client left while it worked"),
    _Row(frozenset({500, 502, 503}), True, f"{_OPENAI}: failed requests are not billed", frozenset({"openai"})),
    _Row(
        frozenset({500, 502, 503, 529}),
        True,
        f"{_ANTHROPIC}: failed requests are not billed",
        frozenset({"anthropic"}),
    ),
)
"""Any other status is unknown. The first row that fits counts."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a failure means for the reservation.

    Attributes:
        kind: ``released``: certainly nothing was computed, give it back; ``exact``: the answer was billed, and
            `reading` says how much; ``unknown``: charge it as reserved, marked as estimated.
        reason: why, as a sentence.
        reading: the usage that the failure carries, if any.
        attempts: requests that were sent, as far as can be seen. The kind is that of the last one; SDKs repeat
            time-outs and failures of servers, so each earlier one may have been billed.
    """

    kind: Kind
    reason: str
    reading: Reading | None = None
    attempts: int = 1


def error_class(failure: BaseException | int) -> str:
    """What events call a failure: the package and class of an error, or the status of an answer. Never its words, which
    may quote a prompt."""
    if isinstance(failure, int):
        return f"http.{failure}"
    kind = type(failure)
    package = kind.__module__.partition(".")[0]
    name = kind.__name__ if package == "builtins" else f"{package}.{kind.__name__}"
    return _NO_NAME.sub("_", name)[:128]


_NO_NAME = re.compile(r"[^\w.:@/-]")


def judge(
    failure: BaseException | int,
    *,
    provider: str | None = None,
    received: bool = False,
    model: str | None = None,
) -> Outcome:
    """Judge a failed call.

    Args:
        failure: what was raised, or the HTTP status.
        provider: whose documents count; default: the module that the error's class comes from.
        received: whether any byte of an answer had arrived before it failed.
        model: the model that was asked for.
    """
    if isinstance(failure, int):
        return _by_status(failure, provider or "", received, 1)
    try:  # an error whose attributes raise says nothing, and what may be billed is charged
        return _judged(failure, provider, received, model)
    except Exception as error:  # noqa: BLE001
        return Outcome("unknown", f"the failure could not be read ({type(error).__name__})")


def retry_count(failure: object) -> int:
    """How often an SDK had repeated the request that failed, from what the request said of itself; 0 where unknown.

    OpenAI's and Anthropic's SDKs send ``x-stainless-retry-count``; botocore counts in ``ResponseMetadata``.
    """
    for each in _requests(failure):
        headers = get(each, "headers")
        value = get(headers, "x-stainless-retry-count", "X-Stainless-Retry-Count")
        if isinstance(value, str) and value.isdecimal() and len(value) < 4:
            return int(value)
    metadata = get(get(failure, "response"), "ResponseMetadata")
    count = get(metadata, "RetryAttempts")
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 1_000 else 0


def _judged(failure: BaseException, provider: str | None, received: bool, model: str | None) -> Outcome:
    if isinstance(failure, BaseExceptionGroup):
        return _of_group(cast("BaseExceptionGroup[BaseException]", failure), provider, received, model)
    chain = list(_chain(failure))
    attempts = 1 + max(map(retry_count, chain))
    whose = provider or _provider_of(chain)
    for each in chain:
        reading = _carried(each, whose, model)
        if reading is not None:
            return Outcome("exact", f"{_name(each)} carries the usage of the answer that was billed", reading, attempts)
    for each in chain:
        status = status_of(each)
        if status is not None and not _LOST.intersection(cls.__name__ for cls in type(each).__mro__):
            return _by_status(status, whose, received, attempts)
    for each in chain:
        verdict = _by_class(each, received, attempts)
        if verdict is not None:
            return verdict
    if not received and any(map(_is_no_connection, chain)):
        return Outcome("released", f"{_name(failure)}: no connection was made", attempts=attempts)
    return Outcome("unknown", f"{_name(failure)} does not say whether anything was computed", attempts=attempts)


def _of_group(
    group: BaseExceptionGroup[BaseException], provider: str | None, received: bool, model: str | None
) -> Outcome:
    """Several failures at once: nothing was computed only if none of them may have computed something."""
    outcomes = [judge(each, provider=provider, received=received, model=model) for each in group.exceptions]
    found = next((each for each in outcomes if each.kind == "unknown"), outcomes[0])
    if found.kind != "unknown" and len(outcomes) > 1 and any(each.kind != "released" for each in outcomes):
        return Outcome("unknown", "several failures at once, of which one was billed")
    return found


def _is_no_connection(error: BaseException) -> bool:
    """Whether it is Python's ``ConnectionError`` itself, raised for nothing else.

    What is lost on the way has classes of its own, and Ollama's client raises this one where it was refused:
    https://github.com/ollama/ollama-python (``_client.py``).
    """
    told = error.__context__ is not None and not error.__suppress_context__
    return type(error) is ConnectionError and error.__cause__ is None and not told


def _by_class(error: BaseException, received: bool, attempts: int) -> Outcome | None:
    """By the nearest of an error's classes that says when it is raised; None: none does."""
    name = next((cls.__name__ for cls in type(error).__mro__ if cls.__name__ in _TELLING), None)
    handshake = "SSLError" in {cls.__name__ for cls in type(error).__mro__} and "handshake" in str(error).lower()
    if name is None and not handshake:
        return None
    if received:
        return Outcome("unknown", f"{_name(error)} after a part of the answer", attempts=attempts)
    if handshake or name in _NOT_SENT:
        return Outcome("released", f"{_name(error)}: nothing was sent", attempts=attempts)
    return Outcome("unknown", f"{_name(error)}: the request had left, so it may be billed", attempts=attempts)


def _by_status(status: int, provider: str, received: bool, attempts: int) -> Outcome:
    if received:
        return Outcome("unknown", f"status {status} after a part of the answer", attempts=attempts)
    for row in _STATUSES:
        if status in row.statuses and (not row.providers or provider.lower() in row.providers):
            kind: Kind = "released" if row.released else "unknown"
            return Outcome(kind, f"status {status}; {row.source}", attempts=attempts)
    return Outcome("unknown", f"status {status}: no document says that it is not billed", attempts=attempts)


def _chain(failure: BaseException) -> Iterator[BaseException]:
    """The failure, what it was raised from, what it wraps and what is in its group, the outermost first."""
    waiting: list[Any] = [failure]
    seen: set[int] = set()
    while waiting and len(seen) < 64:
        found = waiting.pop(0)
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        wraps = type(found).__module__.partition(".")[0] in _WRAPPERS and not found.__suppress_context__
        # urllib3 and aiohttp keep the cause in attributes of their own.
        waiting += [found.__cause__, found.__context__ if wraps else None, get(found, "reason"), get(found, "os_error")]
        waiting += found.args


def _carried(error: BaseException, provider: str, model: str | None) -> Reading | None:
    """The usage of an answer that an error keeps: cut at the cap, or not to be parsed."""
    for held in (*(get(error, name) for name in _CARRIERS), *_unparsed(error)):
        if isinstance(held, str | bytes) or get(held, "usage", "usageMetadata", "usage_metadata") is None:
            continue
        reading = extract(provider or None, held, model=model)
        if reading.usage is None and provider:
            reading = extract(None, held, model=model)
        if reading.usage is not None:
            return reading
    return None


def _unparsed(error: BaseException) -> Iterator[Any]:
    """The answers in the frames of an SDK that an error came through: billed, but not what a schema asked for."""
    trace = error.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] in _SDKS:
            held = trace.tb_frame.f_locals
            yield from (held[name] for name in _HELD_AS if name in held)
        trace = trace.tb_next


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error stands for; None: it has none."""
    response = get(error, "response")
    metadata = get(response, "ResponseMetadata")
    candidates = (
        get(error, "status_code", "status"), get(response, "status_code", "status"), get(metadata, "HTTPStatusCode"),
        get(error, "code"), get(error, "http_status"),
    )  # fmt: skip
    for value in candidates:
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
            return int(value)
    return None


def _requests(failure: object) -> list[Any]:
    response = get(failure, "response")
    request: Any = None
    for holder in (failure, response):
        try:
            request = request or get(holder, "request")
        except RuntimeError:  # httpx raises where a response has no request
            continue
    headers = cast("Mapping[str, Any]", response).get("headers") if isinstance(response, Mapping) else None
    return [each for each in (request, headers) if each is not None]


def _provider_of(chain: list[BaseException]) -> str:
    for each in chain:
        for cls in type(each).__mro__:
            package = cls.__module__.partition(".")[0]
            if package in {"openai", "anthropic"}:
                return package
            if package in {"google", "botocore"}:
                return "gemini" if package == "google" else "bedrock"
    return ""


def _name(error: BaseException) -> str:
    return text_of(type(error).__name__)

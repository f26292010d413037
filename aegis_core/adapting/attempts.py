"""Attempts that an SDK makes by itself: what may be billed is held before it is sent, and charged by itself.

OpenAI's and Anthropic's SDKs send a call again after time-outs, lost connections and failures of servers, and number
each attempt in a header (``x-stainless-retry-count``). Their HTTP clients are watched at the transport, where it is
seen what became of the attempt before: only there a refused connection, which is free, differs from a lost answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, cast
from weakref import ref

from aegis_core.metering.extract import extract
from aegis_core.metering.failures import judge
from aegis_core.metering.reading import Reading
from aegis_core.protocol.errors import AegisError
from aegis_core.protocol.process import new_lock

if TYPE_CHECKING:
    from aegis_core.adapting.calls import ModelCall
    from aegis_core.adapting.reservation import Reservation

_T = TypeVar("_T")

_OK = 200
_COUNT = "x-stainless-retry-count"
_MOST_ATTEMPTS = 1_000
"""Up to which attempts are told apart in events."""
_SDKS = ("root_client", "root_async_client", "_client", "_async_client", "_oai_client")
"""Where models of frameworks keep the clients of SDKs."""
_HELD = "_transport"
"""Where a client of ``httpx`` keeps its transport; that of a proxy is among its mounts."""
_MAKERS = ("_get_sync_client", "_get_async_client")
"""Methods that make them, where that is done late."""

_running: ContextVar[Attempts | None] = ContextVar("aegis_attempts", default=None)
_lock = new_lock()


class Begins(Protocol):
    """Who holds what an attempt may cost."""

    def begin(self, call: ModelCall) -> Reservation: ...

    def abegin(self, call: ModelCall) -> Awaitable[Reservation]: ...


class Attempts:
    """The attempts of one governed call.

    Attributes:
        held: what is held for the last one; whoever made the call ends it.
        denied: why a further attempt was refused, which the SDK reports as an error of the provider.
    """

    def __init__(self, calls: Begins, call: ModelCall, held: Reservation, client: object) -> None:
        """`client`: a model or client of a framework, whose SDK is watched from now on."""
        self.held = held
        self.denied: AegisError | None = None
        self._calls, self._call = calls, call
        self._last: BaseException | int | None = None
        self._response: Any = None
        self._watched = watch(client)
        self._first = held.verdict.request_id
        held.attempts_held = self._watched
        if self._watched:
            held.went["attempt"] = 1

    @contextmanager
    def running(self) -> Generator[None]:
        """In this block requests are attempts of this call."""
        token = _running.set(self)
        try:
            yield
        finally:
            _running.reset(token)

    def each(self, parts: Iterator[_T]) -> Iterator[_T]:
        """The parts of a stream, whose first one is asked for within `running`."""
        while True:
            with self.running():
                try:
                    part = next(parts)
                except StopIteration:
                    return
            yield part

    async def aeach(self, parts: AsyncIterator[_T]) -> AsyncIterator[_T]:
        """As `each`."""
        while True:
            with self.running():
                try:
                    part = await anext(parts)
                except StopAsyncIteration:
                    return
            yield part

    def begin(self, number: int) -> bool:
        """Hold a further attempt where the one before it may be billed. False: it is refused, see `denied`."""
        if number and self.denied is None and not self._was_free():
            self._end_last()
            self.held.settle()
            try:
                self._hold(self._calls.begin(self._call))
            except AegisError as error:
                self.denied = error
        self.held.went["attempt"] = min(number + 1, _MOST_ATTEMPTS)
        return self.denied is None

    async def abegin(self, number: int) -> bool:
        """As `begin`."""
        if number and self.denied is None and not self._was_free():
            self._end_last()
            await self.held.asettle()
            try:
                self._hold(await self._calls.abegin(self._call))
            except AegisError as error:
                self.denied = error
        self.held.went["attempt"] = min(number + 1, _MOST_ATTEMPTS)
        return self.denied is None

    def end(self, last: BaseException | int, response: object = None) -> None:
        """What became of an attempt: an error, or the status of its answer, and that answer."""
        self._last, self._response = last, response

    def fail(self, error: BaseException, *, begun: bool = False) -> None:
        """End the last attempt of a call that failed, see `Reservation.fail`.

        Raises:
            AegisError: a further attempt was refused, which the error tells as one of the provider.
        """
        if (reading := self._answered(error)) is not None:
            self.held.settle(reading)
        self.held.fail(error, begun=begun)
        if self.denied is not None:
            raise self.denied from error

    async def afail(self, error: BaseException, *, begun: bool = False) -> None:
        """As `fail`."""
        if (reading := self._answered(error)) is not None:
            await self.held.asettle(reading)
        await self.held.afail(error, begun=begun)
        if self.denied is not None:
            raise self.denied from error

    def _answered(self, error: BaseException) -> Reading | None:
        """The usage of an answer that had come whole, and that the SDK could not make of what it was told to."""
        if not isinstance(error, Exception) or self._last != _OK:
            return None
        try:
            content = self._response.content  # raises where it was not read to its end
        except Exception:  # noqa: BLE001 - by an error of whichever HTTP library it is
            return None
        reading = extract(None, content, model=self.held.model)
        return reading if reading.exact else None

    def _was_free(self) -> bool:
        return self._last is not None and judge(self._last, provider=_provider(self._call.model)).kind == "released"

    def _end_last(self) -> None:
        if self._last is not None and self._last != _OK:
            self.held.failed(self._last)

    def _hold(self, held: Reservation) -> None:
        held.attempts_held = True
        held.went["parent_request_id"] = self._first
        self.held, self._last, self._response = held, None, None


def watch(client: object) -> bool:
    """Watch the HTTP clients of the SDKs behind a model or client of a framework; False: none was found.

    What was found is remembered as long as the client lives and holds the same SDKs.
    """
    known = _known.get(id(client))
    if known is not None and known.is_still(client):
        return known.watched
    sdks = _sdks_of(client)
    found = [each for each in map(_http_client, sdks.values()) if hasattr(each, _HELD)]
    with _lock:
        for each in found:
            if not isinstance(transport := getattr(each, _HELD), _Transport):
                setattr(each, _HELD, _Transport(transport))
            mounts = cast("dict[object, Any]", getattr(each, "_mounts", {}))
            for pattern, transport in mounts.items():
                if transport is not None and not isinstance(transport, _Transport):
                    mounts[pattern] = _Transport(transport)
    if None not in sdks.values():  # else one may be made later
        _remember(client, sdks, bool(found))
    return bool(found)


class _Known(NamedTuple):
    """A client that was looked through: by weak references the client and the SDKs that it holds, by attribute."""

    client: ref[Any]
    sdks: tuple[tuple[str, ref[Any]], ...]
    watched: bool

    def is_still(self, client: object) -> bool:
        """Whether it is this one, with the same SDKs."""
        return self.client() is client and all(getattr(client, name, None) is sdk() for name, sdk in self.sdks)


_known: dict[int, _Known] = {}


def _remember(client: object, sdks: dict[str, Any], watched: bool) -> None:
    key = id(client)
    kept = {id(sdk): name for name, sdk in sdks.items() if name not in _MAKERS}
    try:
        refs = tuple((name, ref(sdks[name])) for name in kept.values())
        made = any(id(sdk) not in kept for sdk in sdks.values())
        if not made:
            _known[key] = _Known(ref(client, lambda _: _known.pop(key, None)), refs, watched)
    except TypeError:  # of a class without weak references
        return


def _sdks_of(client: object) -> dict[str, Any]:
    """The SDKs behind a client by the attribute that holds or makes them; None: there is no SDK now."""
    found: dict[str, Any] = {}
    for name in (*_SDKS, *_MAKERS):
        try:
            sdk: Any = getattr(client, name)
            found[name] = sdk() if name in _MAKERS and callable(sdk) else sdk
        except AttributeError:
            continue
        except Exception:  # noqa: BLE001 - it fails when it is called, in its own words
            found[name] = None
    return found


def _http_client(sdk: Any) -> Any:
    return sdk if hasattr(sdk, _HELD) else getattr(sdk, "_client", None)


class _Transport:
    """Stands before a transport of ``httpx``; outside of a governed call it passes everything on."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def handle_request(self, request: Any) -> Any:
        """One attempt."""
        attempts = _running.get()
        if attempts is None:
            return self.inner.handle_request(request)
        if not attempts.begin(_number(request)):
            return _refusal(request, attempts.denied)
        try:
            response = self.inner.handle_request(request)
        except BaseException as error:
            attempts.end(error)
            raise
        attempts.end(response.status_code, response)
        return response

    async def handle_async_request(self, request: Any) -> Any:
        """As `handle_request`."""
        attempts = _running.get()
        if attempts is None:
            return await self.inner.handle_async_request(request)
        if not await attempts.abegin(_number(request)):
            return _refusal(request, attempts.denied)
        try:
            response = await self.inner.handle_async_request(request)
        except BaseException as error:
            attempts.end(error)
            raise
        attempts.end(response.status_code, response)
        return response

    def __enter__(self) -> _Transport:
        self.inner.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.inner.__exit__(*error)

    async def __aenter__(self) -> _Transport:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.inner.__aexit__(*error)

    def __getattr__(self, name: str) -> Any:
        if name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)


def _number(request: Any) -> int:
    said = request.headers.get(_COUNT, "0")
    return int(said) if said.isdecimal() else 0


def _refusal(request: Any, denied: AegisError | None) -> Any:
    """An answer after which the SDK tries no more."""
    made = import_module(type(request).__module__.partition(".")[0])
    body = {"error": {"message": str(denied), "type": "aegis", "code": getattr(denied, "code", None)}}
    return made.Response(403, headers={"x-should-retry": "false"}, json=body, request=request)


def _provider(model: str | None) -> str:
    return "anthropic" if "claude" in (model or "") else "openai"

"""Prices that somebody serves over HTTP, as JSON: an exchange, a data provider, a service of one's own.

One page is one source, and it can lie: whoever wants to be told by many takes a feed. What it says is believed for as
long as the operator says, counted from the time that it names, or from when it was read.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urlsplit

from aegis_core.chains.node import NodeFault, new_client, read_answer
from aegis_core.protocol.errors import ChainError
from aegis_core.protocol.parsing import loads, without_repeats

if TYPE_CHECKING:
    import httpx

AGAIN_SECONDS = 10.0
"""A page is read no more often."""
_TIMEOUT_SECONDS, _AHEAD_SECONDS = 5.0, 30.0
_DEAREST = Decimal(10) ** 9
"""Dollars above which a price is a mistake."""
_MILLISECONDS = 10**11
"""Seconds since 1970 are fewer for three thousand years, so what is more counts milliseconds."""
_LONGEST = 64
"""Digits of a number that is read."""
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
_ESCAPE = re.compile("~[01]")


@dataclass(frozen=True, slots=True)
class PricePage:
    """A page that says a price.

    Attributes:
        url: where it is; it may hold a key, and is never shown.
        value: where in its JSON the dollars are, as a number or a text (JSON Pointer, RFC 6901).
        time: where it says when that was: seconds or milliseconds since 1970, or ISO 8601; None: it does not.
        stale_seconds: how old the price may be.
    """

    url: str
    value: str
    time: str | None = None
    stale_seconds: float = 300


class _Read(NamedTuple):
    usd: Decimal
    at: float
    read: float


class _Fault(NamedTuple):
    text: str
    read: float


class PricePages:
    """The pages of one operator, each read once for all who ask in the same seconds."""

    def __init__(self) -> None:
        self._known: dict[PricePage, _Read] = {}
        self._faults: dict[PricePage, _Fault | None] = {}
        self._reading: dict[PricePage, asyncio.Lock] = {}
        self._client: httpx.AsyncClient | None = None

    async def usd(self, page: PricePage, chain: str, now: float) -> Decimal:
        """Dollars that a page says.

        Args:
            page: the page.
            chain: on which it is asked, for the error.
            now: seconds since 1970.

        Raises:
            ChainError: it cannot be read, says no price, or an old one.
        """
        async with self._reading.setdefault(page, asyncio.Lock()):
            known, fault = self._known.get(page), self._faults.get(page)
            if not any(each and 0 <= now - each.read < AGAIN_SECONDS for each in (known, fault)):
                fault = self._faults[page] = await self._look(page, now)
                known = self._known.get(page)
        old = "" if known is None else _age(known, page, now)
        if known is not None and not old:  # a fault since does not matter while what it said is young enough
            return known.usd
        problem = fault.text if fault else f"{_name(page)} {old}"
        raise ChainError(f"{problem}.", chain=chain, reason="unpriced")

    async def _look(self, page: PricePage, now: float) -> _Fault | None:
        """Read a page; what was wrong is remembered as long as what was right, so that nobody waits for it in turn."""
        try:
            self._known[page] = await self._read(page, now)
        except NodeFault as fault:
            return _Fault(str(fault), now)
        return None

    async def _read(self, page: PricePage, now: float) -> _Read:
        self._client = self._client or new_client()
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                content = await read_answer(self._client, "GET", page.url, _name(page))
        except TimeoutError:
            raise NodeFault(f"{_name(page)} did not answer within {_TIMEOUT_SECONDS:g} s") from None
        try:
            said: Any = loads(content, parse_float=Decimal, parse_constant=Decimal, object_pairs_hook=without_repeats)
        except ValueError:
            raise NodeFault(f"{_name(page)} did not answer with JSON") from None
        usd = _dollars(_found(said, page.value))
        if usd is None:
            raise NodeFault(f"{_name(page)} says no price at {page.value}")
        at = now if page.time is None else _moment(_found(said, page.time))
        if at is None:
            raise NodeFault(f"{_name(page)} says no time at {page.time}")
        return _Read(usd, at, now)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()


def _name(page: PricePage) -> str:
    return f"The page of prices at {urlsplit(page.url).hostname}"


def _age(known: _Read, page: PricePage, now: float) -> str:
    """What is wrong with the time of a price."""
    age = now - known.at
    return "" if -_AHEAD_SECONDS <= age <= page.stale_seconds else f"says a price that is {age:.0f} s old"


def _found(said: Any, pointer: str) -> Any:
    """What a pointer points at; None where nothing is."""
    for part in pointer.split("/")[1:]:
        name = _ESCAPE.sub(lambda found: "~" if found[0] == "~0" else "/", part)
        if isinstance(said, dict):
            said = cast("dict[str, Any]", said).get(name)
        elif isinstance(said, list) and name.isascii() and name.isdigit() and len(name) < 9:
            listed = cast("list[Any]", said)
            said = listed[int(name)] if int(name) < len(listed) else None
        else:
            return None
    return said


def _dollars(said: Any) -> Decimal | None:
    usd = _number(said)
    return usd if usd is not None and 0 < usd <= _DEAREST else None


def _moment(said: Any) -> float | None:
    """Seconds since 1970 of a time in one of its usual spellings."""
    number = _number(said)
    if number is not None:
        return float(number / 1000 if number > _MILLISECONDS else number)
    try:
        moment = datetime.fromisoformat(said)
    except (TypeError, ValueError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _number(said: Any) -> Decimal | None:
    """A number, or a text of one; what could not be counted with is none."""
    if isinstance(said, bool) or not isinstance(said, int | Decimal | str) or len(str(said)) > _LONGEST:
        return None
    if isinstance(said, str) and not _NUMBER.fullmatch(said):
        return None
    try:
        number = Decimal(said)
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < _LONGEST else None

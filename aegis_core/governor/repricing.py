"""Watches the files that prices come from, so that a process that runs for months prices by what they say today."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from aegis_core.arbiter.arbiter import Arbiter
from aegis_core.governor.operators import Operator
from aegis_core.governor.watching import watching
from aegis_core.metering.price_book import PriceBook
from aegis_core.metering.price_sources import price_files, read_prices
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.settings import Settings

LOOK_SECONDS = 10.0
"""How long a changed file may go unseen. A look is one ``stat``, away from every request."""

_log = logging.getLogger("aegis.prices")

_Stamp = tuple[int, int, int]


class PriceWatch:
    """Puts changed files of prices in force, and makes an event of it.

    A file that is damaged, gone, or lacks a price that the catalog needs changes nothing: the prices before it stay,
    and a warning says what is wrong. It is read again once it changes.
    """

    def __init__(self, settings: Settings, arbiter: Arbiter, operator: Operator) -> None:
        self._settings, self._arbiter, self._operator = settings, arbiter, operator
        self._seen: list[_Stamp | None] = []
        self._noted = arbiter.prices.version

    async def look(self) -> bool:
        """Read the files if one is another than at the last look; answers whether prices changed."""
        changed = False
        stamps = await asyncio.to_thread(self._stamps)
        if stamps != self._seen:
            try:
                book = await asyncio.to_thread(self._changed_book)
            except ConfigurationError as error:
                _log.warning("%s; the prices before it stay", error.message)
            else:
                if changed := book is not None:
                    self._arbiter.use(book)
            self._seen = stamps  # of before they were read, so that a change meanwhile is seen next time
        if (version := self._arbiter.prices.version) != self._noted:
            await self._operator.note_prices(version)
            self._noted = version
        return changed

    def _changed_book(self) -> PriceBook | None:
        """The prices of what the files say now, which takes half a second to make; None: they say the same."""
        stated = read_prices(self._settings)
        return None if stated is None else self._arbiter.prices.restated(stated)

    def _stamps(self) -> list[_Stamp | None]:
        return [_stamp(path) for path in price_files(self._settings)]


@asynccontextmanager
async def watched_prices(settings: Settings, arbiter: Arbiter, operator: Operator) -> AsyncGenerator[None]:
    """Keep the prices of an arbiter those of their files while the block runs; without any there is nothing to do."""
    if not price_files(settings):
        yield
        return
    watch = PriceWatch(settings, arbiter, operator)  # of a look that fails prices are in force, and the event waits
    async with watching(watch.look, LOOK_SECONDS, partial(_log.warning, "%s")):
        yield


def _stamp(path: Path) -> _Stamp | None:
    """What tells one content of a file from another; None: there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

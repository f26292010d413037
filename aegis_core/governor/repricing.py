"""Watches the operator's file of prices, so that a process that runs for months prices by what it says today."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aegis_core.arbiter.arbiter import Arbiter
from aegis_core.arbiter.price_file import read_price_file
from aegis_core.governor.operators import Operator
from aegis_core.protocol.errors import AegisError, ConfigurationError

LOOK_SECONDS = 10.0
"""How long a changed file may go unseen. A look is one ``stat``, away from every request."""

_log = logging.getLogger("aegis.prices")

_Stamp = tuple[int, int, int]
_UNSEEN: _Stamp = (-1, -1, -1)


class PriceWatch:
    """Puts a changed file of prices in force, and makes an event of it.

    A file that is damaged, gone, or lacks a price that the catalog needs changes nothing: the prices before it stay,
    and a warning says what is wrong. It is read again once it changes.
    """

    def __init__(self, path: Path, arbiter: Arbiter, operator: Operator) -> None:
        self._path, self._arbiter, self._operator = path, arbiter, operator
        self._seen: _Stamp | None = _UNSEEN
        self._noted = arbiter.price_version

    async def look(self) -> bool:
        """Read the file if it is another than at the last look; answers whether prices changed."""
        changed = False
        stamp = await asyncio.to_thread(_stamp, self._path)
        if stamp != self._seen:
            try:
                changed = self._arbiter.reprice(await asyncio.to_thread(read_price_file, self._path))
            except ConfigurationError as error:
                _log.warning("%s; the prices before it stay", error.message)
            self._seen = stamp  # of before it was read, so that a change meanwhile is seen next time
        if (version := self._arbiter.price_version) != self._noted:
            await self._operator.note_prices(version)
            self._noted = version
        return changed

    async def keep_looking(self) -> None:
        """Look every `LOOK_SECONDS`, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except AegisError as error:  # the prices are in force; the event waits for the next look
                _log.warning("%s", error.message)


@asynccontextmanager
async def watched_prices(path: Path | None, arbiter: Arbiter, operator: Operator) -> AsyncGenerator[None]:
    """Keep the prices of an arbiter those of a file while the block runs; without a file there is nothing to do."""
    if path is None:
        yield
        return
    looking = asyncio.create_task(PriceWatch(path, arbiter, operator).keep_looking())
    try:
        yield
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking


def _stamp(path: Path) -> _Stamp | None:
    """What tells one content of a file from another; None: there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

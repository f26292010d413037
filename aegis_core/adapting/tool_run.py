"""A tool call that is running, and how its end is written down."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, cast

from aegis_core.adapting.bridge import both_ways
from aegis_core.adapting.calls import ToolCall
from aegis_core.adapting.reservation import Reservation
from aegis_core.protocol.canonical import canonical_json, storable
from aegis_core.protocol.errors import AegisError
from aegis_core.protocol.journal import MAX_RESULT, cut_result
from aegis_core.protocol.process import Process

if TYPE_CHECKING:
    from aegis_core.adapting.call_governor import CallGovernor

_log = logging.getLogger("aegis.adapting")

PAUSED = "aegis:paused"
"""How the journal remembers that a tool paused the run and will be run again."""


class ToolRun:
    """A tool call that is running: end it once, by `finish`, `fail` or `pause`."""

    def __init__(
        self, calls: CallGovernor, held: Reservation, runner: str | None, failed: Callable[[ToolCall], None]
    ) -> None:
        self.held, self.bridge = held, calls.bridge
        self._calls, self._runner, self._failed, self._process = calls, runner, failed, Process.id

    async def undo(self) -> None:
        """Nobody has run it, nor will: let it be run another time. In the loop of the bridge."""
        try:
            await self._end("finish", PAUSED)
        except AegisError as error:
            _log.warning("%s was not run, which could not be written down: %s", self.held.call.name, error)
        await self.held.arelease()

    async def _finish(self, result: object) -> None:
        """It is done: store its result, a JSON value, and charge it."""
        try:
            await self._end("finish", _packed(result))
        finally:
            await self.held.asettle()

    finish, afinish = both_ways(_finish)

    async def _fail(self, error: object) -> None:
        """It raised: store the error and give the money back."""
        try:
            await self._end("fail", _packed(error))
            self._failed(cast("ToolCall", self.held.call))
        finally:
            await self.held.arelease()

    fail, afail = both_ways(_fail)

    async def _pause(self) -> None:
        """It pauses the run by itself, and will be run again from its start."""
        self.held.went.pop("error_class", None)  # frameworks pause by an error that is none
        try:
            await self._end("finish", PAUSED)
        finally:
            await self.held.arelease()

    pause, apause = both_ways(_pause)

    async def _end(self, act: Literal["finish", "fail"], text: str) -> None:
        if self._runner is not None and self._process == Process.id:  # a forked child ends nothing of its parent's
            await self._calls.journal(act, cast("ToolCall", self.held.call), self._runner, text)


def _packed(result: object) -> str:
    """JSON of at most `MAX_RESULT` bytes; what is longer is kept as the beginning of its text."""
    text = storable(canonical_json(result))
    if cut_result(text) == text:
        return text
    return canonical_json(cut_result(text, MAX_RESULT // 3) + " … (cut)")  # quotes within it take two bytes then

"""What is asked of records in one tick of the loop travels as one script: thousands may wake at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

from aegis_core.protocol.errors import StoreError

_MOST = 64
"""Records in one script: few enough that it keeps nobody else waiting."""
_UNDER_WAY = 2
"""Scripts of one kind at a time: the server works on one while the answer of the other is read. More would stand in the
way of other calls, and their answers pile up on the server, which writes 64 KB of them between two scripts."""

_Key = TypeVar("_Key")
_Found = TypeVar("_Found")


class Looks(Generic[_Key, _Found]):
    """Gathers keys and shares out the answers, which `look` brings in the order of the keys.

    It sends when it is called, not when it is awaited: the server works while the rest of thousands still ask.
    """

    def __init__(self, look: Callable[[list[_Key]], Coroutine[object, object, list[_Found]]]) -> None:
        self._look = look
        self._asked: list[tuple[_Key, asyncio.Future[_Found]]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._due = False

    def at(self, key: _Key) -> asyncio.Future[_Found]:
        """The answer for one key, or the error of the whole script."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Found] = loop.create_future()
        self._asked.append((key, future))
        if len(self._asked) >= _MOST:
            self._send()
        elif not self._due:
            self._due = True
            loop.call_soon(self._send_all)
        return future

    def _send_all(self) -> None:
        self._due = False
        self._send()

    def _send(self) -> None:
        while self._asked and len(self._running) < _UNDER_WAY:
            asked, self._asked = self._asked[:_MOST], self._asked[_MOST:]
            task = asyncio.create_task(self._share_out(asked, self._begin(asked)))
            self._running.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._send()

    def _begin(self, asked: list[tuple[_Key, asyncio.Future[_Found]]]) -> Coroutine[object, object, list[_Found]]:
        return self._look([key for key, _ in asked])

    async def _share_out(
        self, asked: list[tuple[_Key, asyncio.Future[_Found]]], looking: Coroutine[object, object, list[_Found]]
    ) -> None:
        try:
            answers = await looking
        except Exception as error:  # noqa: BLE001 - the caller is told, whatever it is
            if len(asked) > 1 and isinstance(error, StoreError) and error.facts.get("reason") == "script":
                for one in asked:  # a damaged record fails for who asked for it, and for nobody else
                    await self._share_out([one], self._begin([one]))
                return
            for _, future in asked:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), answer in zip(asked, answers, strict=True):
                if not future.done():
                    future.set_result(answer)

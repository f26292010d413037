"""Verdicts that their caller never heard of are taken back, as soon as the store answers.

Only this process knows that it did not hand a verdict on: it told of a lost answer, or nobody waited for it any longer.
What nobody takes back is charged at its estimate when its time is over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any, NamedTuple

from aegis_core.protocol.errors import AegisError, AnswerLostError, StoreError
from aegis_core.store.ledger import Ledger
from aegis_core.store.verbs import Authorize, Withdraw

_MOST = 10_000
"""Withdrawals that wait for the store; beyond them the oldest are given up."""
_FIRST_PAUSE, _LAST_PAUSE = 0.1, 2.0
"""Seconds before the store is asked again: at first, and at most."""
_LONGEST = 3_600.0
"""Seconds after which one is given up: its record may be gone by then."""
_AT_END = 1.0
"""Seconds that closing waits for what is left."""


class _Owed(NamedTuple):
    order: Withdraw
    until: float


class Withdrawals:
    """Asks for verdicts, and takes back those that it could not hand on."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._owed: deque[_Owed] = deque(maxlen=_MOST)
        self._worker: asyncio.Task[None] | None = None
        self._closed = False

    async def authorize(self, order: Authorize) -> tuple[str, Any]:
        """`Ledger.authorize`; what it may have decided is withdrawn where its answer is lost, or the caller gives up.

        Raises:
            AnswerLostError: naming the request id, with which asking again is safe.
        """
        try:
            return await self._ledger.authorize(order)
        except AnswerLostError as error:
            self._take_back(order)
            raise error.of_request(order.request_id) from None
        except asyncio.CancelledError:
            self._take_back(order)
            raise

    def _take_back(self, order: Authorize) -> None:
        if self._closed:
            return
        withdrawal = Withdraw(
            id=order.id, agent=order.agent, sid=order.sid, token=order.token, request_id=order.request_id,
            digest=order.digest, resource=order.resource, attempt=order.attempt,
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        self._owed.append(_Owed(withdrawal, loop.time() + _LONGEST))
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())

    async def _work(self) -> None:
        pause, loop = _FIRST_PAUSE, asyncio.get_running_loop()
        while self._owed:
            owed = self._owed.popleft()
            try:
                await self._ledger.withdraw(owed.order)
            except StoreError:
                if loop.time() < owed.until:
                    self._owed.appendleft(owed)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE)
            except AegisError:  # its session has ended, say: what is left of it ends by itself
                continue
            else:
                pause = _FIRST_PAUSE

    async def aclose(self) -> None:
        """Take back what can be, within a moment."""
        self._closed = True
        if self._worker is None:
            return
        await asyncio.wait({self._worker}, timeout=_AT_END)
        self._worker.cancel()
        with suppress(asyncio.CancelledError):
            await self._worker

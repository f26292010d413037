"""The one hot connection of a store: those who find it lost make it again once, and where that hangs they fail fast."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from aegis_core.protocol.errors import StoreError
from aegis_core.protocol.process import Process, check_process
from aegis_core.store.address import Clients
from aegis_core.store.pipeline import Pipeline

_GLANCE = 0.05
"""Seconds that a caller waits for a connection while the last attempt to make one hung: enough where it comes back."""


class Link:
    """Keeps the pipeline to one server, or none on a cluster. Use it from one event loop."""

    def __init__(self, clients: Clients, timeout: float) -> None:
        self.pipeline: Pipeline | None = None
        self._clients, self._timeout = clients, timeout
        self._connection: Any = None
        self._attempt: asyncio.Task[Pipeline] | None = None
        self._hangs = self._closed = False
        self._process = Process.id

    @property
    def open(self) -> Pipeline | None:
        """The pipeline, where it can be used as it is."""
        pipeline = self.pipeline
        return None if pipeline is None or pipeline.lost else pipeline

    async def get(self, seconds: float | None = None) -> Pipeline:
        """The pipeline, made again where it was lost.

        Args:
            seconds: to wait at most; default: the setting. Where the last attempt hung, a glance is all that is waited
                for the next one, which goes on for those who come later.

        Raises:
            TimeoutError: it was not made in time. OSError, RedisError: it cannot be made.
            StoreError: the store was closed.
        """
        check_process(self._process)
        if (pipeline := self.open) is not None:
            return pipeline
        if self._closed:
            raise StoreError("The store was closed; no decision was made.", reason="closed")
        if self.pipeline is not None and self.pipeline.silent:
            self._hangs, self.pipeline.silent = True, False  # until an attempt says more
        if self._attempt is None or self._attempt.done():
            self._attempt = asyncio.create_task(self._connect())
            self._attempt.add_done_callback(_retrieved)
        most = self._timeout if seconds is None else seconds
        async with asyncio.timeout(min(most, _GLANCE) if self._hangs else most):
            return await asyncio.shield(self._attempt)

    async def refuse_hung(self) -> None:
        """Fail fast where the server hung when it was asked last; else nothing.

        Raises:
            TimeoutError: it hangs still.
        """
        if self._hangs and not self._closed:
            await self.get()

    def hung(self, since: float) -> None:
        """A command beside the pipeline timed out. Unless the pipeline heard something since, its server hangs.

        Args:
            since: when the command was sent, by the loop's clock.
        """
        pipeline = self.pipeline
        if self._clients.cluster is None and (pipeline is None or pipeline.lost or pipeline.heard_at < since):
            self._hangs = True
            if pipeline is not None:
                pipeline.fail(f"Redis did not answer within {self._timeout:g} s", "slow")

    def drop(self) -> None:
        """Connect anew at the next call: the server is not the primary any more."""
        if self.pipeline is not None:
            self.pipeline.close()

    async def _connect(self) -> Pipeline:
        assert self._clients.single is not None
        pool: Any = self._clients.single.connection_pool
        connection = pool.make_connection()
        try:
            async with asyncio.timeout(self._timeout):
                await connection.connect()
        except TimeoutError:
            self._hangs = True
            raise
        except BaseException:
            self._hangs = False  # it answers, if only to refuse
            raise
        await self._drop_connection()
        self.pipeline = Pipeline.adopt(connection._writer.transport, self._timeout)  # noqa: SLF001 - see pipeline.py
        self._connection = connection  # redis-py closes a connection that nobody holds
        self._hangs = False
        return self.pipeline

    async def _drop_connection(self) -> None:
        if self._connection is not None:
            await self._connection.disconnect(nowait=True)
            self._connection = None

    async def aclose(self) -> None:
        """Close it; calls in flight fail."""
        self._closed = True
        if self._attempt is not None and not self._attempt.done():
            self._attempt.cancel()
            with suppress(BaseException):
                await self._attempt
        if self.pipeline is not None:
            self.pipeline.close()
            await self._drop_connection()
            await asyncio.sleep(0)


def _retrieved(attempt: asyncio.Task[Pipeline]) -> None:
    """Whoever waited was told; where nobody did, the loop must not complain."""
    if not attempt.cancelled():
        attempt.exception()

"""The threads of a graph, by its plain or its asynchronous methods: where they stand, and how they go on."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import StateSnapshot

from aegis_core.protocol.errors import ConfigurationError

_workers: ContextVar[ThreadPoolExecutor | None] = ContextVar("aegis_langgraph_workers", default=None)


class GraphThreads:
    """The threads that a graph's checkpointer keeps.

    Args:
        graph_or_factory: a compiled graph, or a function (plain or async) that makes one when it is first needed.
        config: further keys of the config that threads run with.
        plain: call the graph's plain methods, each in a thread, so that the event loop can do something else.

    Raises:
        ConfigurationError: the graph has no checkpointer.
    """

    def __init__(self, graph_or_factory: Any, config: Mapping[str, Any], *, plain: bool) -> None:
        self._made, self._config, self._plain = graph_or_factory, dict(config), plain
        self._graph: object = _checked(graph_or_factory) if hasattr(graph_or_factory, "checkpointer") else None

    @contextmanager
    def workers(self, most: int) -> Generator[None]:
        """In this block plain methods have so many threads of their own: those of an event loop are there for others.

        Others may wait for these; and in a forked child the threads of its parent do not run.
        """
        if not self._plain:
            yield
            return
        pool = ThreadPoolExecutor(most, "aegis-resumer")
        before = _workers.set(pool)
        try:
            yield
        finally:
            _workers.reset(before)
            pool.shutdown(wait=False)

    async def ready(self) -> object:
        """The graph.

        Raises:
            ConfigurationError: the factory made one without a checkpointer.
        """
        if self._graph is None:
            made = self._made()
            self._graph = _checked(await made if inspect.isawaitable(made) else made)
        return self._graph

    async def state(self, thread: str) -> StateSnapshot:
        """Where a thread stands; one that the checkpointer does not know has no tasks and no values."""
        graph: Any = await self.ready()
        if self._plain:
            return await self._beside(lambda: graph.get_state(self._config_of(thread)))
        return await graph.aget_state(self._config_of(thread))

    async def history(self, thread: str, most: int) -> list[StateSnapshot]:
        """Where it stood at its last checkpoints, the newest first."""
        graph: Any = await self.ready()
        config = self._config_of(thread)
        if self._plain:
            return await self._beside(lambda: list(graph.get_state_history(config, limit=most)))
        return [each async for each in graph.aget_state_history(config, limit=most)]

    async def go_on(self, thread: str, given: object) -> Any:
        """Run a thread to its end or next pause, with what it waits for, or with None from where it stands."""
        graph: Any = await self.ready()
        config = self._config_of(thread)
        if self._plain:
            return await self._beside(lambda: graph.invoke(given, config, durability="sync"))
        return await graph.ainvoke(given, config, durability="sync")

    async def _beside(self, work: Callable[[], Any]) -> Any:
        work = partial(copy_context().run, work)
        return await asyncio.get_running_loop().run_in_executor(_workers.get(), work)

    def _config_of(self, thread: str) -> object:
        return {**self._config, "configurable": {**self._config.get("configurable", {}), "thread_id": thread}}


def _checked(graph: object) -> object:
    if not isinstance(getattr(graph, "checkpointer", None), BaseCheckpointSaver):
        raise ConfigurationError(
            "ApprovalResumer needs a graph with a checkpointer, or there is nothing to resume: "
            "builder.compile(checkpointer=…), one that the processes share."
        )
    return graph

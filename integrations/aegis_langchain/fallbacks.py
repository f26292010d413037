"""A refusal is no outage: the model that is named to stand in for a governed one is not called after a refusal.

``with_fallbacks`` and LangChain's `ModelFallbackMiddleware` take every error for an outage. A callback that LangChain
adds to every run sees the governed model end in an error of Aegis, and a model of another kind begin in its place: that
one is refused by the same error. A governed model that stands in asks for itself.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.callbacks.manager import CallbackManager
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.runnables.fallbacks import RunnableWithFallbacks
from langchain_core.tracers.context import register_configure_hook

from aegis_core.protocol.errors import AegisError
from aegis_core.protocol.process import new_lock
from aegis_langchain.either_way import NOTHING, Act, in_either_way
from aegis_langchain.log import leave_out

_MOST_RUNS = 10_000
_GOVERNED = "GovernedChatModel"
_MANAGERS, _FALLBACKS = CallbackManager.__module__, RunnableWithFallbacks.__module__
"""The modules of LangChain in which callbacks are called, and in which chains with fallbacks begin their runs."""
_BETWEEN = {__name__, in_either_way.__module__, _MANAGERS}
"""Where a callback of this module is called from that a chain with fallbacks begins."""

_installed = new_lock()
_guard: list[FallbackGuard] = []


class Standing:
    """A place in which several models may be tried. `refused`: why none but a governed one may be, from now on.

    `outer`: the place that this one is tried in, whose other models are refused where this one ends by that.
    """

    refused: AegisError | None = None

    def __init__(self, outer: Standing | None = None) -> None:
        self.outer = outer


_within: ContextVar[Standing | None] = ContextVar("aegis_langchain_standing", default=None)


@contextmanager
def one_call() -> Generator[None]:
    """What is called in this block is called for one model call, which a governed model is to answer."""
    before = _within.set(Standing())
    try:
        yield
    finally:
        _within.reset(before)


def watch_fallbacks() -> None:
    """Hear of every run of LangChain from now on."""
    with _installed:
        if not _guard:
            _guard.append(FallbackGuard())
            held: ContextVar[Any] = ContextVar("aegis_langchain_fallback_guard", default=_guard[0])
            register_configure_hook(held, inheritable=True)


def refuse_stand_in(serialized: object, parent_run_id: object) -> None:
    """As `FallbackGuard.refuse`, for a callback that would hold money for the model first."""
    for guard in _guard:
        guard.refuse(serialized, parent_run_id)


class FallbackGuard(BaseCallbackHandler):
    """Refuses the models that would stand in for one that was refused. It only looks things up."""

    raise_error = True
    ignore_agent = ignore_retriever = ignore_retry = ignore_custom_event = True  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def __init__(self) -> None:
        super().__init__()
        self._runs: OrderedDict[UUID, Standing] = OrderedDict()

    @property
    def run_inline(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Called in the task of a chain's run, which shows who began it.

        Not where `AsyncCallbackManager` is about to tell of a model: where a handler is inline, it tells the others
        nothing of a model that completes text, and after an error leaves them what was to be awaited.
        """
        asking = inspect.currentframe()
        while asking is not None and asking.f_code.co_name in {"run_inline", "<listcomp>", "<genexpr>"}:
            asking = asking.f_back
        return asking is None or asking.f_code.co_name not in {"on_llm_start", "on_chat_model_start"}

    @in_either_way
    def on_chain_start(
        self, serialized: object, inputs: object, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: object
    ) -> Act:
        """A chain with fallbacks is a place, and whatever runs below it stands there."""
        standing = self._below(parent_run_id)
        if kwargs.get("name") == RunnableWithFallbacks.__name__ or _is_begun_by_one():
            standing = Standing(standing)
        self._note(run_id, standing)
        return NOTHING

    @in_either_way
    def on_chain_end(self, outputs: object, *, run_id: UUID, **kwargs: object) -> Act:
        """It is over."""
        self._runs.pop(run_id, None)
        return NOTHING

    @in_either_way
    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: object) -> Act:
        """It is over, and so may be the place around it."""
        below = self._runs.pop(run_id, None)
        if below is not None and below.outer is not None and below.refused is error:
            below.outer.refused = below.refused
        return NOTHING

    @in_either_way
    def on_chat_model_start(
        self,
        serialized: object,
        messages: object,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: object,
    ) -> Act:
        """Raises the error of Aegis for which this model was called instead."""
        self.refuse(serialized, parent_run_id)
        self._note(run_id, self._below(parent_run_id))
        return NOTHING

    on_llm_start = cast("Any", on_chat_model_start)

    @in_either_way
    def on_llm_end(self, response: object, *, run_id: UUID, **kwargs: object) -> Act:
        """It answered."""
        self._runs.pop(run_id, None)
        return NOTHING

    @in_either_way
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: object) -> Act:
        """It may have been refused."""
        below = self._runs.pop(run_id, None)
        for standing in (below, _within.get()):
            if standing is not None and isinstance(error, AegisError):
                standing.refused = error
        return NOTHING

    def refuse(self, serialized: object, parent_run_id: object) -> None:
        """Raise the error for which a model that begins below a run would be called instead of a governed one."""
        for standing in (self._below(parent_run_id), _within.get()):
            if standing is not None and standing.refused is not None and not _is_governed(serialized):
                leave_out(standing.refused)
                raise standing.refused

    def _below(self, parent_run_id: object) -> Standing | None:
        """The place of a run, or of the chain with fallbacks it runs in, which names its own parent to models."""
        for each in (parent_run_id, _run_around()):
            if isinstance(each, UUID) and (found := self._runs.get(each)) is not None:
                return found
        return None

    def _note(self, run_id: UUID, standing: Standing | None) -> None:
        if standing is not None:
            self._runs[run_id] = standing
            if len(self._runs) > _MOST_RUNS:  # of runs that were cancelled, whose end is told to nobody
                self._runs.popitem(last=False)


def _run_around() -> object:
    """The run in whose block this is called."""
    around = var_child_runnable_config.get()
    return getattr(around.get("callbacks"), "parent_run_id", None) if around else None


def _is_begun_by_one() -> bool:
    """Whether a chain with fallbacks begins this run, under whatever name."""
    frame = inspect.currentframe()
    while frame is not None and (module := frame.f_globals.get("__name__")) in _BETWEEN:
        frame = frame.f_back
    return frame is not None and module == _FALLBACKS  # pyright: ignore[reportPossiblyUnboundVariable]


def _is_governed(serialized: object) -> bool:
    made: Mapping[str, object] = cast("Any", serialized) if isinstance(serialized, Mapping) else {}
    place = made.get("id")
    return (
        isinstance(place, list) and bool(cast("list[object]", place)) and cast("list[object]", place)[-1] == _GOVERNED
    )

"""A chat model that stands before others: it reserves, chooses among them, calls, and settles.

This is the only complete chokepoint: all who hold the model pass it, by every entry point.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from aegis_core.adapting import Attempts, CallGovernor, ModelCall, Reservation, answers_in
from aegis_core.adapting.caps import BY_TABLE, smallest_cap
from aegis_core.adapting.request_settings import ANSWERS
from aegis_core.adapting.wishes import Told
from aegis_langchain.delegation import DelegatingChatModel
from aegis_langchain.fallbacks import watch_fallbacks
from aegis_langchain.models import (
    Models,
    cap_of,
    capped,
    more_keywords,
    named,
    own_settings,
    takes_cap,
)
from aegis_langchain.shadow import Shadowed
from aegis_langchain.shapes import openai_messages, settings_of
from aegis_langchain.streaming import achunks, chunks
from aegis_langchain.usage import Heard, read_result, streams

_Begun = tuple[Attempts, BaseChatModel, dict[str, object]]


class GovernedChatModel(DelegatingChatModel):
    """Every call is asked for first. Of several models Aegis recommends one, which is then called.

    Cache, callbacks, tags, metadata and token counts are those of the first model, unless they are given here; each
    model keeps its own rate limiter.

    Args:
        aegis: an agent of Aegis: `SyncGovernor.handshake`, or `Governor.handshake` for async code.
        models: the models that may be called: one, several, or by name as the provider knows them. Of several the
            recommended one is called.
        max_output_tokens: the cap of an answer where the caller sets none; an answer may be cut to what is affordable.
        cap_setting: the keyword by which these models take a cap; ``auto``: each by its own, as its class and name say;
            None: they take none, so the declared one is held.
        priority: 1 to 10, or a function of the call; this and the next two are what rules match.
        logic_density: how hard the work is, 1 to 10, for the choice; or a function of the call.
        task_type: the kind of task, or a function of the call.
        shadow_models: cheaper models by name, of which an operator may have begun an experiment (`aegis kaizen start`):
            they are asked the same after the answer, within a budget of their own, and their tools are never run.
        judge: who scores the answers of both, such as `Verifier(function)`.
        intent: what the calls are for. Rules read this, and nothing of the prompts.
        approval_seconds: how long a call waits for a human; 0: it is refused.

    Raises:
        ConfigurationError: `aegis` is not an agent of Aegis, or `models` are not chat models.
    """

    _calls: CallGovernor = PrivateAttr()
    _cap_setting: str | None = PrivateAttr()
    _shadow: Shadowed | None = PrivateAttr(default=None)

    def __init__(
        self,
        *,
        aegis: object,
        models: Models,
        max_output_tokens: int = 4_096,
        cap_setting: str | None = BY_TABLE,
        priority: Told[int] | None = None,
        logic_density: Told[int] | None = None,
        task_type: Told[str] | None = None,
        approval_seconds: float = 600,
        intent: str | None = None,
        shadow_models: Models | None = None,
        judge: object = None,
        **values: Any,
    ) -> None:
        if not isinstance(aegis, CallGovernor):
            aegis = CallGovernor(
                aegis, framework="langchain", max_output_tokens=max_output_tokens, approval_seconds=approval_seconds,
                intent=intent, priority=priority, logic_density=logic_density, task_type=task_type,
            )  # fmt: skip
        super().__init__(named(models), **values)
        self._calls, self._cap_setting = aegis, cap_setting
        self._shadow = None if shadow_models is None else Shadowed(aegis, named(shadow_models), judge)
        watch_fallbacks()

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: object
    ) -> ChatResult:
        said = kwargs
        attempts, model, kwargs = self._begin(messages, kwargs, run_manager)
        try:
            with attempts.running():
                result = model._generate(messages, stop, run_manager, **kwargs)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        except BaseException as error:
            attempts.fail(error)
            raise
        attempts.held.settle(read_result(result, attempts.held.model))
        if self._shadow is not None:
            self._shadow.after(attempts, model, result, messages, stop, said)
        return result

    async def _agenerate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: object
    ) -> ChatResult:
        said = kwargs
        attempts, model, kwargs = await self._abegin(messages, kwargs, run_manager)
        try:
            with attempts.running():
                result = await model._agenerate(messages, stop, run_manager, **kwargs)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        except BaseException as error:
            await attempts.afail(error)
            raise
        await attempts.held.asettle(read_result(result, attempts.held.model))
        if self._shadow is not None:
            self._shadow.after(attempts, model, result, messages, stop, said)
        return result

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: object = None, **kwargs: object
    ) -> Iterator[ChatGenerationChunk]:
        said = kwargs
        attempts, model, kwargs = self._begin(messages, kwargs, run_manager)
        seen = Heard(keeps=self._shadow is not None)
        try:
            if streams(model):
                yield from attempts.each(chunks(model, messages, stop, kwargs, seen))
            else:
                with attempts.running():
                    result = model._generate(messages, stop, None, **kwargs)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
                yield seen.add_result(result)
        except BaseException as error:  # also of a stream that its reader leaves
            attempts.fail(error, begun=seen.begun)
            raise
        attempts.held.settle(seen.reading(attempts.held.model))
        if self._shadow is not None:
            self._shadow.after(attempts, model, seen.chunks, messages, stop, said)

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: object = None, **kwargs: object
    ) -> AsyncIterator[ChatGenerationChunk]:
        said = kwargs
        attempts, model, kwargs = await self._abegin(messages, kwargs, run_manager)
        seen = Heard(keeps=self._shadow is not None)
        try:
            if streams(model):
                async with aclosing(achunks(model, messages, stop, kwargs, seen)) as parts:
                    async for part in attempts.aeach(parts):
                        yield part
            else:
                with attempts.running():
                    result = await model._agenerate(messages, stop, None, **kwargs)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
                yield seen.add_result(result)
        except BaseException as error:
            await attempts.afail(error, begun=seen.begun)
            raise
        await attempts.held.asettle(seen.reading(attempts.held.model))
        if self._shadow is not None:
            self._shadow.after(attempts, model, seen.chunks, messages, stop, said)

    def _described(self, messages: list[BaseMessage], kwargs: Mapping[str, Any], run_manager: object) -> ModelCall:
        behind = self._models.values()
        names = (str(kwargs["model"]),) if kwargs.get("model") else tuple(self._models)
        thread: object = (getattr(run_manager, "metadata", None) or cast("dict[str, object]", {})).get("thread_id")
        more = {name: value for each in behind for name, value in more_keywords(each).items()}
        return ModelCall(
            openai_messages(messages),
            kwargs.get("tools") or (),
            model=names[0] if len(names) == 1 else None,
            models=names if len(names) > 1 else (),
            max_output_tokens=smallest_cap(cap_of(model, kwargs) for model in behind),
            lowers_cap=takes_cap(self._models, self._cap_setting),
            thread=None if thread is None else str(thread),
            answers=answers_in(*(kwargs.get(name, getattr(model, name, None)) for model in behind for name in ANSWERS)),
            settings=settings_of(messages, {**more, **kwargs}, *map(own_settings, behind)),
        )

    def _begin(self, messages: list[BaseMessage], kwargs: dict[str, object], run_manager: object) -> _Begun:
        """What is held for a call, and the model to call with its keywords, once its own rate limiter lets it."""
        call = self._described(messages, kwargs, run_manager)
        held = self._calls.begin(call)
        try:
            model, kwargs = self._chosen(held, kwargs)
            if model.rate_limiter is not None:
                model.rate_limiter.acquire(blocking=True)
        except BaseException:  # interrupted before it is made, it costs nothing
            held.abandon(consumed=False)
            raise
        return Attempts(self._calls, call, held, model), model, kwargs

    async def _abegin(self, messages: list[BaseMessage], kwargs: dict[str, object], run_manager: object) -> _Begun:
        """As `_begin`."""
        call = self._described(messages, kwargs, run_manager)
        held = await self._calls.abegin(call)
        try:
            model, kwargs = self._chosen(held, kwargs)
            if model.rate_limiter is not None:
                await model.rate_limiter.aacquire(blocking=True)
        except BaseException:
            held.abandon(consumed=False)
            raise
        return Attempts(self._calls, call, held, model), model, kwargs

    def _chosen(self, held: Reservation, kwargs: dict[str, Any]) -> tuple[BaseChatModel, dict[str, Any]]:
        """The model to call, and the keywords as its own binding makes them."""
        model, kwargs = self._called(held.model or "", kwargs)
        return capped(model, held.model or "", kwargs, held.max_output_tokens, self._cap_setting)

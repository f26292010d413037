"""A chat model that stands before others: it reserves, chooses among them, calls, and settles.

This is the only complete chokepoint: all who hold the model pass it, by every entry point.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableBinding
from pydantic import PrivateAttr

from aegis_core.adapting import Attempts, CallGovernor, ModelCall, Reservation, answers_in
from aegis_langchain.shapes import (
    ANSWERS,
    Models,
    cap_of,
    named,
    openai_messages,
    openai_tools,
    own_settings,
    settings_of,
)
from aegis_langchain.streaming import achunks, chunks
from aegis_langchain.usage import Heard, read_result, streams

_Begun = tuple[Attempts, BaseChatModel, dict[str, object]]

_OPTIONS = "aegis_tool_options"
"""Under this name a bound model carries what `bind_tools` was given, until it is known whose `bind_tools` it is."""

_INHERITED = ("cache", "profile", "callbacks", "tags", "metadata", "disable_streaming", "output_version")
"""Settings that LangChain obeys before it calls a model: it calls this one, so it reads them here."""


class GovernedChatModel(BaseChatModel):
    """Every call is asked for first. Of several models Aegis recommends one, which is then called.

    Cache, callbacks, tags, metadata and token counts are those of the first model, unless they are given here; each
    model keeps its own rate limiter.

    Args:
        aegis: an agent of Aegis: `SyncGovernor.handshake`, or `Governor.handshake` for async code.
        models: the models that may be called: one, several, or by name as the provider knows them. Of several the
            recommended one is called.
        max_output_tokens: the cap of an answer where the caller sets none; an answer may be cut to what is affordable.
        cap_setting: the keyword by which these models take a cap; None: they take none, so the declared one is held.
        logic_density: how hard the work is, 1 to 10, for the choice.
        intent: what the calls are for. Rules read this, and nothing of the prompts.
        approval_seconds: how long a call waits for a human; 0: it is refused.

    Raises:
        ConfigurationError: `aegis` is not an agent of Aegis, or `models` are not chat models.
    """

    _calls: CallGovernor = PrivateAttr()
    _models: dict[str, BaseChatModel] = PrivateAttr()
    _cap_setting: str | None = PrivateAttr()

    def __init__(
        self,
        *,
        aegis: object,
        models: Models,
        max_output_tokens: int = 4_096,
        cap_setting: str | None = "max_tokens",
        logic_density: int | None = None,
        approval_seconds: float = 600,
        intent: str | None = None,
        **values: Any,
    ) -> None:
        if not isinstance(aegis, CallGovernor):
            aegis = CallGovernor(
                aegis, framework="langchain", max_output_tokens=max_output_tokens, logic_density=logic_density,
                approval_seconds=approval_seconds, intent=intent,
            )  # fmt: skip
        found = named(models)
        first = next(iter(found.values()))
        defaults: dict[str, Any] = {
            name: getattr(first, name, None) for name in _INHERITED if getattr(first, name, None) is not None
        }
        super().__init__(**(defaults | values))
        self._calls, self._models, self._cap_setting = aegis, found, cap_setting

    @property
    def _first(self) -> BaseChatModel:
        return next(iter(self._models.values()))

    @property
    def _llm_type(self) -> str:
        return "aegis"

    @property
    def _identifying_params(self) -> dict[str, object]:
        return {"models": list(self._models)}

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: object) -> str:
        """The name of this model in LangChain's cache of answers: also what the models behind are set to."""
        behind = {name: str(model) for name, model in self._models.items()}
        return f"{super()._get_llm_string(stop, **kwargs)} {behind}"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: object) -> Any:
        found = cast("dict[str, object]", self._first._get_ls_params(stop))  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        return found | {"ls_model_name": next(iter(self._models))}

    def get_token_ids(self, text: str) -> list[int]:
        """As the first model."""
        return self._first.get_token_ids(text)

    def get_num_tokens(self, text: str) -> int:
        """As the first model."""
        return self._first.get_num_tokens(text)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], *args: Any, **kwargs: object) -> int:
        """As the first model."""
        return self._first.get_num_tokens_from_messages(messages, *args, **kwargs)

    def bind_tools(
        self, tools: Sequence[object], *, tool_choice: object = None, **kwargs: object
    ) -> Runnable[Any, Any]:
        """As the models' own `bind_tools`, which is called once it is known which of them answers."""
        options = kwargs if tool_choice is None else {**kwargs, "tool_choice": tool_choice}
        return self.bind(**{"tools": openai_tools(tools), _OPTIONS: options})

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: object
    ) -> ChatResult:
        attempts, model, kwargs = self._begin(messages, kwargs, run_manager)
        try:
            with attempts.running():
                result = model._generate(messages, stop, run_manager, **kwargs)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        except BaseException as error:
            attempts.fail(error)
            raise
        attempts.held.settle(read_result(result, attempts.held.model))
        return result

    async def _agenerate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: object
    ) -> ChatResult:
        attempts, model, kwargs = await self._abegin(messages, kwargs, run_manager)
        try:
            with attempts.running():
                result = await model._agenerate(messages, stop, run_manager, **kwargs)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        except BaseException as error:
            await attempts.afail(error)
            raise
        await attempts.held.asettle(read_result(result, attempts.held.model))
        return result

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: object = None, **kwargs: object
    ) -> Iterator[ChatGenerationChunk]:
        attempts, model, kwargs = self._begin(messages, kwargs, run_manager)
        seen = Heard()
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

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: object = None, **kwargs: object
    ) -> AsyncIterator[ChatGenerationChunk]:
        attempts, model, kwargs = await self._abegin(messages, kwargs, run_manager)
        seen = Heard()
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

    def _described(self, messages: list[BaseMessage], kwargs: Mapping[str, Any], run_manager: object) -> ModelCall:
        names = tuple(self._models)
        thread: object = (getattr(run_manager, "metadata", None) or cast("dict[str, object]", {})).get("thread_id")
        declared = {**kwargs, **kwargs.get(_OPTIONS, {})}
        caps = [cap for model in self._models.values() if (cap := cap_of(model, declared)) is not None]
        return ModelCall(
            openai_messages(messages),
            kwargs.get("tools") or (),
            model=names[0] if len(names) == 1 else None,
            models=names if len(names) > 1 else (),
            max_output_tokens=min(caps, default=None),
            lowers_cap=self._cap_setting is not None,
            thread=None if thread is None else str(thread),
            answers=answers_in(
                *(declared.get(name, getattr(model, name, None)) for model in self._models.values() for name in ANSWERS)
            ),
            settings=settings_of(messages, declared, *map(own_settings, self._models.values())),
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

    def _chosen(self, held: Reservation, kwargs: dict[str, Any]) -> tuple[BaseChatModel, dict[str, object]]:
        """The model to call, and the keywords as its own `bind_tools` would make them."""
        model = self._models[held.model or ""]
        options = kwargs.pop(_OPTIONS, None)
        if options is not None:
            bound: Any = model.bind_tools(kwargs.pop("tools"), **options)
            while isinstance(bound, RunnableBinding):  # some models bind twice, and fakes not at all
                kwargs = {**bound.kwargs, **kwargs}
                bound = cast("Any", bound).bound
            model = bound
        if self._cap_setting is not None and held.max_output_tokens is not None:
            kwargs = {**kwargs, self._cap_setting: held.max_output_tokens}
        return model, kwargs

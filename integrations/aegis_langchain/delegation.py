"""What a governed model says of itself and binds to itself: all of it is said and bound by the models behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable
from pydantic import PrivateAttr

from aegis_langchain.binding import Binding, check_parsers, exchanged
from aegis_langchain.models import has_field, profile_of
from aegis_langchain.usage import streams

_INHERITED = ("cache", "callbacks", "tags", "metadata", "disable_streaming", "output_version")
"""Settings that LangChain obeys before it calls a model: it calls this one, so it reads them here."""


class DelegatingChatModel(BaseChatModel):
    """Stands before models of which one is called. How, its subclass says."""

    _models: dict[str, BaseChatModel] = PrivateAttr()
    _binding: Binding | None = PrivateAttr(default=None)
    _bound: Mapping[str, Any] = PrivateAttr(default_factory=dict[str, Any])

    def __init__(self, models: dict[str, BaseChatModel], **values: Any) -> None:
        first = next(iter(models.values()))
        held = {name: getattr(first, name, None) for name in _INHERITED} | {"profile": profile_of(models)}
        super().__init__(**({name: value for name, value in held.items() if value is not None} | values))
        self._models = models

    @property
    def _first(self) -> BaseChatModel:
        return next(iter(self._models.values()))

    @property
    def model_name(self) -> str:
        """The name of the model, or those of all: LangChain chooses by it what a model can do."""
        return ", ".join(self._models)

    @property
    def _llm_type(self) -> str:
        kinds = {each._llm_type for each in self._models.values()}  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        return kinds.pop() if len(kinds) == 1 else "aegis"

    @property
    def _identifying_params(self) -> dict[str, object]:
        return {"models": list(self._models)}

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: object) -> str:
        """The name of this model in LangChain's cache of answers: also what the models behind are set to."""
        behind = {name: str(model) for name, model in self._models.items()}
        return f"{super()._get_llm_string(stop, **kwargs)} {behind}"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: object) -> Any:
        found = self._first._get_ls_params(stop, **kwargs)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        named = kwargs.get("model") or next(iter(self._models))
        return cast("dict[str, object]", found) | {"ls_model_name": named}

    def _should_stream(self, *, async_api: bool, run_manager: Any = None, **kwargs: Any) -> bool:
        first = self._first
        streaming = has_field(type(first), "streaming") and getattr(first, "streaming", None) is True
        return (streaming and streams(first) and not self._streaming_disabled(**kwargs)) or super()._should_stream(
            async_api=async_api, run_manager=run_manager, **kwargs
        )

    def _combine_llm_outputs(self, llm_outputs: Any) -> Any:
        return self._first._combine_llm_outputs(llm_outputs)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

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
        self, tools: Sequence[Any], *args: Any, tool_choice: Any = None, **kwargs: Any
    ) -> Runnable[Any, Any]:
        """As the model's own; of several each binds them in its own way, once it is known which of them answers."""
        kwargs = kwargs if tool_choice is None else {**kwargs, "tool_choice": tool_choice}
        binding = Binding("bind_tools", (tools, *args), kwargs)
        return exchanged(binding.of(self._first), lambda model: self._standing_before(model, binding))

    def with_structured_output(self, schema: Any = None, *args: Any, **kwargs: Any) -> Runnable[Any, Any]:
        """As the model's own. Of several all must read answers alike; of several classes all do by ``method``
        ``function_calling``, which is taken where none is given.

        Raises:
            ConfigurationError: they do not; or a model's own chain has no place for a governed one.
        """
        if len({type(each) for each in self._models.values()}) > 1 and not args:
            kwargs = {"method": "function_calling", **kwargs}
        binding = Binding("with_structured_output", (schema, *args), kwargs)
        chains = {name: binding.of(model) for name, model in self._models.items()}
        check_parsers(chains)
        first = next(iter(chains.values()))
        return exchanged(first, lambda model: self._standing_before(model, binding))

    def _standing_before(self, model: BaseChatModel, binding: Binding) -> Self:
        """This model before what the first one became when it was bound: it may be a copy with other settings."""
        if len(self._models) == 1 and model is self._first:
            return self
        made = self.model_copy()
        made._stand_before(model, binding)  # noqa: SLF001 - it is one of these
        return made

    def _stand_before(self, model: BaseChatModel, binding: Binding) -> None:
        if len(self._models) > 1:
            self._binding, self._bound = binding, binding.keywords_of(self._first)[1]
        self._models = {**self._models, next(iter(self._models)): model}

    def _called(self, name: str, kwargs: dict[str, Any]) -> tuple[BaseChatModel, dict[str, Any]]:
        """The model of a name, and the keywords of a call as it would have bound them itself."""
        model = self._models.get(name, self._first)
        if self._binding is None or model is self._first:
            return model, kwargs
        said = {key: value for key, value in kwargs.items() if key not in self._bound or value != self._bound[key]}
        model, own = self._binding.keywords_of(model)
        return model, {**own, **said}

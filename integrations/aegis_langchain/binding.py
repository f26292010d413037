"""What a model's own `bind_tools` or `with_structured_output` makes of it, with a governed model in its place.

Both answer a chain of LangChain in which the model stands somewhere, with the keywords that its provider wants. The
chain stays as it is, parsers and all; only the model in it is exchanged.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers.base import BaseLLMOutputParser
from langchain_core.runnables import Runnable, RunnableBinding, RunnableLambda
from pydantic import BaseModel

from aegis_core.protocol.errors import ConfigurationError

_FOR_TRACING = ("ls_structured_output_format", "structured_output_format")
"""Keywords that LangChain takes out before it calls a model."""


@dataclass(frozen=True)
class Binding:
    """A call of `bind_tools` or `with_structured_output`, which is made of each model in its own way."""

    method: Literal["bind_tools", "with_structured_output"]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def of(self, model: BaseChatModel) -> Runnable[Any, Any]:
        """The chain that a model makes."""
        return getattr(model, self.method)(*self.args, **self.kwargs)

    def keywords_of(self, model: BaseChatModel) -> tuple[BaseChatModel, dict[str, Any]]:
        """The model in that chain, which may be a copy, and the keywords that it is called with."""
        for found in _models_in(self.of(model), {}):
            return found
        return model, {}


def exchanged(chain: Any, put: Callable[[BaseChatModel], BaseChatModel]) -> Any:
    """A chain with each model in it exchanged.

    Raises:
        ConfigurationError: there is none to exchange, so its calls could not be governed.
    """
    found = _exchanged(chain, put)
    if found is chain:
        raise ConfigurationError(
            f"{type(chain).__name__} keeps its model where Aegis cannot stand before it; call the provider's "
            "with_structured_output(…, method='function_calling'), or bind the keywords yourself with .bind(…).",
            code="hidden_model",
        )
    return found


def check_parsers(chains: Mapping[str, Any]) -> None:
    """Look whether chains of several models read an answer in the same way, since any of them may answer.

    Raises:
        ConfigurationError: they do not.
    """
    parsers = [list(_parsers_in(chain)) for chain in chains.values()]
    if any(each != parsers[0] for each in parsers):
        raise ConfigurationError(
            f"{', '.join(chains)} read structured answers in different ways, and any of them may answer; give "
            "with_structured_output a method that all of them have: method='function_calling'.",
            code="different_parsers",
        )


def _exchanged(value: Any, put: Callable[[BaseChatModel], BaseChatModel]) -> Any:
    """The same object where nothing in it was exchanged."""
    if isinstance(value, BaseChatModel):
        return put(value)
    if isinstance(value, Runnable) and isinstance(value, BaseModel):
        changed = {name: new for name, held in _fields(value) if (new := _exchanged(held, put)) is not held}
        return cast("Any", value.model_copy(update=changed) if changed else value)
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value)
        new = {name: _exchanged(held, put) for name, held in items.items()}
        return new if any(new[name] is not held for name, held in items.items()) else items
    if isinstance(value, list | tuple):
        parts = cast("list[Any]", value)
        new = [_exchanged(held, put) for held in parts]
        return new if any(one is not other for one, other in zip(new, parts, strict=True)) else parts
    return cast("Any", value)


def _fields(runnable: BaseModel) -> Iterator[tuple[str, Any]]:
    """What a runnable holds; of one that binds keywords not these, for tools are runnables, too."""
    kind = type(runnable)
    names = ("bound",) if issubclass(kind, RunnableBinding) else kind.model_fields
    yield from ((name, getattr(runnable, name)) for name in names)


def _parts(value: Any) -> Iterator[Any]:
    """The runnables right inside another one."""
    if isinstance(value, Mapping):
        yield from cast("Mapping[Any, Any]", value).values()
    elif isinstance(value, list | tuple):
        yield from cast("list[Any]", value)
    elif isinstance(value, Runnable) and isinstance(value, BaseModel):
        yield from (held for _, held in _fields(value))


def _models_in(value: Any, keywords: Mapping[str, Any]) -> Iterator[tuple[BaseChatModel, dict[str, Any]]]:
    if isinstance(value, BaseChatModel):
        yield value, {name: held for name, held in keywords.items() if name not in _FOR_TRACING}
    elif isinstance(value, RunnableBinding):
        binding = cast("RunnableBinding[Any, Any]", value)
        yield from _models_in(binding.bound, {**binding.kwargs, **keywords})
    else:
        for part in _parts(value):
            yield from _models_in(part, keywords)


def _parsers_in(value: Any) -> Iterator[object]:
    if isinstance(value, BaseLLMOutputParser):
        yield value
    elif isinstance(value, RunnableLambda):
        function: Any = getattr(cast("Any", value), "func", None)
        if isinstance(function, functools.partial):
            yield function.func, function.args, function.keywords
    elif not isinstance(value, BaseChatModel):
        for part in _parts(value):
            yield from _parsers_in(part)

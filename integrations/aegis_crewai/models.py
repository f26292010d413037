"""The models behind a governed one: made from names, known by names, and what is sent to them as Aegis counts it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from crewai import LLM
from crewai.llms.base_llm import BaseLLM

from aegis_core.adapting.caps import cap_name, held_cap, is_listed
from aegis_core.adapting.request_settings import SETTINGS, settings_in
from aegis_core.protocol.errors import ConfigurationError

Models = str | BaseLLM | Sequence[str | BaseLLM]

_SENT = ("role", "content", "tool_calls", "tool_call_id", "name")


def by_name(models: Models, cap: int) -> dict[str, BaseLLM]:
    """Models of CrewAI by their names; those given by name alone are made, with `cap` as their output cap.

    Raises:
        ConfigurationError: none, two by the same name, something else, or one that is governed already.
    """
    given = [models] if isinstance(models, str | BaseLLM) else list(models)
    made = [_made(each, cap) if isinstance(each, str) else each for each in given]
    for each in made:
        if not isinstance(each, BaseLLM):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"models= takes models of CrewAI or their names; this is {type(each).__name__}.")
        if each.llm_type == "aegis":
            raise ConfigurationError(f"The model {each.model} is governed already, and would be charged twice.")
    behind = {each.model: each for each in made}
    if len(behind) != len(made) or not behind:
        raise ConfigurationError("models= takes at least one model, and none twice by the same name.")
    return behind


def output_cap(models: Iterable[BaseLLM]) -> int | float | None:
    """The largest output cap that the models send, in tokens; None where one sends none."""
    largest: int | float = 0
    for llm in models:
        cap = _cap_of(llm)
        if cap is None:
            return None
        largest = max(largest, cap)
    return largest


def _made(name: str, cap: int) -> BaseLLM:
    """A model by its name, with the cap in the field that its class sends."""
    llm: BaseLLM = LLM(model=name)
    setattr(llm, cap_name(llm, llm.model) or "max_tokens", cap)
    return llm


def _cap_of(llm: BaseLLM) -> int | float | None:
    """CrewAI's own word tells of fields that some of its classes do not send."""
    if is_listed(llm):
        return held_cap(llm)
    return llm._effective_max_tokens()  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - there is no other word


def settings_of(models: Iterable[BaseLLM], messages: object, schema: object = None) -> dict[str, object]:
    """What the models send beside messages and tools that is input, or that changes what a call may cost."""
    found: dict[str, object] = {} if schema is None else {"response_format": schema}
    for llm in models:
        more: Mapping[str, object] = getattr(llm, "additional_params", None) or {}
        held = {name: getattr(llm, name, None) for name in SETTINGS}
        found = {**settings_in(more, held), **found}
        if getattr(llm, "auto_chain", False) and (last := getattr(llm, "last_response_id", None)):
            found.setdefault("previous_response_id", last)
    if isinstance(messages, list) and any("cache_breakpoint" in each for each in cast("list[Any]", messages)):
        found.setdefault("cache_control", {"type": "ephemeral"})
    return found


def takes_tools(llm: BaseLLM) -> bool:
    """Whether a model is called with tools; classes that say nothing are not."""
    asked: object = getattr(llm, "supports_function_calling", None)
    return callable(asked) and bool(asked())


def shaped(message: Mapping[str, Any]) -> dict[str, object]:
    """A message as the provider gets it, without CrewAI's own marks; an attached file counts as an image."""
    sent = {key: message[key] for key in _SENT if message.get(key) is not None}
    if files := message.get("files"):
        text = {"type": "text", "text": str(sent.get("content") or "")}
        sent["content"] = [text, *({"type": "image", "name": str(name)} for name in files)]
    return sent

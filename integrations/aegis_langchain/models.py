"""The models behind a governed one: their names, what they are set to, and how each takes the cap of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from langchain_core.language_models import BaseChatModel

from aegis_core.adapting.caps import BY_TABLE, CAPS, cap_in, cap_name, held_cap, is_field, with_cap
from aegis_core.adapting.request_settings import SETTINGS
from aegis_core.protocol.errors import ConfigurationError

Models = Mapping[str, BaseChatModel] | Sequence[BaseChatModel] | BaseChatModel


def own_settings(model: BaseChatModel) -> dict[str, object]:
    """What a model is set to, which it sends with each request."""
    return {name: getattr(model, name) for name in _settings_of(type(model))}


@lru_cache(maxsize=256)
def _settings_of(kind: type[BaseChatModel]) -> tuple[str, ...]:
    return tuple(name for name in SETTINGS if has_field(kind, name))


@lru_cache(maxsize=1024)
def has_field(kind: type[BaseChatModel], name: str) -> bool:
    """Whether models of a class have a field; Pydantic takes long to tell."""
    return name in kind.model_fields


def more_keywords(model: BaseChatModel) -> Mapping[str, object]:
    """Keywords that a model adds to each call as they are."""
    more = getattr(model, "model_kwargs", None)
    return cast("Mapping[str, object]", more) if isinstance(more, Mapping) else {}


def name_of(model: BaseChatModel) -> str:
    """The name by which its provider knows a model.

    Raises:
        ConfigurationError: the model does not say; give ``models={"name": model}``.
    """
    params = cast("Mapping[str, object]", model._get_ls_params())  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - what tracing reads
    name = params.get("ls_model_name") or getattr(model, "model_name", None) or getattr(model, "model", None)
    if not isinstance(name, str):
        raise ConfigurationError(
            f'{type(model).__name__} does not say which model it calls; name it: models={{"gpt-4o-mini": model}}.'
        )
    return name


def cap_of(model: BaseChatModel, kwargs: Mapping[str, object]) -> int | None:
    """The output cap that a call declares: its own, else its model's."""
    params = cast("Mapping[str, object]", model._get_ls_params())  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    stated = cap_in(kwargs, more_keywords(model), {"max_tokens": params.get("ls_max_tokens")})
    return held_cap(model) if stated is None else stated


def capped(
    model: BaseChatModel, name: str, kwargs: Mapping[str, Any], cap: int | None, setting: str | None
) -> tuple[BaseChatModel, dict[str, Any]]:
    """A model and the keywords of a call of it with its cap, by the keyword `setting`, or by the one in the table."""
    setting = cap_name(model, name, kwargs) if setting == BY_TABLE else setting
    if setting is None or cap is None:
        return model, dict(kwargs)
    if not is_field(model):
        return model, with_cap(kwargs, setting, cap)
    return model.model_copy(update={setting: cap}), {key: kwargs[key] for key in kwargs if key not in CAPS}


def named(models: Models) -> dict[str, BaseChatModel]:
    """Models by name.

    Raises:
        ConfigurationError: none is given, two have one name, or one is not a chat model.
    """
    if isinstance(models, BaseChatModel):
        models = [models]
    if isinstance(models, Mapping):
        found = dict(cast("Mapping[str, Any]", models))
    else:
        found: dict[str, Any] = {}
        for model in cast("Sequence[object]", models):
            name = name_of(model) if isinstance(model, BaseChatModel) else str(model)
            if name in found:
                raise ConfigurationError(f"models= holds two models of the name {name}; name them apart in a mapping.")
            found[name] = model
    wrong = next((each for each in found.values() if not isinstance(each, BaseChatModel)), None)
    if wrong is not None or not found:
        shown = "it is empty" if wrong is None else f"this one holds {type(wrong).__name__}"
        raise ConfigurationError(f"models= takes chat models of LangChain, a list or a mapping by name; {shown}.")
    return found


def takes_cap(models: Mapping[str, BaseChatModel], setting: str | None) -> bool:
    """Whether each of the models takes a cap with a call, by the keyword `setting` or by the table."""
    if setting != BY_TABLE:
        return setting is not None
    return all(cap_name(model, name) is not None for name, model in models.items())


def profile_of(models: Mapping[str, BaseChatModel]) -> Any:
    """What LangChain is told that a model can do: of several what each of them can, and the least of their limits."""
    profiles = [dict(cast("Mapping[str, Any]", each.profile or {})) for each in models.values()]
    first, *others = profiles
    if not others:
        return next(iter(models.values())).profile
    common = {name: _common([each.get(name) for each in profiles]) for name in first}
    if len({type(each) for each in models.values()}) > 1:  # they take the schema of an answer in different ways
        common["structured_output"] = False
    return {name: value for name, value in common.items() if value is not None} or None


def _common(values: list[Any]) -> Any:
    if any(value is None for value in values):
        return False if any(isinstance(value, bool) for value in values) else None
    if all(isinstance(value, bool) for value in values):
        return all(values)
    if all(isinstance(value, int) for value in values):
        return min(values)
    return values[0] if all(value == values[0] for value in values) else None

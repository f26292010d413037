"""What an adapter was told of costs, caps and patience: looked at when it is made, not when a tool is first called."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from aegis_core.adapting.calls import ModelCall
from aegis_core.protocol.errors import ConfigurationError, InvalidRequestError
from aegis_core.protocol.money import UsdLike, to_nanos

Costs = Mapping[str, UsdLike] | Callable[[str, Any], UsdLike | None]

_unbounded: set[str] = set()


def checked_costs(costs: object) -> Any:
    """`costs`, or none.

    Raises:
        ConfigurationError: neither a mapping nor a function, or one of its values is no amount of dollars.
    """
    if costs is None or callable(costs):
        return costs or {}
    if not isinstance(costs, Mapping):
        raise ConfigurationError('costs= takes {"tool": dollars}, or a function of the tool\'s name and arguments.')
    for tool, usd in costs.items():  # pyright: ignore[reportUnknownVariableType]
        try:
            to_nanos(usd)  # pyright: ignore[reportUnknownArgumentType]
        except InvalidRequestError as error:
            problem = error.facts.get("problem", error.message)
            raise ConfigurationError(f"costs={{{tool!r}: {usd!r}}} {problem}.") from error
    return costs  # pyright: ignore[reportUnknownVariableType]


def checked_number(name: str, value: object, least: int, most: int | None = None, *, whole: bool = True) -> None:
    """Look at one setting of an adapter.

    Raises:
        ConfigurationError: it is no number, or outside its bounds.
    """
    kinds = int if whole else (int, float)
    fits = isinstance(value, kinds) and not isinstance(value, bool) and least <= value <= (most or float("inf"))
    if not fits:
        bounds = f"at least {least}" if most is None else f"{least} to {most}"
        raise ConfigurationError(f"{name}= takes a {'whole ' if whole else ''}number, {bounds}; this is {value!r}.")


def check_bounded(call: ModelCall, cap: int | None) -> None:
    """Warn once of a model whose answers nothing bounds but its own maximum.

    Raises:
        ConfigurationError: several answers are asked for and none is bounded.
    """
    if cap is not None:
        return
    if call.answers > 1:
        raise ConfigurationError(
            f"This call asks for {call.answers} answers and caps none, so what it costs at most is not known; give the "
            "model a cap (max_tokens).",
            code="unbounded_answers",
        )
    if call.model is not None and call.model not in _unbounded:
        _unbounded.add(call.model)
        warnings.warn(
            f"A call of {call.model} has no output cap and this extension point cannot set one, so the model's maximum "
            "is reserved for each call; give the model a cap (max_tokens).",
            UserWarning,
            stacklevel=2,
        )

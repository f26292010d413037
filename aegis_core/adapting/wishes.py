"""What a program says of the calls of one adapter: for rules, and for the choice of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict, TypeVar

from aegis_core.adapting.calls import ModelCall, ToolCall
from aegis_core.adapting.costs import checked_number
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.protocol.keywords import RequestFields

_Value = TypeVar("_Value")

Told = _Value | Callable[[ModelCall | ToolCall], _Value | None]
"""A value, or a function of the call that answers one, or None for the default."""

_LEVELS = ("priority", "logic_density")


class CallWishes(TypedDict, total=False):
    """Parameters that every adapter takes. Each may be a function of the call, a `ModelCall` or `ToolCall`::

    GovernedToolNode(tools, aegis, priority=lambda call: 9 if call.tool == "pay" else 5)
    """

    priority: Told[int] | None
    """1 to 10, up to what the session may use; default 5."""
    logic_density: Told[int] | None
    """How hard the work is, 1 to 10, default 5: it chooses the tier of the model where Aegis may choose."""
    task_type: Told[str] | None
    """The kind of task, by which outcomes are learned and rules may match."""
    experiment_arm: Told[str] | None
    """The arm of an experiment that the call was given to; its event names it."""
    propensity: Told[float] | None
    """With what probability it was given to that arm, above 0 and at most 1."""


class Wishes:
    """Those of one adapter.

    Raises:
        ConfigurationError: a value that cannot be accepted.
    """

    def __init__(self, wishes: CallWishes) -> None:
        given: dict[str, Any] = {name: value for name, value in wishes.items() if value is not None}
        for name, value in given.items():
            _check(name, value)
        self._fixed = {name: value for name, value in given.items() if not callable(value)}
        self._told = {name: value for name, value in given.items() if callable(value)}

    def put_in(self, fields: RequestFields, call: ModelCall | ToolCall) -> None:
        """Say of a request what was told of its call.

        Raises:
            ConfigurationError: a function answered what cannot be accepted.
        """
        fields.update(self._fixed)  # pyright: ignore[reportCallIssue, reportArgumentType] - names of `RequestFields`
        for name, told in self._told.items():
            value = told(call)
            if value is not None:
                _check(name, value)
                fields[name] = value


def _check(name: str, value: object) -> None:
    if callable(value):
        return
    if name in _LEVELS:
        checked_number(name, value, 1, 10)
    elif name == "propensity":
        checked_number(name, value, 0, 1, whole=False)
    elif not isinstance(value, str):
        raise ConfigurationError(f"{name}= takes a text, or a function of the call; this is {value!r}.")

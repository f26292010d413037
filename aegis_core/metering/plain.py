"""What programs hand to an SDK, as the JSON that the SDK makes of it: objects, schemas, functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

_LEFT_OUT = frozenset({"NotGiven", "Omit"})
"""What the SDKs of OpenAI and Anthropic call an argument that is not sent."""


def plain(value: Any) -> Any:
    """A value as JSON-compatible data, one level deep; what is data already is handed on as it is.

    A class of pydantic is the schema that is sent in its place, an object of one its fields, a function its name,
    signature and words. Anything else is the caller's to spell.
    """
    if value is None or isinstance(value, str | bytes | int | float | list | tuple | Mapping):
        return cast("Any", value)
    if type(value).__name__ in _LEFT_OUT:
        return None
    schema = getattr(value, "model_json_schema", None)
    if isinstance(value, type):
        return schema() if callable(schema) else {"name": value.__name__, "description": value.__doc__}
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(exclude_none=True, warnings=False)
    if callable(value):
        return _as_tool(cast("Callable[..., Any]", value))
    return value


def _as_tool(function: Callable[..., Any]) -> dict[str, str]:
    try:
        signature = str(inspect.signature(function))
    except (TypeError, ValueError):
        signature = ""
    name = str(getattr(function, "__name__", type(function).__name__))
    # A schema names each parameter and its type in more characters than a signature does.
    return {"name": name, "description": inspect.getdoc(function) or "", "parameters": signature * 4}

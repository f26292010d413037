"""A fail-over of a program's own: it takes a refusal for an outage, unless Aegis stands before it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import cast


def warn_of_fail_over(models: Iterable[object], governed: type) -> None:
    """Warn where a model that is to be governed holds a governed one among others.

    Args:
        models: of a framework; what one holds is looked for in its attributes, and in lists and mappings there.
        governed: the class of the adapter's governed models.
    """
    for model in models:
        if not any(isinstance(each, governed) for each in _held_by(model)):
            continue
        warnings.warn(
            f"{type(model).__name__} holds a governed model, and may call another one when that is refused, because a "
            "refusal looks like an outage to it. Give Aegis the models among which it may choose, or let AegisError "
            "pass.",
            UserWarning,
            stacklevel=3,
        )


def _held_by(model: object) -> Iterator[object]:
    for name in ("__dict__", "__pydantic_private__"):
        for value in cast("Mapping[str, object]", getattr(model, name, None) or {}).values():
            if isinstance(value, list | tuple):
                yield from cast("list[object]", value)
            elif isinstance(value, Mapping):
                yield from cast("Mapping[object, object]", value).values()
            else:
                yield value

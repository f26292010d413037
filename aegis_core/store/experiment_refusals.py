"""The errors behind the answers of the scripts of shadow experiments. Part of what `refusals` lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aegis_core.protocol.errors import AegisError, ConflictError

EXPERIMENT_REFUSALS: Mapping[str, Callable[[list[Any]], AegisError]] = {
    "FULL_EXPERIMENTS": lambda answer: ConflictError(
        f"There are {int(answer[1])} experiments of this tenant, the most there may be; those that ended are kept for "
        "400 days, because they count where several are decided on together.",
        code="too_many_experiments",
    ),
}

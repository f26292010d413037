"""How long contexts and answers are at most, which the price list does not say.

``maxima.json`` is a reduced table of names and numbers from a second source, which it names. A model that is not in it
has a configured default or must be capped by the caller.
"""

from __future__ import annotations

import json
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

from aegis_core.metering.names import parse_name, undated


class Maxima(NamedTuple):
    """Tokens of context and of one answer at most (context 0: not known), and whether the model has thoughts."""

    context_tokens: int
    output_tokens: int
    reasons: bool


def maxima_of(canonical: str) -> Maxima | None:
    """What is known of a model by its canonical name."""
    return _table().get(canonical.lower())


@lru_cache(maxsize=1024)
def maxima_by_name(name: str) -> Maxima | None:
    """What is known of a model by a spelling of its name, as far as the price list is not needed to tell."""
    bare = parse_name(name).bare.rpartition("/")[2]
    return maxima_of(bare) or maxima_of(undated(bare))


@cache
def _table() -> dict[str, Maxima]:
    content = json.loads((files("aegis_core.metering") / "maxima.json").read_text(encoding="utf-8"))
    return {name.lower(): Maxima(*row) for name, row in content["models"].items()}

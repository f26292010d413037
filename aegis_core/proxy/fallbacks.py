"""Who answers instead where an upstream fails: only where an operator says so, for one model each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from aegis_core.protocol.errors import ConfigurationError
from aegis_core.proxy.upstreams import Upstream

FALLS_BACK = frozenset({429, 500, 502, 503, 504, 529})
"""Statuses of an upstream after which a fallback is asked. Others say that the request is wrong, wherever it goes."""

_MODEL = re.compile(r"[\w.:@/-]{1,128}", re.ASCII)
_IN_PATH = re.compile(r"[\w.-]{1,128}", re.ASCII)


class Fallback(NamedTuple):
    """An upstream, and the model that it is asked for."""

    upstream: Upstream
    model: str


def open_fallbacks(said: Mapping[str, str], upstreams: Mapping[str, Upstream]) -> dict[tuple[str, str], Fallback]:
    """The fallback of each model of an upstream that has one.

    Args:
        said: ``UPSTREAM/MODEL`` to ``UPSTREAM/MODEL``.
        upstreams: by name.

    Raises:
        ConfigurationError: one that is not spelt so, is of an unknown upstream or one that speaks another API, or leads
            to itself.
    """
    found: dict[tuple[str, str], Fallback] = {}
    for before, after in said.items():
        (first, model), (second, other) = _parted(before, upstreams), _parted(after, upstreams)
        if first.dialect != second.dialect:
            raise ConfigurationError(
                f"fallback {before}={after}: {first.name} and {second.name} speak different APIs, and a request is "
                "passed on as it came; name an upstream of the same."
            )
        if before == after:
            raise ConfigurationError(f"fallback {before}={after}: name another model, or another upstream.")
        found[first.name, model] = Fallback(second, other)
    return found


def _parted(text: str, upstreams: Mapping[str, Upstream]) -> tuple[Upstream, str]:
    name, _, model = text.partition("/")
    upstream = upstreams.get(name)
    if upstream is None:
        raise ConfigurationError(f"fallback {text!r}: give UPSTREAM/MODEL; upstreams are {', '.join(upstreams)}.")
    if not (_IN_PATH if upstream.dialect == "gemini" else _MODEL).fullmatch(model):
        raise ConfigurationError(f"fallback {text!r}: give UPSTREAM/MODEL, such as {name}/some-model-1.")
    return upstream, model

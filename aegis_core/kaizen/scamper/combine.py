"""Combine: ask once what is asked several times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aegis_core.kaizen.scamper.making import Idea, dearest
from aegis_core.protocol.kaizen import Finding


def _repeats(finding: Finding) -> Mapping[str, Any] | None:
    if (place := dearest(finding)) is None:
        return None
    return {"kind": "repeat_limit", "agent": place[0], "times": 1, "seconds": 3_600, "mode": "observe"}


def _agents(finding: Finding) -> Mapping[str, Any] | None:
    if (place := dearest(finding)) is None:
        return None
    return {"kind": "cache_hint", "agent": place[0]}


def _prefixes(finding: Finding) -> Mapping[str, Any] | None:
    if (place := dearest(finding)) is None:
        return None
    return {"kind": "cache_hint", "agent": place[0], "model": place[1], "prefix": True}


_STALE = "an answer from before may be out of date"
IDEAS = {
    "identical-calls": Idea(
        "Answer equal calls from a cache; watch repeats in observe mode first", _repeats, _STALE,
        "hashes of the day with the time to live", "switch the rule off",
    ),
    "duplicate-agents": Idea(
        "Let one agent do the work, or share a cache between both", _agents, _STALE, "hashes of both agents",
        "switch the cache off",
    ),
    "unused-cache": Idea(
        "Keep the beginning of prompts the same and mark it for the provider's cache", _prefixes,
        "none for answers; writing to some caches costs more than input", "cached tokens that the provider reports",
        "drop the marks",
    ),
}  # fmt: skip
"""By the detector whose findings it takes."""

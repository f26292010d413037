"""Proposals in words: what is stored of one, as people and programs read it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import log
from typing import Any

from aegis_core.governor.budgets import at_ms
from aegis_core.protocol.money import to_nanos, to_usd
from aegis_core.protocol.proposals import Backtest, CanaryStanding, PolicyProposal
from aegis_core.store.proposal_records import StoredProposal


def told_of(name: str, stored: StoredProposal) -> PolicyProposal:
    """A stored proposal as it is read."""
    return PolicyProposal(
        name, stored.state, stored.kind, stored.title, stored.finding, json.loads(stored.change), stored.parent,  # pyright: ignore[reportArgumentType] - states and kinds are those
        stored.digest, stored.version or None, json.loads(stored.evidence), at_ms(stored.made), at_ms(stored.changed),
        at_ms(stored.until), stored.why, stored.by, stored.approval or None,
        _tested(stored.test), standing_of(stored),
    )  # fmt: skip


def _tested(test: str) -> Backtest | None:
    if not test:
        return None
    said: dict[str, Any] = json.loads(test)
    counts = (said["requests"], said["granted"], said["refused"], said["differing"])
    return Backtest(*counts, tuple(said["changed"]))


def standing_of(stored: StoredProposal) -> CanaryStanding | None:
    """How its canary stands, or stood in the end; None: there was none."""
    if not stored.tally:
        return None
    said: dict[str, Any] = json.loads(stored.tally)
    if "stages" not in said:
        return None  # its rules only watched
    saving = said.get("saving")
    usd = (None, None, None) if saving is None else tuple(map(to_usd, saving[:3]))
    return CanaryStanding(
        stored.share, said.get("changed", 0), said.get("unchanged", 0), said.get("metric", ""),
        said.get("log_e", 0.0), said.get("certified", False), said.get("unknowing", 0), *usd,
    )  # fmt: skip


_ENDS = {"kept": "Kept", "rolled_back": "Taken back"}


def changes_of(proposals: Sequence[tuple[str, StoredProposal]], start: int, end: int) -> tuple[int, tuple[str, ...]]:
    """What a day's report says of changes that were tried: what those that were kept saved (nano-dollars), and a line
    for each that ended in it, or is tried still."""
    saved, notes = 0, list[str]()
    for name, stored in sorted(proposals):
        seen = standing_of(stored)
        if seen is None or stored.begun_at >= end or (stored.ended and not start <= stored.changed < end):
            continue
        word = _ENDS.get(stored.state, f"Tried in {stored.share} % of the sessions")
        said = f"{seen.changed:,} sessions with it, {seen.unchanged:,} without"
        if seen.saving_usd is None:
            said += "; what it saves is not known"
        else:
            said += (
                f"; saved ${seen.saving_usd:,.6f} ({seen.low_usd:,.6f} to {seen.high_usd:,.6f}) against those without"
            )
        if not stored.ended:
            said += f"; most evidence of harm in {seen.metric}: e-value 10^{seen.log_e / log(10):.1f}"
        notes.append(f"{word}: {name}, {stored.title}; {stored.why}. {said[:1].upper()}{said[1:]}.")
        if stored.state == "kept" and seen.saving_usd is not None:
            saved += max(0, to_nanos(seen.saving_usd))
    return saved, tuple(notes)

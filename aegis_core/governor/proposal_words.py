"""Proposals in words: what is stored of one, as people and programs read it."""

from __future__ import annotations

import json
from typing import Any

from aegis_core.governor.budgets import at_ms
from aegis_core.protocol.money import to_usd
from aegis_core.protocol.proposals import Backtest, CanaryStanding, PolicyProposal
from aegis_core.store.proposal_records import StoredProposal


def told_of(name: str, stored: StoredProposal) -> PolicyProposal:
    """A stored proposal as it is read."""
    test: dict[str, Any] = json.loads(stored.test) if stored.test else {}
    return PolicyProposal(
        name, stored.state, stored.kind, stored.title, stored.finding, json.loads(stored.change), stored.parent,  # pyright: ignore[reportArgumentType] - states and kinds are those
        stored.digest, stored.version or None, json.loads(stored.evidence), at_ms(stored.made), at_ms(stored.changed),
        at_ms(stored.until), stored.why, stored.by, stored.approval or None,
        Backtest(**test | {"changed": tuple(test["changed"])}) if test else None, standing_of(stored),
    )  # fmt: skip


def standing_of(stored: StoredProposal) -> CanaryStanding | None:
    """How its canary stands, or stood in the end; None: there was none."""
    if not stored.tally:
        return None
    said: dict[str, Any] = json.loads(stored.tally)
    saving = said.get("saving")
    usd = (None, None, None) if saving is None else tuple(map(to_usd, saving[:3]))
    return CanaryStanding(
        stored.share, said.get("changed", 0), said.get("unchanged", 0), said.get("metric", ""),
        said.get("log_e", 0.0), said.get("certified", False), said.get("unknowing", 0), *usd,
    )  # fmt: skip

"""What a verb is, and how a proposal is made of a finding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from aegis_core.protocol.kaizen import Finding, Interval, Proposal, Verb

_NANO = Decimal("1e-9")


@dataclass(frozen=True, slots=True)
class Idea:
    """What a verb makes of the findings of one detector.

    Attributes:
        title: what would be done, in a sentence.
        change: the change as data.
        share: which share of the amount it would save, at most; None: nobody can say.
        risk, backtest, rollback: what may go wrong, how it is tried on what was recorded, and the way back.
    """

    title: str
    change: Callable[[Finding], Mapping[str, Any] | None]
    risk: str
    backtest: str
    rollback: str
    share: Decimal | None = Decimal(1)


def proposal(verb: Verb, finding: Finding, idea: Idea) -> Proposal | None:
    """The idea for one finding; None where the finding gives no evidence for it."""
    if finding.state != "found":
        return None
    change = idea.change(finding)
    if change is None:
        return None
    saving = interval = None
    if idea.share is not None and finding.amount_usd is not None and finding.currency == "spent":
        saving = _part(finding.amount_usd, idea.share)
        if finding.interval is not None:
            low = Decimal(0) if finding.at_most else _part(finding.interval.low_usd, idea.share)
            interval = Interval(low, _part(finding.interval.high_usd, idea.share))
    return Proposal(
        f"{finding.id}.{verb}", finding.id, verb, idea.title, dict(change), saving, interval, idea.risk,
        idea.backtest, idea.rollback,
    )  # fmt: skip


def dearest(finding: Finding) -> tuple[str, str, str] | None:
    """The agent, subject and type of task where most was lost."""
    return (finding.where[0].agent, finding.where[0].subject, finding.where[0].task_type) if finding.where else None


def _part(amount: Decimal, share: Decimal) -> Decimal:
    return (amount * share).quantize(_NANO)

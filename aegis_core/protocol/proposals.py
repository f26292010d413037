"""Proposals as people and programs read them, and what persons may say of one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field

from aegis_core.protocol.approvals import Reason
from aegis_core.protocol.parsing import Message

ProposalState = Literal["proposed", "tested", "observed", "asked", "later", "canary", "kept", "rolled_back", "declined"]
ProposalKind = Literal["substitute", "tighten", "loosen"]
ProposalId = Annotated[str, Field(pattern=r"^p-[0-9a-f]{8}$")]


class ProposalAct(Message):
    """What a person says of a proposal. ``approve`` and ``reject`` answer the open question; ``later``: ask again in a
    week; ``never``: propose this change no more; ``rollback``: take it back, also once it is kept."""

    act: Literal["approve", "reject", "later", "never", "rollback"]
    reason: Reason = ""


@dataclass(slots=True)
class Backtest:
    """What recorded requests were answered under the changed rules: `granted` were granted before, of which `refused`
    are not any more. `changed` lists every verdict that is another one, up to a hundred."""

    requests: int
    granted: int
    refused: int
    differing: int
    changed: tuple[str, ...] = ()


@dataclass(slots=True)
class CanaryStanding:
    """How a canary stands: sessions with the change and without it, the metric with the most evidence of harm and the
    natural logarithm of its e-value (harm from 4.94 on). `certified`: enough sessions for that to say something."""

    percent: int
    changed: int
    unchanged: int
    metric: str
    log_e: float
    certified: bool
    unknowing: int = 0
    saving_usd: Decimal | None = None
    low_usd: Decimal | None = None
    high_usd: Decimal | None = None


@dataclass(slots=True)
class PolicyProposal:
    """A change of the policy that Kaizen proposes.

    Attributes:
        rules: that are put into the policy, each under its name.
        parent: the version that is changed; `digest` is of the changed policy, `version` its number once it is tried.
        evidence: what speaks for it.
        approval_id: the question to persons; `by` who decided last.
        until: when the evidence is too old.
    """

    proposal_id: str
    state: ProposalState
    kind: ProposalKind
    title: str
    finding: str
    rules: list[dict[str, Any]]
    parent: int
    digest: str
    version: int | None
    evidence: dict[str, Any]
    made_at: datetime
    changed_at: datetime
    until: datetime
    why: str = ""
    by: str = ""
    approval_id: str | None = None
    backtest: Backtest | None = None
    canary: CanaryStanding | None = None


@dataclass(slots=True)
class PolicyProposals:
    """Those that are kept, the newest first."""

    proposals: tuple[PolicyProposal, ...]

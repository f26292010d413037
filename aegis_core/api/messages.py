"""The messages that only operators exchange with the server. Answers give money as numbers, like all others."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from aegis_core.governor.operators import ApiKey, OpenRecord, PolicyVersion, Refund, Role
from aegis_core.protocol.fields import Identifier, Usd
from aegis_core.protocol.messages import BudgetState, Window
from aegis_core.protocol.parsing import Message

Mode = Literal["enforce", "observe"]


class KeyWish(Message):
    """An API key to make: for agents, which may shake hands, or a person's, who has the role."""

    role: Role
    name: Identifier = "unnamed"


class BudgetWindow(Message):
    """Which window of a budget is meant."""

    window: Window = "day"


class ModeChange(Message):
    """Enforce policy and budgets, or grant and book everything and say what would have been decided."""

    mode: Mode


class Rollback(Message):
    """A stored version of the policy, to be put in force once more."""

    version: Annotated[int, Field(ge=1, le=2**53)]


@dataclass(slots=True)
class Done:
    """It was done, and is in force at the next request of every process."""

    status: Literal["done"] = "done"


@dataclass(slots=True)
class ModeNow:
    """The tenant's mode."""

    mode: Mode


@dataclass(slots=True)
class Keys:
    """All keys, revoked ones included, oldest first; never their secrets."""

    keys: tuple[ApiKey, ...]


@dataclass(slots=True)
class OpenGrant:
    """A grant or question that was open when a brake was pulled. What is live may still settle."""

    grant_id: str
    agent_id: str
    state: str
    amount_usd: Usd
    expires_at: datetime

    @classmethod
    def of(cls, row: OpenRecord) -> OpenGrant:
        """The same for HTTP."""
        return cls(row.grant_id, row.agent_id, row.state, row.amount_usd, row.expires_at)


@dataclass(slots=True)
class Braked:
    """What was open: live grants may still settle, questions were declined."""

    open: tuple[OpenGrant, ...]


@dataclass(slots=True)
class BudgetBegun:
    """A budget that began its window anew: as it is now, what was counted as spent, and what open grants hold, which
    counts as spent from now on."""

    budget: BudgetState
    spent_usd: Usd
    held_usd: Usd


@dataclass(slots=True)
class RefundMade:
    """What was taken back, and all that was. `repeated`: it had been before, and this call changed nothing."""

    grant_id: str
    agent_id: str
    refund_usd: Usd
    charged_usd: Usd
    refunded_usd: Usd
    repeated: bool

    @classmethod
    def of(cls, made: Refund) -> RefundMade:
        """The same for HTTP."""
        money = (made.refund_usd, made.charged_usd, made.refunded_usd)
        return cls(made.grant_id, made.agent_id, *money, repeated=made.repeated)


@dataclass(slots=True)
class Forgotten:
    """How many texts were removed."""

    removed: int


@dataclass(slots=True)
class VersionNow:
    """The version that is in force from now on."""

    version: int


@dataclass(slots=True)
class PolicyNow:
    """A version of the policy that was put in force."""

    version: int
    digest: str
    rules: int


@dataclass(slots=True)
class StoredPolicy(PolicyNow):
    """A stored version of the policy, whole."""

    document: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(slots=True)
class PolicyHistory:
    """The stored versions, newest first; the first one is in force."""

    versions: tuple[PolicyVersion, ...]

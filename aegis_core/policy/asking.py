"""How a rule asks a person: for how long, whom, how many of them, and what silence means."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, Field, model_validator

from aegis_core.protocol.fields import Identifier

MAX_SECONDS = 604_800

Seconds = Annotated[float, Field(ge=0.05, le=MAX_SECONDS, allow_inf_nan=False)]


class Group(BaseModel, extra="forbid", frozen=True):
    """So many persons of a role or group who must approve."""

    role: Identifier
    quorum: Annotated[int, Field(ge=1, le=20)] = 1


class AskingTerms(BaseModel, extra="forbid", frozen=True):
    """The terms on which a rule that escalates asks. What is not given is the tenant's default.

    Attributes:
        timeout_seconds: how long the question stays open.
        on_timeout: what silence means. It approves only when every rule that asks says so.
        quorum: how many different persons must approve; one who rejects is enough to refuse.
        approvers: the only ones who may decide: persons, by name or by a credential such as ``telegram:123``.
        operators: the same, as it was called before.
        approver_role: who may decide has this role, or belongs to the group of this name.
        groups: of each of these roles or groups so many must approve; each person counts in one of them only.
        remind_seconds: how long before the deadline to ask once more, quietly.
        max_open: how many questions one agent may have open when this rule asks.
    """

    timeout_seconds: Seconds | None = None
    on_timeout: Literal["reject", "approve"] = "reject"
    quorum: Annotated[int, Field(ge=1, le=20)] = 1
    operators: Annotated[tuple[Identifier, ...], Field(min_length=1, max_length=50)] | None = None
    approvers: Annotated[tuple[Identifier, ...], Field(min_length=1, max_length=50)] | None = None
    approver_role: Identifier | None = None
    groups: Annotated[tuple[Group, ...], Field(min_length=1, max_length=8)] | None = None
    remind_seconds: Annotated[float, Field(gt=0, le=MAX_SECONDS, allow_inf_nan=False)] | None = None
    max_open: Annotated[int, Field(ge=1, le=100_000)] | None = None

    @model_validator(mode="after")
    def _possible(self) -> AskingTerms:
        if self.operators is not None and self.approvers is not None:
            raise ValueError("approvers: is another word for operators; give one of them")
        if self.groups and len({group.role for group in self.groups}) < len(self.groups):
            raise ValueError("groups: names a role twice; give it once, with its quorum")
        needed = max(self.quorum, sum(group.quorum for group in self.groups or ()))
        if needed > 20:
            raise ValueError(f"groups: ask for {needed} persons together; at most 20")
        if self.named is not None and len(set(self.named)) < needed:
            which = "operators" if self.operators else "approvers"
            raise ValueError(f"{which}: names {len(set(self.named))}, fewer than the quorum of {needed}")
        if self.remind_seconds and self.timeout_seconds and self.remind_seconds >= self.timeout_seconds:
            raise ValueError(f"remind_seconds: must be less than timeout_seconds ({self.timeout_seconds:g})")
        return self

    @property
    def named(self) -> tuple[str, ...] | None:
        """The only ones who may decide; None for anybody."""
        return self.approvers or self.operators

    @property
    def restricts(self) -> bool:
        """Whether it says who, or how many, must decide."""
        return self.quorum > 1 or bool(self.named or self.approver_role or self.groups)


DEFAULT = AskingTerms()


class Asker(NamedTuple):
    """A rule that asks a person: always, above an amount (nano-dollars), or when its count is exceeded."""

    rule: str
    above_nanos: int
    counted: bool
    terms: AskingTerms

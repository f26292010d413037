"""How a rule asks a person: for how long, whom, how many of them, and what silence means."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, Field, model_validator

from aegis_core.protocol.fields import Identifier

MAX_SECONDS = 604_800

Seconds = Annotated[float, Field(ge=0.05, le=MAX_SECONDS, allow_inf_nan=False)]


class AskingTerms(BaseModel, extra="forbid", frozen=True):
    """The terms on which a rule that escalates asks. What is not given is the tenant's default.

    Attributes:
        timeout_seconds: how long the question stays open.
        on_timeout: what silence means. It approves only when every rule that asks says so.
        quorum: how many different operators must approve; one who rejects is enough to refuse.
        operators: the only ones who may decide, by the names that their credentials carry.
        remind_seconds: how long before the deadline to ask once more, quietly.
        max_open: how many questions one agent may have open when this rule asks.
    """

    timeout_seconds: Seconds | None = None
    on_timeout: Literal["reject", "approve"] = "reject"
    quorum: Annotated[int, Field(ge=1, le=20)] = 1
    operators: Annotated[tuple[Identifier, ...], Field(min_length=1, max_length=50)] | None = None
    remind_seconds: Annotated[float, Field(gt=0, le=MAX_SECONDS, allow_inf_nan=False)] | None = None
    max_open: Annotated[int, Field(ge=1, le=100_000)] | None = None

    @model_validator(mode="after")
    def _possible(self) -> AskingTerms:
        if self.operators is not None and len(set(self.operators)) < self.quorum:
            raise ValueError(f"operators: names {len(set(self.operators))}, fewer than the quorum of {self.quorum}")
        if self.remind_seconds and self.timeout_seconds and self.remind_seconds >= self.timeout_seconds:
            raise ValueError(f"remind_seconds: must be less than timeout_seconds ({self.timeout_seconds:g})")
        return self


DEFAULT = AskingTerms()


class Asker(NamedTuple):
    """A rule that asks a person: always, above an amount (nano-dollars), or when its count is exceeded."""

    rule: str
    above_nanos: int
    counted: bool
    terms: AskingTerms

"""Why a model was recommended: the part of a verdict that explains the choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aegis_core.fields import Usd


@dataclass(frozen=True, slots=True)
class Routing:
    """Why a model was recommended.

    `expected_quality` and its lower bound (95 %) are mean scores of 0 to 1, by `outcomes` (decayed) of its tier and the
    shipped weak prior. `evidence` says what decided the tier: outcomes of the task type, a fitted text model, outcomes
    of the agent at this density, or the declared density alone (``prior``). Costs are expected ones, not reservations.
    """

    model: str
    evidence: Literal["prior", "task_type", "text", "agent"]
    outcomes: int
    expected_quality: float
    quality_bound: float
    target: float
    expected_cost_usd: Usd
    strongest_model: str
    strongest_cost_usd: Usd
    price_version: str
    outcomes_version: int
    degraded: bool = False
    escalation_model: str | None = None
    note: str = ""

"""The count of a replay: what was answered, why, and what it cost. Money in nano-dollars."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from aegis_core.protocol.messages import BudgetLine, Verdict
from aegis_core.replay.trace import Call

BY_RULE = frozenset({"policy", "approval_needed"})
"""Codes of verdicts that a rule of the policy decided; another verdict may name a rule that came to nothing."""


@dataclass(slots=True)
class Share:
    """The calls of one agent, model or rule. `cost` is that of the present model, `granted_cost` was charged."""

    calls: int = 0
    granted: int = 0
    escalated: int = 0
    rejected: int = 0
    cost: int = 0
    granted_cost: int = 0
    escalated_cost: int = 0
    rejected_cost: int = 0


@dataclass(slots=True)
class Shortage:
    """One budget in one of its windows, from the first call that it could not pay.

    Attributes:
        limit: nano-dollars.
        ran_out: the time of that call, in ms.
        resets: when the window ends, in ms; None: never.
        rejected: calls refused for it.
        refused: what those calls cost, in nano-dollars.
    """

    scope: str
    name: str
    window: str
    limit: int
    ran_out: int
    resets: int | None
    rejected: int = 0
    refused: int = 0


@dataclass(slots=True)
class Tally:
    """What a replay has come to so far.

    Attributes:
        all: every call; `agents`, `models` and `rules` hold the shares of each by name.
        recommended: calls by the model that was recommended for them.
        recommended_cost: what every call, granted or not, would cost at its recommended model.
        kept: calls for which there was nothing to recommend; they count at the present model.
        tools: calls of tools among all.
        tasks: those of which the trace says how they ended, and `solved` those that were done at least in part.
        examples: by rule, the first call that it decided: line of the trace, and the verdict's reason.
        shortages: budgets that did not suffice, window by window.
        others: refusals for other reasons, by code.
        first: the time of the first answered call, in ms; `last` that of the last one.
        seconds: how long the replay took.
        interrupted: the user ended it early.
    """

    all: Share = field(default_factory=Share)
    agents: dict[str, Share] = field(default_factory=dict[str, Share])
    models: dict[str, Share] = field(default_factory=dict[str, Share])
    recommended: Counter[str] = field(default_factory=Counter[str])
    recommended_cost: int = 0
    kept: int = 0
    tools: int = 0
    tasks: int = 0
    solved: int = 0
    rules: dict[str, Share] = field(default_factory=dict[str, Share])
    examples: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    shortages: dict[tuple[str, str, str, int | None], Shortage] = field(
        default_factory=dict[tuple[str, str, str, int | None], Shortage]
    )
    others: Counter[str] = field(default_factory=Counter[str])
    first: int = 0
    last: int = 0
    seconds: float = 0.0
    interrupted: bool = False

    def count(self, call: Call, model: str, cost: int, verdict: Verdict) -> None:
        """Add one answered call.

        Args:
            call: what was asked.
            model: the present model; empty for a tool.
            cost: nano-dollars at the present model.
            verdict: the answer.
        """
        self.first = self.first or call.at
        self.last = call.at
        shares = [self.all, self.agents.setdefault(call.agent, Share())]
        if call.tool is None:
            shares.append(self.models.setdefault(model, Share()))
            if call.outcome is not None:
                self.tasks += 1
                self.solved += call.outcome > 0
        else:
            self.tools += 1
        if verdict.rule and verdict.code in BY_RULE:
            shares.append(self.rules.setdefault(verdict.rule, Share()))
            self.examples.setdefault(verdict.rule, (call.line, verdict.reason))
        for share in shares:
            share.calls += 1
            share.cost += cost
            if verdict.status == "GRANTED":
                share.granted += 1
            elif verdict.status == "PENDING":
                share.escalated += 1
                share.escalated_cost += cost
            else:
                share.rejected += 1
                share.rejected_cost += cost

    def recommend(self, model: str | None, cost: int) -> None:
        """Add the same call at the recommended model; None: nothing to recommend, so it stays with the present one."""
        if model is None:
            self.kept += 1
        else:
            self.recommended[model] += 1
        self.recommended_cost += cost

    def charge(self, call: Call, model: str, charged: int) -> None:
        """Add what a granted call was charged."""
        for share in (self.all, self.agents[call.agent], self.models.get(model) if call.tool is None else None):
            if share is not None:
                share.granted_cost += charged

    def blame_budget(self, call: Call, cost: int, line: BudgetLine, resets: int | None) -> None:
        """Book a refusal on the budget that did not suffice."""
        key = (line.scope, line.name, line.window, resets)
        short = self.shortages.get(key)
        if short is None:
            limit = int(line.limit_usd.scaleb(9))
            self.shortages[key] = short = Shortage(line.scope, line.name, line.window, limit, call.at, resets)
        short.rejected += 1
        short.refused += cost

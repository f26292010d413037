"""Recorded requests put to two policies, on a throw-away server and on their own time: which answers differ."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from aegis_core.kaizen.optimizer.recorded import Recorded
from aegis_core.policy.engine import Policy
from aegis_core.protocol.messages import Verdict
from aegis_core.protocol.proposals import Backtest
from aegis_core.replay.runner import Plan, replay, replay_settings
from aegis_core.replay.tally import Tally
from aegis_core.replay.trace import Call, Trace
from aegis_core.settings import Settings

_MOST_TOLD = 100
_PLENTY = Decimal(1_000_000)
"""Dollars: the rules alone are compared, not budgets."""


class _Answers(Tally):
    """A count that also keeps each answer."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Verdict] = []

    def count(self, call: Call, model: str, cost: int, verdict: Verdict) -> None:
        """Add one answered call."""
        super().count(call, model, cost, verdict)
        self.answers.append(verdict)


class Backtests:
    """What the optimizer is handed by the door that starts it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def __call__(self, asked: Sequence[Recorded], parent: Policy, changed: Policy) -> Backtest:
        """Put the requests to both policies.

        Raises:
            StoreError: no server could be started.
        """
        calls = tuple(_call(number, each) for number, each in enumerate(sorted(asked, key=lambda each: each.at), 1))
        if not calls:
            return Backtest(0, 0, 0, 0)
        before, after = await self._answers(calls, parent), await self._answers(calls, changed)
        pairs = list(zip(calls, before, after, strict=True))
        granted = [pair for pair in pairs if pair[1].status == "GRANTED"]
        differing = [pair for pair in pairs if pair[1].status != pair[2].status]
        return Backtest(
            len(pairs), len(granted), sum(each.status == "REJECTED" for _, _, each in granted), len(differing),
            tuple(_told(*each) for each in differing[:_MOST_TOLD]),
        )  # fmt: skip

    async def _answers(self, calls: tuple[Call, ...], policy: Policy) -> list[Verdict]:
        found = _Answers()
        with tempfile.TemporaryDirectory(prefix="aegis-backtest-") as folder:
            path = Path(folder) / "policy.json"
            path.write_text(policy.document, "utf-8")
            plain = self._settings.model_copy(update={"policy_file": None, "state_file": None, "expect_state": False})
            settings = replay_settings(plain, policy=path, budget=_PLENTY, tenant_budget=_PLENTY)
            await replay(Trace(path, "jsonl", calls), Plan(), settings, found, lambda: None)
        return found.answers


def _call(number: int, each: Recorded) -> Call:
    is_model = each.resource == "llm_tokens"
    return Call(
        each.at, each.agent, each.session, number, each.intent, tool=None if is_model else each.tool or each.resource,
        model=each.model if is_model else None, cost=each.amount, arguments_hash=each.arguments, target=each.target,
        task_type=each.task_type, resource=each.resource, priority=each.priority,
    )  # fmt: skip


def _told(call: Call, before: Verdict, after: Verdict) -> str:
    why = f" ({after.rule})" if after.rule else ""
    return f"{call.agent}, {call.tool or call.model or 'a model'}: {before.status} would be {after.status}{why}"

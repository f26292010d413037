"""An escalated tool call pauses; approved it runs once, declined or unanswered it does not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from decimal import Decimal
from uuid import uuid4

from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.connect import connect_sync
from aegis_core.protocol.approvals import Approval, ApprovalEdit, Decision
from aegis_core.testing.clocks import private_settings
from aegis_core.testing.contract.base import NOTHING, PATIENCE, Base, denial_of, price, reserved, spent
from aegis_core.testing.contract.demands import in_each, needs
from aegis_core.testing.contract.tools import by_amount, pay, use
from aegis_core.testing.scripts import Drive, Mode, ModelScript, RunEnd, Turn


class Approvals(Base):
    """More than $5 at once asks a human, by the default policy."""

    @needs("tools", "approvals")
    def test_an_unanswered_call_does_not_run(self, contract_server: str) -> None:
        """Nobody approves it in time: it is refused, and nothing stays held."""
        settings = private_settings(url=contract_server, tenant=f"t-{uuid4().hex[:12]}", approval_seconds=0.4)
        with connect_sync(settings=settings) as governor:
            aegis = governor.handshake("contract")
            script = ModelScript(Turn(tools=(use(7),)), Turn("Nobody approved."), tools={"pay": pay})
            outcome = self.run(aegis, script, Drive(costs={"pay": 7}, approval_seconds=0.2))
            assert script.uses == []
            assert "nobody approved it in time" in self.told(outcome).lower()
            assert reserved(aegis) == NOTHING

    @needs("tools", "approvals")
    @in_each("sync", "async")
    def test_an_approved_call_runs_once(self, aegis: SyncGovernedAgent, governor: SyncGovernor, mode: Mode) -> None:
        """The operator decides while the run waits; the money is charged once."""
        turns = Turn(tools=(use(7),)), Turn("Paid.")
        script = ModelScript(*turns, tools={"pay": pay})
        with operator(governor, lambda _: "approve") as asked:
            outcome = self.run(aegis, script, Drive(mode, costs={"pay": 7}, approval_seconds=PATIENCE))
        assert (outcome.error, outcome.text) == (None, "Paid.")
        assert [entry.arguments for entry in script.uses] == [{"amount": 7}]
        assert [(approval.tool, approval.amount_usd) for approval in asked] == [("pay", 7)]
        assert (spent(aegis), reserved(aegis)) == (Decimal(7) + price(*turns), NOTHING)

    @needs("tools", "approvals")
    def test_nothing_runs_before_the_decision(self, aegis: SyncGovernedAgent, governor: SyncGovernor) -> None:
        """When the operator looks, the tool has not run and its cost is held."""
        script = ModelScript(Turn(tools=(use(7),)), Turn("Paid."), tools={"pay": pay})
        seen: list[tuple[int, bool]] = []

        def decision(_: Approval) -> Decision:
            seen.append((len(script.uses), reserved(aegis) >= 7))
            return "approve"

        with operator(governor, decision):
            self.run(aegis, script, Drive(costs={"pay": 7}, approval_seconds=PATIENCE))
        assert seen == [(0, True)]
        assert len(script.uses) == 1

    @needs("tools", "approvals")
    @in_each("sync", "async")
    def test_a_rejected_call_does_not_run(self, aegis: SyncGovernedAgent, governor: SyncGovernor, mode: Mode) -> None:
        """The model, or the program, learns who declined it and why."""
        script = ModelScript(Turn(tools=(use(7),)), Turn("It was declined."), tools={"pay": pay})
        with operator(governor, lambda _: "reject"):
            outcome = self.run(aegis, script, Drive(mode, costs={"pay": 7}, approval_seconds=PATIENCE))
        assert script.uses == []
        assert "operator rejected it (not today)" in self.told(outcome)
        assert reserved(aegis) == NOTHING

    @needs("tools", "approvals", "tool_denial_as_text")
    def test_each_of_parallel_calls_is_decided_by_itself(
        self, aegis: SyncGovernedAgent, governor: SyncGovernor
    ) -> None:
        """One is approved, one rejected, and one asks nobody; each that may run does so exactly once."""
        turns = Turn(tools=(use(1, "a"), use(6, "b"), use(8, "c"))), Turn("Done.")
        script = ModelScript(*turns, tools={"pay": pay})
        governor.set_budget("agent", aegis.agent_id, "day", 100)
        with operator(governor, lambda approval: "reject" if approval.amount_usd == 8 else "approve") as asked:
            outcome = self.run(aegis, script, Drive(costs=by_amount, approval_seconds=PATIENCE))
        assert (outcome.error, outcome.text) == (None, "Done.")
        assert sorted(entry.arguments["amount"] for entry in script.uses) == [1, 6]
        assert sorted(approval.amount_usd for approval in asked) == [6, 8]
        assert sorted(text.startswith("paid") for text in outcome.observations) == [False, True, True]
        assert (spent(aegis), reserved(aegis)) == (Decimal(7) + price(*turns), NOTHING)

    @needs("tools", "approvals")
    def test_a_call_that_was_changed_by_its_approver_does_not_run_unchanged(
        self, aegis: SyncGovernedAgent, governor: SyncGovernor
    ) -> None:
        """The operator approved other arguments than the agent has."""
        script = ModelScript(Turn(tools=(use(7),)), Turn("It was changed."), tools={"pay": pay})
        edit = ApprovalEdit(arguments_hash="0" * 32)
        with operator(governor, lambda _: "approve", edit):
            outcome = self.run(aegis, script, Drive(costs=by_amount, approval_seconds=PATIENCE))
        assert script.uses == []
        assert "approved only after a change" in self.told(outcome)
        assert reserved(aegis) == NOTHING

    def told(self, outcome: RunEnd) -> str:
        """What the model was told of the refusal, or the program."""
        return denial_of(outcome).message if outcome.error else outcome.observations[0]


@contextmanager
def operator(
    governor: SyncGovernor, decision: Callable[[Approval], Decision], edit: ApprovalEdit | None = None
) -> Generator[list[Approval]]:
    """Decides from a thread of its own whatever waits, the oldest first."""
    asked: list[Approval] = []
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.03):
            for approval in governor.approvals.list():
                asked.append(approval)
                said = decision(approval)
                reason = "not today" if said == "reject" else ""
                governor.approvals.decide(approval.approval_id, said, by="operator", reason=reason, edit=edit)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        done.set()
        thread.join()

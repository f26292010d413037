"""A lock is held while its tool runs, and free after it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from aegis_core.adapting import ToolLock, current_fence
from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.protocol.approvals import Approval, Decision
from aegis_core.protocol.errors import LockTimeoutError
from aegis_core.testing.contract.approvals import operator
from aegis_core.testing.contract.base import NOTHING, PATIENCE, Base, denial_of, lower_budget, price, reserved, spent
from aegis_core.testing.contract.demands import in_each, in_first, needs
from aegis_core.testing.contract.tools import broken, pay, use
from aegis_core.testing.scripts import Drive, Mode, ModelScript, RunEnd, Turn

WALLET = "wallet_main"


def _locks(script: ModelScript) -> dict[str, Any]:
    """Each of its tools holds the wallet."""
    return dict.fromkeys(script.tools, WALLET)


class Locks(Base):
    """Where two agents want the same wallet, one waits."""

    @needs("tools", "locks")
    @in_each("sync", "async")
    def test_a_lock_is_held_during_the_tool(self, aegis: SyncGovernedAgent, governor: SyncGovernor, mode: Mode) -> None:
        """Another agent does not get it meanwhile, everybody sees who has it, and after the tool it is free."""
        other = governor.handshake("other")
        seen: list[tuple[str, bool]] = []

        def look(amount: int) -> str:
            (holder,) = governor.locks(WALLET)[0].holders
            seen.append((holder.agent_id, _is_free_for(other)))
            return pay(amount)

        script = ModelScript(Turn(tools=(use(7),)), Turn("Paid."), tools={"pay": look})
        outcome = self.run(aegis, script, Drive(mode, locks=_locks(script)))
        assert (outcome.error, outcome.text) == (None, "Paid.")
        assert seen == [(aegis.agent_id, False)]
        assert governor.locks(WALLET) == ()
        assert _is_free_for(other)

    @needs("tools", "locks")
    @in_each("sync", "async")
    def test_it_is_free_after_a_tool_that_raises(
        self, aegis: SyncGovernedAgent, governor: SyncGovernor, mode: Mode
    ) -> None:
        """And the tool's money is given back."""
        turns = Turn(tools=(use(7, tool="broken"),)), Turn("The bank is closed.")
        script = ModelScript(*turns, tools={"broken": broken})
        self.run(aegis, script, Drive(mode, costs={"broken": "0.25"}, locks=_locks(script)))
        assert len(script.uses) >= 1
        assert governor.locks(WALLET) == ()
        assert (spent(aegis), reserved(aegis)) == (price(*turns[: len(script.calls)]), NOTHING)

    @needs("tools", "locks")
    @in_first("async", "astream")
    def test_it_is_free_after_a_cancelled_run(
        self, brief: SyncGovernedAgent, brief_governor: SyncGovernor, mode: Mode
    ) -> None:
        """By itself, and no later than its grant ends, though nobody else may tell."""
        begun = threading.Event()

        def slow(amount: int) -> str:
            begun.set()
            time.sleep(0.8)
            return pay(amount)

        script = ModelScript(Turn(tools=(use(7),)), Turn("Paid."), tools={"pay": slow})
        self.run(brief, script, Drive(mode, cancel=begun, locks={"pay": ToolLock(WALLET, ttl=600)}))
        assert begun.is_set()
        assert _within(PATIENCE, lambda: brief_governor.locks(WALLET) == ())

    @needs("tools", "locks")
    @in_each("sync", "async")
    def test_parallel_calls_do_not_overlap(self, aegis: SyncGovernedAgent, mode: Mode) -> None:
        """Three calls of one answer take the wallet one after the other, however the framework runs them."""
        inside: list[int] = []
        crowds: list[int] = []

        def alone(amount: int) -> str:
            inside.append(amount)
            time.sleep(0.05)
            crowds.append(len(inside))
            inside.remove(amount)
            return pay(amount)

        turns = Turn(tools=(use(1, "a"), use(2, "b"), use(3, "c"))), Turn("Paid.")
        script = ModelScript(*turns, tools={"pay": alone})
        outcome = self.run(aegis, script, Drive(mode, costs={"pay": "0.25"}, locks=_locks(script)))
        assert (outcome.error, outcome.text) == (None, "Paid.")
        assert sorted(entry.arguments["amount"] for entry in script.uses) == [1, 2, 3]
        assert crowds == [1, 1, 1]
        assert spent(aegis) == Decimal("0.75") + price(*turns)

    @needs("tools", "locks")
    @in_first("sync", "async")
    def test_the_fence_reaches_the_tool_and_grows(
        self, aegis: SyncGovernedAgent, governor: SyncGovernor, mode: Mode
    ) -> None:
        """The tool can hand it to what the lock protects."""
        self._fences(aegis, governor, mode)

    @needs("tools", "locks", "async_fence")
    @in_first("async")
    def test_the_fence_reaches_the_tool_of_an_asynchronous_run(
        self, aegis: SyncGovernedAgent, governor: SyncGovernor, mode: Mode
    ) -> None:
        """The same there."""
        self._fences(aegis, governor, mode)

    @needs("tools", "locks")
    @in_each("sync", "async")
    def test_a_lock_that_is_not_to_be_had_is_a_refusal(
        self, aegis: SyncGovernedAgent, governor: SyncGovernor, mode: Mode
    ) -> None:
        """In the framework's own words; the tool does not run, and nothing is charged for it."""
        turns = Turn(tools=(use(7),)), Turn("I could not pay.")
        script = ModelScript(*turns, tools={"pay": pay})
        ask = Drive(mode, costs={"pay": "0.25"}, locks={"pay": ToolLock(WALLET, wait=0.1)})
        with governor.handshake("other").lock(WALLET):
            outcome = self.run(aegis, script, ask)
        assert script.uses == []
        assert "Aegis refused pay(amount=7): the lock wallet_main was not free within 0.1 s" in self._told(outcome)
        assert (spent(aegis), reserved(aegis)) == (price(*turns[: len(script.calls)]), NOTHING)

    @needs("tools", "locks")
    def test_a_refused_call_takes_no_lock(self, aegis: SyncGovernedAgent, governor: SyncGovernor) -> None:
        """Not even for a moment."""
        lower_budget(governor, aegis, "2.50")
        script = ModelScript(Turn(tools=(use(7),)), Turn("I could not pay."), tools={"pay": pay})
        self.run(aegis, script, Drive(costs={"pay": 7}, locks=_locks(script)))
        assert script.uses == []
        assert [event.kind for event in governor.events(limit=1_000) if event.kind.startswith("lock")] == []

    @needs("tools", "locks", "approvals")
    def test_no_lock_is_held_while_a_person_is_asked(self, aegis: SyncGovernedAgent, governor: SyncGovernor) -> None:
        """It is taken once the call is approved."""
        held: list[int] = []

        def look(amount: int) -> str:
            held.append(len(governor.locks(WALLET)))
            return pay(amount)

        def decision(_: Approval) -> Decision:
            held.append(len(governor.locks(WALLET)))
            return "approve"

        script = ModelScript(Turn(tools=(use(7),)), Turn("Paid."), tools={"pay": look})
        with operator(governor, decision):
            outcome = self.run(aegis, script, Drive(costs={"pay": 7}, locks=_locks(script), approval_seconds=PATIENCE))
        assert (outcome.error, outcome.text) == (None, "Paid.")
        assert held == [0, 1]
        assert governor.locks(WALLET) == ()

    @needs("tools", "locks")
    def test_the_arguments_choose_the_lock(self, aegis: SyncGovernedAgent, governor: SyncGovernor) -> None:
        """None: this call needs none."""
        held: list[list[str]] = []

        def look(amount: int) -> str:
            held.append([lock.resource for lock in governor.locks()])
            return pay(amount)

        script = ModelScript(Turn(tools=(use(7),)), Turn(tools=(use(1, "b"),)), Turn("Paid."), tools={"pay": look})
        locks = {"pay": _for_large_amounts}
        assert self.run(aegis, script, Drive(locks=locks)).text == "Paid."
        assert held == [["wallet_large"], []]

    def _fences(self, aegis: SyncGovernedAgent, governor: SyncGovernor, mode: Mode) -> None:
        found: list[tuple[int | None, int]] = []

        def look(amount: int) -> str:
            found.append((current_fence(), governor.locks(WALLET)[0].holders[0].fence))
            return pay(amount)

        script = ModelScript(Turn(tools=(use(1),)), Turn(tools=(use(2, "b"),)), Turn("Paid."), tools={"pay": look})
        outcome = self.run(aegis, script, Drive(mode, locks=_locks(script)))
        assert (outcome.error, outcome.text) == (None, "Paid.")
        (first, shown), (second, shown_second) = found
        assert (first, second) == (shown, shown_second)
        assert first is not None
        assert second is not None
        assert first < second
        assert current_fence() is None

    def _told(self, outcome: RunEnd) -> str:
        """What the model was told of the refusal, or the program."""
        return denial_of(outcome).message if outcome.error else outcome.observations[0]


def _for_large_amounts(arguments: Any) -> str | None:
    return "wallet_large" if arguments["amount"] > 5 else None


def _is_free_for(agent: SyncGovernedAgent) -> bool:
    try:
        with agent.lock(WALLET, wait=0):
            return True
    except LockTimeoutError:
        return False


def _within(seconds: float, done: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True

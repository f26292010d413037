"""What was held is settled at what the provider counted, or given back: nothing leaks, nothing is charged twice."""

from __future__ import annotations

import time

from aegis_core.client.sync import SyncGovernedAgent
from aegis_core.testing.contract.base import NOTHING, PATIENCE, Base, price, reserved, spent
from aegis_core.testing.contract.demands import in_each, in_first, needs
from aegis_core.testing.contract.refusals import MODES
from aegis_core.testing.scripts import Drive, Mode, ModelScript, Turn


class Settlements(Base):
    """Money held for a call ends with the call."""

    @in_each(*MODES)
    def test_usage_settles_to_the_nano_dollar(self, aegis: SyncGovernedAgent, mode: Mode) -> None:
        """1,234 and 17 tokens of gpt-4o-mini are $0.0001953."""
        turn = Turn("It is sunny in Bern.", usage=(1_234, 17))
        assert self.run(aegis, ModelScript(turn), Drive(mode)).error is None
        assert spent(aegis) == price(turn) * (Drive.batch if mode == "batch" else 1)
        assert reserved(aegis) == NOTHING

    @in_each(*MODES)
    def test_a_provider_error_costs_nothing(self, aegis: SyncGovernedAgent, mode: Mode) -> None:
        """Where certainly nothing was computed. The error is the program's, unchanged."""
        outcome = self.run(aegis, ModelScript(Turn(error=ConnectionRefusedError("provider is down"))), Drive(mode))
        assert "provider is down" in str(outcome.error)
        assert (spent(aegis), reserved(aegis)) == (NOTHING, NOTHING)

    @in_each(*MODES)
    def test_a_call_whose_answer_was_lost_is_charged_as_reserved(self, aegis: SyncGovernedAgent, mode: Mode) -> None:
        """The provider may have computed it, and bills it then."""
        outcome = self.run(aegis, ModelScript(Turn(error=TimeoutError("no answer in time"))), Drive(mode))
        assert "no answer in time" in str(outcome.error)
        assert spent(aegis) > NOTHING
        assert reserved(aegis) == NOTHING

    @in_first("sync", "async")
    def test_a_count_that_cannot_be_is_charged_as_reserved(self, aegis: SyncGovernedAgent, mode: Mode) -> None:
        """More tokens than the model can read at once."""
        turn = Turn("It is sunny in Bern.", usage=(700_000, 17))
        assert self.run(aegis, ModelScript(turn), Drive(mode)).error is None
        assert NOTHING < spent(aegis) < price(turn) / 100
        assert reserved(aegis) == NOTHING

    @in_first("stream", "astream", "sync")
    def test_a_call_without_usage_is_charged_as_reserved(self, aegis: SyncGovernedAgent, mode: Mode) -> None:
        """Never free, and never held on."""
        assert self.run(aegis, ModelScript(Turn("It is sunny in Bern.", usage=None)), Drive(mode)).error is None
        assert spent(aegis) > NOTHING
        assert reserved(aegis) == NOTHING

    @in_each("stream", "astream")
    def test_a_stream_that_breaks_is_charged_as_reserved(self, aegis: SyncGovernedAgent, mode: Mode) -> None:
        """The provider has counted what it sent; how much, nobody says."""
        turn = Turn("It is sunny in Bern.", error=ConnectionError("cut off"), breaks_after=2)
        outcome = self.run(aegis, ModelScript(turn), Drive(mode))
        assert "cut off" in str(outcome.error)
        assert spent(aegis) > NOTHING
        assert reserved(aegis) == NOTHING

    @in_each("stream", "astream")
    def test_an_abandoned_stream_is_charged_as_reserved(
        self, aegis: SyncGovernedAgent, brief: SyncGovernedAgent, mode: Mode
    ) -> None:
        """Leaving a stream does not make it free."""
        late = "abandoned_at_once" in self.harness.lacks
        agent = brief if late else aegis
        script = ModelScript(Turn("It is sunny in Bern and it will stay so."))
        assert self.run(agent, script, Drive(mode, take=2)).error is None
        assert self.settles(agent) if late else reserved(agent) == NOTHING
        assert spent(agent) > NOTHING

    @in_first("async", "astream")
    def test_a_cancelled_call_does_not_stay_held(
        self, aegis: SyncGovernedAgent, brief: SyncGovernedAgent, mode: Mode
    ) -> None:
        """It may have cost something, so it is charged as reserved: when it is cancelled, or at its deadline."""
        agent = brief if "cancelled_at_once" in self.harness.lacks else aegis
        script = ModelScript(Turn("It is sunny in Bern.", seconds=6))  # some frameworks end the run only after the call
        outcome = self.run(agent, script, Drive(mode, cancel=script.reached))
        assert outcome.error is not None
        assert len(script.calls) == 1
        assert self.settles(agent)
        assert spent(agent) > NOTHING

    @needs("cache")
    def test_an_answer_from_the_frameworks_cache_costs_nothing(self, aegis: SyncGovernedAgent) -> None:
        """The second of two equal runs reaches no provider."""
        turn = Turn("It is sunny in Bern.")
        script = ModelScript(turn)
        assert self.run(aegis, script, Drive(cached=True)).text == turn.text
        assert len(script.calls) == 1
        assert (spent(aegis), reserved(aegis)) == (price(turn), NOTHING)

    @needs("nesting")
    def test_a_nested_agent_is_charged_once(self, aegis: SyncGovernedAgent) -> None:
        """Its calls are the run's, no matter who started them."""
        turn = Turn("It is sunny in Bern.")
        script = ModelScript(turn)
        assert self.run(aegis, script, Drive(nested=True)).error is None
        assert spent(aegis) == price(turn) * len(script.calls)
        assert reserved(aegis) == NOTHING

    def settles(self, aegis: SyncGovernedAgent) -> bool:
        """Whether nothing is held after a while. An overdue grant ends when the agent asks again."""
        until = time.monotonic() + PATIENCE
        while reserved(aegis) > NOTHING:
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
            verdict = aegis.request("Look", resource_type="compute", estimated_cost_usd=0)
            aegis.release(verdict.grant_id or "")
        return True

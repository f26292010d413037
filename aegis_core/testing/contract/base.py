"""What all capabilities stand on: a server and tenant of their own, an agent, and words for what is asserted."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from decimal import Decimal
from uuid import uuid4

import pytest

from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.connect import connect_sync
from aegis_core.protocol.denial import AegisDenied
from aegis_core.settings import Settings
from aegis_core.store.embedded import join_sync
from aegis_core.testing.clocks import private_settings, quiet_zone
from aegis_core.testing.contract.demands import demand_of
from aegis_core.testing.scripts import Drive, Harness, ModelScript, RunEnd, Turn

INPUT_PRICE, OUTPUT_PRICE = Decimal("0.15e-6"), Decimal("0.60e-6")
"""Dollars a token of the scripts' model, gpt-4o-mini."""

NOTHING = Decimal(0)

PATIENCE = 60.0
"""Seconds that a test waits for what happens at once on a quiet machine."""


class Base:
    """Fixtures and helpers; no test of its own."""

    harness: Harness

    @pytest.fixture(scope="class")
    @classmethod
    def contract_server(cls) -> Generator[str]:
        """A throw-away server for the class."""
        handle = join_sync(None, throwaway=True)
        yield handle.url
        handle.leave_sync()

    @pytest.fixture
    def governor(self, contract_server: str) -> Generator[SyncGovernor]:
        """A governor with a tenant of its own. Its grants outlive every test, so what is no longer held was ended."""
        with connect_sync(settings=_new_place(contract_server)) as governor:
            yield governor

    @pytest.fixture
    def aegis(self, governor: SyncGovernor) -> SyncGovernedAgent:
        """An agent with $10 a day."""
        return governor.handshake("contract")

    @pytest.fixture
    def brief_governor(self, contract_server: str) -> Generator[SyncGovernor]:
        """The same with grants that end after 2 seconds: for what nobody hears of, and so ends by its deadline."""
        with connect_sync(settings=_new_place(contract_server, grant_seconds=2)) as governor:
            yield governor

    @pytest.fixture
    def brief(self, brief_governor: SyncGovernor) -> SyncGovernedAgent:
        """An agent with $10 a day and brief grants."""
        return brief_governor.handshake("contract")

    def __init_subclass__(cls, **options: object) -> None:
        """Leave out the tests that need what the harness's framework lacks: they are nobody's to run or to skip."""
        super().__init_subclass__(**options)
        if hasattr(cls, "harness"):
            for name in dir(cls):
                if name.startswith("test_") and not demand_of(getattr(cls, name)).is_met_by(cls.harness):
                    setattr(cls, name, None)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run a test in those of its modes that the framework has."""
        if "mode" in metafunc.fixturenames:
            metafunc.parametrize("mode", demand_of(metafunc.function).modes_of(self.harness))

    def run(self, aegis: SyncGovernedAgent, script: ModelScript, ask: Drive | None = None) -> RunEnd:
        """One run of the harness. Frameworks' own deprecations are theirs."""
        with calm():
            return self.harness.run(aegis, script, ask or Drive())


@contextmanager
def calm() -> Generator[None]:
    """Leave frameworks' own deprecations to them. Filters are the process's, so threads share one such block."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield


def _new_place(server: str, **values: object) -> Settings:
    """A tenant of its own. What is spent is read from the day's budget, so no day ends meanwhile."""
    return private_settings(url=server, tenant=f"t-{uuid4().hex[:12]}", timezone=quiet_zone(), **values)


def lower_budget(governor: SyncGovernor, aegis: SyncGovernedAgent, usd: str) -> None:
    """Leave the agent so many dollars a day."""
    governor.set_budget("agent", aegis.agent_id, "day", usd)


def denial_of(outcome: RunEnd) -> AegisDenied:
    """The denial with which the run ended."""
    assert outcome.error is not None, f"the run went on to its end: {outcome.text!r}"
    denied = AegisDenied.from_exception(outcome.error)
    assert denied is not None, f"not a denial: {outcome.error!r}"
    return denied


def spent(aegis: SyncGovernedAgent) -> Decimal:
    """Dollars charged to the agent today."""
    return next(state.spent_usd for state in aegis.budget().budgets if (state.scope, state.window) == ("agent", "day"))


def reserved(aegis: SyncGovernedAgent) -> Decimal:
    """Dollars still held for the agent."""
    return next(
        state.reserved_usd for state in aegis.budget().budgets if (state.scope, state.window) == ("agent", "day")
    )


def price(*turns: Turn) -> Decimal:
    """What the provider's own counts of these turns cost, to the nano-dollar, each call rounded up."""
    total = NOTHING
    for turn in turns:
        assert turn.usage is not None
        nanos = (turn.usage[0] * INPUT_PRICE + turn.usage[1] * OUTPUT_PRICE).scaleb(9)
        total += Decimal(-int(-nanos // 1)).scaleb(-9)
    return total

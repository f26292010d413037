"""What a framework cannot have is declared with its reason, and true."""

from __future__ import annotations

from typing import get_args

from aegis_core.testing.contract.base import Base
from aegis_core.testing.contract.demands import CAPABILITIES, demand_of
from aegis_core.testing.scripts import Mode


class Absences(Base):
    """The tests that are not run for a framework stand here, as one."""

    def test_every_absence_has_its_reason(self) -> None:
        """Each mode that the harness has no entry point for, and each capability, by the names of the contract."""
        modes: tuple[Mode, ...] = get_args(Mode)
        lacks = self.harness.lacks
        assert {mode for mode in modes if mode not in self.harness.modes} == {name for name in lacks if name in modes}
        assert set(lacks) <= {*CAPABILITIES, *modes}
        assert all(len(reason.split()) > 3 for reason in lacks.values())

    def test_the_framework_still_lacks_it(self) -> None:
        """Where the harness can show it: a framework that learned it since is taken at its word no more."""
        for name, shows in self.harness.proofs.items():
            assert name in self.harness.lacks, f"{name} is not declared to be lacking"
            assert shows(), f"{self.harness.framework} has {name} now, so take it out of what it lacks"

    def test_nothing_else_is_left_out(self) -> None:
        """Each test of the contract is here, but those that need what the framework lacks."""
        tests = {name: test for kind in reversed(type(self).__mro__) for name, test in vars(kind).items()
                 if name.startswith("test_") and callable(test)}  # fmt: skip
        absent = {name for name in tests if getattr(type(self), name) is None}
        assert absent == {name for name, test in tests.items() if not demand_of(test).is_met_by(self.harness)}

"""Answers in a shape that the program asks for, by the framework's own way: governed like any other call."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydantic import BaseModel, Field, create_model

from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.testing.contract.base import NOTHING, Base, denial_of, lower_budget, price, reserved, spent
from aegis_core.testing.contract.demands import in_each, needs
from aegis_core.testing.scripts import Drive, Mode, ModelScript, Turn


class Outlook(BaseModel):
    """The weather of a place."""

    place: str = Field(description="The place")
    sunny: bool = Field(description="Whether the sun shines there")


def wide() -> type[BaseModel]:
    """A shape whose description alone is more than a thousand tokens."""
    fields: dict[str, Any] = {f"of_hour_{hour}": (str, Field(description="The sky then. " * 9)) for hour in range(24)}
    return create_model("Hours", **fields)


class StructuredOutput(Base):
    """Only for adapters that stand before a model."""

    @needs("structured_output")
    @in_each("sync", "async")
    def test_an_answer_comes_in_the_shape_that_was_asked_for(self, aegis: SyncGovernedAgent, mode: Mode) -> None:
        """And is charged at the provider's count."""
        turn = Turn('{"place": "Bern", "sunny": true}', usage=(250, 12))
        end = self.run(aegis, ModelScript(turn), Drive(mode, schema=Outlook))
        assert end.error is None
        assert end.parsed == Outlook(place="Bern", sunny=True)
        assert (spent(aegis), reserved(aegis)) == (price(turn), NOTHING)

    @needs("structured_output")
    def test_the_shape_is_a_part_of_what_is_reserved(self, governor: SyncGovernor, aegis: SyncGovernedAgent) -> None:
        """It is sent to the provider, who bills it as input."""
        turn = Turn('{"place": "Bern", "sunny": true}', usage=(250, 12))
        lower_budget(governor, aegis, "0.0004")
        assert self.run(aegis, ModelScript(turn), Drive(schema=Outlook)).error is None
        script = ModelScript(turn)
        denied = denial_of(self.run(aegis, script, Drive(schema=wide())))
        assert denied.code == "budget_exceeded"
        assert script.calls == []
        assert spent(aegis) == price(turn) < Decimal("0.0004")

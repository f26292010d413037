"""``time_window``: nothing at three in the morning."""

from __future__ import annotations

from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import model_validator

from aegis_core.policy.case import Case
from aegis_core.policy.rules.base import Conditions, NarrowedRule
from aegis_core.policy.ruling import RuleEffect
from aegis_core.policy.windows import WeekHours, Zone, read_hours


class TimeWindow(NarrowedRule, frozen=True):
    """A request outside of the `allowed` hours, or within the `denied` ones: ``mon-fri 09:00-17:00``, ``sat,sun``.

    Hours are local to `time_zone`, and those that end before they begin last into the next morning. Where the time is
    not known, the rule matches.
    """

    type: Literal["time_window"] = "time_window"
    effect: RuleEffect = "deny"
    allowed: WeekHours | None = None
    denied: WeekHours | None = None
    time_zone: Zone = "UTC"

    @model_validator(mode="after")
    def _one_of_two(self) -> TimeWindow:
        if (self.allowed is None) == (self.denied is None):
            raise ValueError("allowed: give either allowed or denied hours")
        return self

    def compile(self) -> Conditions:
        """A look at the clock."""
        zone, wanted = ZoneInfo(self.time_zone), self.denied is not None
        hours = tuple(read_hours(text) for text in self.denied or self.allowed or ())

        def test(case: Case) -> bool:
            if case.now is None or case.now.tzinfo is None:
                return True
            local = case.now.astimezone(zone)
            return any(each.hold(local) for each in hours) is wanted

        def account(case: Case) -> str:
            if case.now is None or case.now.tzinfo is None:
                return "the time is not known"
            local = case.now.astimezone(zone)
            inside = any(each.hold(local) for each in hours)
            listed = ", ".join(self.denied or self.allowed or ())
            return f"{local:%a %H:%M} ({self.time_zone}) is {'within' if inside else 'outside'} {listed}"

        return self.compile_with(test, account)


RULE = TimeWindow

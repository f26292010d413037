"""What looking for waste costs.

Definition: on a day on which Kaizen spent more on trials and judges than 20 % of what its changes were measured to
save. Formula: all that it spent. Unit: nano-dollars spent. Minimum: 1 call. Source: the bound is this project's own.
"""

from __future__ import annotations

from aegis_core.kaizen.facts import Day
from aegis_core.kaizen.findings import Detector, Found, Loss
from aegis_core.protocol.kaizen import OWN_AGENT


def find(day: Day) -> Found:
    """Look at Kaizen itself."""
    own = [call for call in day.calls if call.agent == OWN_AGENT]
    spent = sum(call.spent for call in own)
    losses = [Loss.of(call, call.spent) for call in own if call.spent] if 5 * spent > day.saving else []
    return Found(len(own), losses, facts={"saving_usd": day.saving / 1e9})


DETECTOR = Detector("kaizen-itself", "Kaizen itself", "spent", 1, "calls of Kaizen", find, itself=True)

"""``max_slippage_bps``: how much less a swap may bring than it takes, by what is signed, not by what is simulated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from aegis_core.policy.rules.base import Conditions
from aegis_core.policy.rules.chain_base import ChainRule, Seen
from aegis_core.protocol.money import format_usd, to_nanos
from aegis_core.protocol.transactions import PLAIN_TRANSFER, TransactionFacts

_WHOLE = 10_000


class MaxSlippage(ChainRule, frozen=True):
    """A swap whose least outcome, as its data demands it, is worth more than `limit_bps` (hundredths of a percent) less
    than what it takes; or a trade that demands nothing that can be read: whoever trades first takes all of it."""

    type: Literal["max_slippage_bps"] = "max_slippage_bps"
    limit_bps: Annotated[int, Field(ge=0, le=_WHOLE)]

    def compile(self) -> Conditions:
        """A comparison of what is signed."""

        def look(shown: TransactionFacts) -> Seen:
            swap = shown.swap
            if swap is not None:
                if swap.takes_usd is None:
                    return True, "nobody says what it sells is worth"
                takes, least = to_nanos(swap.takes_usd), to_nanos(swap.least_usd)
                lost = takes * (_WHOLE - self.limit_bps) > least * _WHOLE
                return lost, f"it takes {format_usd(takes)} for at least {format_usd(least)}"
            if shown.method == PLAIN_TRANSFER:
                return False, "it trades nothing"
            if shown.simulation is None or not shown.simulation.success:
                return True, "nobody knows whether it trades"
            leaves = {move.leaves for move in shown.simulation.moves}
            return leaves == {True, False}, "it trades without a least outcome that can be read"

        return self.compile_seen(look)


RULE = MaxSlippage

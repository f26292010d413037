"""Runs one of the README's programs for a framework as it stands: ``python around.py < program``.

OpenAI, which it calls, is on loopback. It runs twice, once with money and once without, and the bills, what its tools
cost and the ledger must agree.
"""

from __future__ import annotations

import os
import re
import sys
from decimal import Decimal
from typing import Any

import pytest
from loopback import providers

from aegis_core import AegisDenied, connect_sync

FEE = Decimal("0.01")


def paid_and_refused(program: str) -> None:
    """Runs it both times in this process, whose settings name a server of its own."""
    (agent,) = re.findall(r'handshake\("(\w+)"|role="(\w+)"', program)[0:1]
    name = "".join(agent)
    asks = "approval_node" in program
    with providers() as at:
        os.environ.update(OPENAI_API_KEY="none", OPENAI_BASE_URL=at.openai)
        exec(program, {"__name__": "__main__"})
        assert at.bills
        with connect_sync() as governor:
            day = day_of(governor, name)
            assert day.spent_usd == at.usd + (0 if asks else FEE), (day, at.usd)
            assert day.reserved_usd == (7 if asks else 0), day
            for question in governor.approvals.list():
                governor.approvals.decide(question.approval_id, "reject", by="lea")
            governor.set_budget("agent", name, "day", day.spent_usd)
        before = len(at.requests)
        with pytest.raises(Exception, match="Aegis refused") as caught:
            exec(program, {"__name__": "__main__"})
        assert AegisDenied.from_exception(caught.value) is not None
        assert len(at.requests) == before


def day_of(governor: Any, name: str) -> Any:
    return next(s for s in governor.budget(name).budgets if (s.scope, s.window) == ("agent", "day"))


if __name__ == "__main__":
    paid_and_refused(sys.stdin.read())

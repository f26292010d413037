"""What the terminal shows of an approval: all of the arguments, or both their ends where there is little room."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO

import pytest
from rich.console import Console

from aegis_core.cli.approvals_page import details
from aegis_core.protocol.approvals import Approval, OriginalRequest

AT = datetime(2026, 11, 30, tzinfo=UTC)
TAIL = "rm[bold]-rf/srv"
LONG = '{"command":"' + "x" * 3_000 + TAIL + '"}'


def page(approval: Approval, *, whole: bool) -> str:
    out = StringIO()
    Console(file=out, width=100).print(details(approval, whole=whole))
    return "".join(out.getvalue().split())


@pytest.mark.parametrize("whole", [True, False])
def test_arguments_are_shown_whole_or_by_both_ends(whole: bool) -> None:
    approval = Approval(
        approval_id="ap_1", tenant="t", status="open", agent_id="a", session_id="s", request_id="r", grant_id="g",
        intent="Run it", resource_type="compute", amount_usd=Decimal(7), rule=None, reason="", asked_at=AT,
        deadline=AT, arguments=LONG, edited=True,
        original=OriginalRequest(Decimal(8), tool="shell", arguments='{"command":"ls"}'),
    )  # fmt: skip
    shown = page(approval, whole=whole)
    assert (LONG in shown) is whole
    assert ("charactersarehidden" in shown) is not whole
    assert TAIL + '"}' in shown
    assert shown.index('{"command":"ls"}') < shown.index("withthearguments")
    assert "amountbefore$8.00" in shown

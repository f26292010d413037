"""``aegis refund``: take back some of what a grant was charged."""

from __future__ import annotations

from typing import Annotated

import typer

from aegis_core.cli.common import (
    JsonFlag,
    TenantOption,
    dollars,
    print_json,
    shown,
    stdout_console,
    whoami,
    with_resources,
)


def refund(
    grant: Annotated[str, typer.Argument(help="The grant, as its receipt and its events name it.")],
    usd: Annotated[str, typer.Option("--usd", help="Dollars to take back, such as 0.50; at most what was charged.")],
    reason: Annotated[str, typer.Option(help="Why, for those who read the events.")] = "",
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Take back some of what an ended grant was charged. It counts now: in the bill of today and in present windows.

    Example: aegis refund gr_0f3c2a9d4b5e6f708192a3b4c5d6e7f8 --usd 0.50 --reason "the provider credited it"
    """
    made = with_resources(tenant, lambda governor: governor.operator.refund(grant, usd, reason=reason, author=whoami()))
    if json:
        print_json(made)
        return
    stdout_console().print(
        f"{dollars(made.refund_usd)} of {dollars(made.charged_usd)} taken back for {shown(made.agent_id)}; "
        f"{dollars(made.charged_usd - made.refunded_usd)} stay charged."
    )

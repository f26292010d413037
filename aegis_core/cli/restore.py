"""``aegis restore``: whether Redis holds what it should, and the way on where it does not."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from aegis_core.cli.common import TenantOption, stdout_console, whoami
from aegis_core.connect import restored, with_overrides
from aegis_core.protocol.errors import ConfigurationError


def restore(
    accept_loss: Annotated[
        bool,
        typer.Option("--accept-loss", help="Begin anew where the state is gone: every budget starts at nothing spent."),
    ] = False,
    tenant: TenantOption = None,
) -> None:
    """Say whether Redis holds the tenant's state; with --accept-loss begin anew where it is gone.

    A backup is restored with Redis itself: stop it, put its dump.rdb or appendonlydir back, and start it. Processes of
    Aegis that run go on by themselves then. After a loss was accepted they are to be restarted.

    Example: aegis restore --accept-loss
    """
    settings = with_overrides(None, tenant=tenant)
    if settings.url.startswith(("http://", "https://")):
        raise ConfigurationError("AEGIS_URL names a governor; run this where its Redis can be reached.")
    if asyncio.run(restored(settings, accept_loss=accept_loss, author=whoami())):
        text = f"The state of tenant {settings.tenant} is there; nothing is to be restored."
    else:
        text = (
            f"What was lost of tenant {settings.tenant} begins anew, with nothing spent. Set budgets, keys and people "
            "again where they are gone, and restart the processes of Aegis that run."
        )
    stdout_console().print(text, highlight=False, soft_wrap=True)

"""``aegis serve``: the HTTP API."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from aegis_core.protocol.distribution import installing
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.protocol.masking import visible
from aegis_core.settings import load_settings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default AEGIS_HOST, 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; default AEGIS_PORT, 8000.")] = None,
    tenant: Annotated[str | None, typer.Option(help="The tenant to serve; default AEGIS_TENANT.")] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Let AEGIS_POLICY_FILE replace the rules of an embedded server unasked.")
    ] = False,
) -> None:
    """Run the governor's HTTP API. Interactive documentation is at /docs. Settings may stand in .env, too.

    Example: aegis serve --port 8000
    """
    given = {"host": host, "port": port, "tenant": tenant}
    settings = load_settings(
        working_directory=True, **{name: value for name, value in given.items() if value is not None}
    )
    try:
        from aegis_core.api.server import serve as run
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The HTTP API needs the extra `server` ({error.name} is missing): {installing('server')}"
        ) from None
    run(settings.model_copy(update={"policy_file_replaces": True}) if yes else settings, None if yes else _agrees)


def _agrees(replaces: str) -> bool:
    """Ask where somebody can answer."""
    return sys.stdin.isatty() and typer.confirm(f"{visible(replaces)} Go on?", err=True)

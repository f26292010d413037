"""``aegis serve``: the HTTP API."""

from __future__ import annotations

from typing import Annotated

import typer

from aegis_core.connect import with_overrides
from aegis_core.protocol.errors import ConfigurationError


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default AEGIS_HOST, 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; default AEGIS_PORT, 8000.")] = None,
    tenant: Annotated[str | None, typer.Option(help="The tenant to serve; default AEGIS_TENANT.")] = None,
) -> None:
    """Run the governor's HTTP API. Interactive documentation is at /docs.

    Example: aegis serve --port 8000
    """
    settings = with_overrides(None, host=host, port=port, tenant=tenant)
    try:
        from aegis_core.api.server import serve as run
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The HTTP API needs the extra `server` ({error.name} is missing): pip install 'aegis-governor[server]'"
        ) from None
    run(settings)

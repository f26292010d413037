"""``aegis proxy``: providers' APIs, governed by changing one URL."""

from __future__ import annotations

from typing import Annotated

import typer

from aegis_core.cli import proxy_keys
from aegis_core.cli.common import TenantOption
from aegis_core.protocol.errors import ConfigurationError, InvalidRequestError
from aegis_core.settings import Settings, load_settings

app = typer.Typer(help="Govern clients of providers' APIs: they get another base URL, and a key of the proxy.")
app.add_typer(proxy_keys.app, name="keys")

UpstreamOption = Annotated[
    list[str] | None,
    typer.Option("--upstream", help="NAME=URL, or NAME:DIALECT=URL; more than once. Its key is in NAME_API_KEY."),
]


@app.callback(invoke_without_command=True)
def proxy(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default AEGIS_HOST, 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default AEGIS_PROXY_PORT, 8080.")] = None,
    upstream: UpstreamOption = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes; a good number is that of the cores.")] = 1,
    tenant: TenantOption = None,
) -> None:
    """Run the proxy. The providers' keys are OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY of its environment.

    Example: aegis proxy --upstream openrouter=https://openrouter.ai/api
    """
    if context.invoked_subcommand is not None:
        return
    settings = proxy_settings(upstream, tenant, host=host, proxy_port=port)
    try:
        from aegis_core.proxy.server import serve
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The proxy needs the extra `server` ({error.name} is missing): pip install 'aegis-governor[server]'"
        ) from None
    serve(settings, host=settings.host, port=settings.proxy_port, workers=workers)


def proxy_settings(upstream: list[str] | None, tenant: str | None, **given: object) -> Settings:
    """The settings of a proxy: the environment, ``.env`` where it starts, and what the command says.

    Raises:
        InvalidRequestError: an upstream that is not ``NAME=URL``.
    """
    said = {name: value for name, value in {"tenant": tenant, **given}.items() if value is not None}
    settings = load_settings(working_directory=True, **said)
    urls = dict(settings.proxy_upstreams)
    for each in upstream or ():
        name, sign, url = each.partition("=")
        if not sign:
            problem = f"give NAME=URL, such as openrouter=https://openrouter.ai/api, not {each!r}"
            raise InvalidRequestError(f"upstream: {problem}", field="upstream", problem=problem)
        urls[name] = url
    return settings.model_copy(update={"proxy_upstreams": urls})

"""``aegis proxy``: providers' APIs, governed by changing one URL."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from aegis_core.cli import proxy_keys
from aegis_core.cli.common import JsonFlag, TenantOption, dollars, print_json
from aegis_core.cli.proxy_keys import pairs
from aegis_core.protocol.distribution import installing
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.protocol.masking import visible
from aegis_core.settings import Settings, load_settings

if TYPE_CHECKING:
    from aegis_core.proxy.doctor import Found

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
    fallback: Annotated[
        list[str] | None,
        typer.Option("--fallback", help="UPSTREAM/MODEL=UPSTREAM/MODEL: who answers where the first one fails."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes; a good number is that of the cores.")] = 1,
    tenant: TenantOption = None,
) -> None:
    """Run the proxy. The providers' keys are OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY of its environment.

    Example: aegis proxy --upstream openrouter=https://openrouter.ai/api
    """
    if context.invoked_subcommand is not None:
        return
    settings = proxy_settings(upstream, tenant, host=host, proxy_port=port)
    fallbacks = settings.proxy_fallbacks | pairs("fallback", fallback)
    settings = settings.model_copy(update={"proxy_fallbacks": fallbacks})
    with _server_extra():
        from aegis_core.proxy.server import serve
    serve(settings, host=settings.host, port=settings.proxy_port, workers=workers)


@app.command()
def doctor(
    upstream: UpstreamOption = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="NAME=MODEL: which model to call; default the cheapest.")
    ] = None,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Send one short call through each upstream that has a key, and say what it cost.

    Example: aegis proxy doctor --model openrouter=openai/gpt-4o-mini
    """
    settings = proxy_settings(upstream, tenant).model_copy(update={"policy_file": None})
    models = dict(pairs("model", model))
    found = asyncio.run(_examined(settings, models))
    if json:
        print_json(found)
    for each in [] if json else found:
        cost = "" if each.cost_usd is None else f", and cost {dollars(each.cost_usd)}"
        typer.echo(f"{'ok  ' if each.works else 'FAIL'} {each.upstream}: {visible(each.text)}{cost}")
    if not any(each.works for each in found) or any(not each.works and each.cost_usd is not None for each in found):
        raise typer.Exit(1)


async def _examined(settings: Settings, models: dict[str, str]) -> list[Found]:
    with _server_extra():
        from aegis_core.proxy.app import opened
        from aegis_core.proxy.doctor import doctor_of
    async with opened(settings) as running, doctor_of(running, running.governor) as examiner:
        return [await examiner.look(each, models.get(each.name)) for each in running.upstreams.values()]


@contextmanager
def _server_extra() -> Generator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The proxy needs the extra `server` ({error.name} is missing): {installing('server')}"
        ) from None


def proxy_settings(upstream: list[str] | None, tenant: str | None, **given: object) -> Settings:
    """The settings of a proxy: the environment, and what the command says. It holds keys of providers and is started
    where people work, so it reads no ``.env`` of a directory, which could name another upstream for them.

    Raises:
        InvalidRequestError: an upstream that is not ``NAME=URL``.
    """
    said = {name: value for name, value in {"tenant": tenant, **given}.items() if value is not None}
    settings = load_settings(working_directory=False, **said)
    urls = dict(settings.proxy_upstreams)
    urls |= pairs("upstream", upstream)
    return settings.model_copy(update={"proxy_upstreams": urls})

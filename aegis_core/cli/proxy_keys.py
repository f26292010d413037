"""``aegis proxy keys``: the credentials of the proxy's clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aegis_core.cli.common import JsonFlag, TenantOption, print_json, shown, whoami, with_resources
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.parsing import parse

if TYPE_CHECKING:
    from aegis_core.governor.governor import ResourceGovernor
    from aegis_core.governor.proxy_keys import KeyTerms, ProxyKey

app = typer.Typer(help="Make, list and revoke keys of the proxy.", no_args_is_help=True)


@app.command()
def create(
    agent: Annotated[str, typer.Option(help="The agent that calls with this key are of.")],
    label: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of that agent, more than once.")] = None,
    budget: Annotated[list[str] | None, typer.Option(help="WINDOW=DOLLARS of that agent: day=20.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model, or a pattern, that may be called; default any.")
    ] = None,
    max_output_tokens: Annotated[int, typer.Option(help="The cap on one answer.")] = 32_000,
    min_output_tokens: Annotated[int, typer.Option(help="Down to how much it may be cut to what is left.")] = 8_192,
    refusal_status: Annotated[int, typer.Option(help="402, 400 (aider) or 429: the HTTP status of refusals.")] = 402,
    hosted_calls: Annotated[int | None, typer.Option(help="Calls of hosted tools that are allowed unasked.")] = None,
    route: Annotated[
        str, typer.Option(help="keep, or rewrite: call the recommended model of the same provider, if no dearer.")
    ] = "keep",
    cut_streams: Annotated[
        bool, typer.Option("--cut-streams", help="Break a stream off once it has cost more than was reserved.")
    ] = False,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Make a key. It is shown once; only its hash is stored. Labels and budgets go into the agent's profile.

    Example: aegis proxy keys create --agent claude-code-ada --label team=web --budget day=20
    """
    from aegis_core.governor.proxy_keys import KeyTerms, narrowed

    terms = parse(
        KeyTerms, agent_id=agent, models=tuple(model or ()), max_output_tokens=max_output_tokens,
        min_output_tokens=min_output_tokens, refusal_status=refusal_status, hosted_calls=hosted_calls, route=route,
        cut_streams=cut_streams,
    )  # fmt: skip
    labels, budgets = pairs("label", label), pairs("budget", budget)

    async def make(governor: ResourceGovernor) -> ProxyKey:
        operator = governor.operator
        if labels or budgets:  # first, so that the key is never in force without them
            profiles = narrowed(await operator.profiles(), terms.agent_id, labels, budgets)
            await operator.set_profiles(profiles, author=whoami())
        return await operator.proxy_keys.create(terms, author=whoami())

    made = with_resources(tenant, make)
    if json:
        print_json({**_plain(made), "secret": made.secret})
        return
    typer.echo(made.secret)
    typer.echo(f"{made.key_id} ({shown(terms.agent_id)}): keep it now, it is not shown again.", err=True)


@app.command("list")
def list_(tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """List all keys of the proxy with their terms, revoked ones included.

    `answers` are the least and the highest cap on one, in tokens; `more` is what a key has beyond the defaults.

    Example: aegis proxy keys list --json
    """
    found = with_resources(tenant, lambda governor: governor.operator.proxy_keys.list())
    if json:
        print_json([_plain(key) for key in found])
        return
    from rich.console import Console
    from rich.table import Column, Table

    names = ("key", "agent", "models", "answers", "refusals", "more", "made (UTC)", "revoked")
    # However narrow the terminal is, a key can be copied whole, and nothing is left out.
    columns = [Column(name, overflow="fold", no_wrap=name == "key") for name in names]
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for key in found:
        terms = key.terms
        table.add_row(
            key.key_id, shown(terms.agent_id), shown(" ".join(terms.models) or "any"),
            f"{terms.min_output_tokens:,}–{terms.max_output_tokens:,}", str(terms.refusal_status), _more(terms),
            f"{key.made_at:%Y-%m-%d %H:%M}", f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "",
        )  # fmt: skip
    Console().print(table if found else "There are no keys of the proxy, so nobody can call through it.")


@app.command()
def revoke(key: Annotated[str, typer.Argument(help="The key's id.")], tenant: TenantOption = None) -> None:
    """End a key, within a second. Calls that are on their way go on.

    Example: aegis proxy keys revoke k0123456789abcdef
    """
    with_resources(tenant, lambda governor: governor.operator.proxy_keys.revoke(key, author=whoami()))
    typer.echo(f"{key} is revoked.")


def pairs(name: str, given: list[str] | None) -> dict[str, str]:
    """``NAME=VALUE`` that an option gave, by name.

    Raises:
        InvalidRequestError: one that is not.
    """
    found: dict[str, str] = {}
    for each in given or ():
        key, sign, value = each.partition("=")
        if not sign or not key or not value:
            problem = f"give NAME=VALUE, not {each!r}"
            raise InvalidRequestError(f"{name}: {problem}", field=name, problem=problem)
        found[key] = value
    return found


def _more(terms: KeyTerms) -> str:
    """The terms that few keys have, by the names of their options."""
    hosted = "" if terms.hosted_calls is None else f"hosted calls {terms.hosted_calls:,}"
    route = "" if terms.route == "keep" else f"route {terms.route}"
    return ", ".join(filter(None, (hosted, route, "cut streams" if terms.cut_streams else "")))


def _plain(key: ProxyKey) -> dict[str, object]:
    return {
        "key_id": key.key_id, **key.terms.model_dump(mode="json"), "author": key.author, "made_at": key.made_at,
        "revoked_at": key.revoked_at,
    }  # fmt: skip

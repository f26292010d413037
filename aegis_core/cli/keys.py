"""``aegis keys``: the credentials that open the HTTP API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aegis_core.cli.common import JsonFlag, TenantOption, print_json, shown, whoami, with_resources
from aegis_core.protocol.errors import InvalidRequestError

if TYPE_CHECKING:
    from aegis_core.governor.operators import ApiKey, Role

app = typer.Typer(help="Make, list, rotate and revoke API keys.", no_args_is_help=True)


_ROLES: dict[str, Role] = {each: each for each in ("agent", "viewer", "approver", "operator", "owner")}  # pyright: ignore[reportAssignmentType]


@app.command()
def create(
    role: Annotated[str, typer.Argument(help="agent (asks), or a person's: viewer, approver, operator or owner")],
    name: Annotated[str, typer.Option(help="Whose, or what it is for.")] = "unnamed",
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Make a key. It is shown once; only its hash is stored. From the first key on, the HTTP API asks for one.

    A person's key is of the person of that name, who is added where there is none; `aegis people` changes persons.

    Example: aegis keys create agent --name research-cluster
    """
    kind = _ROLES.get(role)
    if kind is None:
        raise InvalidRequestError(f"role: must be one of {', '.join(_ROLES)}, not {role!r}", field="role")
    _show_new(
        with_resources(tenant, lambda governor: governor.operator.create_key(kind, name=name, author=whoami())), json
    )


@app.command("list")
def list_(tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """List all keys, revoked ones included.

    Example: aegis keys list --json
    """
    found = with_resources(tenant, lambda governor: governor.operator.keys())
    if json:
        print_json(found)
        return
    from rich.console import Console
    from rich.table import Column, Table

    names = ("key", "role", "name", "made (UTC)", "by", "revoked")
    columns = [Column(name, overflow="fold", no_wrap=name == "key") for name in names]
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for key in found:
        revoked = f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else ""
        table.add_row(
            key.key_id, key.role, shown(key.name), f"{key.made_at:%Y-%m-%d %H:%M}", shown(key.author), revoked
        )
    Console().print(table if found else "There are no keys: the HTTP API serves loopback only.")


@app.command()
def rotate(
    key: Annotated[str, typer.Argument(help="The key's id, as `list` shows it.")],
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Make a key of the same person, or for agents of the same name, and revoke the old one.

    Example: aegis keys rotate k0123456789abcdef
    """
    _show_new(with_resources(tenant, lambda governor: governor.operator.rotate_key(key, author=whoami())), json)


@app.command()
def revoke(key: Annotated[str, typer.Argument(help="The key's id.")], tenant: TenantOption = None) -> None:
    """End a key at once. Sessions that it opened go on until they are idle; `aegis block` ends an agent.

    Example: aegis keys revoke k0123456789abcdef
    """
    with_resources(tenant, lambda governor: governor.operator.revoke_key(key, author=whoami()))
    typer.echo(f"{key} is revoked.")


def _show_new(made: ApiKey, json: bool) -> None:
    if json:
        print_json(made)
        return
    typer.echo(made.secret)
    typer.echo(f"{made.key_id} ({made.role}, {made.name}): keep it now, it is not shown again.", err=True)

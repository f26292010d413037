"""``aegis people``: who may do what, and with which credentials."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from aegis_core.cli.common import (
    JsonFlag,
    TenantOption,
    dollars,
    print_json,
    say,
    settings_of,
    shown,
    stdout_console,
    whoami,
    with_resources,
)
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.masking import visible
from aegis_core.protocol.parsing import parse
from aegis_core.protocol.people import Person, PersonChange, PersonWish, person_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aegis_core.governor.governor import ResourceGovernor
    from aegis_core.governor.operators import ApiKey

app = typer.Typer(
    help="Add, show, change and remove persons: who may look, decide, govern agents, or make persons.",
    no_args_is_help=True,
)
credentials = typer.Typer(help="Give a person credentials, or end them.", no_args_is_help=True)
app.add_typer(credentials, name="credential")

Name = Annotated[str, typer.Argument(help="The person's name.", show_default=False)]
Telegram = Annotated[int | None, typer.Option(help="The user id on Telegram.", show_default=False)]
Terminal = Annotated[
    str | None, typer.Option(metavar="USER", help="The user of a machine whose terminal reaches Redis.")
]
_T = TypeVar("_T")
_ROLES = "viewer (looks), approver (decides), operator (governs agents) or owner (makes persons)"


@app.command()
def add(
    name: Name,
    role: Annotated[str, typer.Option(help=_ROLES)] = "viewer",
    group: Annotated[list[str] | None, typer.Option(help="One that rules may ask for, such as finance.")] = None,
    telegram: Telegram = None,
    terminal: Terminal = None,
    up_to: Annotated[str | None, typer.Option(metavar="USD", help="The most that the person may approve.")] = None,
    key: Annotated[bool, typer.Option("--key", help="Make an API key, too; it is shown once.")] = False,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Add a person. Whoever was removed comes back without the credentials of then.

    Example: aegis people add ada --role approver --group finance --telegram 123 --up-to 50
    """
    wish = parse(
        PersonWish, name=name, role=role, groups=tuple(group or ()), telegram=telegram, terminal=terminal,
        approve_up_to_usd=up_to,
    )  # fmt: skip

    async def work(governor: ResourceGovernor) -> tuple[Person, ApiKey | None]:
        people = governor.operator.people
        first = wish.role == "owner" and not any(each.role == "owner" for each in await people.list())
        made = await people.put(wish, author=whoami())
        if first:
            say(f"{made.name} is the first owner of the tenant {governor.tenant}: may add, change and remove persons")
        if not key:
            return made, None
        secret = await governor.operator.create_person_key(made.name, author=whoami())
        return await people.get(made.name), secret

    made, secret = _with_people(tenant, work)
    _tell(made, secret, json)


@app.command("list")
def list_(
    removed: Annotated[bool, typer.Option("--removed", help="And those who were removed.")] = False,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """List persons by name, with role, limit and credentials.

    Example: aegis people list
    """
    found = _with_people(tenant, lambda governor: governor.operator.people.list(removed=removed))
    if json:
        print_json(found)
        return
    if not found:
        typer.echo("There are no persons; add one: aegis people add NAME --role owner")
        return
    from rich.table import Table

    table = Table("name", "role", "groups", "approves up to", "credentials", "by", box=None, pad_edge=False)
    for each in found:
        role = f"{each.role} (removed {each.removed_at:%Y-%m-%d})" if each.removed_at else each.role
        table.add_row(
            shown(each.name), role, shown(" ".join(each.groups)), _limit(each), shown(" ".join(each.credentials)),
            shown(each.author),
        )  # fmt: skip
    stdout_console().print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A name, or a credential such as telegram:123.")],
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Show one person.

    Example: aegis people show telegram:123
    """
    _tell(_with_people(tenant, lambda governor: governor.operator.people.get(name)), None, json)


@app.command("set")
def set_(
    name: Name,
    role: Annotated[str | None, typer.Option(help=_ROLES)] = None,
    group: Annotated[list[str] | None, typer.Option(help="The groups from now on.")] = None,
    no_groups: Annotated[bool, typer.Option("--no-groups", help="Out of all groups.")] = False,
    up_to: Annotated[str | None, typer.Option(metavar="USD", help="The most to approve; `none` lifts it.")] = None,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Change what a person may do, in force for what is open, too. Nobody changes what is their own.

    Examples: aegis people set ada --up-to 100 · aegis people set ada --role operator --group finance --group legal
    """
    given: dict[str, object] = {}
    if role is not None:
        given["role"] = role
    if group or no_groups:
        given["groups"] = tuple(group or ())
    if up_to is not None:
        given["approve_up_to_usd"] = None if up_to == "none" else up_to
    if not given:
        raise InvalidRequestError("set: give --role, --group, --no-groups or --up-to", field="set")
    change = parse(PersonChange, **given)
    done = _with_people(tenant, lambda governor: governor.operator.people.change(name, change, author=whoami()))
    _tell(done, None, json)


@app.command()
def remove(name: Name, tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Remove a person. All credentials end at once; approvals of what is still open count no more.

    Example: aegis people remove ada
    """
    gone = _with_people(tenant, lambda governor: governor.operator.people.remove(name, author=whoami()))
    if json:
        print_json(gone)
    else:
        typer.echo(f"{shown(gone.name)} is removed, and every credential of that person ended.")


@credentials.command("add")
def credential_add(
    name: Name,
    key: Annotated[bool, typer.Option("--key", help="A new API key; it is shown once.")] = False,
    telegram: Telegram = None,
    terminal: Terminal = None,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Give a person one more credential.

    Examples: aegis people credential add ada --key · aegis people credential add ada --telegram 123
    """
    if [key, telegram is not None, terminal is not None].count(True) != 1:
        raise InvalidRequestError("credential: give one of --key, --telegram and --terminal", field="credential")

    async def work(governor: ResourceGovernor) -> tuple[Person, ApiKey | None]:
        desk, made = governor.operator, None
        if key:
            made = await desk.create_person_key(name, author=whoami())
            return await desk.people.get(name), made
        given = f"cli:{terminal}" if telegram is None else f"telegram:{telegram}"
        return await desk.people.link(name, given, author=whoami()), None

    person, made = _with_people(tenant, work)
    _tell(person, made, json)


@credentials.command("revoke")
def credential_revoke(
    name: Name,
    credential: Annotated[str, typer.Argument(help="As `show` lists it, such as telegram:123 or key:k0123….")],
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """End one credential of a person at once.

    Example: aegis people credential revoke ada telegram:123
    """
    done = _with_people(tenant, lambda governor: governor.operator.people.unlink(name, credential, author=whoami()))
    _tell(done, None, json)


def _with_people(tenant: str | None, work: Callable[[ResourceGovernor], Awaitable[_T]]) -> _T:
    """`with_resources`, on a tenant that has an owner where it is this machine's own."""
    embedded = settings_of(tenant).is_embedded

    async def run(governor: ResourceGovernor) -> _T:
        if embedded:
            await _own(governor)
        return await work(governor)

    return with_resources(tenant, run)


async def _own(governor: ResourceGovernor) -> None:
    """On the embedded server the user of this machine is its first owner."""
    people = governor.operator.people
    if any(each.role == "owner" for each in await people.list()):
        return
    user = getpass.getuser()
    try:
        name = person_name(user)
    except ValueError:
        name = "first-owner"
    found = await people.find(name)
    if found is None or found.removed_at:
        await people.add(name, "owner", terminal=user, author=whoami())
    else:
        await people.change(name, PersonChange(role="owner"), author="aegis")
        await people.link(name, f"cli:{user}", author=whoami())
    say(f"{name} (cli:{user}) is the first owner of the tenant {governor.tenant} on this machine's embedded server")


def _tell(person: Person, key: ApiKey | None, json: bool) -> None:
    """A person, and a key that was just made: its secret stands alone on standard output."""
    if json:
        print_json({**asdict(person), **({"key": key} if key else {})})
        return
    if key is not None:
        typer.echo(key.secret)
        say(f"{key.key_id} ({person.name}, {person.role}): keep it now, it is not shown again.")
        return
    removed = f", removed at {person.removed_at:%Y-%m-%d %H:%M} UTC" if person.removed_at else ""
    lines = {
        "role": person.role + removed,
        "groups": " ".join(person.groups) or "none",
        "approves up to": _limit(person),
        "credentials": " ".join(person.credentials) or "none",
        "added": f"{person.made_at:%Y-%m-%d %H:%M} UTC by {person.author}",
    }
    typer.echo(visible(person.name))
    for title, text in lines.items():
        typer.echo(f"  {title}: {visible(text)}")


def _limit(person: Person) -> str:
    return "any amount" if person.approve_up_to_usd is None else dollars(person.approve_up_to_usd)

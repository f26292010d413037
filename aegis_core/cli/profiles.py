"""``aegis profiles``: what operators say of agents, by name or pattern."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aegis_core.cli.common import JsonFlag, TenantOption, dollars, print_json, shown, whoami, with_resources
from aegis_core.protocol.errors import InvalidRequestError

app = typer.Typer(help="Show and apply agent profiles.", no_args_is_help=True)


@app.command()
def show(tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Show the profiles in force. An exact name wins, then the longest pattern.

    Example: aegis profiles show --json > profiles.json
    """
    found = with_resources(tenant, lambda governor: governor.operator.profiles())
    if json:
        print_json(found.model_dump(mode="json", exclude_defaults=True))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("match", "priority", "capabilities", "budgets", "labels", "settlement", box=None, header_style="bold")
    for profile in found.profiles:
        table.add_row(
            shown(profile.match), f"≤ {profile.max_priority}",
            "any" if profile.capabilities is None else " ".join(profile.capabilities) or "none",
            " ".join(f"{dollars(limit)}/{window}" for window, limit in profile.budgets.items()),
            " ".join(f"{key}={value}" for key, value in profile.labels.items()), profile.settlement or "by door",
        )  # fmt: skip
    Console().print(table if found.profiles else "There are no profiles.")


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help='A JSON file: {"profiles": [{"match": "crew-*", …}]}')],
    tenant: TenantOption = None,
) -> None:
    """Put a file of profiles in force, at each agent's very next request.

    Example: aegis profiles apply profiles.json
    """
    from aegis_core.protocol.profiles import load_profiles  # loads the client of Redis

    try:
        profiles = load_profiles(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"{file}: cannot be read: {error}", field="file") from None
    version = with_resources(tenant, lambda governor: governor.operator.set_profiles(profiles, author=whoami()))
    typer.echo(f"Profiles version {version} with {len(profiles.profiles)} profiles is in force.")

"""The ``aegis`` command. Each command lives in a module of its own; this one lists them and words their errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from aegis_core.cli import (
    activity,
    agents,
    approvals,
    brakes,
    budget,
    chains,
    channels,
    demo,
    doctor,
    events,
    export,
    kaizen,
    keys,
    locks,
    people,
    policy,
    prices,
    profiles,
    proxy,
    refund,
    replay,
    restore,
    route,
    serve,
    status,
    usage,
    webhooks,
    workflows,
)
from aegis_core.cli.common import say
from aegis_core.protocol.errors import AegisError

app = typer.Typer(
    name="aegis",
    help="The governor between human intent and what AI agents do.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def options(
    context: typer.Context,
    env_file: Annotated[
        Path | None,
        typer.Option(
            "--env-file", help="A file of further variables; default AEGIS_ENV_FILE. Only serve reads ./.env."
        ),
    ] = None,
) -> None:
    """The governor between human intent and what AI agents do."""
    if env_file is None:
        return
    before = os.environ.get("AEGIS_ENV_FILE")
    os.environ["AEGIS_ENV_FILE"] = str(env_file)  # so that the programs that a command starts read it, too
    context.call_on_close(lambda: _restore("AEGIS_ENV_FILE", before))


def _restore(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


app.command()(serve.serve)
app.command()(doctor.doctor)
app.command()(status.status)
app.command()(demo.demo)
app.command()(replay.replay)
app.add_typer(events.app, name="events")
app.command()(usage.usage)
app.command()(activity.activity)
app.command()(activity.observe)
app.command()(refund.refund)
app.command()(restore.restore)
for brake in (brakes.block, brakes.unblock, brakes.halt, brakes.resume, brakes.mode, brakes.forget):
    app.command()(brake)
app.add_typer(approvals.app, name="approvals")
app.add_typer(budget.app, name="budget")
app.add_typer(profiles.app, name="profiles")
app.add_typer(keys.app, name="keys")
app.add_typer(people.app, name="people")
app.add_typer(locks.app, name="locks")
app.add_typer(agents.app, name="agents")
app.add_typer(policy.app, name="policy")
app.add_typer(channels.app, name="channels")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(workflows.app, name="workflows")
app.add_typer(export.app, name="export")
app.add_typer(chains.app, name="chains")
app.add_typer(route.app, name="route")
app.add_typer(kaizen.app, name="kaizen")
app.add_typer(prices.app, name="prices")
app.add_typer(proxy.app, name="proxy")


@cache
def _command() -> Callable[[], object]:
    """The tree of commands, which takes a tenth of a second to make."""
    return typer.main.get_command(app)


def main() -> None:
    """Run the command line; an Aegis error becomes one line on stderr and exit code 1."""
    try:
        _command()()
    except AegisError as error:
        say(error.message)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(141)
    except KeyboardInterrupt:
        sys.exit(130)


__all__ = ["app", "main"]

"""What several commands need: a connection, and answers as JSON or for a person."""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from aegis_core.client.agent import Governor
from aegis_core.connect import connect, with_overrides
from aegis_core.protocol.distribution import installing
from aegis_core.protocol.errors import ConfigurationError, ConflictError, InvalidRequestError
from aegis_core.protocol.masking import visible
from aegis_core.protocol.money import format_usd
from aegis_core.protocol.parsing import Message
from aegis_core.protocol.writing import told_name
from aegis_core.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from aegis_core.governor.governor import ResourceGovernor

_T = TypeVar("_T")

_PIPE_WIDTH = 10_000

JsonFlag = Annotated[bool, typer.Option("--json", help="JSON alone on stdout, for programs.")]
AsOption = Annotated[
    str | None, typer.Option("--as", help="Who acts; default cli:USER. Over HTTP the credential says it.")
]
TenantOption = Annotated[str | None, typer.Option("--tenant", help="The tenant; default AEGIS_TENANT.")]


def settings_of(tenant: str | None = None) -> Settings:
    """The environment, but for its rules file: servers and programs put that in force, not a command that looks."""
    return with_overrides(None, tenant=tenant).model_copy(update={"policy_file": None})


def with_governor(tenant: str | None, work: Callable[[Governor], Awaitable[_T]]) -> _T:
    """Connect as the environment says, do the work, and disconnect."""

    async def run() -> _T:
        async with connect(settings=settings_of(tenant)) as governor:
            return await work(governor)

    return asyncio.run(run())


def with_resources(tenant: str | None, work: Callable[[ResourceGovernor], Awaitable[_T]]) -> _T:
    """The same for commands that read the store itself.

    Raises:
        ConfigurationError: AEGIS_URL names a remote governor.
    """
    from aegis_core.governor.governor import ResourceGovernor

    async def run(governor: Governor) -> _T:
        if not isinstance(governor.port, ResourceGovernor):
            raise ConfigurationError("This command reads the store itself; point AEGIS_URL at the governor's Redis.")
        return await work(governor.port)

    return with_governor(tenant, run)


async def once_or_on(
    once: bool, on: Callable[[], Awaitable[None]], look: Callable[[], Awaitable[int | None]],
    leave: Callable[[], Awaitable[None]], elsewhere: str,
) -> int:  # fmt: skip
    """Let a leased engine work `on` until stopped, or look once; answers what it did.

    Raises:
        ConflictError: another process does so; it is called by the words of `elsewhere`.
    """
    try:
        if not once:
            await on()
        done = await look()
        if done is None:
            raise ConflictError(elsewhere, code="leased_elsewhere")
        return done
    finally:
        await leave()


def whoami(named: str | None = None) -> str:
    """Who acts, in the events: what was given, else the user of this machine, for whom a person's name stands there
    where an owner said so (`aegis people credential add NAME --terminal USER`).

    Raises:
        InvalidRequestError: a name was given, and a remote governor would not take it.
    """
    if named:
        if with_overrides(None).url.startswith(("http://", "https://")):
            problem = "a server reads from the credential who decides; leave it out"
            raise InvalidRequestError(f"as: {problem}", field="as", problem=problem)
        return named
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):  # a container without names
        return "cli"


def stdout_console() -> Console:
    """Standard output as wide as the terminal; in a pipe a row stays one line, however long."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


def say(line: str) -> None:
    """One line for a person, on standard error; whatever it quotes arrives as text."""
    sys.stderr.write(f"aegis: {visible(line)}\n")


def print_json(value: object) -> None:
    """One JSON document on stdout; money as numbers, times in ISO 8601."""
    sys.stdout.write(_json(value, indent=2) + "\n")


def json_line(value: object) -> str:
    """The same on one line."""
    return _json(value)


@contextmanager
def extra_tools(what: str) -> Generator[None]:
    """Around the imports of what fits, measures and draws, which the choice at run time never needs.

    Args:
        what: who needs them, for the error.

    Raises:
        ConfigurationError: the extra `routing` is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"numpy", "scipy", "matplotlib"}:
            raise
        raise ConfigurationError(
            f"{what} the extra `routing` ({error.name} is missing): {installing('routing')}"
        ) from None


def dollars(amount: Decimal) -> str:
    """An amount for a person, to the nano-dollar."""
    return format_usd(int(amount.scaleb(9)))


def brief(amount: Decimal) -> str:
    """An amount for a narrow table: four decimals, and never nothing for something."""
    rounded = round(amount, 4)
    return "<$0.0001" if amount and not rounded else dollars(rounded)


def shown(text: object) -> str:
    """The same where rich reads markup, which becomes text too."""
    from rich.markup import escape

    return escape(visible(text))


def shown_name(name: str | None) -> str:
    """A name that an agent chose, with the scripts that it mixes, likewise."""
    from rich.markup import escape

    return escape(told_name(name or ""))


def _json(value: object, indent: int | None = None) -> str:
    """JSON in which other scripts stay readable, and characters that steer a terminal are escaped."""
    text = json.dumps(value, default=_plain, ensure_ascii=False, indent=indent)
    return text if text.isprintable() else "\n".join(visible(line) for line in text.split("\n"))


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Message):
        return value.model_dump()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)

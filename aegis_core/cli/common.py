"""What several commands need: a connection, and answers as JSON or for a person."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from aegis_core.agent import Governor
from aegis_core.connect import connect
from aegis_core.errors import ConfigurationError
from aegis_core.money import format_usd, to_nanos

if TYPE_CHECKING:
    from aegis_core.governor import ResourceGovernor

_T = TypeVar("_T")

JsonFlag = Annotated[bool, typer.Option("--json", help="JSON alone on stdout, for programs.")]
TenantOption = Annotated[str | None, typer.Option("--tenant", help="The tenant; default AEGIS_TENANT.")]


def with_governor(tenant: str | None, work: Callable[[Governor], Awaitable[_T]]) -> _T:
    """Connect as the environment says, do the work, and disconnect."""

    async def run() -> _T:
        async with connect(tenant=tenant) as governor:
            return await work(governor)

    return asyncio.run(run())


def with_resources(tenant: str | None, work: Callable[[ResourceGovernor], Awaitable[_T]]) -> _T:
    """The same for commands that read the store itself.

    Raises:
        ConfigurationError: AEGIS_URL names a remote governor.
    """
    from aegis_core.governor import ResourceGovernor

    async def run(governor: Governor) -> _T:
        if not isinstance(governor.port, ResourceGovernor):
            raise ConfigurationError("This command reads the store itself; point AEGIS_URL at the governor's Redis.")
        return await work(governor.port)

    return with_governor(tenant, run)


def print_json(value: Any) -> None:
    """One JSON document on stdout; money as numbers, times in ISO 8601."""
    sys.stdout.write(json.dumps(value, default=_plain, ensure_ascii=False, indent=2) + "\n")


def json_line(value: Any) -> str:
    """The same on one line."""
    return json.dumps(value, default=_plain, ensure_ascii=False)


def dollars(amount: Decimal) -> str:
    """An amount for a person."""
    return format_usd(to_nanos(amount))


def shown(text: object) -> str:
    """Text from agents for a terminal: control and direction characters made visible, markup made harmless."""
    from rich.markup import escape

    plain = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in str(text))
    return escape(plain)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)

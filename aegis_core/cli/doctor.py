"""``aegis doctor``: what is connected, which version, what is misconfigured, and how to mend it."""

from __future__ import annotations

import asyncio
import platform
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import typer

from aegis_core.cli.common import JsonFlag, print_json, shown
from aegis_core.errors import AegisError
from aegis_core.settings import Settings, load_settings

_EXTRAS = {
    "server": "fastapi", "langchain": "langchain-core", "langgraph": "langgraph", "crewai": "crewai",
    "autogen": "autogen", "agentchat": "autogen-agentchat", "telegram": "aiogram",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. ``mend`` is what to do about it."""

    level: Literal["ok", "note", "problem"]
    subject: str
    text: str
    mend: str = ""


def doctor(json: JsonFlag = False) -> None:
    """Check settings, server, policy and prices. Exit code 1 when something must be mended.

    Example: AEGIS_URL=redis://127.0.0.1:6379 aegis doctor
    """
    findings = asyncio.run(examine())
    if json:
        print_json(findings)
    else:
        _print(findings)
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(1)


async def examine() -> list[Finding]:
    """Every check, in order; one that fails keeps those after it from running."""
    findings = [Finding("ok", "aegis", f"{_version('aegis-governor')} on Python {platform.python_version()}")]
    try:
        settings = load_settings()
        findings += _of_settings(settings)
        if settings.url.startswith("http"):
            findings += await _of_remote(settings)
        else:
            findings += await _of_store(settings)
    except AegisError as error:
        findings.append(Finding("problem", error.code, error.message))
    findings += _of_extras()
    return findings


def _of_settings(settings: Settings) -> Iterator[Finding]:
    if settings.is_embedded:
        from aegis_core.store.embedded import server_status

        status = server_status(settings.data_dir)
        state = f"running (pid {status['pid']})" if status["running"] else "not running; it starts when it is needed"
        yield Finding("ok", "store", f"embedded server in {status['directory']}: {state}")
    else:
        from aegis_core.store.address import hide_password

        yield Finding("ok", "store", hide_password(settings.url))
    if settings.timezone != "UTC":
        yield Finding("ok", "time zone", f"days, weeks and months begin in {settings.timezone}")


async def _of_remote(settings: Settings) -> list[Finding]:
    from aegis_core.connect import connect

    async with connect(settings=settings) as governor:
        await governor.events(limit=1)
    return [Finding("ok", "governor", f"{settings.url} answers")]


async def _of_store(settings: Settings) -> list[Finding]:
    from aegis_core.connect import open_governor
    from aegis_core.store.store import open_store

    store = await open_store(settings)
    try:
        server = store.server
        findings = [
            Finding(
                "ok",
                "server",
                f"{server.product} {server.version}, {server.used_bytes / 1e6:.1f} MB used, {server.eviction}",
            )
        ]
        if not server.aof:
            findings.append(
                Finding("note", "durability", "the append-only file is off: a crash loses what is spent and reserved",
                        "redis-cli CONFIG SET appendonly yes")
            )  # fmt: skip
        governor = await open_governor(store, settings)
        began = time.time()
        theirs = (await governor.clock()).timestamp()
        skew = theirs - (began + time.time()) / 2
        if abs(skew) > 1 + time.time() - began:
            text = f"this machine's clock is {-skew:+.1f} s off the server's; decisions use the server's"
            findings.append(Finding("note", "clock", text))
        laps: list[float] = []
        for _ in range(50):
            lap = time.perf_counter()
            await governor.clock()
            laps.append(time.perf_counter() - lap)
        findings.append(Finding("ok", "latency", f"a script takes {statistics.median(laps) * 1e6:.0f} µs"))
        findings.append(Finding("ok", "policy", governor.policy_summary()))
        findings.append(Finding("ok", "models", governor.catalog_summary()))
        await governor.aclose()
        return findings
    finally:
        await store.aclose()


def _of_extras() -> list[Finding]:
    found = [f"{extra} {_version(package)}" for extra, package in _EXTRAS.items() if _version(package)]
    return [Finding("ok", "extras", ", ".join(found) or "none installed")]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _print(findings: list[Finding]) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    signs = {"ok": "[green]✓[/]", "note": "[yellow]![/]", "problem": "[red]✗[/]"}
    for finding in findings:
        console.print(f"{signs[finding.level]} {finding.subject:12} {shown(finding.text)}")
        if finding.mend:
            console.print(f"  {'':12} [bold]{shown(finding.mend)}[/]")

"""``aegis doctor``: what is connected, which version, what is misconfigured, and how to mend it."""

from __future__ import annotations

import asyncio
import platform
import re
import shlex
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from aegis_core.cli.common import JsonFlag, print_json, stdout_console
from aegis_core.protocol.distribution import NAME as DISTRIBUTION
from aegis_core.protocol.distribution import UPGRADE
from aegis_core.protocol.errors import AegisError, AuthError, ConfigurationError, PolicyError, StoreError
from aegis_core.protocol.masking import visible
from aegis_core.settings import WORKING_DIRECTORY_FILE, Settings, load_settings, refuse_unknown_in

if TYPE_CHECKING:
    from aegis_core.governor.governor import ResourceGovernor

_REQUIRED = re.compile(r"(?P<package>[\w.-]+).*extra == ['\"](?P<extra>\w+)['\"]")
_COLLECTIONS = {"all", "dev"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. ``mend`` is what to do about it."""

    level: Literal["ok", "note", "problem"]
    subject: str
    text: str
    mend: str = ""


_SUBJECTS: dict[type[AegisError], str] = {
    StoreError: "server", ConfigurationError: "settings", AuthError: "governor", PolicyError: "policy",
}  # fmt: skip


_MEND = {
    "sending": "aegis channels test",
    "hearing": "let one program alone use this bot's token, and see that AEGIS_TELEGRAM_TOKEN is still good",
}
"""What to do about a direction of a channel that fails."""


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
    """Every check, in order. Nothing is mended, and no rules are published."""
    findings = [Finding("ok", "aegis", f"{_version(DISTRIBUTION)} on Python {platform.python_version()}")]
    try:
        settings = load_settings()
    except AegisError as error:
        return [*findings, _problem(error), *_of_extras()]
    try:
        findings += _of_place(settings)
        if settings.url.startswith(("http://", "https://")) and not settings.is_embedded:
            findings += await _of_remote(settings)
        else:
            findings += await _of_store(settings)
    except AegisError as error:
        findings.append(_problem(error))
    return [*findings, *_of_rules(settings), *_of_secret(settings), *_of_channels(settings), *_of_extras()]


def _problem(error: AegisError) -> Finding:
    """An error as a finding; where it names a command that mends it, that stands apart."""
    text, _, mend = error.message.partition(" Mend it: ")
    text = text.removesuffix(" `aegis doctor` says what is wrong.")
    if error.facts.get("reason") == "down" and not mend:
        mend = "start it, or change AEGIS_URL (unset: an embedded server)"
    subject = next((name for kind, name in _SUBJECTS.items() if isinstance(error, kind)), "aegis")
    return Finding("problem", subject, text, mend)


def _of_place(settings: Settings) -> Iterator[Finding]:
    if settings.env_file is not None:
        yield Finding("ok", "settings", f"the environment, and {settings.env_file}")
    elif Path(WORKING_DIRECTORY_FILE).exists():
        text = f"{WORKING_DIRECTORY_FILE} of this directory is read by servers only, so it was not read here"
        yield Finding("note", "settings", text, f"aegis --env-file {WORKING_DIRECTORY_FILE} doctor")
        try:
            refuse_unknown_in(Path(WORKING_DIRECTORY_FILE))
        except ConfigurationError as error:
            yield Finding("problem", "settings", f"a server would not start here: {error.message}")
    if settings.is_embedded:
        from aegis_core.governor.inspection import embedded_status

        status = embedded_status(settings.data_dir)
        state = f"running (pid {status['pid']})" if status["running"] else "not running; it starts when it is needed"
        yield Finding("ok", "store", f"embedded server in {status['directory']}: {state}")
        if status["running"] and not status["answers"]:
            yield Finding("problem", "store", "the embedded server runs but does not answer", f"see {status['log']}")
        elif status["running"] and not status["in_use"] and not settings.embedded_stay:
            place = "" if settings.data_dir is None else f"pathlib.Path({str(settings.data_dir)!r})"
            yield Finding(
                "note",
                "store",
                "nobody uses the embedded server, which was once asked to stay (AEGIS_EMBEDDED_STAY)",
                f'python -c "import pathlib, aegis_core.store.embedded as e; e.stop_server({place})"',
            )
    else:
        from aegis_core.governor.inspection import hide_password

        yield Finding("ok", "store", hide_password(settings.url))
    if settings.timezone != "UTC":
        yield Finding("ok", "time zone", f"days, weeks and months begin in {settings.timezone}")


async def _of_remote(settings: Settings) -> list[Finding]:
    from aegis_core.connect import connect

    began = time.perf_counter()
    async with connect(settings=settings) as governor:
        await governor.events(limit=1)
    took = time.perf_counter() - began
    found = [Finding("ok", "governor", f"answers for tenant {settings.tenant}, in {took * 1e3:.0f} ms")]
    if await _connections_of(settings) == "unbounded":
        text = "the server bounds neither its connections nor how long they may be idle: anybody can use them up"
        found.append(Finding("note", "connections", text, "aegis serve, or a proxy before it (docs/operations.md)"))
    return found


async def _connections_of(settings: Settings) -> object:
    """What the server says of its connections."""
    import httpx

    from aegis_core.connect import credential

    shown = credential(settings)
    headers = {"Authorization": f"Bearer {shown}"} if shown else {}
    try:
        async with httpx.AsyncClient(headers=headers, timeout=10) as http:
            answer = await http.get(f"{settings.url.rstrip('/')}/api/v1/ready", params={"verbose": "true"})
            return answer.json().get("connections")
    except (httpx.HTTPError, ValueError, AttributeError):
        return None


async def _of_store(settings: Settings) -> list[Finding]:
    from aegis_core.connect import open_governor, open_store

    store = await open_store(settings)
    try:
        server = store.server
        text = f"{server.product} {server.version}, {server.used_bytes / 1e6:.1f} MB used, {server.eviction}"
        findings = [Finding("ok", "server", text)]
        if not server.aof:
            findings.append(
                Finding("note", "durability", "the append-only file is off: a crash loses what is spent and reserved",
                        "redis-cli CONFIG SET appendonly yes")
            )  # fmt: skip
        if server.forgetful:
            text = (
                "there are replicas, and min-replicas-to-write is 0: a primary that was cut off goes on granting, and "
            )
            text += "what it granted is forgotten when it comes back"
            mend = "redis-cli CONFIG SET min-replicas-to-write 1"
            findings.append(Finding("note", "durability", text, mend))
        findings.append(_of_data(await store.writers()))
        # Opening a governor would publish the rules of AEGIS_POLICY_FILE; they are looked at on their own.
        governor = await open_governor(store, settings.model_copy(update={"policy_file": None}))
        try:
            findings += await _of_time(governor)
            findings.append(Finding("ok", "policy", governor.policy_summary()))
            findings.append(Finding("ok", "models", governor.arbiter.catalog.summary))
            findings += await _of_standing(governor)
            findings += await _of_directions(governor)
        finally:
            await governor.aclose()
        return findings
    finally:
        await store.aclose()


def _of_data(writers: dict[str, int]) -> Finding:
    """By which versions the data was written, and whether one of them knew more than this one."""
    from aegis_core.governor.inspection import FIELDS, SCHEMA

    most = max(writers.values())
    known = ", ".join(f"Aegis {name} ({fields} fields)" for name, fields in sorted(writers.items()))
    text = f"schema {SCHEMA}, written by {known}"
    if most <= FIELDS:
        return Finding("ok", "data", text)
    more = f"{text}; this one knows {FIELDS} fields, and carries the others unread"
    return Finding("note", "data", more, UPGRADE)


async def _of_time(governor: ResourceGovernor) -> list[Finding]:
    began = time.time()
    theirs = (await governor.clock()).timestamp()
    skew = theirs - (began + time.time()) / 2
    findings: list[Finding] = []
    if abs(skew) > 1 + time.time() - began:
        text = f"this machine's clock is {-skew:+.1f} s off the server's; decisions use the server's"
        findings.append(Finding("note", "clock", text))
    laps: list[float] = []
    for _ in range(50):
        lap = time.perf_counter()
        await governor.clock()
        laps.append(time.perf_counter() - lap)
    findings.append(Finding("ok", "latency", f"a script takes {statistics.median(laps) * 1e6:.0f} µs"))
    return findings


async def _of_standing(governor: ResourceGovernor) -> list[Finding]:
    """What is set that lets an agent be refused, or not, whatever its request."""
    standing = await governor.tenant_store.standing()
    findings: list[Finding] = []
    if standing.status == "halted":
        findings.append(Finding("note", "brakes", "the tenant is halted: every request is refused", "aegis resume"))
    if standing.mode == "observe":
        text = "the tenant observes: rules and budgets refuse nothing"
        findings.append(Finding("note", "mode", text, "aegis mode enforce"))
    if standing.blocked_agents:
        names = ", ".join(await governor.tenant_store.blocked())
        findings.append(
            Finding("note", "brakes", f"{standing.blocked_agents} agents are blocked: {names}", "aegis unblock")
        )
    asked = "the HTTP API asks for one" if standing.keys else "the HTTP API serves this machine only, and believes it"
    return [*findings, Finding("ok", "keys", f"{standing.keys} in force; {asked}")]


def _of_rules(settings: Settings) -> Iterator[Finding]:
    if settings.policy_file is None:
        return
    from aegis_core.connect import read_policy_file

    try:
        policy = read_policy_file(settings.policy_file)
    except AegisError as error:
        yield Finding("problem", "rules file", error.message, "mend it; until then nothing starts, and the rules in "
                      "force stay")  # fmt: skip
    else:
        text = f"{settings.policy_file}: {len(policy.rules)} rules, put in force whenever a server or a program starts"
        yield Finding("ok", "rules file", text)


def _of_secret(settings: Settings) -> Iterator[Finding]:
    """Who reads the operator secret is the operator."""
    if settings.operator_secret is not None:
        return
    try:
        from aegis_core.api.secret import secret_path
    except ModuleNotFoundError:  # without the extra `server` none was made
        return
    path = secret_path(settings)
    try:
        found = path.stat()
    except OSError:
        return
    if found.st_mode & 0o077:
        yield Finding("problem", "secret", f"{path} is open to other users", f"chmod 600 {shlex.quote(str(path))}")


def _of_channels(settings: Settings) -> Iterator[Finding]:
    from aegis_core.channels.registry import configured

    try:
        names = list(configured(settings))
    except ConfigurationError as error:
        yield Finding("problem", "channels", error.message)
    else:
        if names:
            yield Finding("ok", "channels", f"{', '.join(names)}; `aegis channels test` sends a message")


async def _of_directions(governor: ResourceGovernor) -> list[Finding]:
    """How each channel sends and hears, whichever process serves it."""
    from aegis_core.channels.registry import channels_health

    found: list[Finding] = []
    for channel in await channels_health(governor.tenant_store):
        for name, way in (("sending", channel.sending), ("hearing", channel.hearing)):
            if way is None:
                continue
            text = (
                f"{channel.name}: {name} {'fails' if way.problem else 'works'} since {way.since:%Y-%m-%d %H:%M:%S} UTC"
            )
            if way.problem:
                found.append(Finding("problem", "channels", f"{text}: {way.problem}", _MEND[name]))
            else:
                found.append(Finding("ok", "channels", text))
        if not channel.served:
            found.append(Finding("note", "channels", f"{channel.name}: nobody serves it now", "aegis channels run"))
    return found


def _of_extras() -> list[Finding]:
    found = [f"{extra} {shown}" for extra, package in _extras().items() if (shown := _version(package))]
    return [Finding("ok", "extras", ", ".join(found) or "none installed")]


def _extras() -> dict[str, str]:
    """The first package that each extra brings, as our own distribution declares them."""
    found: dict[str, str] = {}
    try:
        declared = requires(DISTRIBUTION) or []
    except PackageNotFoundError:  # run from a folder, and not installed
        declared = []
    for match in filter(None, map(_REQUIRED.match, declared)):
        if match["extra"] not in _COLLECTIONS:
            found.setdefault(match["extra"], match["package"])
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _print(findings: list[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    console = stdout_console()
    signs = {"ok": Text("✓", "green"), "note": Text("!", "yellow"), "problem": Text("✗", "red")}
    for finding in findings:
        row = Table.grid(padding=(0, 1))
        row.add_column(no_wrap=True)
        row.add_column(no_wrap=True, min_width=11)
        row.add_column(overflow="fold")
        row.add_row(signs[finding.level], finding.subject, Text(visible(finding.text)))
        console.print(row)
        if finding.mend:  # left to the terminal to wrap, so that it can be copied whole
            console.print(Text(f"{'':14}{visible(finding.mend)}", "bold"), soft_wrap=True)

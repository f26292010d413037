"""``aegis replay``: what the governor would have made of recorded traffic."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from decimal import Decimal

    from aegis_core.replay.report import ReplayTerms
    from aegis_core.replay.runner import Plan, Rate
    from aegis_core.replay.tally import Tally
    from aegis_core.replay.trace import Trace
    from aegis_core.settings import Settings

_INTERRUPTED = 130


class TraceFormat(StrEnum):
    """How to read a trace."""

    AUTO = "auto"
    CSV = "csv"
    JSONL = "jsonl"


def replay(
    trace: Annotated[Path, typer.Argument(help="A CSV or JSONL file, plain or .gz.", show_default=False)],
    format: Annotated[TraceFormat, typer.Option(help="auto goes by the file's name.")] = TraceFormat.AUTO,  # noqa: A002
    model: Annotated[str, typer.Option(help="The model of rows that name none.")] = "gpt-4o",
    policy: Annotated[
        Path | None,
        typer.Option(help="A rules file; default: AEGIS_POLICY_FILE, else the shipped rules.", show_default=False),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="USD", help="Per agent and day; default AEGIS_AGENT_DAY_USD, 10.", show_default=False),
    ] = None,
    tenant_budget: Annotated[
        str | None,
        typer.Option(
            metavar="USD", help="For all agents and day; default AEGIS_TENANT_DAY_USD, 100.", show_default=False
        ),
    ] = None,
    density: Annotated[
        int, typer.Option(min=1, max=10, help="Logic density of the calls, for the recommendation.")
    ] = 5,
    rate: Annotated[str, typer.Option(metavar="max|realtime|N", help="N: calls a second.")] = "max",
    limit: Annotated[int | None, typer.Option(min=1, help="Rows (CSV) or runs (JSONL) to read at most.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave malformed rows out, and list them.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON alone on standard output.")] = False,
) -> None:
    """Put recorded traffic through the governor: what would be granted, escalated, refused, and what models would cost.

    It runs on a throw-away server and on the trace's own time. Live budgets are never touched.

    A CSV has a column of times, of input and of output tokens (one call a row); a JSONL has one run of an agent a line,
    its messages under "steps".

    Example: aegis replay calls.csv --budget 25 --json
    """
    import json

    from rich.console import Console

    from aegis_core.replay.comparison import compared_json, print_comparison
    from aegis_core.replay.report import as_json as report
    from aegis_core.replay.report import print_report

    plan, settings, recorded = _prepare(
        trace, format, model=model, policy=policy, budget=budget, tenant_budget=tenant_budget, density=density,
        rate=rate, limit=limit, skip_bad=skip_bad,
    )  # fmt: skip
    terms, tally = _terms(settings), _run(recorded, plan, settings)
    present = _present(settings) if policy is not None and not tally.interrupted else None
    before = _run(recorded, plan, present) if present else None
    compared = (_terms(present).policy, before) if present and before else None
    if as_json:
        found = report(recorded, plan, terms, tally)
        typer.echo(json.dumps(found | compared_json(compared, tally), indent=2, ensure_ascii=False))
    else:
        console = Console(highlight=False)
        print_report(console, recorded, plan, terms, tally)
        print_comparison(console, compared, tally)
    if tally.interrupted:
        raise typer.Exit(_INTERRUPTED)


def _prepare(
    path: Path, format: TraceFormat, *, model: str, policy: Path | None, budget: str | None,  # noqa: A002
    tenant_budget: str | None, density: int, rate: str, limit: int | None, skip_bad: bool,
) -> tuple[Plan, Settings, Trace]:  # fmt: skip
    from aegis_core.replay.reading import read_trace
    from aegis_core.replay.runner import Plan, replay_settings
    from aegis_core.settings import load_settings

    plan = Plan(model=model, density=density, rate=_rate(rate))
    settings = replay_settings(
        load_settings(),
        policy=policy,
        budget=_usd(budget, "--budget"),
        tenant_budget=_usd(tenant_budget, "--tenant-budget"),
    )
    return plan, settings, read_trace(path, format=format.value, limit=limit, skip_bad=skip_bad)


def _present(settings: Settings) -> Settings:
    """The same budgets under the policy that holds without ``--policy``."""
    from aegis_core.settings import load_settings

    return settings.model_copy(update={"policy_file": load_settings().policy_file})


def _terms(settings: Settings) -> ReplayTerms:
    from aegis_core.connect import read_policy_file
    from aegis_core.policy.loading import default_policy
    from aegis_core.protocol.money import to_nanos
    from aegis_core.replay.report import ReplayTerms

    policy = read_policy_file(settings.policy_file) if settings.policy_file else default_policy()
    source = str(settings.policy_file) if settings.policy_file else "the rules that Aegis ships with"
    name = f"{source} ({len(policy.rules)} rules, {policy.digest[:12]})"
    return ReplayTerms(name, to_nanos(settings.agent_day_usd), to_nanos(settings.tenant_day_usd))


def _run(recorded: Trace, plan: Plan, settings: Settings) -> Tally:
    """Replay to the end, or until the user interrupts; what was counted so far is the answer then."""
    import asyncio

    from aegis_core.replay.runner import replay as put
    from aegis_core.replay.tally import Tally

    tally = Tally()
    try:
        with _progress(len(recorded.calls)) as advance:
            asyncio.run(put(recorded, plan, settings, tally, advance))
    except KeyboardInterrupt:
        tally.interrupted = True
    return tally


@contextmanager
def _progress(total: int) -> Generator[Callable[[], None]]:
    """A bar on standard error, where a terminal shows it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda: None
        return
    columns = (
        TextColumn("Replaying"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("replay", total=total, pace="")
        done = 0

        def advance() -> None:
            nonlocal done
            done += 1
            if done % 50 == 0 or done == total or total < 500:
                speed = progress.tasks[0].finished_speed or progress.tasks[0].speed
                progress.update(task, completed=done, pace=f"{speed:,.0f}/s" if speed else "")

        yield advance


def _rate(text: str) -> Rate:
    from aegis_core.protocol.errors import InvalidRequestError

    if text in ("max", "realtime"):
        return text
    try:
        pace = float(text)
    except ValueError:
        pace = 0.0
    if not 0 < pace < float("inf"):
        problem = f"{text!r} is not understood; expected max, realtime, or calls a second, such as 100"
        raise InvalidRequestError(f"--rate: {problem}", field="--rate", problem=problem)
    return pace


def _usd(text: str | None, option: str) -> Decimal | None:
    from aegis_core.protocol.money import to_nanos, to_usd

    return None if text is None else to_usd(to_nanos(text, option))

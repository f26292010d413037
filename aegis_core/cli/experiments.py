"""``aegis kaizen experiments`` and what begins and changes them: cheaper models, tried beside the present one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aegis_core.cli.common import (
    JsonFlag,
    TenantOption,
    extra_tools,
    print_json,
    shown,
    stdout_console,
    whoami,
    with_governor,
)
from aegis_core.client.agent import Governor
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.experiments import (
    Experiment,
    ExperimentChange,
    ExperimentExplanation,
    Experiments,
    ExperimentStart,
    PairNoted,
    PairPost,
)
from aegis_core.protocol.parsing import parse

_Name = Annotated[str, typer.Argument(metavar="ID", help="Of an experiment.", show_default=False)]
_Reason = Annotated[str, typer.Option(help="Kept in the log.")]


def experiments(tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Show all experiments: what they say so far, and how many more pairs they probably need.

    Example: aegis kaizen experiments
    """

    async def work(governor: Governor) -> Experiments:
        return await governor.port.experiments.all()

    found = with_governor(tenant, work)
    if json:
        print_json(found)
        return
    if not found.experiments:
        typer.echo("No experiment was begun; aegis kaizen start TASK_TYPE --present M --candidate M begins one.")
    for each in found.experiments:
        print_experiment(each)


def start(
    task_type: Annotated[str, typer.Argument(help="The type of task, as requests name it.", show_default=False)],
    candidate: Annotated[str, typer.Option(help="The cheaper model; its provider will see prompts of that type.")],
    present: Annotated[str, typer.Option(help="The model that does these tasks now.")],
    judge: Annotated[
        str, typer.Option(help="Who scores: outcome, verifier, exact, json, tool-call, …, llm.")
    ] = "outcome",
    judge_version: Annotated[str, typer.Option(help="Another version is another experiment.")] = "1",
    share: Annotated[float, typer.Option(help="Of the requests, 0 to 1.")] = 0.1,
    most_pairs: Annotated[int, typer.Option(help="After so many it ends.")] = 3_000,
    days: Annotated[int, typer.Option(help="After so many days it ends.")] = 30,
    attenuation: Annotated[float, typer.Option(help="Of judge llm, as measured: 0 to 1, the lower end.")] = 0.0,
    without_labels: Annotated[
        bool, typer.Option("--without-labels", help="Certify on a judge's word alone; the log keeps who said so.")
    ] = False,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Begin an experiment: is CANDIDATE as good for a type of task? The same again changes nothing.

    Example: aegis kaizen start draft --present gpt-4o --candidate gpt-4o-mini --judge verifier
    """
    wish = parse(
        ExperimentStart, task_type=task_type, present=present, candidate=candidate, judge=judge,
        judge_version=judge_version, share=share, most_pairs=most_pairs, days=days, attenuation=attenuation,
        without_labels=without_labels,
    )  # fmt: skip

    async def work(governor: Governor) -> Experiment:
        return await governor.port.experiments.start(wish, author=whoami())

    _print(with_governor(tenant, work), json=json)


def pause(name: _Name, reason: _Reason = "", tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Sample no more for now; what is sampled is still counted.

    Example: aegis kaizen pause x-1a2b3c4d --reason "the provider is down"
    """
    _change(name, "pause", reason, tenant, json=json)


def resume(name: _Name, reason: _Reason = "", tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Go on with a paused experiment.

    Example: aegis kaizen resume x-1a2b3c4d
    """
    _change(name, "resume", reason, tenant, json=json)


def stop(name: _Name, reason: _Reason = "", tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """End an experiment. It still counts where several are decided on together.

    Example: aegis kaizen stop x-1a2b3c4d
    """
    _change(name, "stop", reason, tenant, json=json)


def confirm(name: _Name, reason: _Reason = "", tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Certify what a judge suggests, without labelled pairs. The log keeps who did.

    Example: aegis kaizen confirm x-1a2b3c4d --reason "checked by hand"
    """
    _change(name, "confirm", reason, tenant, json=json)


def pair(
    name: _Name,
    request_id: Annotated[str, typer.Argument(help="The request that both models answered.", show_default=False)],
    present: Annotated[float, typer.Argument(help="Score of the present model, 0 to 1.", show_default=False)],
    candidate: Annotated[float, typer.Argument(help="Score of the candidate.", show_default=False)],
    labelled: Annotated[bool, typer.Option("--labelled", help="True scores, not a judge's.")] = False,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Post the scores of one pair, where it was run elsewhere or is labelled by hand. The same again changes nothing.

    Example: aegis kaizen pair x-1a2b3c4d order-17 1 1 --labelled
    """
    message = parse(
        PairPost, experiment_id=name, request_id=request_id, present=present, candidate=candidate, labelled=labelled
    )

    async def work(governor: Governor) -> PairNoted:
        return await governor.port.experiments.post(message)

    noted = with_governor(tenant, work)
    if json:
        print_json(noted)
    else:
        word = "taken" if noted.counted else "nothing changed"
        typer.echo(f"pair {noted.number} of {noted.experiment_id}: {word}; it is {noted.state}")


def explain_experiment(name: str, svg: Path | None, tenant: str | None, *, json: bool) -> None:
    """What ``aegis kaizen explain`` says of an experiment."""

    async def work(governor: Governor) -> ExperimentExplanation:
        return await governor.port.experiments.explain(name)

    found = with_governor(tenant, work)
    if svg is not None:
        with extra_tools("--svg needs"):
            from aegis_core.kaizen.experiments.picture import svg as drawn
        try:
            svg.write_text(drawn(found), encoding="utf-8")
        except OSError as error:
            problem = f"cannot be written: {error.strerror}"
            raise InvalidRequestError(f"--svg: {svg} {problem}", field="--svg", problem=problem) from None
    if json:
        print_json(found)
        return
    print_experiment(found.experiment)
    for point in found.course:
        typer.echo(f"  after {point.pairs:>5,}: ratio {point.ratio:.3f}, at least {point.at_least:.3f}")


def print_experiment(each: Experiment) -> None:
    """One experiment in a few lines."""
    console = stdout_console()
    what = f"{each.candidate} for {each.present} in {each.task_type}, judged by {each.judge} {each.judge_version}"
    console.print(f"[bold]{shown(each.experiment_id)}[/]  {each.state}  {shown(what)}")
    open_ = f", {each.open_pairs:,} open" if each.open_pairs else ""
    gone = f", {each.missing:,} never judged" if each.missing else ""
    console.print(f"  {each.pairs:,} pairs{open_}{gone}, {each.labels:,} labelled; whole days: {each.whole_days:,}")
    console.print(f"  evidence (log e) {each.log_e:.2f} of {each.needed:.2f} needed; against it {each.log_against:.2f}")
    if each.state in {"running", "paused", "suggested"}:
        if each.forecast is not None:
            console.print(f"  probably {each.forecast.half:,} to {each.forecast.most:,} more pairs")
        else:
            console.print("  no forecast: too few pairs, or it does not look better than it must")
    if each.certified_until is not None:
        console.print(f"  certified until {each.certified_until:%Y-%m-%d}, unless something changes before")
    if each.why:
        console.print(f"  {shown(each.why)}")


def _change(name: str, act: str, reason: str, tenant: str | None, *, json: bool) -> None:
    wish = parse(ExperimentChange, act=act, reason=reason)

    async def work(governor: Governor) -> Experiment:
        return await governor.port.experiments.change(name, wish, author=whoami())

    _print(with_governor(tenant, work), json=json)


def _print(found: Experiment, *, json: bool) -> None:
    if json:
        print_json(found)
    else:
        print_experiment(found)


COMMANDS = (experiments, start, pause, resume, stop, confirm, pair)

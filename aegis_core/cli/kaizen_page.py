"""Kaizen's reports for a person."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from aegis_core.cli.common import dollars, shown
from aegis_core.protocol.experiments import Experiment
from aegis_core.protocol.kaizen import Currency, Explanation, Finding, KaizenReport, Proposal

_TITLES: dict[Currency, str] = {
    "spent": "Dollars spent", "blocked": "Dollars held while somebody was refused", "waited": "Time waited",
    "none": "Other",
}  # fmt: skip
_SILENT = {"clean", "too_few", "unknown"}


def print_report(console: Console, report: KaizenReport) -> None:
    """The page. What was found comes first, then what cannot be known and why."""
    console.print(f"[bold]Kaizen[/] {shown(report.day)}: {report.calls:,} requests in {report.sessions:,} sessions")
    console.print(f"spent {dollars(report.spent_usd)}, of which {dollars(report.found_usd)} may have been avoidable")
    if report.corrected_usd:
        console.print(f"earlier days are corrected by {report.corrected_usd:+,.4f} dollars")
    if report.missed:
        console.print(f"[yellow]{report.missed:,} events were gone before they were read[/]")
    for currency, title in _TITLES.items():
        found = [each for each in report.findings if each.currency == currency and each.state not in _SILENT]
        if found:
            console.print(f"\n[bold]{title}[/]")
            console.print(_table(report, found))
    _print_silent(console, report)
    if report.experiments:
        console.print("\n[bold]Shadow experiments[/]")
        for experiment in report.experiments:
            console.print(f"  {_experiment(experiment)}")
    if report.proposals:
        console.print("\n[bold]Proposed[/]")
        for proposal in report.proposals:
            console.print(f"  {shown(proposal.id)}\n    {_proposal(proposal)}")
    for note in report.notes:
        console.print(f"[dim]{shown(note)}[/]")


def print_explanation(console: Console, found: Explanation) -> None:
    """One finding with everything that is known of it."""
    finding = found.finding
    console.print(f"[bold]{shown(finding.title)}[/]  {shown(finding.id)}  {finding.state.replace('_', ' ')}")
    console.print(f"{_amount(finding)}  {shown(finding.note)}".rstrip())
    console.print(f"{finding.evidence:,} {shown(finding.counted)}; {finding.minimum:,} are needed")
    for name, value in finding.facts.items():
        console.print(f"  {shown(name.replace('_', ' '))}: {shown(value)}")
    for place in finding.where:
        where = " ".join(shown(each) for each in (place.agent, place.subject, place.tool, place.task_type) if each)
        console.print(f"  {dollars(place.usd)}  {place.count:,} times  {where}")
    if finding.events:
        console.print(f"events: {shown(', '.join(finding.events))}")
    for proposal in found.proposals:
        console.print(f"[bold]{proposal.verb.replace('_', ' ')}[/]: {_proposal(proposal)}")
        console.print(f"  change: {shown(proposal.change)}")
        console.print(f"  risk: {shown(proposal.risk)}\n  backtest: {shown(proposal.backtest)}")
        console.print(f"  way back: {shown(proposal.rollback)}")


def _table(report: KaizenReport, found: list[Finding]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    for side in ("right", "right", "left", "left"):
        table.add_column(justify=side, no_wrap=side == "right")
    for each in found:
        share = ""
        if each.currency == "spent" and report.spent_usd and each.amount_usd is not None:
            share = f"{each.amount_usd / report.spent_usd:.1%}"
        words = [] if each.avoidable else ["a cost, not called avoidable"]
        if each.counted_usd is not None and each.counted_usd != each.amount_usd:
            words.append(f"counted {dollars(each.counted_usd)}")
        table.add_row(_amount(each), share, shown(each.title), shown("; ".join([*words, each.note]).strip("; ")))
    return table


def _print_silent(console: Console, report: KaizenReport) -> None:
    groups = (("Unknown", "unknown"), ("Too little to say", "too_few"))
    for title, state in groups:
        found = [each for each in report.findings if each.state == state]
        if found:
            console.print(f"\n[bold]{title}[/]")
            for each in found:
                console.print(f"  {shown(each.title)}: {shown(each.note)}")
    clean = [each.title for each in report.findings if each.state == "clean"]
    if clean:
        console.print(f"\n[bold]Nothing found[/]: {shown('; '.join(clean))}")


def _amount(finding: Finding) -> str:
    if finding.state == "failed":
        return "failed"
    if finding.amount_usd is None:
        return f"{finding.count:,}" if finding.state == "found" else "unknown"
    text = ("at most " if finding.at_most else "") + f"${finding.amount_usd:,.4f}"
    if finding.interval is not None:
        text += f" ({finding.interval.low_usd:,.4f} to {finding.interval.high_usd:,.4f})"
    if finding.seconds is not None:
        text = f"{finding.seconds:,.1f} s, " + text
    return text


def _experiment(each: Experiment) -> str:
    what = f"{each.experiment_id}  {each.state}: {each.candidate} for {each.present} in {each.task_type}"
    words = [shown(what), f"{each.pairs:,} pairs"]
    if each.forecast is not None:
        words.append(f"probably {each.forecast.half:,} to {each.forecast.most:,} more")
    return "; ".join([*words, *([shown(each.why)] if each.why else [])])


def _proposal(proposal: Proposal) -> str:
    saving = "saving unknown"
    if proposal.saving_usd is not None:
        saving = f"at most ${proposal.saving_usd:,.4f}"
        if proposal.saving is not None:
            saving = f"${proposal.saving.low_usd:,.4f} to ${proposal.saving.high_usd:,.4f}"
    return f"{shown(proposal.title)}: {saving} on this day"

"""The report of a replay: for programs as JSON, for people as a page that is understood in seconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from aegis_core.governor.budgets import at_ms
from aegis_core.protocol.money import format_usd, to_usd
from aegis_core.replay.runner import Plan
from aegis_core.replay.tally import Share, Shortage, Tally
from aegis_core.replay.trace import Trace, printable

_MOST_LINES = 6
_COLOURS = {"granted": "green", "escalated": "yellow", "rejected": "red"}
_BAR = 24


@dataclass(frozen=True, slots=True)
class ReplayTerms:
    """What held during a replay: the policy's name and the limits, in nano-dollars a day."""

    policy: str
    agent_day: int
    tenant_day: int


def as_json(trace: Trace, plan: Plan, terms: ReplayTerms, tally: Tally) -> dict[str, object]:
    """The whole report as JSON values. Money is dollars, exact to the nano-dollar; times are ISO 8601 in UTC."""
    total = tally.all
    return {
        "trace": str(trace.path),
        "format": trace.format,
        "policy": terms.policy,
        "agent_day_usd": _usd(terms.agent_day),
        "tenant_day_usd": _usd(terms.tenant_day),
        "logic_density": plan.density,
        "first_at": _iso(tally.first) if total.calls else None,
        "last_at": _iso(tally.last) if total.calls else None,
        "interrupted": tally.interrupted,
        "seconds": round(tally.seconds, 3),
        "runs": trace.runs,
        "calls": total.calls,
        "llm_calls": total.calls - tally.tools,
        "tool_calls": tally.tools,
        "granted": total.granted,
        "escalated": total.escalated,
        "rejected": total.rejected,
        "cost_usd": _usd(total.cost),
        "granted_cost_usd": _usd(total.granted_cost),
        "recommended_cost_usd": _usd(tally.recommended_cost),
        "recommended_quality": "unknown",
        "present_quality": {"tasks": tally.tasks, "solved": tally.solved} if tally.tasks else "unknown",
        "by_rule": {name: _rule_json(share, *tally.examples[name]) for name, share in tally.rules.items()},
        "by_budget": [_shortage_json(short) for short in tally.shortages.values()],
        "by_code": dict(tally.others),
        "agents": {name: _share_json(share) for name, share in _dearest(tally.agents)},
        "models": {name: _share_json(share) for name, share in _dearest(tally.models)},
        "recommended_models": dict(tally.recommended.most_common()),
        "without_recommendation": tally.kept,
        "skipped": list(trace.bad),
        "notes": list(trace.notes),
    }


def _share_json(share: Share) -> dict[str, object]:
    return {
        "calls": share.calls,
        "granted": share.granted,
        "escalated": share.escalated,
        "rejected": share.rejected,
        "cost_usd": _usd(share.cost),
        "granted_cost_usd": _usd(share.granted_cost),
    }


def _rule_json(share: Share, line: int, reason: str) -> dict[str, object]:
    return {"escalated": share.escalated, "rejected": share.rejected, "first_line": line, "first_reason": reason}


def _shortage_json(short: Shortage) -> dict[str, object]:
    return {
        "scope": short.scope,
        "name": short.name,
        "window": short.window,
        "limit_usd": _usd(short.limit),
        "ran_out_at": _iso(short.ran_out),
        "resets_at": None if short.resets is None else _iso(short.resets),
        "rejected": short.rejected,
        "refused_cost_usd": _usd(short.refused),
    }


def print_report(console: Console, trace: Trace, plan: Plan, terms: ReplayTerms, tally: Tally) -> None:
    """The page for people. Its sums are rounded; the JSON report has every nano-dollar."""
    page = _ReportPage(trace, plan, terms, tally)
    console.print(Group(*page.header(), *page.answers(), *page.reasons(), *page.costs(), *page.agents(), *page.rest()))


class _ReportPage:
    """The report, section by section. All sums have as many decimals as the whole cost needs to be readable."""

    def __init__(self, trace: Trace, plan: Plan, terms: ReplayTerms, tally: Tally) -> None:
        self._trace, self._plan, self._terms, self._tally = trace, plan, terms, tally
        whole = tally.all.cost
        self._decimals = 2 if whole >= 1_000_000_000 or not whole else 4 if whole >= 10_000_000 else 6

    def _money(self, nanos: int) -> str:
        return f"${nanos / 1e9:,.{self._decimals}f}"

    def header(self) -> Iterable[RenderableType]:
        trace, terms, tally = self._trace, self._terms, self._tally
        total, agents = tally.all.calls, len(tally.agents)
        what = f"{total:,} {'call' if total == 1 else 'calls'}"
        if tally.tools:
            what += f" ({total - tally.tools:,} of models, {tally.tools:,} of tools)"
        what += f" by {agents:,} {'agent' if agents == 1 else 'agents'}" + (
            f" in {trace.runs:,} runs" if trace.runs else ""
        )
        title = Text.assemble(("Replay of ", "bold"), (printable(trace.path.name), "bold cyan"))
        if tally.interrupted:
            title.append(f"  interrupted after {total:,} of {len(trace.calls):,} calls", "bold yellow")
        yield title
        yield Text(what)
        if total:
            yield Text(f"Trace    {_when(tally.first)} to {_when(tally.last)} UTC ({_span(tally.last - tally.first)})")
        yield Text(f"Policy   {printable(terms.policy)}")
        limits = f"{format_usd(terms.agent_day)} for each agent, {format_usd(terms.tenant_day)} for all together"
        yield Text(f"Budgets  {limits}, a day")

    def answers(self) -> Iterable[RenderableType]:
        total = self._tally.all
        table = _grid("right", "right", "left", "right")
        costs = {"granted": total.granted_cost, "escalated": total.escalated_cost, "rejected": total.rejected_cost}
        for status, colour in _COLOURS.items():
            count: int = getattr(total, status)
            share = count / total.calls if total.calls else 0
            bar = Text("█" * max(round(share * _BAR), 1 if count else 0), colour)
            table.add_row(
                Text(status.upper(), f"bold {colour}"), f"{count:,}", f"{share:.1%}", bar, self._money(costs[status])
            )
        yield from _section("Answers", table)
        if total.escalated:
            yield Padding(
                Text("ESCALATED waits for a person. Here nobody was asked: the money was given back.", "dim"), (0, 2)
            )

    def reasons(self) -> Iterable[RenderableType]:
        tally, table = self._tally, _grid("right", "left", "right")
        for name, share in sorted(tally.rules.items(), key=lambda item: -item[1].calls):
            line, reason = tally.examples[name]
            why = Text(f"rule {printable(name)}").append(f"\nfirst at line {line}: {printable(reason)}", "dim")
            for status in ("escalated", "rejected"):
                if count := getattr(share, status):
                    cost: int = getattr(share, f"{status}_cost")
                    table.add_row(Text(status, _COLOURS[status]), f"{count:,}", why, self._money(cost))
        shortages = sorted(tally.shortages.values(), key=lambda short: -short.rejected)
        rejected = Text("rejected", "red")
        for short in shortages[:_MOST_LINES]:
            table.add_row(rejected, f"{short.rejected:,}", self._shortage(short), self._money(short.refused))
        if rest := shortages[_MOST_LINES:]:
            count, cost = sum(short.rejected for short in rest), sum(short.refused for short in rest)
            table.add_row(rejected, f"{count:,}", f"{len(rest):,} more budgets (see --json)", self._money(cost))
        for code, count in tally.others.most_common():
            table.add_row(rejected, f"{count:,}", code.replace("_", " "))
        if table.row_count:
            yield from _section("Why not", table)

    def _shortage(self, short: Shortage) -> Text:
        whose = "the tenant's" if short.scope == "tenant" else f"{short.scope} {short.name}'s"
        window = "" if short.window == "total" else f" {short.window}"
        text = Text(f"{whose}{window} budget of {format_usd(short.limit)}")
        text.append(f"\nran out at {_when(short.ran_out)}, {_span(short.ran_out - self._tally.first)} in", "bold")
        if short.resets is not None:
            text.append(f"\nstarts again at {_when(short.resets)}", "dim")
        return text

    def costs(self) -> Iterable[RenderableType]:
        tally, table = self._tally, _grid("left", "right", "left")
        present, better = tally.all.cost, tally.recommended_cost
        names = ", ".join(name for name, _ in _dearest(tally.models)) or "no model"
        was = f"{tally.solved:,} of {tally.tasks:,} tasks were solved" if tally.tasks else ""
        table.add_row("present", Text(printable(names)), self._money(present), Text(was, "dim"))
        calls = sum(tally.recommended.values())
        mix = [f"{name} {count / calls:.0%}" for name, count in tally.recommended.most_common(4)]
        note = Text()
        if present:
            gap = present - better
            word = "less" if gap >= 0 else "more"
            note = Text(
                f"The recommended models would cost {self._money(abs(gap))} {word} ({abs(gap) / present:.0%}).\n"
                "How good their answers would be is unknown.",
                "dim",
            )
        table.add_row("recommended", Text(", ".join(mix) or "nothing else"), self._money(better))
        yield from _section(f"What all {tally.all.calls - tally.tools:,} model calls cost, granted or not", table)
        if note:
            yield Padding(note, (0, 2))

    def agents(self) -> Iterable[RenderableType]:
        if len(self._tally.agents) < 2:
            return
        table = _grid("right", "right", "right")
        for name, share in _dearest(self._tally.agents)[:_MOST_LINES]:
            refused = Text(f"{share.rejected:,} rejected", "red" if share.rejected else "dim")
            table.add_row(Text(name), f"{share.calls:,} calls", refused, self._money(share.cost))
        yield from _section("Dearest agents", table)

    def rest(self) -> Iterable[RenderableType]:
        trace, tally = self._trace, self._tally
        if trace.bad:
            lines = [*trace.bad[:_MOST_LINES], *(["…"] if len(trace.bad) > _MOST_LINES else [])]
            yield from _section(
                f"{len(trace.bad):,} malformed rows were left out", Text(printable("\n".join(lines)), "yellow")
            )
        yield Text()
        for note in (*trace.notes, f"Logic density {self._plan.density} is taken for every call, priority 5."):
            yield Text(note, "dim")
        rate = tally.all.calls / tally.seconds if tally.seconds else 0
        done = f"Replayed in {tally.seconds:.1f} s ({rate:,.0f}/s)"
        yield Text(f"{done} on a throw-away server; live budgets are untouched.", "dim")


def _section(title: str, body: RenderableType) -> Iterable[RenderableType]:
    yield Text()
    yield Text(title, "bold")
    yield Padding(body, (0, 0, 0, 2), expand=False)


def _grid(*justify: Any) -> Table:
    """A borderless table whose first column is on the left."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    for side in justify:
        table.add_column(justify=side)
    return table


def _dearest(shares: dict[str, Share]) -> list[tuple[str, Share]]:
    return sorted(shares.items(), key=lambda item: (-item[1].cost, item[0]))


def _usd(nanos: int) -> float:
    return float(to_usd(nanos))


def _when(milliseconds: int) -> str:
    return f"{at_ms(milliseconds):%Y-%m-%d %H:%M:%S}"


def _iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _span(milliseconds: int) -> str:
    seconds = milliseconds / 1000
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"

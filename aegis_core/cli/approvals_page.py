"""Approvals as a table and one by one, for the terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from aegis_core.channels.texts import plan_facts, plan_rows
from aegis_core.cli.common import dollars, shown, shown_name
from aegis_core.protocol.masking import both_ends, visible

if TYPE_CHECKING:
    from rich.table import Table

    from aegis_core.protocol.approvals import Approval
    from aegis_core.protocol.workflows import Plan


def table(found: tuple[Approval, ...], chosen: int | None = None, *, one_line: bool = False) -> Table:
    """Approvals as rows, each on `one_line` where room is counted; the chosen one stands out."""
    from rich.table import Table

    rows = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("approval", "agent", "amount", "rule", "until (UTC)", "state", "by", "intent"):
        wraps = name in {"approval", "agent", "amount", "intent"} and not one_line
        justify = "right" if name == "amount" else "left"
        rows.add_column(name, justify=justify, no_wrap=not wraps, overflow="fold" if wraps else "ellipsis")
    for place, each in enumerate(found):
        state = (
            each.status if each.quorum == 1 or each.status != "open" else f"{each.quorum - each.missing}/{each.quorum}"
        )
        rows.add_row(
            each.approval_id[:11], shown_name(each.agent_id), dollars(each.amount_usd), shown(each.rule or ""),
            _when(each.deadline), state, shown(each.decided_by or ""), shown(each.intent[:80]),
            style="reverse" if place == chosen else None,
        )  # fmt: skip
    return rows


def _when(at: datetime) -> str:
    """A time of today, or another day's with its date."""
    return f"{at:%H:%M:%S}" if at.date() == datetime.now(UTC).date() else f"{at:%Y-%m-%d %H:%M}"


_CHOSEN = {"agent", "tool", "target", "tool before", "target before"}
"""Facts that are names, which the agent chose."""


def details(each: Approval, *, whole: bool = True) -> Table:
    """One approval for a person: what is verified, then what its agent says; arguments `whole`, or both their ends."""
    from rich.table import Table

    rows = Table.grid(padding=(0, 2))
    rows.add_column()
    rows.add_column(overflow="fold")  # else the end of a long word would be left out
    facts = {
        "approval": each.approval_id, "status": each.status, "agent": each.agent_id, "amount": dollars(each.amount_usd),
        "left today": dollars(each.remaining_budget_usd), "rule": each.rule, "why": each.reason, "tool": each.tool,
        "arguments": each.arguments_hash, "target": each.target_resource, "model": each.model,
        "asked": f"{each.asked_at:%Y-%m-%d %H:%M:%S} UTC", "until": f"{each.deadline:%Y-%m-%d %H:%M:%S} UTC",
        "needs": f"{each.quorum} operators" if each.quorum > 1 else None, "operators": ", ".join(each.operators),
        "votes": ", ".join(f"{vote.operator}: {vote.decision}" for vote in each.votes), "decided by": each.decided_by,
        "reason": each.decision_reason, "edited": "yes" if each.edited else None,
    }  # fmt: skip
    if (before := each.original) is not None:
        facts |= {
            "amount before": dollars(before.amount_usd), "tool before": before.tool,
            "arguments before": before.arguments_hash, "target before": before.target_resource,
        }  # fmt: skip
    if each.plan is not None:
        facts = {name: value for name, value in facts.items() if name not in {"left today", "why"}}
        smaller = f"aegis workflows narrow {each.workflow_id}" if each.status == "open" else None
        facts |= {"workflow": each.workflow_id, **plan_facts(each.plan), "smaller with": smaller}
    for name, value in facts.items():
        if value:
            rows.add_row(f"[bold]{name}[/bold]", shown_name(value) if name in _CHOSEN else shown(value))
    if each.plan is not None:
        rows.add_row("[bold]plan[/bold]", plan_table(each.plan))
    for at, line in enumerate(each.simulated):
        rows.add_row("" if at else "[bold]simulated[/bold]", shown(line))
    rows.add_row("[bold]it says[/bold]", f"“{shown(each.intent[:500])}”")
    if each.prompt_end:
        rows.add_row("[bold]prompt ends[/bold]", f"“{shown(each.prompt_end)}”")
    if before is not None and before.arguments:
        rows.add_row("[bold]it asked for[/bold]", _arguments(before.arguments, whole=whole))
    if each.arguments:
        rows.add_row("[bold]with the arguments[/bold]", _arguments(each.arguments, whole=whole))
    return rows


def plan_table(plan: Plan, *, used: bool = False) -> Table:
    """The steps of a plan, with what is `used` of each, and their budget."""
    from rich.table import Table

    rows = Table("step", "what", box=None, header_style="bold", pad_edge=False)
    for name in ("times", "up to", *(("uses", "used") if used else ())):
        rows.add_column(name, justify="right")
    for step, cells in zip(plan.steps, plan_rows(plan), strict=True):
        more = (str(step.uses), dollars(step.used_usd)) if used else ()
        rows.add_row(cells[0], shown(cells[1]), *cells[2:], *more)
    total = sum((step.used_usd for step in plan.steps), start=Decimal(0))
    more = ("", dollars(total)) if used else ()
    rows.add_row("", "[bold]all of it[/bold]", "", f"[bold]{dollars(plan.budget_usd)}[/bold]", *more)
    return rows


def _arguments(text: str, *, whole: bool) -> str:
    """JSON as it is bound by the hash, so that nothing is added or lost."""
    from rich.markup import escape

    first, hidden, end = both_ends(visible(text))
    if whole or not hidden:
        return shown(text)
    note = f"[bold]… {hidden:,} characters are hidden; `aegis approvals show` has all …[/bold]"
    return "\n".join((escape(first), note, escape(end)))

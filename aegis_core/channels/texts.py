"""What messages say of an approval: verified facts first, the agent's own words last, quoted and shortened."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from aegis_core.protocol.approvals import Approval
from aegis_core.protocol.masking import both_ends, visible
from aegis_core.protocol.money import format_usd
from aegis_core.protocol.workflows import Plan
from aegis_core.protocol.writing import told_letters

_MOST_QUOTED, _MOST_FACT, _MOST_PROMPT = 600, 300, 240

TITLES = {
    "open": "Approval needed",
    "approved": "Approved",
    "rejected": "Rejected",
    "timed_out": "Timed out",
    "withdrawn": "Withdrawn",
}


def dollars(amount: Decimal) -> str:
    """An amount to the nano-dollar."""
    return format_usd(int(amount.scaleb(9)))


def clock(at: datetime) -> str:
    """A time for people who may sit anywhere."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def shortened(text: str, most: int) -> str:
    """At most so many characters, on one line, with nothing invisible left in it."""
    text = visible(" ".join(text.split()))
    return text if len(text) <= most else text[: most - 1] + "…"


def facts(approval: Approval) -> list[tuple[str, str]]:
    """The verified facts, each with its name. All that is absent is left out. What the letters of a name of the agent's
    may hide stands with the fact's name, which nobody shortens."""

    def title(title: str, field: str) -> str:
        hides = told_letters(approval.mixed_scripts.get(field), approval.looks_like.get(field))
        return f"{title} ({hides})" if hides else title

    if approval.plan is not None:
        rows = _of_plan(approval, approval.plan, title("Agent", "agent_id"))
        return [(name, shortened(text, _MOST_FACT)) for name, text in rows if text]
    rows: list[tuple[str, str | None]] = [
        (title("Agent", "agent_id"), approval.agent_id),
        ("Cost", dollars(approval.amount_usd) + (" (edited)" if approval.edited else "")),
        ("Budget left", dollars(approval.remaining_budget_usd)),
        ("Rule", approval.rule),
        ("Why", approval.reason),
        ("For", approval.resource_type),
        ("Model", approval.model),
        (title("Tool", "tool"), approval.tool),
        (title("Target", "target_resource"), approval.target_resource),
        ("Arguments", approval.arguments_hash),
        ("Simulated", "; ".join(approval.simulated)),
    ]
    if approval.status == "open":
        rows.append(("Until", _until(approval)))
    return [(name, shortened(text, _MOST_FACT)) for name, text in rows if text]


def _until(approval: Approval) -> str:
    return f"{clock(approval.deadline)}, then it is {_ENDS[approval.on_timeout]}"


_ENDS = {"reject": "rejected", "approve": "approved"}


def _of_plan(approval: Approval, plan: Plan, agent: str) -> list[tuple[str, str | None]]:
    """The facts of a plan but for its steps, which `plan_rows` has."""
    edited = " (edited)" if approval.edited else ""
    return [
        (agent, approval.agent_id),
        ("Plan", f"{len(plan.steps)} steps, {dollars(plan.budget_usd)} in all{edited}"),
        *((name.capitalize(), text) for name, text in plan_facts(plan).items()),
        ("Until", _until(approval) if approval.status == "open" else None),
    ]


def plan_facts(plan: Plan) -> dict[str, str | None]:
    """For how long a plan lasts, who may join, and what members may have at most."""
    return {
        "lasts": f"{span(plan.seconds)} from its approval on",
        "may join": f"{', '.join(plan.may_join) or 'whoever has a join token'}; at most {plan.most_members}",
        "capabilities": None if plan.capabilities is None else ", ".join(plan.capabilities) or "none",
    }


def plan_rows(plan: Plan, most: int = 160) -> list[tuple[str, str, str, str]]:
    """The steps of a plan: number, what, how often, and up to how much; names of at most so many characters."""
    rows: list[tuple[str, str, str, str]] = []
    for step in plan.steps:
        names = " as ".join(visible(name) for name in (step.tool, step.resource_type) if name)
        what = names if len(names) <= most else f"{names[: most // 2]}…{names[-most // 2 :]}"
        often = "any number" if step.times is None else f"{step.times} ×"
        each = "in all" if step.times is None else "each"
        rows.append((str(step.number), what, often, f"{dollars(step.upto_usd)} {each}"))
    return rows


def span(seconds: float) -> str:
    """A span of time in its largest whole unit."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def quote(approval: Approval) -> str:
    """The agent's own words."""
    return shortened(approval.intent, _MOST_QUOTED)


def prompt_end(approval: Approval) -> str:
    """How the prompt ends; empty where the agent said nothing of it."""
    text = visible(" ".join(approval.prompt_end.split()))
    return text if len(text) <= _MOST_PROMPT else "…" + text[1 - _MOST_PROMPT :]


def arguments(approval: Approval) -> list[tuple[str, str]]:
    """The arguments, under what heading; of an edited request those before, too."""
    before = approval.original.arguments if approval.original is not None else ""
    texts = {"The agent asked for these arguments": before, "Arguments": approval.arguments}
    return [(title, visible(text)) for title, text in texts.items() if text]


def is_cut(approval: Approval) -> bool:
    """Whether a message cannot show all of the arguments."""
    return any(both_ends(text)[1] for _, text in arguments(approval))


def votes(approval: Approval, names: dict[str, str]) -> list[str]:
    """What was said so far, one line each, where more than one operator must approve."""
    if approval.quorum < 2:
        return []
    said = [
        f"{_DID[vote.decision]} by {person(vote.operator, names)}"
        + (f": {shortened(vote.reason, 200)}" if vote.reason else "")
        for vote in approval.votes
    ]
    given = sum(vote.decision == "approve" for vote in approval.votes)
    return [f"{given} of {approval.quorum} approvals", *said]


_DID = {"approve": "approved", "reject": "rejected"}


def outcome(approval: Approval, names: dict[str, str]) -> str:
    """How it ended, who decided, when and why; one line."""
    text = TITLES[approval.status]
    if approval.withdrawn_by:
        text += f" ({_TAKEN_BACK[approval.withdrawn_by]})"
    if approval.decided_by:
        text += f" by {person(approval.decided_by, names)}"
    if approval.decided_at:
        text += f" at {clock(approval.decided_at)}"
    return text + (f": {shortened(approval.decision_reason, 300)}" if approval.decision_reason else "")


_TAKEN_BACK = {
    "agent": "by its agent", "caller": "who waited for it gave up", "thread": "its conversation went on",
    "person": "it was answered where the agent runs", "workflow": "its workflow ended",
}  # fmt: skip


def person(credential: str, names: dict[str, str]) -> str:
    """A name with the credential, or the credential alone."""
    name = names.get(credential)
    return f"{name} ({credential})" if name else visible(credential)

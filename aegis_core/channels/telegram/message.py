"""What a message says of an approval, in Telegram's HTML, within what Telegram takes."""

from __future__ import annotations

import re
from html import escape, unescape

from aegis_core.channels import texts as words
from aegis_core.protocol.approvals import Approval
from aegis_core.protocol.masking import both_ends
from aegis_core.protocol.plan_edits import HOW

MOST_UNITS = 4_096
"""Units of UTF-16 that a message may have once its tags are read."""
_SCALES = (1.0, 0.7, 0.45, 0.25, 0.1)
"""How much of each text is shown: the first share with which all of it fits."""
_MOST_VOTES = 40
_MARKS = {"open": "⏳", "approved": "✅", "rejected": "❌", "timed_out": "⌛", "withdrawn": "↩️"}
_TAG = re.compile(r"<[^>]*>")


def text_of(approval: Approval, names: dict[str, str]) -> str:
    """The message: verified facts, what was said, then the agent's own words, quoted and escaped.

    What is long is shortened, but never the beginning and the end of the arguments while anything else can be.
    """
    found = ""
    for scale in _SCALES:
        found = _lines(approval, names, scale)
        if units(found) <= MOST_UNITS:
            break
    return found


def units(html: str) -> int:
    """How long Telegram takes a text for."""
    return len(unescape(_TAG.sub("", html)).encode("utf-16-le", "surrogatepass")) // 2


def fitting(html: str) -> str:
    """As many of its lines as Telegram takes; no tag reaches beyond its line."""
    lines = html.split("\n")
    while len(lines) > 1 and units("\n".join(lines)) > MOST_UNITS - 4:
        lines = [*lines[:-2], "…"] if lines[-1] == "…" else [*lines[:-1], "…"]
    return "\n".join(lines)


def _lines(approval: Approval, names: dict[str, str], scale: float) -> str:
    def cut(text: str) -> str:
        return text if scale == 1 else words.shortened(text, max(24, int(300 * scale)))

    head = words.TITLES["open"] if approval.status == "open" else words.outcome(approval, names)
    lines = [f"{_MARKS[approval.status]} <b>{escape(cut(head))}</b>"]
    lines += [f"<b>{name}:</b> {escape(cut(text))}" for name, text in words.facts(approval)]
    if approval.plan is not None:
        most = 160 if scale == 1 else max(40, int(160 * scale))
        steps = words.plan_rows(approval.plan, most)
        lines += [f"{number}. {escape(what)}: {often}, {upto}" for number, what, often, upto in steps]
    votes = words.votes(approval, names)
    shown = votes[: max(2, int(_MOST_VOTES * scale))]
    lines += [escape(cut(line)) for line in shown]
    if len(votes) > len(shown):
        lines.append(f"… and {len(votes) - len(shown)} more")
    lines.append(f"<code>{approval.approval_id}</code>")
    if approval.status == "open":
        if approval.plan is not None:
            lines.append(f"Reply {escape(HOW)} to make the plan smaller.")
        lines.append(f"Reply {'anything else' if approval.plan else 'to this message'} to reject with a reason.")
    lines += ["The agent says:", _quoted(words.shortened(words.quote(approval), int(600 * scale)))]
    if prompt := words.prompt_end(approval):
        lines += ["The prompt ends:", _quoted(prompt)]
    for title, text in words.arguments(approval):
        first, hidden, end = both_ends(text, 300) if scale == _SCALES[-1] else both_ends(text)
        lines += [f"{title}:", _quoted(first)]
        if hidden:
            lines += [f"… {hidden:,} characters are hidden; the end:", _quoted(end)]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return f"<blockquote>{escape(text)}</blockquote>"

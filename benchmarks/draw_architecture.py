"""Draws ``docs/architecture.svg``: ``python benchmarks/draw_architecture.py``, or ``make pictures``."""

from __future__ import annotations

import sys
from html import escape

WIDTH, HEIGHT = 880, 430
STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1f2328 } .small { font-size: 12px; fill: #57606a }
rect { fill: #f6f8fa; stroke: #8c959f; rx: 6 } .core { fill: #ddf4ff; stroke: #0969da }
.atom { fill: #dafbe1; stroke: #1a7f37 } line { stroke: #57606a; stroke-width: 1.5; marker-end: url(#end) }
"""


def box(x: int, y: int, width: int, height: int, title: str, *lines: str, kind: str = "") -> str:
    """A box with a title and smaller lines below."""
    parts = [f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}"/>']
    parts.append(f'<text x="{x + 12}" y="{y + 24}" font-weight="600">{escape(title)}</text>')
    parts += [
        f'<text class="small" x="{x + 12}" y="{y + 44 + 18 * at}">{escape(line)}</text>'
        for at, line in enumerate(lines)
    ]
    return "".join(parts)


def arrow(x1: int, y1: int, x2: int, y2: int, label: str = "", *, dx: int = 6, dy: int = -6) -> str:
    """An arrow with a label in its middle."""
    text = f'<text class="small" x="{(x1 + x2) // 2 + dx}" y="{(y1 + y2) // 2 + dy}">{escape(label)}</text>'
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>' + (text if label else "")


def drawing() -> str:
    """The whole picture."""
    doors = [
        ("LangChain/Graph", "middleware, nodes"), ("CrewAI, AutoGen", "crew or agent hooks"),
        ("Python", "agent.permit(…)"), ("HTTP", "any language, curl"), ("Proxy", "one URL changed"),
    ]  # fmt: skip
    parts = [box(20 + 170 * at, 20, 156, 62, title, line) for at, (title, line) in enumerate(doors)]
    parts += [arrow(98 + 170 * at, 82, 98 + 170 * at, 122) for at in range(len(doors))]
    parts.append(
        box(20, 124, 836, 84, "Governor", "policy: pure, compiled, 27 types of rules", "arbiter: models by tier, price "
            "and evidence; metering: what a provider bills, to the nano-dollar", kind="core")
    )  # fmt: skip
    parts.append(arrow(300, 208, 300, 262, "one round trip"))
    parts.append(
        box(20, 264, 540, 146, "One Lua script on Redis: judge everything, then write everything",
            "who asks: agent, session, key, capability, priority, brakes", "rates, repeats, every budget that applies, "
            "by the server's clock", "the lock and its fence · a question for a person, holding its money",
            "reservation + idempotency record + event: all of it, or nothing", kind="atom")
    )  # fmt: skip
    parts.append(
        box(620, 264, 236, 146, "Behind the events", "approvals: Telegram, webhook",
            "sums by the hour, metrics", "Kaizen: waste, day by day", "never on a decision's way")
    )  # fmt: skip
    parts.append(arrow(560, 337, 618, 337, "events", dx=-24))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="How a request passes through Aegis">'
    )
    end = (
        '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#57606a"/></marker></defs>'
    )
    ground = f'<path d="M0 0h{WIDTH}v{HEIGHT}H0z" fill="#fff"/>'
    return "\n".join((head, f"<style>{STYLE}</style>", end + ground, *parts, "</svg>", ""))


if __name__ == "__main__":
    sys.stdout.write(drawing())

"""What the demonstration shows: a line for each verdict as it arrives, and sums. Colours only repeat the words."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from aegis_core.protocol.messages import Receipt, SessionOpened, Verdict
from aegis_core.protocol.money import format_usd, to_nanos

_COLOURS = {"GRANTED": "bold green", "PENDING": "bold yellow", "REJECTED": "bold red"}
_MARKS = {"GRANTED": "■", "PENDING": "◆", "REJECTED": "·"}
_BAR = 16
_WORD, _NAME, _FRAMEWORK = 8, 18, 9


@dataclass(slots=True)
class Part:
    """One agent of the cast: what it is, and what it was answered."""

    name: str
    framework: str
    answers: Counter[str] = field(default_factory=Counter[str])
    charged: Decimal = Decimal(0)


class Page:
    """The terminal. Keeps what it showed, so that the summary is made of nothing else."""

    def __init__(self, console: Console, seconds: float, pictured: Collection[str] = ()) -> None:
        """`seconds`: between the lines. `pictured`: how the scenes begin that the console records, for a picture."""
        self.console, self._seconds, self._pictured = console, seconds, tuple(pictured)
        self.parts: dict[str, Part] = {}
        self.refusals: Counter[str] = Counter()

    async def pause(self, times: float = 1) -> None:
        """Give the audience time to read."""
        if self._seconds:
            await asyncio.sleep(self._seconds * times)

    async def scene(self, title: str, words: str = "") -> None:
        """A new part of the show."""
        self.console.record = title.startswith(self._pictured) if self._pictured else False
        self.console.print()
        self.console.print(Rule(Text(title, "bold"), align="left", characters="─", style="dim"))
        if words:
            self.console.print(Text(words, "dim"))
        await self.pause(2)

    async def opened(self, session: SessionOpened) -> None:
        """A handshake."""
        part = self.parts.setdefault(session.agent_id, Part(session.agent_id, session.agent_framework))
        limit = session.session_budget_usd
        facts = f"priority up to {session.max_priority}" + (f", {money(limit)} a session" if limit is not None else "")
        table = Table.grid(padding=(0, 2, 0, 0))
        for width in (_WORD, _NAME, _FRAMEWORK):
            table.add_column(width=width, no_wrap=True)
        table.add_column()
        table.add_row(Text("HELLO", "bold cyan"), Text(part.name, "bold"), part.framework, facts)
        self._indented(table)
        await self.pause()

    async def verdict(self, intent: str, verdict: Verdict) -> None:
        """One answer."""
        self.count(verdict)
        head = Text.assemble((verdict.agent_id, "bold"), f"  {intent}")
        facts = Text()
        if verdict.granted:
            facts.append(f"{money(verdict.reserved_usd)} held")
            if verdict.recommended_model:
                facts.append(", use ").append(verdict.recommended_model, "bold cyan")
            facts.append(f", {money(verdict.remaining_budget_usd)} left today")
        else:
            facts.append(verdict.reason)
            if verdict.rule:
                facts.append(f" [{verdict.rule}]", "dim")
        self._line(Text(verdict.status, _COLOURS[verdict.status]), head, facts)
        await self.pause()

    def count(self, verdict: Verdict) -> None:
        """Keep an answer for the summary."""
        self.parts[verdict.agent_id].answers[verdict.status] += 1
        if not verdict.granted:
            self.refusals[f"{verdict.status} {_cause(verdict)}"] += 1

    async def receipt(self, receipt: Receipt, words: str) -> None:
        """What became of a grant."""
        self.parts[receipt.agent_id].charged += receipt.charged_usd
        facts = Text(f"{money(receipt.reserved_usd)} held, {money(receipt.charged_usd)} charged")
        if receipt.overrun_usd:
            facts.append(f", {money(receipt.overrun_usd)} over: charged all the same, and announced", "yellow")
        elif receipt.returned_usd:
            facts.append(f", {money(receipt.returned_usd)} back")
        self._line(
            Text(receipt.state.upper(), "bold cyan"), Text.assemble((receipt.agent_id, "bold"), f"  {words}"), facts
        )
        await self.pause()

    async def herd(self, verdicts: Iterable[Verdict]) -> None:
        """Many answers at once: one mark each, in the order in which they came."""
        marks, counts = Text(), Counter[str]()
        for verdict in verdicts:
            self.count(verdict)
            counts[verdict.status] += 1
            marks.append(_MARKS[verdict.status], _COLOURS[verdict.status])
        told = [f"{count} {status} ({_MARKS[status]})" for status, count in counts.items()]
        self._indented(marks)
        self._indented(Text(", ".join(told), "bold"))
        await self.pause(2)

    def say(self, text: str, style: str = "") -> None:
        """One line of prose."""
        self._indented(Text(text, style))

    def _indented(self, what: RenderableType) -> None:
        self.console.print(Padding(what, (0, 0, 0, 2), expand=False))

    def _line(self, word: Text, head: Text, facts: Text | None = None) -> None:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(width=_WORD, no_wrap=True)
        table.add_column()
        table.add_row(word, head)
        if facts is not None:
            table.add_row("", facts)
        self._indented(table)

    def summary(self) -> None:
        """Who asked, what they got, and why not."""
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("agent")
        table.add_column("framework")
        for title, colour in (("granted", "green"), ("pending", "yellow"), ("rejected", "red"), ("charged", "")):
            table.add_column(title, justify="right", style=colour)
        for part in self.parts.values():
            counts = [str(part.answers[status] or "") for status in _COLOURS]
            table.add_row(part.name, part.framework, *counts, money(part.charged))
        totals = [str(sum(part.answers[status] for part in self.parts.values())) for status in _COLOURS]
        table.add_section()
        table.add_row(
            "all", "", *totals, money(sum((part.charged for part in self.parts.values()), Decimal(0))), style="bold"
        )
        self._indented(table)
        self.console.print()
        causes = Table.grid(padding=(0, 2, 0, 0))
        causes.add_column(justify="right")
        for cause, count in self.refusals.most_common():
            status, _, why = cause.partition(" ")
            causes.add_row(str(count), Text(status, _COLOURS[status]), why)
        self._indented(causes)

    def models(self, charged: dict[str, list[Decimal]]) -> None:
        """To which models calls went, the most frequent first."""
        table = Table.grid(padding=(0, 2, 0, 0))
        for side in ("left", "right", "right"):
            table.add_column(justify=side)
        for model, amounts in sorted(charged.items(), key=lambda item: -len(item[1])):
            table.add_row(Text(model, "bold cyan"), f"{len(amounts)} calls", money(sum(amounts, Decimal(0))))
        self._indented(table)

    def savings(self, charged: Decimal, elsewhere: dict[str, Decimal]) -> None:
        """What the routed calls cost, and what the same tokens would have cost on one model."""
        table = Table.grid(padding=(0, 2, 0, 0))
        for side in ("left", "right", "left", "left"):
            table.add_column(justify=side)
        longest = max(charged, *elsewhere.values())
        table.add_row("as routed", Text(money(charged), "bold"), _bar(charged / longest, "green"))
        for model, cost in elsewhere.items():
            share = 1 - charged / cost
            saved = Text(f"{share:.0%} saved", "bold green")
            if share <= 0:
                saved = Text(f"{charged / cost:.1f} times that", "yellow")
            table.add_row(f"always {model}", money(cost), _bar(cost / longest, "red"), saved)
        self._indented(table)


def _bar(share: Decimal, colour: str) -> Text:
    return Text("█" * max(1, round(share * _BAR)), colour)


def _cause(verdict: Verdict) -> str:
    if verdict.rule and verdict.code in ("policy", "approval_needed"):
        return f"rule {verdict.rule}"
    if verdict.code == "budget_exceeded":
        line = next((line for line in verdict.budgets if line.tightest), None)
        window = f" {line.window}" if line and line.window != "total" else ""
        return f"the {line.scope}'s{window} budget" if line else "a budget"
    return verdict.code.replace("_", " ")


def money(amount: Decimal) -> str:
    """Dollars, to the nano-dollar where there are any."""
    return format_usd(to_nanos(amount))

"""The live view of ``aegis approvals watch``: redrawn when something happens or time passes, decided with a key."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aegis_core.cli.approvals import details, table
from aegis_core.cli.common import shown
from aegis_core.errors import AegisError, ConfigurationError

if TYPE_CHECKING:
    from aegis_core.agent import Governor
    from aegis_core.approval_protocol import Approval, Decision

_DECISIONS: dict[str, Decision] = {"a": "approve", "r": "reject"}
_ARROWS = {"\x1b[A": "k", "\x1b[B": "j"}
_KEY = re.compile(r"\x1b\[[A-D]|.", re.DOTALL)
_HINT = "[bold]j[/bold]/[bold]k[/bold] choose  [bold]a[/bold] approve  [bold]r[/bold] reject  [bold]q[/bold] leave"


class View:
    """What is on the screen: the open approvals, the chosen one, and the last thing that was done."""

    def __init__(self) -> None:
        self.found: tuple[Approval, ...] = ()
        self.chosen_id: str | None = None
        self.said = ""

    @property
    def place(self) -> int:
        """The chosen row; the choice follows its approval, so that no other slips under a key."""
        return next((at for at, each in enumerate(self.found) if each.approval_id == self.chosen_id), 0)

    @property
    def chosen(self) -> Approval | None:
        """The approval that a key decides."""
        return next((each for each in self.found if each.approval_id == self.chosen_id), None)

    def take(self, found: tuple[Approval, ...]) -> None:
        """Show these. When the chosen one is gone, nothing is chosen until the person moves."""
        self.found = found
        if self.chosen_id is None and found:
            self.chosen_id = found[0].approval_id

    def move(self, by: int) -> None:
        """Choose the row so many below."""
        if self.found:
            at = self.place if self.chosen else (0 if by > 0 else len(self.found) - 1) - by
            self.chosen_id = self.found[max(0, min(len(self.found) - 1, at + by))].approval_id

    def draw(self) -> Any:
        """The screen."""
        from rich.console import Group

        if not self.found:
            return Group("Nothing waits for you.", "", self.said, "[bold]q[/bold] leave")
        chosen = self.chosen
        below = details(chosen) if chosen else "It is decided, or its time has passed; choose another one."
        return Group(table(self.found, self.place if chosen else None), "", below, "", self.said, _HINT)


async def watch_approvals(governor: Governor, who: str) -> None:
    """Show and decide until the person leaves.

    Raises:
        ConfigurationError: standard input or output is no terminal.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigurationError("watch needs a terminal; in a script use `aegis approvals list --json`.")
    from rich.live import Live

    view, news = View(), asyncio.Queue[str]()
    following = asyncio.create_task(_follow(governor, news))
    try:
        with _keys(news), Live(view.draw(), screen=True, auto_refresh=False) as live:
            await _look(governor, view)
            while True:
                live.update(view.draw(), refresh=True)
                word = "news"
                with suppress(TimeoutError):
                    async with asyncio.timeout(_until_due(view)):
                        word = await news.get()
                if word == "q":
                    return
                if word in _DECISIONS and (chosen := view.chosen):
                    view.said = await _decide(governor, chosen, _DECISIONS[word], who)
                if word in {"j", "k"}:
                    view.move(1 if word == "j" else -1)
                else:
                    await _look(governor, view)
    finally:
        following.cancel()


def _until_due(view: View) -> float | None:
    """Seconds to wait for news: until the next deadline, when one more is gone. For ever when nothing waits."""
    left = [(each.deadline - datetime.now(UTC)).total_seconds() for each in view.found]
    return max(0.2, min(left)) if left else None


async def _look(governor: Governor, view: View) -> None:
    view.take(await governor.approvals.list(limit=30))


async def _decide(governor: Governor, chosen: Approval, word: Decision, who: str) -> str:
    try:
        done = await governor.approvals.decide(chosen.approval_id, word, by=who)
    except AegisError as error:
        return f"[red]{shown(error.message)}[/red]"
    if done.status == "open":
        return f"{done.approval_id[:11]} still needs {done.missing} more."
    return f"{done.approval_id[:11]} is {done.status}."


async def _follow(governor: Governor, news: asyncio.Queue[str]) -> None:
    async for event in governor.follow():
        if event.kind in {"pending", "approved", "declined", "timed_out", "voted", "released"} and news.empty():
            news.put_nowait("news")


@contextmanager
def _keys(news: asyncio.Queue[str]) -> Generator[None]:
    """Keys as they are pressed, without Enter. The terminal is left as it was found."""
    import os
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()

    def pressed() -> None:
        text = os.read(descriptor, 64).decode(errors="replace")
        for key in _KEY.findall(text) or "q":  # who types fast, or over a slow line, sends several at once
            news.put_nowait(_ARROWS.get(key, key))

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, pressed)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

"""The live view of ``aegis approvals watch``: redrawn when something happens or time passes, decided with a key."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aegis_core.cli.approvals_page import details, table
from aegis_core.cli.common import shown
from aegis_core.protocol.errors import AegisError, ConfigurationError, StoreError

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from aegis_core.client.agent import Governor
    from aegis_core.protocol.approvals import Approval, Decision

_DECISIONS: dict[str, Decision] = {"a": "approve", "r": "reject"}
_ARROWS = {"\x1b[A": "k", "\x1b[B": "j"}
_KEY = re.compile(r"\x1b\[[A-D]|.", re.DOTALL)
_CHANGING = frozenset({"pending", "approved", "declined", "timed_out", "voted", "released"})
_MOST, _FEWEST_ROWS = 500, 3
_GONE = "It is decided, or its time has passed; choose another one."
_RETRY = 1.0
"""Seconds between two looks while the store is away."""
_HINT = "[bold]j[/bold]/[bold]k[/bold] choose  [bold]a[/bold] approve  [bold]r[/bold] reject  [bold]q[/bold] leave"


class View:
    """What is on the screen: the open approvals, the chosen one, and the last thing that was done."""

    def __init__(self) -> None:
        self.found: tuple[Approval, ...] = ()
        self.chosen_id: str | None = None
        self.said = ""
        self.trouble = ""
        self.outdated = False
        self.read: Approval | None = None
        """What was read of the chosen one beside the list: its arguments."""

    @property
    def place(self) -> int:
        """The chosen row; the choice follows its approval, so that no other slips under a key."""
        return next((at for at, each in enumerate(self.found) if each.approval_id == self.chosen_id), 0)

    @property
    def chosen(self) -> Approval | None:
        """The approval that a key decides."""
        return next((each for each in self.found if each.approval_id == self.chosen_id), None)

    def has_read(self, chosen: Approval) -> bool:
        """Whether its arguments were read as they are now."""
        read = self.read
        return read is not None and (read.approval_id, read.content) == (chosen.approval_id, chosen.content)

    def _with_arguments(self, chosen: Approval) -> Approval:
        if self.read is None or not self.has_read(chosen):
            return chosen
        return replace(chosen, arguments=self.read.arguments, original=self.read.original)

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

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The screen: as many rows as fit beside the chosen approval. That is shown whole, for a key decides it."""
        from rich.console import Group

        if not self.found:
            yield Group("Nothing waits for you.", "", self.trouble or self.said, "[bold]q[/bold] leave")
            return
        chosen = self.chosen
        page = details(self._with_arguments(chosen), whole=False) if chosen else _GONE
        many = f"{len(self.found)}{' or more' if len(self.found) == _MOST else ''}"
        where = f"{self.place + 1} of {many}" if chosen else many
        below = Group(
            f"{where}  {_HINT}", self.trouble or self.said,
            page,
        )  # fmt: skip
        taken = len(console.render_lines(below, options.update(height=None))) + 2  # the heading, and an empty line
        rows = max(_FEWEST_ROWS, (options.height or console.height) - taken)
        first = max(0, min(self.place - rows // 2, len(self.found) - rows))
        yield table(self.found[first : first + rows], self.place - first if chosen else None, one_line=True)
        yield ""
        yield below


async def watch_approvals(governor: Governor, who: str) -> None:
    """Show and decide until the person leaves.

    Raises:
        ConfigurationError: standard input or output is no terminal.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigurationError("watch needs a terminal; in a script use `aegis approvals list --json`.")
    from rich.live import Live

    view, news = View(), asyncio.Queue[str]()
    newest = await governor.latest_events(1)
    view.take(await governor.approvals.list(limit=_MOST))  # a store that is down from the start ends it with its error
    following = asyncio.create_task(_follow(governor, view, news, newest[-1].id if newest else "0"))
    try:
        with _keys(news), Live(view, screen=True, auto_refresh=False) as live:
            while True:
                await _read_chosen(governor, view)
                live.update(view, refresh=True)
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
                if word not in {"j", "k"} or view.outdated:
                    await _look(governor, view)
    finally:
        following.cancel()


def _until_due(view: View) -> float | None:
    """Seconds to wait for news: until the next deadline, when one more is gone. For ever when nothing waits."""
    left = [(each.deadline - datetime.now(UTC)).total_seconds() for each in view.found]
    if view.trouble:
        left.append(_RETRY)
    return max(0.2, min(left)) if left else None


async def _look(governor: Governor, view: View) -> None:
    """Show what is open now. While the store is away, what was seen last stays, and the screen says so."""
    view.outdated = False
    try:
        view.take(await governor.approvals.list(limit=_MOST))
        view.trouble = ""
    except StoreError as error:
        view.trouble = f"[red]Not up to date: {shown(error.message)}[/red]"


async def _read_chosen(governor: Governor, view: View) -> None:
    """Read the arguments of the chosen one; without them its hash is shown."""
    chosen = view.chosen
    if chosen is not None and not view.has_read(chosen):
        with suppress(AegisError):
            view.read = await governor.approvals.get(chosen.approval_id)


async def _decide(governor: Governor, chosen: Approval, word: Decision, who: str) -> str:
    try:
        done = await governor.approvals.decide(chosen.approval_id, word, by=who, content=chosen.content)
    except AegisError as error:
        return f"[red]{shown(error.message)}[/red]"
    if done.status == "open":
        return f"{done.approval_id[:11]} still needs {done.missing} more."
    return f"{done.approval_id[:11]} is {done.status}."


async def _follow(governor: Governor, view: View, news: asyncio.Queue[str], after: str) -> None:
    """Wake the view for every event after one that concerns an approval, through every loss of the store."""
    while True:
        try:
            async for event in governor.follow(after=after):
                after = event.id
                if event.kind in _CHANGING:
                    _tell(view, news)
        except AegisError:
            _tell(view, news)  # looking, it finds the trouble and says what it is
            await asyncio.sleep(_RETRY)


def _tell(view: View, news: asyncio.Queue[str]) -> None:
    """What is shown is outdated. Where keys wait to be heard, the next of them sees that, too."""
    view.outdated = True
    if news.empty():
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

"""Events that people want to be told of, though nothing is to be decided: marks of budgets, what failed, and waste.

They go to the channels that take them, as messages without buttons, at most so many an hour. What happened while no
process served a channel is in the events and is not told later.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any

from aegis_core.channels.channel import AlertChannel
from aegis_core.channels.texts import shortened
from aegis_core.governor.budgets import budget_name
from aegis_core.governor.tenant import ChannelStore
from aegis_core.observe.pace import Pace
from aegis_core.protocol.errors import AegisError, ChannelError
from aegis_core.protocol.events import Event
from aegis_core.protocol.windows import window_name
from aegis_core.protocol.writing import told_name

_log = logging.getLogger("aegis.channels")
_WAITING = 100
_MOST_SAID = 300
_MESSAGE = 3_500
"""Characters up to which digests share a message; Telegram takes 4,096."""
_LAST = "This is the last alert of this hour; what else happens is in the events (aegis events)."


def is_alert(kind: str) -> bool:
    """Whether people are told of events of this kind."""
    if kind.startswith("budget_"):
        return kind not in {"budget_set", "budget_reset"}
    if kind == "login_failed":  # strangers decide how many of those there are
        return False
    return kind in {"overrun", "estimates_high", "kaizen_finding", *_ENDED} or kind.endswith(("_failed", "_recovered"))


def alert_text(event: Event) -> str:
    """One line: what happened, to whom, and how much. Of what Kaizen found four."""
    facts = event.facts
    if event.kind == "kaizen_finding":
        return _digest(facts)
    if event.kind in _ENDED:
        name, why = facts["proposal_id"], facts.get("reason") or ""
        return (
            shortened(f"Kaizen {_ENDED[event.kind]} {name}: {why}", _MOST_SAID)
            + f"\naegis kaizen proposals show {name}"
        )
    said = [event.kind.replace("_", " "), told_name(event.agent_id or "")]
    if owner := facts.get("owner"):
        said.append(f"{budget_name(str(owner))} {window_name(facts['window'])}")
    said += [f"{name.replace('_', ' ')}: {facts[name]}" for name in _TOLD if facts.get(name) is not None]
    return " · ".join(shortened(str(each), _MOST_SAID) for each in said if each)


def _digest(facts: Mapping[str, Any]) -> str:
    """A finding: its name, the amount with its interval, what is proposed, and where more is to be read."""
    day = str(facts["finding_id"]).partition(".")[0]
    amount = f"{facts['count']:,} found"
    if (what := _LOST.get(facts["currency"])) is not None:
        amount = f"${facts['waste_usd']:,.4f} {what}, in {facts['count']:,} places"
        if "low_usd" in facts:
            amount += f"; 95 %: {facts['low_usd']:,.4f} to {facts['high_usd']:,.4f}"
    said = [f"Kaizen {day}: {facts['title']}", amount]
    if "proposes" in facts:
        said.append(f"Proposed: {facts['proposes']}")
    said.append(f"aegis kaizen explain {facts['finding_id']}")
    return "\n".join(shortened(each, _MOST_SAID) for each in said)


_ENDED = {"kaizen_kept": "keeps", "kaizen_rolled_back": "took back"}
_LOST = {"spent": "spent", "blocked": "held while somebody was refused", "waited": "worth of waiting"}
_TOLD = (
    "percent", "spent_usd", "committed_usd", "limit_usd", "gone_at", "resets_at", "amount_usd", "charged_usd",
    "estimated_usd", "by", "direction", "thread", "problem",
)  # fmt: skip


class Alerts:
    """What one channel is still to be told. `most` an hour, counted in Redis for all processes; 0: none."""

    def __init__(self, channel: AlertChannel, store: ChannelStore, pace: Pace, most: int) -> None:
        self._channel, self._store, self._pace, self._most = channel, store, pace, most
        self._waiting: deque[tuple[bool, str]] = deque(maxlen=_WAITING)
        self._news = asyncio.Event()

    def take(self, event: Event) -> None:
        """Tell of this; not of the channel's own troubles, which it could not tell of."""
        if event.facts.get("by") != self._channel.name:
            self._waiting.append((event.kind == "kaizen_finding", alert_text(event)))
            self._news.set()

    async def run(self) -> None:
        """Send what comes, for as long as this process serves the channel."""
        self._waiting.clear()
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                text = self._next()
                try:
                    number = await self._store.count_alert()
                    if number <= self._most:
                        await self._send(f"{text}\n{_LAST}" if number == self._most else text)
                except AegisError as error:
                    _log.warning("channel %s: an alert was not sent: %s", self._channel.name, error.message)

    def _next(self) -> str:
        """The next message. Digests that wait together are one, so that they leave room for other alerts."""
        digest, text = self._waiting.popleft()
        while digest and self._waiting and self._waiting[0][0] and len(text + self._waiting[0][1]) < _MESSAGE:
            text += f"\n\n{self._waiting.popleft()[1]}"
        return text

    async def _send(self, text: str) -> None:
        for attempt in range(1, self._pace.most_attempts + 1):
            try:
                async with asyncio.timeout(self._pace.send):
                    return await self._channel.alert(text)
            except (ChannelError, TimeoutError) as error:
                wait = error.retry_after if isinstance(error, ChannelError) else 0
                await asyncio.sleep(max(wait, self._pace.retry(attempt)))
        raise ChannelError("it was tried often enough")

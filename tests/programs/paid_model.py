"""The provider on loopback as the programs here use it: answered by messages, for one model, with its books checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from loopback import Providers, providers
from loopback.answering import Said

from aegis_core.client.sync import SyncGovernor

__all__ = ["MODEL", "Provider", "Reply", "Said", "check_books", "last_of", "provider", "results"]

MODEL = "gpt-4o-mini"

Reply = Callable[[list[dict[str, Any]], dict[str, Any]], Said]
"""Answers by the messages and the whole body of a request."""


class Provider:
    """What was asked, and what it cost."""

    def __init__(self, running: Providers) -> None:
        self.url = running.openai
        self._running = running

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The bodies that came, in order."""
        return self._running.requests

    @property
    def usd(self) -> Decimal:
        """All bills."""
        return self._running.usd

    def offered(self) -> list[set[str]]:
        """The names of the tools that each request offered."""
        return [{each["function"]["name"] for each in body.get("tools", ())} for body in self.requests]


@contextmanager
def provider(reply: Reply) -> Iterator[Provider]:
    """Run one."""
    with providers(lambda asked: reply(asked.body["messages"], dict(asked.body))) as running:
        yield Provider(running)


def check_books(governor: SyncGovernor, provider: Provider, tools: str | Decimal = "0") -> None:
    """Charged is what was billed, and what tools cost; nothing is held, asked or locked any more."""
    someone = governor.agents()[0].agent_id
    day = next(each for each in governor.budget(someone).budgets if (each.scope, each.window) == ("tenant", "day"))
    assert (day.spent_usd, day.reserved_usd) == (provider.usd + Decimal(tools), 0)
    assert (governor.approvals.list(), governor.locks()) == ((), ())


def last_of(messages: list[dict[str, Any]], role: str) -> str:
    """The text of the last message of a role."""
    found = next((each for each in reversed(messages) if each["role"] == role), {})
    content = found.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def results(messages: list[dict[str, Any]]) -> list[str]:
    """What tools answered since the last message of the user."""
    place = max((n for n, each in enumerate(messages) if each["role"] == "user"), default=-1)
    return [str(each["content"]) for each in messages[place + 1 :] if each["role"] == "tool"]

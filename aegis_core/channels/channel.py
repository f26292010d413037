"""What a channel is: it shows approvals and, where people can answer, hands on what they say. It keeps no state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from aegis_core.protocol.approvals import Approval


class Channel(Protocol):
    """One place where operators are asked. Every method but `listen` raises `ChannelError` when it cannot deliver."""

    name: str

    async def announce(self, approval: Approval) -> str:
        """Ask for a decision. Answers a reference to what was shown, for `update` and `remind`."""
        ...

    async def update(self, approval: Approval, ref: str) -> None:
        """Show what became of it: votes, an edit, or the outcome and who decided."""
        ...

    async def remind(self, approval: Approval, ref: str) -> None:
        """Ask again, quietly."""
        ...

    async def retire(self, approval_id: str, ref: str) -> None:
        """Say that it is over, when the record of how is gone already."""
        ...

    async def test(self) -> str:
        """Deliver a test message; answers in a few words where it went."""
        ...

    async def listen(self) -> None:
        """Take what operators say, for as long as it runs; done at once where they cannot say anything."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How patiently a channel is served. All in seconds; attempts of one message end after `most_attempts`, once its
    approval is over."""

    lease: float = 20
    send: float = 10
    first_retry: float = 0.5
    longest_retry: float = 60
    most_attempts: int = 12

    def retry(self, attempt: int) -> float:
        """How long to wait after so many failures: twice as long each time."""
        return min(self.longest_retry, self.first_retry * 2 ** min(attempt - 1, 30))

"""What a channel is: it shows approvals and, where people can answer, hands on what they say. It keeps no state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from aegis_core.observe.pace import Pace
from aegis_core.protocol.approvals import Approval

if TYPE_CHECKING:
    from aegis_core.governor.governor import ResourceGovernor
    from aegis_core.settings import Settings


class Channel(Protocol):
    """One place where operators are asked. Every method but `listen` raises `ChannelError` when it cannot deliver."""

    name: str

    async def announce(self, approval: Approval) -> str:
        """Ask for a decision. Answers a reference to what was shown, for `update` and `remind`."""
        ...

    async def update(self, approval: Approval, ref: str) -> None:
        """Show what became of it: votes, an edit, or the outcome and who decided. A `ChannelError` that is `gone` says
        that what was shown is not there any more."""
        ...

    async def remind(self, approval: Approval, ref: str) -> None:
        """Ask again, quietly. Raises as `update`."""
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


@runtime_checkable
class AlertChannel(Protocol):
    """A channel that can be told what is not to be decided, see `alerts`."""

    name: str

    async def alert(self, text: str) -> None:
        """Say one thing, without asking. Raises `ChannelError` when it cannot be delivered."""
        ...


@runtime_checkable
class MovableChannel(Protocol):
    """A channel whose place may be another one after a restart, where nothing is shown yet."""

    def shows_here(self, ref: str) -> bool:
        """Whether this reference is to something in the present place."""
        ...


class PostedTo(Protocol):
    """A channel to which its service posts what operators say, at ``/api/v1/{name}/webhook``."""

    async def take_post(self, headers: Mapping[str, str], read: Callable[[], Awaitable[bytes]]) -> None:
        """Take one message; its body is read once the headers are right.

        Raises:
            AuthError: it does not come from the service. InvalidRequestError: it cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class ChannelType:
    """What the registry knows of a channel.

    Attributes:
        title: what people call it, such as ``Telegram``.
        variables: the environment variables without which it cannot be configured.
        read: its part of the settings; None: it is not configured. Raises `ConfigurationError` when it is by halves.
        open: makes it of that part; loads what is heavy.
        module: a package that only an extra of the channel's name brings.
        posted_to: whether the settings say that its service posts to us, see `PostedTo`.
    """

    title: str
    variables: tuple[str, ...]
    read: Callable[[Settings], object]
    open: Callable[[Any, ResourceGovernor, Pace], Channel]
    module: str = ""
    posted_to: Callable[[Settings], bool] = lambda _: False

"""What channels remember in Redis: who may announce, what was shown of which approval, and whom they refused."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from aegis_core.store import layout
from aegis_core.store import operator_verbs as acts
from aegis_core.store.ledger import Ledger
from aegis_core.store.packing import decode, unpack
from aegis_core.store.schema import ShownNotice

_KEEP_MS = 30 * 86_400_000
"""How long a notice is remembered after the last one was written: longer than any approval may stay open."""
_ALERTS_S = 3_600


Direction = Literal["sending", "hearing"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


@dataclass(frozen=True, slots=True)
class DirectionHealth:
    """How sending or hearing goes, since when; without a problem, it works."""

    since: datetime
    problem: str


@dataclass(frozen=True, slots=True)
class ChannelHealth:
    """How a channel is. A direction is None as long as nothing came of it; some channels never hear.

    Attributes:
        served: whether any process holds the channel's lease.
    """

    name: str
    served: bool
    sending: DirectionHealth | None
    hearing: DirectionHealth | None


class ChannelStore:
    """One channel of one tenant, as one process sees it."""

    def __init__(self, ledger: Ledger, channel: str) -> None:
        self._ledger, self._scripts = ledger, ledger.store.scripts
        self._channel, self._holder = channel, secrets.token_hex(8)

    async def hold(self, seconds: float) -> tuple[bool, int]:
        """Take or keep the lease. Answers whether it is held, and the server's time in ms."""
        order = acts.HoldChannel(self._channel, self._holder, int(seconds * 1000))
        answer = await self._ledger.call(self._scripts.hold_channel, order)
        return bool(answer[1]), int(answer[2])

    async def leave(self) -> None:
        """Give the lease up, so that another process goes on at once."""
        await self._ledger.call(self._scripts.hold_channel, acts.HoldChannel(self._channel, self._holder, 0))

    async def notices(self) -> dict[str, ShownNotice]:
        """What is shown now, by approval."""
        blobs = await self._ledger.store.command("HGETALL", self._key("cn:" + self._channel))
        pairs = blobs.items() if hasattr(blobs, "items") else zip(blobs[::2], blobs[1::2], strict=True)
        return {name.decode(): decode(ShownNotice, unpack(blob)) for name, blob in pairs}

    async def keep(self, approval_id: str, notice: ShownNotice) -> bool:
        """Remember what was shown; false when the lease is somebody else's by now."""
        order = acts.KeepNotice(self._channel, self._holder, approval_id, notice, notice.ref, _KEEP_MS)
        return bool((await self._ledger.call(self._scripts.keep_notice, order))[1])

    async def drop(self, approval_id: str) -> bool:
        """Forget what was shown, because nothing will change about it any more."""
        order = acts.KeepNotice(self._channel, self._holder, approval_id, False, "", 0)
        return bool((await self._ledger.call(self._scripts.keep_notice, order))[1])

    async def approval_of(self, ref: str) -> str | None:
        """Which approval a message was about, also after it was decided."""
        found = await self._ledger.store.command("GET", self._key(f"cm:{self._channel}\t{ref}"))
        return found.decode() if found else None

    async def refuse(self, who: str, act: str) -> bool:
        """Count a refusal, and put the first one of an hour into the events; answers whether this was that one."""
        order = acts.RefuseOnChannel(self._channel, who, act)
        return bool((await self._ledger.call(self._scripts.refuse_on_channel, order))[1])

    async def count_alert(self) -> int:
        """Count an alert; answers the how-manieth it is within an hour that begins with the first."""
        name, command = self._key("ca:" + self._channel), self._ledger.store.command
        await command("SET", name, 0, "EX", _ALERTS_S, "NX")
        number = int(await command("INCR", name))
        if number == 1:  # its hour ended just between the two
            await command("EXPIRE", name, _ALERTS_S)
        return number

    async def report(self, problem: str) -> None:
        """Put what became of one message into the events; the channel itself goes on."""
        await self._ledger.call(self._scripts.note, acts.Note("channel_failed", problem, self._channel))

    async def tell(self, direction: Direction, problem: str) -> None:
        """Say how one direction goes, in a few words or none; that it broke, or works again, is an event."""
        await self._ledger.call(self._scripts.tell_channel, acts.TellChannel(self._channel, direction, problem))

    async def health(self) -> ChannelHealth:
        """How the channel is, whichever process serves it."""
        command = self._ledger.store.command
        served = bool(await command("EXISTS", self._key("cl:" + self._channel)))
        names = [name for each in DIRECTIONS for name in (each, each + "_since")]
        found = iter(await command("HMGET", self._key("ch:" + self._channel), *names))
        return ChannelHealth(self._channel, served, *(_direction(*pair) for pair in zip(found, found, strict=True)))

    def _key(self, name: str) -> str:
        return layout.key(self._ledger.tenant, name)


def _direction(problem: bytes | None, since: bytes | None) -> DirectionHealth | None:
    if problem is None or since is None:
        return None
    return DirectionHealth(datetime.fromtimestamp(int(since) / 1000, UTC), problem.decode())

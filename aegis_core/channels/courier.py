"""Keeps one channel in step with the approvals, for as long as this process holds the channel's lease.

Nothing is taken from an event but the name of an approval. What must be shown follows from the approval as it stands
and from what was shown of it, both in Redis; so a lost event, an outage or another process costs a look, never a
message.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from contextlib import suppress
from datetime import datetime
from hashlib import blake2b
from itertools import count

from aegis_core.channels.alerts import Alerts
from aegis_core.channels.channel import AlertChannel, Channel, MovableChannel
from aegis_core.channels.schedule import Agenda
from aegis_core.client.ports import ApprovalsPort
from aegis_core.governor.tenant import ChannelStore, ShownNotice
from aegis_core.observe.pace import Pace
from aegis_core.protocol.approvals import Approval
from aegis_core.protocol.errors import AegisError, ChannelError, LeaseLostError, NotFoundError

_log = logging.getLogger("aegis.channels")
_PAGE = 200
_TICK = 0.02
"""Seconds past a deadline at which it is looked at, so that the server's clock has passed it too."""
_JUMP = 1.0
"""Seconds that the server's clock and ours may drift apart between two renewals of the lease."""

_PARTING = 2.0
"""Seconds for which a message that is on its way holds up a process that stops."""


class Courier:
    """Serves one channel. Several processes may run one for the same channel; the holder of its lease is at work."""

    def __init__(
        self, channel: Channel, approvals: ApprovalsPort, channel_store: ChannelStore, pace: Pace, alerts: int = 0
    ) -> None:
        """`alerts`: of how many events an hour it tells beside the approvals, if the channel can."""
        self.channel, self._approvals, self._store, self._pace = channel, approvals, channel_store, pace
        self.alerts: Alerts | None = None
        if alerts > 0 and isinstance(channel, AlertChannel):
            self.alerts = Alerts(channel, channel_store, pace, alerts)
        self._agenda, self._news = Agenda(), asyncio.Event()
        self._notices: dict[str, ShownNotice] = {}
        self._attempts: Counter[str] = Counter()
        self._at_hand = ""
        self._failures, self._paused_until, self._has_sent = 0, 0.0, False
        self._held_until = self._offset = 0.0

    def look_at(self, approval_id: str, *, fresh: bool = True) -> None:
        """Something happened to an approval; without `fresh`, only one that was shown already matters."""
        if fresh or approval_id in self._notices or approval_id in self._attempts or approval_id == self._at_hand:
            self._agenda.put(approval_id, 0.0)
            self._news.set()

    def look_at_everything(self) -> None:
        """Events may have been missed."""
        self._held_until = 0.0
        self._news.set()

    async def run(self) -> None:
        """Serve the channel whenever the lease is free, for ever."""
        while True:
            try:
                if await self._hold():
                    await self._serve()
                else:
                    await asyncio.sleep(self._pace.lease / 4)
            except LeaseLostError:
                continue
            except AegisError as error:
                _log.warning("channel %s waits: %s", self.channel.name, error.message)
                await asyncio.sleep(self._pace.retry(1))
            finally:
                self._agenda.clear()

    async def leave(self) -> None:
        """Let another process go on at once."""
        with suppress(AegisError):
            await self._store.leave()

    async def _serve(self) -> None:
        beside = [asyncio.create_task(self.channel.listen())]
        if self.alerts is not None:
            beside.append(asyncio.create_task(self.alerts.run()))
        try:
            await self._catch_up()
            while True:
                self._news.clear()
                await self._keep_hold(self._pace.lease / 2)
                if time.monotonic() >= self._paused_until and (name := self._agenda.take(time.monotonic())):
                    await self._deliver(name)
                    continue
                renewal = self._held_until - self._pace.lease / 2
                wake_at = min(renewal, max(self._agenda.next_at(), self._paused_until))
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.001, wake_at - time.monotonic())):
                        await self._news.wait()
                        await self._until_paused(renewal)
        finally:
            for task in beside:
                task.cancel()
            for task in beside:
                with suppress(asyncio.CancelledError):
                    await task

    async def _until_paused(self, renewal: float) -> None:
        """News of a channel that pauses wake nobody before the pause is over."""
        await asyncio.sleep(max(0.0, min(renewal, self._paused_until) - time.monotonic()))

    async def _hold(self) -> bool:
        asked = time.monotonic()
        held, server_ms = await self._store.hold(self._pace.lease)
        if held:
            self._held_until, self._offset = asked + self._pace.lease, asked - server_ms / 1000
        return held

    async def _keep_hold(self, seconds: float) -> None:
        """Make sure that the lease lasts so much longer."""
        if self._held_until - time.monotonic() < seconds:
            missed, before = self._held_until == 0.0, self._offset
            if not await self._hold():
                raise _lost(self.channel.name)
            if missed or abs(self._offset - before) > _JUMP:  # deadlines were planned by a clock that has jumped
                await self._catch_up()

    async def _catch_up(self) -> None:
        """Look at everything that is open, or shown as open."""
        self._notices = await self._store.notices()
        for approval_id in self._notices:
            self._agenda.put(approval_id, 0.0)
        after: str | None = None
        turn = count(1)
        while page := await self._approvals.list("open", after=after, limit=_PAGE):
            for approval in page:  # all are due, in this order: who waited longest is asked about first
                self._agenda.put(approval.approval_id, next(turn) * 1e-9)
            after = page[-1].approval_id
            if len(page) < _PAGE:
                return

    async def _deliver(self, approval_id: str) -> None:
        """Deliver one approval. Who is told to stop meanwhile first finishes, within reason: what was said and not
        remembered would be said again by the next process."""
        work = asyncio.create_task(self._look_and_show(approval_id))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            try:
                await asyncio.wait({work}, timeout=_PARTING)
            finally:
                work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            raise

    async def _look_and_show(self, approval_id: str) -> None:
        """Show what is not shown yet of one approval, and put the next look at it on the agenda."""
        await self._keep_hold(self._pace.send * 1.2)
        self._at_hand = approval_id  # what happens to it from here on is looked at afterwards
        over = False
        try:
            approval = await self._find(approval_id)
            over = approval is None or approval.status != "open"
            async with asyncio.timeout(self._pace.send):
                notice, said = await self._show(approval_id, approval)
        except (ChannelError, TimeoutError) as error:
            await self._failed(approval_id, error, over=over)
            return
        except AegisError:
            self._agenda.put(approval_id, 0.0)
            raise
        except Exception as error:  # noqa: BLE001 - one approval that cannot be shown must not end the channel
            _log.exception("INVARIANT: channel %s cannot show %s", self.channel.name, approval_id)
            await self._failed(approval_id, ChannelError(repr(error), everything=False), over=over)
            return
        await self._succeeded(approval_id, notice, said=said)

    async def _find(self, approval_id: str) -> Approval | None:
        try:
            return await self._approvals.get(approval_id)
        except NotFoundError:
            return None

    async def _show(self, approval_id: str, approval: Approval | None) -> tuple[ShownNotice | None, bool]:
        """Bring the channel up to date; answers what it shows then, None when nothing more will follow, and whether
        anything had to be said."""
        shown = self._notices.get(approval_id)
        if shown is not None and isinstance(self.channel, MovableChannel) and not self.channel.shows_here(shown.ref):
            shown = None
        if shown is None:
            if approval is None or approval.status != "open":
                return None, False  # it came and went while nobody could be asked
            return _notice(approval, await self.channel.announce(approval)), True
        try:
            if approval is None:
                await self.channel.retire(approval_id, shown.ref)
                return None, True
            if shown.face != face_of(approval):
                await self.channel.update(approval, shown.ref)
                open_ = approval.status == "open"
                return _notice(approval, shown.ref, reminded=not shown.remind_at) if open_ else None, True
            if shown.remind_at and self._local(shown.remind_at) <= time.monotonic():
                await self.channel.remind(approval, shown.ref)
                return shown._replace(remind_at=0), True
        except ChannelError as error:
            if not error.gone:
                raise
            _log.warning("channel %s: %s was deleted there: %s", self.channel.name, approval_id, error.message)
            if approval is None or approval.status != "open":
                return None, True  # nobody is to decide any more, and how it ended is in the events
            ref = await self.channel.announce(approval)
            return _notice(approval, ref, reminded=self._is_past(approval.remind_at)), True
        return shown, False

    async def _succeeded(self, approval_id: str, notice: ShownNotice | None, *, said: bool) -> None:
        before = self._notices.pop(approval_id, None)
        self._attempts.pop(approval_id, None)
        if said and (self._failures or not self._has_sent):  # who had nothing to say may still be down
            self._failures, self._has_sent = 0, True
            await self._store.tell("sending", "")
        if notice is None:
            kept = before is None or await self._store.drop(approval_id)
        else:
            self._notices[approval_id] = notice
            kept = notice == before or await self._store.keep(approval_id, notice)
            times = [self._local(notice.deadline) + _TICK]
            if notice.remind_at:
                times.append(self._local(notice.remind_at) + _TICK)
            # A deadline that has passed here and not yet on the server is looked at again soon.
            self._agenda.put(approval_id, max(min(times), time.monotonic() + _TICK))
        if not kept:
            raise _lost(self.channel.name)

    async def _failed(self, approval_id: str, error: ChannelError | TimeoutError, *, over: bool) -> None:
        """Try again later: this one, or the whole channel."""
        if isinstance(error, TimeoutError):
            error = ChannelError(f"no answer within {self._pace.send:g} s")
        _log.warning("channel %s: %s", self.channel.name, error.message)
        if error.everything:
            self._failures += 1
            wait = max(error.retry_after, self._pace.retry(self._failures))
            self._paused_until = time.monotonic() + wait
            self._agenda.put(approval_id, 0.0)
            if self._failures == 1:
                await self._store.tell("sending", error.message)
            return
        self._attempts[approval_id] += 1
        attempt = self._attempts[approval_id]
        if over and attempt >= self._pace.most_attempts:
            await self._store.report(f"{approval_id}: given up: {error.message}")
            await self._succeeded(approval_id, None, said=False)
        else:
            if attempt == 1:
                await self._store.report(f"{approval_id}: {error.message}")
            self._agenda.put(approval_id, time.monotonic() + max(error.retry_after, self._pace.retry(attempt)))

    def _is_past(self, at: datetime | None) -> bool:
        return at is not None and self._local(at.timestamp() * 1000) <= time.monotonic()

    def _local(self, server_ms: float) -> float:
        """A time of the server on this process's monotonic clock."""
        return server_ms / 1000 + self._offset


def face_of(approval: Approval) -> str:
    """What of an approval a message shows and can change, as a fingerprint: another face, another message."""
    changed = (approval.amount_usd.normalize(), approval.tool, approval.arguments_hash, approval.target_resource)
    votes = [(vote.operator, vote.decision, vote.reason) for vote in approval.votes]
    terms = (approval.asked_at.timestamp(), approval.quorum, approval.missing, approval.edited)
    terms += (approval.content,) if approval.plan else ()
    shown = (approval.status, approval.decided_by, *terms, *changed, votes)
    return blake2b(repr(shown).encode(), digest_size=12).hexdigest()


def _notice(approval: Approval, ref: str, *, reminded: bool = False) -> ShownNotice:
    remind_at = 0 if reminded or approval.remind_at is None else int(approval.remind_at.timestamp() * 1000)
    return ShownNotice(ref, face_of(approval), int(approval.deadline.timestamp() * 1000), remind_at)


def _lost(channel: str) -> LeaseLostError:
    return LeaseLostError(f"Another process serves the channel {channel} now.", channel=channel)

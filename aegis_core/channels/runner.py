"""Runs all channels of a tenant beside each other, and tells each what happened."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from aegis_core.channels.alerts import is_alert
from aegis_core.channels.channel import Channel
from aegis_core.channels.courier import Courier
from aegis_core.governor.events import decode_event
from aegis_core.observe.pace import Pace
from aegis_core.protocol.canonical import record_id
from aegis_core.protocol.errors import AegisError

if TYPE_CHECKING:
    from aegis_core.governor.governor import ResourceGovernor
    from aegis_core.governor.tenant import TenantStore
    from aegis_core.protocol.events import Event

_log = logging.getLogger("aegis.channels")

_ASKED = frozenset({b"pending"})
_CHANGED = frozenset(
    {b"approved", b"voted", b"edited", b"timed_out", b"released", b"declined", b"rejected", b"workflow_narrowed"}
)
"""Kinds of events that concern an approval; the second ones also happen to what nobody was asked about."""


@asynccontextmanager
async def running(
    channels: Sequence[Channel], governor: ResourceGovernor, *, pace: Pace | None = None, alerts: int = 0
) -> AsyncGenerator[None]:
    """Serve the channels until the block ends, and close them then. Without any, nothing is read.

    Each is told of so many `alerts` an hour, if it takes some.
    """
    if not channels:
        yield
        return
    pace = pace or Pace()
    store = governor.tenant_store
    couriers = [Courier(one, governor.approvals, store.channel_store(one.name), pace, alerts) for one in channels]
    works = [lambda: _follow(store, couriers), *(courier.run for courier in couriers)]
    tasks = [asyncio.create_task(_kept_alive(work)) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for courier in couriers:
            await courier.leave()
            await courier.channel.aclose()


async def _kept_alive(work: Callable[[], Awaitable[None]]) -> None:
    """What nobody foresaw ends neither the channels nor the server they run in."""
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001 - the last resort: logged whole, and begun again from what Redis says
            _log.exception("INVARIANT: unforeseen error in a channel")
        await asyncio.sleep(1)


async def _follow(store: TenantStore, couriers: Sequence[Courier]) -> None:
    """Tell the couriers which approvals something happened to, and of what people want to be told. Of other events,
    nothing but the kind is read."""
    after = ""
    while True:
        try:
            if not after:
                after = await store.newest_event()
                for courier in couriers:  # whatever happened before this event, they find by themselves
                    courier.look_at_everything()
            entries = await store.entries(after, 500, 2.0)
        except AegisError as error:
            _log.warning("events cannot be followed: %s", error.message)
            after = ""
            await asyncio.sleep(0.5)
            continue
        for entry_id, fields in entries:
            after = entry_id
            if is_alert(fields[b"k"].decode()):
                event = await _told(store, entry_id, fields)
                for courier in couriers:
                    if courier.alerts is not None:
                        courier.alerts.take(event)
            asked = fields[b"k"] in _ASKED
            if asked or fields[b"k"] in _CHANGED:
                with suppress(KeyError, TypeError):  # an event of that kind which concerns no request
                    for courier in couriers:
                        courier.look_at(_approval_of(entry_id, fields, store.tenant), fresh=asked)


async def _told(store: TenantStore, entry_id: str, fields: dict[bytes, bytes]) -> Event:
    try:
        return await store.told(entry_id, fields)
    except AegisError:  # better told without its agent's words than not
        return decode_event(entry_id, fields, store.tenant)


def _approval_of(entry_id: str, fields: dict[bytes, bytes], tenant: str) -> str:
    event = decode_event(entry_id, fields, tenant)
    if event.kind == "workflow_narrowed":  # the approval of a plan is called as its workflow is
        return str(event.facts["workflow_id"]).replace("wf_", "ap_", 1)
    named = event.facts.get("approval_id")
    return str(named) if named else "ap_" + record_id(str(event.agent_id), event.facts["request_id"])

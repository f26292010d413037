"""What tests of webhooks share: settings with one, a patient sender in this process, and what a receiver knows."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

from receiver import Receiver

from aegis_core import Governor, Settings
from aegis_core.governor.delivering import Deliveries, DeliveryState, senders
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.observe.pace import Pace
from aegis_core.settings import EventWebhook

KEY = b"thirty-two bytes of a test's key"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
QUICK = Pace(lease=2, send=5, first_retry=0.01, longest_retry=0.05, most_attempts=3)


def told(settings: Settings, place: Receiver, **more: Any) -> Settings:
    """Settings with a webhook `siem` there."""
    given = {"url": place.url, "secret": SECRET, "allow_private": True, **more}
    return settings.model_copy(update={"event_webhooks": {"siem": EventWebhook(**given)}, "agent_day_usd": 100})


def resources(governor: Governor) -> ResourceGovernor:
    assert isinstance(governor.port, ResourceGovernor)
    return governor.port


def deliveries(governor: Governor) -> Deliveries:
    return resources(governor).tenant_store.deliveries


def sender(governor: Governor, settings: Settings, pace: Pace = QUICK) -> Any:
    (one,) = senders(resources(governor), settings, pace)
    return one


async def until(found: Callable[[], Any]) -> Any:
    """What is there at last; `found` may be a coroutine function."""
    async with asyncio.timeout(90):
        while True:
            value = found()
            if isinstance(value, Awaitable):
                value = await value
            if value:
                return value
            await asyncio.sleep(0.01)


async def state_is(governor: Governor, wanted: Callable[[DeliveryState], Any], name: str = "siem") -> None:
    """Wait until a webhook is served in this way."""

    async def look() -> bool:
        return bool(wanted(await deliveries(governor).state(name)))

    await until(look)


async def served(governor: Governor, name: str = "siem") -> None:
    """Wait until somebody serves it: it is told of what happens from then on."""
    await state_is(governor, lambda state: state.served, name)


async def caught_up(governor: Governor, name: str = "siem") -> None:
    """Wait until it was told of everything."""
    await state_is(governor, lambda state: not state.behind, name)


def verified(headers: dict[str, str], body: bytes) -> dict[str, Any]:
    """As a library of Standard Webhooks does it."""
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(KEY, text, hashlib.sha256).digest()).decode()
    assert hmac.compare_digest(headers["webhook-signature"], expected)
    return json.loads(body)


def numbers(place: Receiver) -> list[int]:
    """The numbers of what arrived, each at its first time."""
    found = [int(verified(*one)["sequence"]) for one in list(place.got)]
    return list(dict.fromkeys(found))

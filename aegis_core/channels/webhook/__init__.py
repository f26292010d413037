"""The signed outgoing webhook (Standard Webhooks)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis_core.channels.channel import ChannelType
from aegis_core.channels.webhook.settings import webhook_settings
from aegis_core.observe.pace import Pace

if TYPE_CHECKING:
    from aegis_core.channels.webhook.channel import WebhookChannel
    from aegis_core.governor.governor import ResourceGovernor
    from aegis_core.observe.receivers import Receiver


def _open(plan: Receiver, governor: ResourceGovernor, pace: Pace) -> WebhookChannel:
    from aegis_core.channels.webhook.channel import WebhookChannel

    return WebhookChannel(plan, tenant=governor.tenant, pace=pace)


def __getattr__(name: str) -> object:
    """`signed`, which receivers of the webhook check with; to configure it loads no HTTP client."""
    if name == "signed":
        from aegis_core.observe.posting import signed

        return signed
    raise AttributeError(name)


CHANNEL = ChannelType(
    "a webhook", ("AEGIS_APPROVAL_WEBHOOK_URL", "AEGIS_APPROVAL_WEBHOOK_SECRET"), webhook_settings, _open
)

"""The signed outgoing webhook (Standard Webhooks)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis_core.channels.channel import ChannelType, Pace
from aegis_core.channels.webhook.settings import WebhookSettings, webhook_settings

if TYPE_CHECKING:
    from aegis_core.channels.webhook.channel import WebhookChannel
    from aegis_core.governor.governor import ResourceGovernor


def _open(plan: WebhookSettings, governor: ResourceGovernor, pace: Pace) -> WebhookChannel:
    from aegis_core.channels.webhook.channel import WebhookChannel

    return WebhookChannel(plan, tenant=governor.tenant, pace=pace)


CHANNEL = ChannelType(
    "a webhook", ("AEGIS_APPROVAL_WEBHOOK_URL", "AEGIS_APPROVAL_WEBHOOK_SECRET"), webhook_settings, _open
)

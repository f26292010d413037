"""What the outgoing webhook needs to be told."""

from __future__ import annotations

from aegis_core.observe.receivers import Receiver, Variables, receiver_of
from aegis_core.settings import Settings

_NAMES = Variables(
    "AEGIS_APPROVAL_WEBHOOK_URL", "AEGIS_APPROVAL_WEBHOOK_SECRET", "AEGIS_APPROVAL_WEBHOOK_ALLOW_PRIVATE=true"
)


def webhook_settings(settings: Settings) -> Receiver | None:
    """The channel's part of the settings; None when there is no URL.

    Raises:
        ConfigurationError: as `receiver_of`.
    """
    url = settings.approval_webhook_url
    if url is None:
        return None
    allow_private = settings.approval_webhook_allow_private
    return receiver_of(url, settings.approval_webhook_secret, _NAMES, allow_private=allow_private)

"""What the outgoing webhook needs to be told."""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from urllib.parse import urlsplit

from aegis_core.protocol.errors import ConfigurationError
from aegis_core.settings import Settings


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Where approvals are posted, and the key that signs them."""

    url: str
    key: bytes
    allow_private: bool


def webhook_settings(settings: Settings) -> WebhookSettings | None:
    """The channel's part of the settings; None when there is no URL.

    Raises:
        ConfigurationError: no secret, a short one, or plain http to other machines.
    """
    url = settings.approval_webhook_url
    if url is None:
        return None
    secret = settings.approval_webhook_secret
    text = secret.get_secret_value() if secret else ""
    key = _key(text)
    if len(key) < 16:
        raise ConfigurationError(
            "AEGIS_APPROVAL_WEBHOOK_SECRET is missing or shorter than 16 characters (after whsec_: 16 bytes in "
            "base64): receivers tell our messages from others by it. Make one: "
            'python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
    parts = urlsplit(url)
    if not parts.hostname or parts.username or parts.password:
        raise ConfigurationError("AEGIS_APPROVAL_WEBHOOK_URL must name a host, and hold no user or password.")
    if parts.scheme == "http" and not settings.approval_webhook_allow_private:
        raise ConfigurationError(
            "AEGIS_APPROVAL_WEBHOOK_URL must begin with https://; for a receiver on this machine or a private network, "
            "set AEGIS_APPROVAL_WEBHOOK_ALLOW_PRIVATE=true."
        )
    return WebhookSettings(url, key, settings.approval_webhook_allow_private)


def _key(secret: str) -> bytes:
    """As Standard Webhooks spells keys: ``whsec_`` and base64; any other text is taken as it is."""
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ConfigurationError(
            "AEGIS_APPROVAL_WEBHOOK_SECRET begins with whsec_, and what follows is no base64."
        ) from None

"""Who receives what is posted: a URL, and the key that it knows our messages by."""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from pydantic import SecretStr

from aegis_core.protocol.errors import ConfigurationError


class Variables(NamedTuple):
    """What the settings of a receiver are called, for messages that say what to do."""

    url: str
    secret: str
    allow_private: str


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where messages are posted, the key that signs them, and which setting lets it be on a private network."""

    url: str
    key: bytes
    allow_private: bool
    private_variable: str


def receiver_of(url: str, secret: SecretStr | None, named: Variables, *, allow_private: bool) -> Receiver:
    """A receiver as the settings describe it.

    Raises:
        ConfigurationError: no secret, a short one, a URL with a password in it, or plain http to other machines.
    """
    key = _key(secret.get_secret_value() if secret else "", named.secret)
    if len(key) < 16:
        raise ConfigurationError(
            f"{named.secret} is missing or shorter than 16 characters (after whsec_: 16 bytes in "
            "base64): receivers tell our messages from others by it. Make one: "
            'python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
    parts = urlsplit(url)
    if not parts.hostname or parts.username or parts.password:
        raise ConfigurationError(f"{named.url} must name a host, and hold no user or password.")
    if parts.scheme == "http" and not allow_private:
        raise ConfigurationError(
            f"{named.url} must begin with https://; for a receiver on this machine or a private network, "
            f"set {named.allow_private}."
        )
    return Receiver(url, key, allow_private, named.allow_private)


def _key(secret: str, name: str) -> bytes:
    """As Standard Webhooks spells keys: ``whsec_`` and base64; any other text is taken as it is."""
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ConfigurationError(f"{name} begins with whsec_, and what follows is no base64.") from None

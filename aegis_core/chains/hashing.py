"""Keccak, and the account that made a signature. What these need comes with the extra ``chains``, and loads with it."""

from __future__ import annotations

from typing import Any, cast

from aegis_core.protocol.distribution import installing
from aegis_core.protocol.errors import ConfigurationError

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of the curve secp256k1."""


def keccak(content: bytes) -> bytes:
    """Keccak-256.

    Raises:
        ConfigurationError: the extra ``chains`` is not installed.
    """
    return cast("bytes", _library("eth_utils").keccak(content))


def signer(digest: bytes, parity: int, r: int, s: int) -> str:
    """The address, in lower case, whose key signed a digest.

    Raises:
        ValueError: no key can have made that signature, or it is the twin of one that was made (a high ``s``).
    """
    if not (parity in {0, 1} and 0 < r < ORDER and 0 < s < ORDER):
        raise ValueError("has a signature that no key can have made")
    if s > ORDER // 2:
        raise ValueError("has the mirrored signature of somebody else's making (a high s), which nodes refuse")
    library = _library("eth_keys")
    try:
        key = library.keys.Signature(vrs=(parity, r, s)).recover_public_key_from_msg_hash(digest)
    except (ValueError, library.exceptions.BadSignature, library.exceptions.ValidationError):
        raise ValueError("has a signature that no key can have made") from None
    return cast("str", key.to_address())


def rlp() -> Any:
    """The library that reads and writes RLP."""
    return _library("rlp")


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise ConfigurationError(
            f"Transactions need the extra `chains` ({name} is missing): {installing('chains')}"
        ) from None

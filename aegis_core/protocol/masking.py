"""Secrets in text from agents are masked once, here, before anything is stored, logged or sent; and what people read is
made legible."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from aegis_core.protocol.fields import Scalar

MASK = "[masked]"

_HINTS = (
    "key", "token", "secret", "passw", "passphrase", "bearer", "-----begin", "sk-", "sk_", "pk-", "pk_", "rk-", "rk_",
    "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "xox", "akia", "aiza", "eyj", "0x", "://", "mnemonic", "seed phrase",
    "aegis_",
)  # fmt: skip
"""Every pattern below holds one of these, and looking for them is ten times faster than trying the patterns."""

_SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\baegis_(?:st|key|op)_[\w.:@/%-]{16,}"
    r"|\b(?:sk|pk|rk)[-_](?:(?=[A-Za-z_-]{0,64}\d)[A-Za-z0-9_-]{16,}|(?:[A-Za-z]{1,12}[-_]){0,3}[A-Za-z0-9]{16,}\b)"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}\b|\bxox[a-z]-[A-Za-z0-9-]{10,}|\bAKIA[A-Z0-9]{12,}\b|\bAIza[A-Za-z0-9_-]{30,}"
    r"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r"|\b0x[0-9a-fA-F]{64}\b"
    r"|(?<=://)[^/\s:@]{0,128}:[^/\s@]{1,256}(?=@)",
    re.DOTALL,
)
_NAMED = re.compile(
    r"(?i)\b((?:api[-_ ]?key|access[-_ ]?key|secret(?:[-_ ]?key)?|password|passwd|passphrase|auth[-_ ]?token|token|"
    r"private[-_ ]?key|mnemonic|seed phrase)[\"']?\s{0,4}(?::|=|\bis\b)\s{0,4}[\"']?)([^\s\"',;]{4,})"
)
_BEARER = re.compile(r"(?i)\b(bearer\s+)([A-Za-z0-9._~+/=-]{8,})")
_SECRET_NAME = re.compile(r"(?i)(key|token|secret|passw|passphrase|credential|authorization|mnemonic)")


def mask_text(text: str) -> str:
    """The text with what looks like a credential replaced: known key shapes, ``password: …``, bearer tokens, PEM."""
    lower = text.lower()
    for hint in _HINTS:
        if hint in lower:
            break
    else:
        return text
    text = _SECRET.sub(MASK, text)
    text = _BEARER.sub(rf"\1{MASK}", text)
    return _NAMED.sub(rf"\1{MASK}", text)


def mask_metadata(metadata: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Metadata with secret-looking values masked, by their name or by their shape."""
    return {
        name: MASK
        if isinstance(value, str) and _SECRET_NAME.search(name)
        else mask_text(value)
        if isinstance(value, str)
        else value
        for name, value in metadata.items()
    }


def visible(text: object) -> str:
    """Text from agents as one line for people: control and direction characters are spelt out."""
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in str(text))

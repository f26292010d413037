"""Secrets in text from agents are masked once, here, before anything is stored, logged or sent; and what people read is
made legible."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import rfc8785

from aegis_core.protocol.fields import Scalar
from aegis_core.protocol.parsing import loads

MASK = "[masked]"
LONG = 2_048
"""Characters of arguments from which they are masked beside an event loop."""

_HINTS = (
    "key", "token", "secret", "passw", "passphrase", "bearer", "-----begin", "sk-", "sk_", "pk-", "pk_", "rk-", "rk_",
    "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "xox", "akia", "aiza", "eyj", "0x", "://", "mnemonic", "seed phrase",
    "aegis_",
)  # fmt: skip
"""Every pattern below holds one of these, and looking for them is ten times faster than trying the patterns."""

_SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\baegis_(?:st|key|op|px)_[\w.:@/%-]{16,}"
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
_KINDS = (
    ("-----", "private key"), ("aegis_", "aegis token"), ("gh", "github token"), ("xox", "slack token"),
    ("AKIA", "aws key"), ("AIza", "google key"), ("eyJ", "web token"), ("0x", "private key"), ("sk", "api key"),
    ("pk", "api key"), ("rk", "api key"),
)  # fmt: skip
"""What a secret of a known shape is, by its beginning."""
_SECRET_FIELD = re.compile(
    r"(?:^|[^A-Za-z]|[a-z](?=[A-Z]))((?i:pass(?:word|wd|phrase|code)|secret|mnemonic|seed[-_ ]?phrase|credentials?|"
    r"authorization|(?:api|access|secret|private)[-_ ]?key))(?![a-z])"
)
"""The name of a field of arguments whose text is a secret, whatever it looks like."""
_TOKEN_FIELD = re.compile(r"(?:^|[^A-Za-z]|[a-z](?=[TK]))(?i:token|key)$")
_OPAQUE = re.compile(r"(?!0x[0-9a-fA-F]{40}$)(?=\S*\d)\S{12,}")
"""What is no name or address: masked in a field that is called a token or key, of a currency or a document, say."""
_SECRET_NAME = re.compile(r"(?i)(key|token|secret|passw|passphrase|credential|authorization|mnemonic)")


_SHORTEST, _SHORTEST_0X = 6, 66
"""Characters of the shortest thing that a pattern above finds, ``://:a@``, and of the shortest with ``0x``."""


def _hints(text: str) -> bool:
    """Whether a pattern may find something. A loop, because a generator would take twice as long."""
    size = len(text)
    if size < _SHORTEST:
        return False
    lower = text.lower()
    for hint in _HINTS:  # noqa: SIM110
        if hint in lower and (size >= _SHORTEST_0X or hint != "0x"):
            return True
    return False


def mask_text(text: str) -> str:
    """The text with what looks like a credential replaced: known key shapes, ``password: …``, bearer tokens, PEM."""
    if not _hints(text):
        return text
    text = _SECRET.sub(MASK, text)
    text = _BEARER.sub(rf"\1{MASK}", text)
    return _NAMED.sub(rf"\1{MASK}", text)


def mask_json(text: str, key: bytes) -> str:
    """Arguments as JSON (RFC 8785) with each secret replaced by what kind it is and a digest under `key`.

    Who reads it twice sees whether the secret is the same; nobody reads which it is. Everything else stays.

    Raises:
        ValueError, RecursionError: it is no JSON, nested too deeply, or spelt otherwise, so that what is read might not
            be all there is.
    """

    def mark(kind: str, secret: str) -> str:
        digest = hmac.digest(key, secret.encode("utf-8", "surrogatepass"), "sha256").hex()[:12]
        return f"[masked {kind} {digest}]"

    def masked(value: Any, kind: str) -> Any:
        if isinstance(value, dict):
            pairs = cast("dict[str, Any]", value).items()
            return {_marked(name, mark): masked(item, kind or _field_kind(name, item)) for name, item in pairs}
        if isinstance(value, list):
            return [masked(item, kind) for item in cast("list[Any]", value)]
        if kind and value is not None and not isinstance(value, bool):
            return mark(kind, str(value))
        return _marked(value, mark) if isinstance(value, str) else value

    value = loads(text)
    if rfc8785.dumps(value).decode() != text:
        raise ValueError("not spelt as RFC 8785 says")
    shown = masked(value, "")
    return text if shown == value else rfc8785.dumps(shown).decode()


def _field_kind(name: str, value: object) -> str:
    """What the value of a field is, when its name says that it is a secret."""
    if found := _SECRET_FIELD.search(name):
        return found[1].lower().replace("_", " ").replace("-", " ")
    return "token" if isinstance(value, str) and _TOKEN_FIELD.search(name) and _OPAQUE.fullmatch(value) else ""


def _marked(text: str, mark: Callable[[str, str], str]) -> str:
    """As `mask_text`, with marks of one's own; what is marked already is not marked again."""
    if not _hints(text):
        return text

    def known(found: re.Match[str]) -> str:
        secret = found[0]
        return mark(next((kind for start, kind in _KINDS if secret.startswith(start)), "login"), secret)

    def named(found: re.Match[str]) -> str:
        kind = found[1].strip(" \"':=").lower().replace("_", " ").split(" is")[0]
        return found[0] if found[2].startswith("[masked") else found[1] + mark(kind, found[2])

    return _NAMED.sub(named, _BEARER.sub(named, _SECRET.sub(known, text)))


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


def both_ends(text: str, first: int = 900, last: int = 200) -> tuple[str, int, str]:
    """The beginning of a text, how many characters behind it are hidden, and its end; a short one is all beginning."""
    if len(text) <= first + last:
        return text, 0, ""
    return text[:first], len(text) - first - last, text[-last:]


def visible(text: object) -> str:
    """Text from agents as one line for people: control and direction characters are spelt out."""
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in str(text))

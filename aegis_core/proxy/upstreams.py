"""Where calls are forwarded to: names, URLs, the providers' own keys, and what is put into the headers of a request."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from aegis_core.governor.proxy_keys import PREFIX
from aegis_core.metering.names import parse_name
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.protocol.hosts import is_loopback
from aegis_core.proxy.routes import Dialect
from aegis_core.proxy.upstream_http import Headers, UpstreamHttp

DEFAULT_URLS = {
    "openai": "https://api.openai.com",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
}
"""The upstreams that there are unless they are given another URL."""

_VARIABLES = {
    "openai": ("OPENAI_API_KEY",), "anthropic": ("ANTHROPIC_API_KEY",), "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "azure": ("AZURE_OPENAI_API_KEY", "AZURE_API_KEY"),
}  # fmt: skip
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_DIALECTS: tuple[Dialect, ...] = ("openai", "anthropic", "gemini")

READ_SECONDS = 900.0
"""How long an upstream may be silent. The longest default of an SDK is ten minutes; thoughts take longer."""

_KEY_HEADERS: dict[Dialect, str] = {"openai": "authorization", "anthropic": "x-api-key", "gemini": "x-goog-api-key"}

_HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te",
        b"trailer", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip
_NOT_SENT = _HOP_BY_HOP | {
    b"host", b"content-length", b"accept-encoding", b"expect", b"forwarded", b"via", b"x-forwarded-for",
    b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip", b"idempotency-key", b"x-http-method-override",
    b"x-http-method", b"x-method-override",
}  # fmt: skip
"""Headers of a request that end here. The proxy answers a repeated ``idempotency-key`` itself."""
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key"})


@dataclass(frozen=True, slots=True)
class Upstream:
    """One upstream.

    Attributes:
        name: the first part of the paths that lead to it, and the budgets' name of its provider.
        dialect: whose API it speaks.
        url: its scheme and authority.
        path: what its paths begin with.
        chat_meter: who reads answers of its chat completions, by a name of `metering`.
        priced_as: what stands before the names of its models in the price list; empty: nothing does.
        http: the connections to it.
    """

    name: str
    dialect: Dialect
    url: str
    path: str
    chat_meter: str
    priced_as: str
    http: UpstreamHttp
    _key: str | None = field(default=None, repr=False)

    @property
    def has_key(self) -> bool:
        """Whether the proxy has a key of its own for it."""
        return self._key is not None

    def headers(self, sent: Iterable[tuple[bytes, bytes]], *, own_credential: bool) -> Headers:
        """What is sent of a client's headers: none of ours, nothing about this connection, no compression.

        Args:
            sent: those of the client.
            own_credential: pass the client's credential on, instead of the key for this upstream.
        """
        named = {part.strip().lower() for name, value in sent if name == b"connection" for part in value.split(b",")}
        left_out = _NOT_SENT | named if own_credential else _NOT_SENT | named | _CREDENTIALS
        kept = [each for each in sent if each[0] not in left_out and not each[0].startswith(b"x-aegis-")]
        kept.append((b"accept-encoding", b"identity"))
        if not own_credential and self._key is not None:
            header = "api-key" if self.name == "azure" else _KEY_HEADERS[self.dialect]
            value = f"Bearer {self._key}" if header == "authorization" else self._key
            kept.append((header.encode(), value.encode("latin-1")))
        return kept

    def price_name(self, model: str) -> str:
        """The name by which a model of this upstream is priced."""
        return f"{self.priced_as}/{model}" if self.priced_as else model


def passed_back(headers: Headers, *, changed: bool) -> Headers:
    """What is passed on of an upstream's headers; of a body that is `changed` not its length."""
    named = {
        part.strip().lower() for name, value in headers if name.lower() == b"connection" for part in value.split(b",")
    }
    left_out = _HOP_BY_HOP | named | ({b"content-length"} if changed else frozenset[bytes]())
    lower = [(name.lower(), value) for name, value in headers if not _CONTROL.search(value)]
    return [each for each in lower if each[0] not in left_out and not each[0].startswith(b"x-aegis-")]


def open_upstreams(
    urls: Mapping[str, str], keys_file: Path | None, environment: Mapping[str, str] | None = None
) -> dict[str, Upstream]:
    """The upstreams of a proxy: the three that have a place of their own, and those that are given, by name.

    Args:
        urls: ``NAME`` or ``NAME:DIALECT`` to the URL that a client's SDK would be given, with or without its ``/v1``.
        keys_file: a JSON object from names to the providers' keys, which nobody else may read.
        environment: default: that of the process. ``NAME_API_KEY`` is the key of an upstream.

    Raises:
        ConfigurationError: a name, URL or key that cannot be used.
    """
    environment = os.environ if environment is None else environment
    keys = _read_keys(keys_file) if keys_file else {}
    found: dict[str, Upstream] = {}
    for spelt, url in {**DEFAULT_URLS, **urls}.items():
        name, _, said = spelt.partition(":")
        key = keys.pop(name, None) or _key_of(name, environment)
        if key is not None and key.startswith(PREFIX):
            raise ConfigurationError(
                f"The key for the upstream {name} is one of this proxy ({PREFIX}…). The proxy needs the provider's own "
                "key: start it where that one is set, or write it into AEGIS_PROXY_KEYS_FILE.",
                field="AEGIS_PROXY_KEYS_FILE",
            )
        found[name] = _upstream(name, said, url, key)
    if keys:
        unknown = ", ".join(sorted(keys))
        raise ConfigurationError(
            f"{keys_file} has keys for {unknown}, which no upstream is called.", path=str(keys_file)
        )
    return found


def _upstream(name: str, said: str, url: str, key: str | None) -> Upstream:
    if not _NAME.fullmatch(name) or name in {"v1", "v1beta", "v1alpha"}:
        raise ConfigurationError(f"{name!r} cannot be the name of an upstream: use lower-case letters and digits.")
    dialect: Dialect | None = next((each for each in _DIALECTS if each == (said or name)), None)
    if said and dialect is None:
        raise ConfigurationError(f"{name}:{said}: an upstream speaks one of {', '.join(_DIALECTS)}.")
    parts = urlsplit(url)
    if (
        parts.scheme not in {"https", "http"}
        or not parts.hostname
        or parts.query
        or not url.isascii()
        or parts.username
    ):
        raise ConfigurationError(f"{name}={url}: give https://HOST, perhaps with a path, and no credential.")
    if parts.scheme == "http" and key is not None and not is_loopback(parts.hostname):
        raise ConfigurationError(
            f"{name}={url} would carry the provider's key in plain http beyond this machine; give an https URL."
        )
    path = re.sub(r"/v1/?$", "", parts.path).rstrip("/")
    root = f"{parts.scheme}://{parts.netloc}"
    own = dialect == "openai" or name == "azure"
    meter = "openai_chat" if own else "openrouter" if name == "openrouter" else "openai_compatible"
    foreign = name not in DEFAULT_URLS and parse_name(f"{name}/x").provider is not None
    http = UpstreamHttp(root, read_seconds=READ_SECONDS)
    return Upstream(name, dialect or "openai", root, path, meter, name if foreign else "", http, key)


def _key_of(name: str, environment: Mapping[str, str]) -> str | None:
    variables = _VARIABLES.get(name) or (name.upper().replace("-", "_") + "_API_KEY",)
    return next((value for each in variables if (value := environment.get(each))), None)


def _read_keys(path: Path) -> dict[str, str]:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ConfigurationError(f"{path} holds keys and is open to other users: chmod 600 {path}", path=str(path))
        found: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        kind = "cannot be read" if isinstance(error, OSError) else "is not JSON"  # its text might quote a key
        raise ConfigurationError(f"AEGIS_PROXY_KEYS_FILE: {path} {kind}.", path=str(path)) from None
    names = cast("dict[object, object]", found) if isinstance(found, dict) else {}
    if not names or not all(isinstance(name, str) and isinstance(key, str) and key for name, key in names.items()):
        problem = 'holds no keys; give {"anthropic": "sk-..."}'
        raise ConfigurationError(f"AEGIS_PROXY_KEYS_FILE: {path} {problem}", path=str(path))
    return cast("dict[str, str]", names)

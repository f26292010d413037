"""Connections to the tests' own server that may do everything, beside those of Aegis, which may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import redis

OPERATIONS = Path(__file__).parents[1] / "docs" / "operations.md"
_SET = next(line for line in OPERATIONS.read_text().splitlines() if line.startswith("ACL SETUSER aegis "))
ALLOWED = _SET.split()[3:]
"""What the documentation tells operators to allow."""


def socket_of(url: str) -> str:
    """The unix socket of a server, whoever the URL connects as."""
    return unquote(urlsplit(url).path)


def plain(url: str, **options: Any) -> Any:
    """A connection as the user who may do everything."""
    return redis.Redis(unix_socket_path=socket_of(url), **options)


def as_least(url: str) -> str:
    """The URL for a user who may do what the documentation says, and no more."""
    with plain(url) as admin:
        admin.execute_command("ACL", "SETUSER", "aegis", "reset", *ALLOWED)
    return f"unix://aegis:PASSWORD@{quote(socket_of(url))}"

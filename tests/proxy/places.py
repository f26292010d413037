"""A place where agents are asked to read one file: a provider that wants it read, and a proxy, all that they reach."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from apart import URL, Apart, apart
from loopback import Providers, providers
from loopback.answering import Asked, Said
from stands import Stand, proxying, standing

from aegis_core.settings import Settings

ORDER = "Ada ordered three mills."
FEW, MANY = 20_000, 120_000
"""Tokens: fewer would be no bill of a request as long as agents send."""


def task(folder: Path) -> str:
    """What agents are asked; another text for each, as the proxy learns what a text counts."""
    return f"Read the file order.txt of {folder} and tell what Ada ordered."


@dataclass(frozen=True)
class Place:
    """Where agents run.

    Attributes:
        upstream: the provider.
        stand: the proxy before it, and its governor.
        apart: where the proxy is all there is.
    """

    upstream: Providers
    stand: Stand
    apart: Apart

    def wants(self, tool: str, arguments: Mapping[str, object], tokens: int) -> None:
        """Have the provider call this tool, billed with so many tokens, and then tell what was read."""

        def reply(asked: Asked) -> Said:
            if tool not in asked.tools:
                return Said("A title", sent=FEW)
            if not asked.answered:
                return Said(calls=((tool, arguments),), sent=tokens)
            assert ORDER in json.dumps(asked.body)
            return Said(ORDER, sent=tokens + 150)

        self.upstream.reply = reply

    def names(self, file: str, tokens: int) -> None:
        """Have it name this file to an agent that offers no tools, and then tell what stands in it."""

        def reply(asked: Asked) -> Said:
            if ORDER not in json.dumps(asked.body):
                return Said(f"Show me {file}, please.", sent=tokens)
            return Said(ORDER, sent=tokens + 150)

        self.upstream.reply = reply


@contextmanager
def placed(settings: Settings, folder: Path) -> Iterator[Place]:
    """Make one, until the block ends; skips where `apart` does."""
    with (
        apart() as empty,
        providers() as upstream,
        standing(settings, folder, url=upstream.root) as stand,
        proxying(stand.settings, empty.listener) as url,
    ):
        assert url == URL
        yield Place(upstream, stand, empty)

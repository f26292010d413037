"""The code blocks of the README and the docs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADAPTER = re.compile(r"^from (aegis_(?!core\b)[\w.]+) import", re.MULTILINE)
"""A program that needs a framework."""


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """The blocks of a language: where each stands, and its text."""
    for page in PAGES:
        for number, match in enumerate(BLOCK.finditer(page.read_text())):
            if match[1] == language:
                yield f"{page.name}-{number}", match[2]


def calls_a_provider(place: str, code: str) -> bool:
    """Whether a program is one for a framework as a stranger runs it, whose provider must be on loopback."""
    return place.startswith("frameworks.md-") and bool(ADAPTER.search(code))

"""A provider that bills and a proxy before it, for each test of its own tenant."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "metering"))  # what providers answer, and cost by others' arithmetic

from loopback import Provider, providing, proxying, upstreams_of

from aegis_core import Settings


@pytest.fixture
def provider() -> Iterator[Provider]:
    with providing() as found:
        yield found


@pytest.fixture
def proxied(settings: Settings, provider: Provider, tmp_path: Path) -> Settings:
    """The settings of a proxy before the provider."""
    return upstreams_of(settings, provider.url, tmp_path, "openrouter", "vllm")


@pytest.fixture
def url(proxied: Settings) -> Iterator[str]:
    """A proxy before the provider."""
    with proxying(proxied) as found:
        yield found

"""What the state machines and their mutants stand on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .bench import Bench


@pytest.fixture(scope="module")
def bench(server_url: str) -> Iterator[Bench]:
    """One for each module: opening it costs more than walking to a mutant."""
    opened = Bench(server_url)
    yield opened
    opened.close()

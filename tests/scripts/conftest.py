"""What the state machines and their mutants stand on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .bench import Bench


@pytest.fixture(scope="module")
def bench(server_url: str) -> Iterator[Bench]:
    """One for each module: opening it costs more than walking to a mutant."""
    opened = Bench(server_url)
    yield opened
    opened.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mutants leave what they leave: that it is wrong is what their tests find."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.path.stem.endswith("_mutants"):
            item.add_marker(pytest.mark.leaves("anything"))

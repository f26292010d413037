"""One chain for each test worker; each test has accounts of its own on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from anvil import Anvil, running


@pytest.fixture(scope="session")
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    with running(home=tmp_path_factory.mktemp("anvil")) as chain:
        yield chain

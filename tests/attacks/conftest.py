"""A server with keys for each test, and the means to take one defence away.

Most attacks run twice: against the server as it is, where they must fail, and against one without the defence that
stops them, where they must succeed. So no test passes because its attack was clumsy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from guarding import Guarded, Serve, Weaken, guarded
from lua import put_in_place

from aegis_core import Settings


@pytest.fixture
def serve(settings: Settings) -> Iterator[Serve]:
    """Start a server with keys, once the defences are as the test wants them; with settings of one's own."""
    with ExitStack() as stack:

        def start(**changes: object) -> Guarded:
            return stack.enter_context(guarded(settings.model_copy(update=changes)))

        yield start


@pytest.fixture
def weaken(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Weaken:
    """Replace one piece of a script. What the attack then leaves may be wrong."""

    def change(*pieces: str) -> None:
        request.node.add_marker(pytest.mark.leaves("anything"))
        put_in_place(monkeypatch, pieces)

    return change

"""One real server for each test worker; each test has a tenant of its own on it."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from uuid import uuid4

import hypothesis
import pytest
import redis
import redis.utils
from authorities import few_authorities
from leftovers import MARK, Processes, complaints, keyspace
from plain import as_least, plain
from rooms import ROOMS, belongs
from warm import Warm, warmed

import aegis_core
from aegis_core import Governor, Settings
from aegis_core.store.embedded import join_sync
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock, private_settings, quiet_zone, virtual_governor

SHARED_DATA = Path(__file__).parent.parent.parent / "shared" / "data"

# How long an example takes says nothing of the product on a machine that has other work, too.
hypothesis.settings.register_profile("aegis", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("aegis")


# To load the tests makes a million objects that stay, and the collector would walk them over and over.
gc.disable()
RECURSION = sys.getrecursionlimit()


def pytest_collection_finish() -> None:
    """What was loaded stays, and only what tests make is collected. A library of chains lifts the limit of recursion to
    where nested JSON would end the process instead of the reading; Aegis itself loads none that does."""
    sys.setrecursionlimit(RECURSION)
    gc.freeze()
    gc.enable()


def pytest_sessionstart() -> None:
    """The developer's own AEGIS_ variables must not steer the tests."""
    for name in list(os.environ):
        if name.startswith("AEGIS_") or name == "USE_FAKE_REDIS":
            del os.environ[name]
    os.environ[MARK] = uuid4().hex
    redis.utils.get_lib_version = cache(redis.utils.get_lib_version)  # read for each connection from a file


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A shell's background job ignores Ctrl-C, and so would every process that a test starts and interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _few_authorities(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Among the temporary files of pytest, which clears up after a run that was killed, too."""
    few_authorities(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A throw-away Valkey of this worker."""
    handle = join_sync(None, throwaway=True, timeout=60)
    yield as_least(handle.url) if request.config.getoption("--least-permissions") else handle.url
    handle.leave_sync()


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """A process of this worker that has loaded the project, and runs commands in forks of itself."""
    with warmed(tmp_path_factory.mktemp("warm")) as there:
        yield there


@pytest.fixture(scope="session")
def _keyspace(server_url: str) -> Iterator[redis.Redis]:
    with plain(server_url) as client:
        yield client


@pytest.fixture(autouse=True)
def _nothing_is_left(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No key that nothing bounds, no book that contradicts another, no open grant, question or lease, no process.

    What a test leaves open on purpose it says: ``@pytest.mark.leaves("grants", "questions", "leases")``. Tenants that
    were there before it are those of its module.
    """
    processes = Processes(str(tmp_path_factory.getbasetemp()))
    uses_server = "server_url" in request.fixturenames
    server: redis.Redis | None = request.getfixturevalue("_keyspace") if uses_server else None
    before = set(keyspace(server)[0]) if server else set()
    yield
    found = [f"the process {each}" for each in processes.left()]
    if server:
        may_leave = {what for mark in request.node.iter_markers("leaves") for what in mark.args}
        found += complaints(server, before, may_leave)
    assert not found, "the test left behind:\n" + "\n".join(found)


@pytest.fixture
def tenant() -> str:
    return f"t-{uuid4().hex[:12]}"


@cache
def _settings(server_url: str, _environment: tuple[tuple[str, str], ...]) -> Settings:
    """To make settings takes 10 ms, and nearly every test has some."""
    return private_settings(url=server_url)


@pytest.fixture
def settings(server_url: str, tenant: str) -> Settings:
    ours = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AEGIS_")))
    return _settings(server_url, ours).model_copy(update={"tenant": tenant})


@pytest.fixture
async def governor(settings: Settings) -> AsyncIterator[Governor]:
    async with aegis_core.connect(settings=settings) as connected:
        yield connected


@pytest.fixture
async def virtual(settings: Settings) -> AsyncIterator[tuple[Governor, FakeClock, Store]]:
    """A governor whose clock the test moves."""
    settings = settings.model_copy(update={"timezone": "UTC"})
    async with virtual_governor(settings, start=datetime(2026, 3, 27, 12, tzinfo=UTC)) as parts:
        yield parts


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What Aegis logs, whatever a server in this process has made of its loggers."""
    monkeypatch.setattr(logging.getLogger("aegis"), "propagate", True)
    caplog.set_level(logging.INFO, "aegis")
    return caplog


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Recorded traffic beside the project; absent in most checkouts."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the recorded traffic in {SHARED_DATA.parent.name}/{SHARED_DATA.name} beside the checkout")
    return SHARED_DATA


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--room", choices=sorted(ROOMS), metavar="ROOM", help="only the tests of a room of the package")
    parser.addoption(
        "--record-traces", action="store_true", help="hunt mutants again and keep the walks that find them"
    )
    parser.addoption(
        "--least-permissions", action="store_true", help="as the Redis user of docs/operations.md, who may do the least"
    )


@pytest.fixture
def record_traces(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--record-traces"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """No window of a budget turns while a test runs, whatever the time; a test that needs a turn has a `FakeClock`.

    In the environment, the zone also holds in the commands and the servers that a test starts, which would else put the
    tenant back into UTC when they open it. Before all fixtures, for those of modules make tenants, too.
    """
    os.environ["AEGIS_TIMEZONE"] = quiet_zone()


CONCURRENT = {
    f"aegis_core.testing.contract.{part}"
    for part in ("approvals", "copies", "downtime", "forks", "locks", "settlements", "starvation")
}
"""The parts of the adapters' contract in which something waits, races or goes down; the others depend on no time."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A module of deep tests alone is not even loaded every day."""
    return True if collection_path.name.endswith("_deep.py") and not config.option.markexpr else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The tests of one room, where one is named; those that take many minutes only by `make test-deep`."""
    for item in items:
        if getattr(getattr(item, "function", None), "__module__", None) in CONCURRENT:
            item.add_marker(pytest.mark.concurrent)
    room = config.getoption("--room")
    left_out = [
        item
        for item in items
        if (room and not belongs(item.path, room)) or (not config.option.markexpr and item.get_closest_marker("deep"))
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]

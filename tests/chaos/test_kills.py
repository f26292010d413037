"""Real processes race for a budget and are killed while they spend; the whole proof is benchmarks/overshoot.py."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType

import pytest

from aegis_core.store.embedded import join_sync
from tests.chaos.lock_workers import PRELOADED

pytestmark = pytest.mark.concurrent

_SCRIPT = Path(__file__).parents[2] / "benchmarks" / "overshoot.py"


@pytest.fixture
def overshoot() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("overshoot", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["overshoot"] = module  # spawned workers find their functions by this name
    sys.path.insert(0, str(_SCRIPT.parent))
    spec.loader.exec_module(module)
    module.START = "forkserver"
    get_context("forkserver").set_forkserver_preload(PRELOADED)
    yield module
    sys.path.remove(str(_SCRIPT.parent))
    del sys.modules["overshoot"]


@pytest.fixture
def fresh_server() -> Iterator[str]:
    handle = join_sync(None, throwaway=True, timeout=60)
    yield handle.url
    handle.leave_sync()


@pytest.mark.timeout(420)
@pytest.mark.parametrize("rounds", [2, pytest.param(5, marks=pytest.mark.deep)])
def test_processes_that_race_for_a_budget_get_exactly_what_it_holds(
    overshoot: ModuleType, fresh_server: str, rounds: int
) -> None:
    for counts in overshoot.race(fresh_server, rounds=rounds, processes=4, tasks=50):
        assert counts == Counter({"GRANTED ok": 20, "REJECTED budget_exceeded": 180})


@pytest.mark.timeout(420)
@pytest.mark.parametrize("wanted", [2, pytest.param(5, marks=pytest.mark.deep)])
def test_workers_killed_between_reserve_and_settle_leave_the_books_right(
    overshoot: ModuleType, fresh_server: str, tmp_path: Path, wanted: int
) -> None:
    kills, between = overshoot.kill_spree(fresh_server, str(tmp_path), processes=4, wanted=wanted)
    assert kills >= between >= wanted
    assert asyncio.run(overshoot.inspect(fresh_server, sweep=False))["open"] > 0
    assert asyncio.run(overshoot.inspect(fresh_server, sweep=True))["open"] == 0

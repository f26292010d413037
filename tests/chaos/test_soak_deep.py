"""Ten minutes of `benchmarks/soak.py`: eight processes that are killed and stopped, on a Redis that is, too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.mark.deep
@pytest.mark.concurrent
@pytest.mark.timeout(1_200)
def test_nothing_is_granted_twice_and_nobody_waits_too_long(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", SCRIPT, "--seconds", "600", "--folder", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1_100, check=False)
    assert done.stdout, done.stderr[-4_000:]
    found = json.loads(done.stdout)
    assert (found["above_a_limit"], found["still_held"]) == (0, 0), found
    assert found["fullest_budget"] > 0.95, "no budget was ever in danger"
    assert all(found["mishaps"].get(what, 0) > 5 for what in ("kill_one", "stop_one", "restart_redis", "stop_redis"))
    assert found["memory_growth"] <= 1.3, found
    assert found["slowest_beyond_deadline"] <= 1, found
    assert done.returncode == 0

"""Primaries of a real Cluster and a real Sentinel are killed under load: locks, approvals, events and money go on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.deep, pytest.mark.concurrent, pytest.mark.timeout(300)]

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "failover.py"


def measured(kind: str, replica: str = "healthy", least: int = 0) -> dict[str, Any]:
    """What `benchmarks/failover.py` saw, in a process of its own: redis-py leaves connections to nodes that died."""
    options = ["--topology", kind, "--replica", replica, "--min-replicas", str(least)]
    done = subprocess.run([sys.executable, SCRIPT, *options], capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr[-4_000:]
    return json.loads(done.stdout)


def of_all(found: dict[str, Any], what: str) -> int:
    return sum(row[what] for row in found["tenants"].values())


@pytest.mark.parametrize("kind", ["cluster", "sentinel"])
def test_a_primary_that_dies_is_followed_by_its_replica(kind: str) -> None:
    found = measured(kind)
    assert found["answered_again_after"] < 30
    assert all(found["before"].values()), "something did not work before"
    assert all(found["after"].values()), "something did not go on: " + str(found["after"])
    for row in found["tenants"].values():
        # A replica that keeps up has all but what its primary acknowledged in its last moment.
        assert row["grants_lost"] <= 20
        assert set(row["errors"]) <= {"store_unavailable", "answer_lost", "not_found", "not_holder", "lock_timeout"}


@pytest.mark.parametrize(("least", "loses"), [(0, True), (1, False)])
def test_what_a_replica_never_heard_of_is_lost_unless_it_must_hear(least: int, loses: bool) -> None:
    found = measured("sentinel", "stalled", least)
    assert (of_all(found, "grants_lost") > 0) == loses
    assert (of_all(found, "receipts_lost") > 0) == loses
    assert all(found["after"].values())

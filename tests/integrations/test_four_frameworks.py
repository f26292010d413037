"""The second part of ``make demo``: real agents of four frameworks share one budget and one wallet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

SHOW = Path(__file__).parents[2] / "examples" / "four_frameworks" / "show.py"
pytestmark = [pytest.mark.timeout(400), pytest.mark.concurrent]
PATIENCE = 330.0
"""Longer than the show's own."""
PAYMENTS = 19  # of $0.05 each; the 20th does not fit into $1.00 beside the models' calls


def shown(tmp_path: Path, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(scratch)}
    environment |= {"AEGIS_URL": "redis://nowhere:1", "AEGIS_AGENT_DAY_USD": "0.01"}  # which must not matter
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    command = [sys.executable, str(SHOW), *arguments]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    until = time.monotonic() + 60  # its server ends by itself, after the last process that used it
    while left := list(scratch.iterdir()):
        assert time.monotonic() < until, f"it left something behind: {left}"
        time.sleep(0.05)
    return done


@pytest.mark.deep  # daily: each adapter's contract, and this show of one framework
def test_four_frameworks_share_one_budget_and_one_wallet(tmp_path: Path) -> None:
    done = shown(tmp_path, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    rows = {row["framework"]: row for row in found["frameworks"]}
    assert list(rows) == ["langchain", "langgraph", "crewai", "autogen"]
    assert all(row["refused"] == 1 and row["tool_calls"] >= 1 for row in rows.values())
    # One model call for each payment, one for the payment that is refused, and one to say so.
    assert all(row["model_calls"] == row["tool_calls"] + 2 for row in rows.values())
    assert sum(row["tool_calls"] for row in rows.values()) == PAYMENTS
    assert sorted(fence for row in rows.values() for fence in row["fences"]) == list(range(1, PAYMENTS + 1))
    assert sum(Decimal(row["usd"]) for row in rows.values()) == Decimal(found["bill_usd"])
    assert Decimal(found["bill_usd"]) == Decimal(found["ledger_usd"])
    assert Decimal("0.95") < Decimal(found["ledger_usd"]) <= Decimal(found["limit_usd"]) == 1
    assert all(check["holds"] for check in found["checks"])


def test_one_framework_spends_what_is_there(tmp_path: Path) -> None:
    """The show's own checks, and what it prints for programs, with the framework that loads fastest."""
    done = shown(tmp_path, "langchain", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    (row,) = found["frameworks"]
    assert (row["framework"], row["refused"], row["tool_calls"]) == ("langchain", 1, PAYMENTS)
    assert row["fences"] == list(range(1, PAYMENTS + 1))
    assert Decimal(row["usd"]) == Decimal(found["bill_usd"]) == Decimal(found["ledger_usd"])
    assert all(check["holds"] for check in found["checks"])


@pytest.mark.deep
def test_a_framework_that_is_not_installed_is_named_and_the_others_play_on(tmp_path: Path) -> None:
    (tmp_path / "crewai.py").write_text("raise ModuleNotFoundError(\"No module named 'crewai'\", name='crewai')\n")
    done = shown(tmp_path, "langchain,crewai", path=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pip install '.[crewai]' in a checkout of Aegis" in " ".join(done.stdout.split())
    assert f"{PAYMENTS} payments, {PAYMENTS} coins gone from the wallet." in done.stdout
    assert "DIFFERS" not in done.stdout


def test_a_framework_that_breaks_ends_the_show_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "crewai.py").write_text("raise RuntimeError('broken on purpose')\n")
    done = shown(tmp_path, "langchain,crewai", path=tmp_path)
    assert done.returncode == 1
    assert "The agent of crewai failed" in done.stderr
    assert "broken on purpose" in done.stderr
    assert "Traceback" not in done.stderr.split("broken on purpose")[1]


def test_an_unknown_framework_is_named(tmp_path: Path) -> None:
    done = shown(tmp_path, "langchain,haystack")
    assert (done.returncode, done.stderr) == (2, "haystack: not one of langchain, langgraph, crewai, autogen\n")

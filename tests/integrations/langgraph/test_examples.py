"""The examples run as they are, offline, in at most forty lines, and end gracefully."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("langchain_agent.py", ["tool: Aegis refused search(", "there was no money left for Basel"]),
        (
            "langgraph_approval.py",
            [
                "Waits for an operator's approval: more than $5.00",
                "tool: Paid $7.\nai: \ntool: Aegis refused pay(amount=7): it costs up to $7.00 and $3.00",
                "\nai: I paid one of two.\n",
            ],
        ),
    ],
)
def test_an_example_says_what_happened(name: str, said: list[str], tmp_path: Path) -> None:
    assert (EXAMPLES / name).read_text().count("\n") <= 40
    environment = {"HOME": str(tmp_path), "AEGIS_DATA_DIR": str(tmp_path / "data"), "LANG": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, EXAMPLES / name], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert all(each in done.stdout for each in said), done.stdout

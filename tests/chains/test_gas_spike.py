"""The examples of `make demo` in which gas spikes."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from fetching import ANVIL, ROOT


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("example", "reason"), [("gas", "Gas above 150 gwei is not allowed."), ("solana", "above 50,000 micro-lamports is")]
)
def test_a_spike_is_refused_and_what_is_charged_is_what_was_taken(example: str, reason: str) -> None:
    path = os.environ["PATH"]
    if example == "gas":
        path = f"{ANVIL.path()}:{path}"
    command = [sys.executable, str(ROOT / "examples" / f"{example}_spike.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PATH": path}, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [re.findall("GRANTED|REJECTED", line) for line in lines[1:4]] == [["GRANTED"], ["REJECTED"], ["GRANTED"]]
    assert reason in lines[2]
    charged, took = re.findall(r"\$(\d+\.\d{9})", lines[-1])
    assert 0 <= float(charged) - float(took) < 1e-8, "each of the two rounded up"

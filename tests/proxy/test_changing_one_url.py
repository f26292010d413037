"""The end of the demonstration: a streamed call through the proxy, and one that the budget refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_shows_a_streamed_call_and_a_refusal(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "examples" / "changing_one_url.py"]
    environment = os.environ | {"HOME": str(tmp_path), "AEGIS_URL": "redis://nowhere:1", "AEGIS_AGENT_DAY_USD": "9"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "  200: Before an agent spends, it asks. (at most $0.005045000 reserved)" in done.stdout
    assert "402: Aegis refused this call of gpt-4o: it costs up to $0.008 and $0.001 of $0.015 is left" in done.stdout
    assert "3 calls, of which the provider saw 2." in done.stdout
    assert "$0.014" in done.stdout, "1,200 and 400 tokens of gpt-4o, twice"


def test_the_demonstration_ends_with_it() -> None:
    # What make tells the programs that it starts is not for this one.
    environment = {
        name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    }
    for frameworks in ("none", "langchain"):
        command = ["make", "-n", "demo", f"FRAMEWORKS={frameworks}"]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        shown = [line.rpartition("/")[2] for line in done.stdout.splitlines() if "bin/python examples/" in line]
        shown = [each for each in shown if not each.startswith("show.py")]
        assert shown[:2] == ["changing_one_url.py", "solana_spike.py"]
        assert shown[2:] in (["gas_spike.py"], []), "where anvil is, another spike"

"""The example runs offline, shows what is governed, and ends gracefully after a denial."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[3] / "examples" / "crewai_crew.py"


def test_it_runs_offline(tmp_path: Path) -> None:
    assert EXAMPLE.read_text().count("\n") <= 40
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "AEGIS_DATA_DIR": str(tmp_path / "data"),
        "CREWAI_STORAGE_DIR": str(tmp_path / "crewai"),
    }  # fmt: skip
    command = [sys.executable, EXAMPLE]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "llm      agent Buyer: llm: gpt-4o-mini: governed" in done.stdout
    told = "I stopped. Aegis refused pay(dollars=4): it costs up to $4.00 and $1.999523 of $10.00 is left"
    assert told in done.stdout

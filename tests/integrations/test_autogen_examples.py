"""The examples of AutoGen end within their budget, and say so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("name", ["autogen_chat", "agentchat_team"])
def test_it_ends_gracefully_after_a_denial(name: str, tmp_path: Path) -> None:
    path = EXAMPLES / f"{name}.py"
    assert len(path.read_text().splitlines()) <= 40
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("AEGIS_", "OPENAI_"))}
    command = [sys.executable, "-W", "ignore", str(path)]
    environment = {**clean, "AEGIS_DATA_DIR": str(tmp_path)}
    finished = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert finished.returncode == 0, finished.stderr[-2_000:]
    assert "sell umbrellas" in finished.stdout
    assert "ended within its budget: Aegis refused this call of gpt-4o-mini" in finished.stdout

"""docs/adapters.md says what the contract's harnesses declare: what a framework cannot have, and why."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

from aegis_core.testing import Mode

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adapters.md").read_text()
DECLARED = """
import json
from integrations.agentchat.harness import AgentHarness, TeamHarness
from integrations.autogen_classic.harness import ClassicHarness
from integrations.crewai.harness import CrewHarness
from integrations.langchain.harness import CallbackHarness, ChatModelHarness, MiddlewareHarness
from integrations.langgraph.harness import GraphHarness

assert (TeamHarness.lacks, TeamHarness.modes) == (AgentHarness.lacks, AgentHarness.modes)
langchain = (CallbackHarness, MiddlewareHarness, ChatModelHarness)
one_each = (*langchain, GraphHarness, CrewHarness, ClassicHarness, AgentHarness)
print(json.dumps([(each.framework, each.lacks, each.modes) for each in one_each]))
"""


def rows(heading: str) -> list[tuple[str, ...]]:
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0] if heading else PAGE.split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


def test_what_a_framework_cannot_have_is_what_its_harness_declares(tmp_path: Path) -> None:
    """The harnesses are read in a process of their own: it loads every framework."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "tests"),
        "CREWAI_STORAGE_DIR": str(tmp_path), "CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true",
    }  # fmt: skip
    command = [sys.executable, "-W", "ignore", "-c", DECLARED]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr
    declared: list[tuple[str, ...]] = []
    for framework, lacks, modes in json.loads(done.stdout.splitlines()[-1]):
        declared += [(framework, f"`{name}`", reason) for name, reason in lacks.items()]
        if missing := [f"`{mode}`" for mode in get_args(Mode) if mode not in modes]:
            declared.append((framework, ", ".join(missing), "it has no such entry point"))
    assert sorted(rows("What a framework cannot have")) == sorted(declared)


def test_the_ranges_are_those_of_the_extras() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for _, names, _, tested in rows(""):
        for extra in re.findall(r"`(\w+)`", names):
            found = {re.sub(r";.*", "", each).strip() for each in extras[extra]}
            said = {
                f"{name}>={low},<{high}" for name, low, high in re.findall(r"`([\w-]+)` ≥ ([\d.]+), < ([\d.]+)", tested)
            }
            assert said & found, (extra, said, found)

"""Each framework's example runs as it is, offline, in at most forty lines, and ends gracefully after a denial."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(330)

EXAMPLES = Path(__file__).parents[2] / "examples"

TOLD = {
    "langchain_agent": [
        "tool: Ten results for Bern.",
        'tool: Aegis refused search(query="Basel"): it costs up to $0.30 and $0.19',
        "ai: There was no money left for the rest.",
    ],
    "langgraph_approval": [
        "Waits for an operator's approval: more than $5.00",
        "tool: Paid $7.\nai: \ntool: Aegis refused pay(amount=7): it costs up to $7.00 and $3.00 of $10.00 is left",
        "\nai: I stopped there.\n",
    ],
    "crewai_crew": [
        "llm      agent Buyer: llm: gpt-4o-mini: governed",
        "I stopped. Aegis refused pay(dollars=4): it costs up to $4.00 and $1.999523 of $10.00 is left",
    ],
    "autogen_chat": ["sell umbrellas", "The chat ended within its budget: Aegis refused this call of gpt-4o-mini"],
    "agentchat_team": ["sell umbrellas", "The team ended within its budget: Aegis refused this call of gpt-4o-mini"],
}
"""What each prints of the call that it could not afford, and of its end."""

BROKE = {
    "langchain_agent": "The run ended within its budget: Aegis refused this call of",
    "langgraph_approval": "ai: I stopped there.",
    "crewai_crew": "The crew ended within its budget: Aegis refused this call of",
    "autogen_chat": "The chat ended within its budget: Aegis refused this call of",
    "agentchat_team": "The team ended within its budget: Aegis refused this call of",
}
"""What each prints at last where there is no money for its first call; LangGraph's example has governed tools only."""


def printed(name: str, home: Path, **variables: str) -> str:
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(home), "AEGIS_DATA_DIR": str(home / "data"), "LANG": "C.UTF-8",
        "CREWAI_STORAGE_DIR": str(home / "crewai"), "AEGIS_TIMEZONE": os.environ["AEGIS_TIMEZONE"],
        "CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true", **variables,
    }  # fmt: skip
    command = [sys.executable, "-W", "ignore", EXAMPLES / f"{name}.py"]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout


SLOW = [pytest.param(n, marks=() if n == "langchain_agent" else pytest.mark.deep) for n in TOLD]
"""Each loads its framework, which takes up to a quarter of a minute: LangChain's runs every day."""


@pytest.mark.parametrize("name", TOLD)
def test_it_is_short_and_complete(name: str) -> None:
    """What the daily run of LangChain's cannot see of the others: that they can be read, and fit on a screen."""
    text = (EXAMPLES / f"{name}.py").read_text()
    assert text.count("\n") <= 40
    compile(text, name, "exec")


@pytest.mark.parametrize("name", SLOW)
def test_it_ends_gracefully_after_a_denial(name: str, tmp_path: Path) -> None:
    said = printed(name, tmp_path)
    assert all(each in said for each in TOLD[name]), said


@pytest.mark.deep
@pytest.mark.parametrize("name", TOLD)
def test_it_ends_gracefully_where_nothing_is_left(name: str, tmp_path: Path) -> None:
    said = printed(name, tmp_path, AEGIS_AGENT_DAY_USD="0.000001")
    assert BROKE[name] in said.splitlines()[-1], said

"""``aegis demo`` runs by itself and shows what the governor really answered."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What it prints into a pipe, in a home of its own and with settings that must not matter."""
    home = tmp_path_factory.mktemp("home")
    environment = os.environ | {"HOME": str(home), "AEGIS_AGENT_DAY_USD": "1", "AEGIS_URL": "redis://nowhere:1"}
    command = [sys.executable, "-c", "from aegis_core.cli import main; main()", "demo"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert not any(path.is_file() for path in Path(home).rglob("*")), "the demonstration left something behind"
    return done.stdout


def test_it_needs_neither_colours_nor_more_than_80_columns(shown: str) -> None:
    assert "\x1b" not in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_agents_of_every_framework_ask(shown: str) -> None:
    for framework in ("crewai", "langgraph", "autogen", "langchain", "custom"):
        assert re.search(rf"HELLO +\S+ +{framework}", shown)


@pytest.mark.parametrize(
    "line",
    [
        r"GRANTED +crew-researcher-01 +Summarise Sui .* proposals\s+\$0\.035 held, use \S+, \$9\.965 left",
        r"\$0\.035 held, \$0\.001176 charged, \$0\.033824 back",
        r"Every logic density from 1 to 10 with 4 sizes of prompt: a grid, and nobody's\s+traffic",
        r"\$[\d.]+ were held, one after the other, \$0\.1\d+ charged: \$[\d.]+ came\s+back",
        r'REJECTED +support-chain +DROP +DATABASE .*\s+The intent matches "drop database"\. \[no-database-drop\]',
        r"REJECTED +trader-bot +Swap 2 ETH for USDC\s+The intent matches \"swap\" and priority 4 is below 7\.",
        r"PENDING +plain-http-agent +Rent a GPU for the night",
        r"20 GRANTED \(■\), 30 REJECTED \(·\)",
        r"20 × \$0\.50 = \$10\.00: the budget, to the cent\.",
        r"REJECTED +swarm +Label one more batch\s+The agent's day budget has \$0\.00 of \$10\.00 left",
        r"\$0\.10 held, \$0\.25 charged, \$0\.15 over",
        r"graph-planner never settled: its \$0\.20 are charged, not free",
        r"always claude-opus-4-5 +\$[\d.]+ +█+ +\d+% saved",
        r"always gpt-4o +\$[\d.]+ +█+ +\d+% saved",
        r"always gpt-4o-mini +\$[\d.]+ +█+ +\d\.\d times that",
    ],
)
def test_every_kind_of_answer_is_shown_with_its_reason(shown: str, line: str) -> None:
    assert re.search(line, shown), line


def test_the_sums_agree_with_each_other(shown: str) -> None:
    charged = [
        float(amount) for amount in re.findall(r"^  [a-z-]+\d* .*\$([\d.]+)$", shown.split("Summary")[1], re.MULTILINE)
    ]
    *agents, total = charged
    assert len(agents) == 7
    assert sum(agents) == pytest.approx(total)
    decisions, events = re.search(r"(\d+) decisions were shown, and (\d+) events", shown).groups()  # type: ignore[union-attr]
    assert decisions == events


def test_what_is_not_used_comes_back_with_each_settlement(shown: str) -> None:
    receipts = re.findall(r"SETTLED .*\s+\$([\d.]+) held, \$([\d.]+) charged, (?:\$([\d.]+) (back|over))?", shown)
    assert len(receipts) == 6
    for held, charged, apart, which in receipts:
        gone = float(held) - float(charged)
        assert abs(gone) == pytest.approx(float(apart))
        assert (gone > 0) == (which == "back")

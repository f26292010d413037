"""Claude Code, Codex, Gemini CLI, opencode and aider themselves, where nothing but the proxy is.

Each reads a file by its own tool and tells what stands in it, and is stopped between the two calls by its budget: in
one request, as `docs/proxy-clients.md` says, and with a sentence that its person reads.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from command_line_agents import COMMAND_LINE, Agent
from fetching import AGENTS
from places import FEW, MANY, ORDER, Place
from stands import charged, estimated

pytestmark = [pytest.mark.deep, pytest.mark.timeout(300)]


def run(place: Place, name: str, secret: str, home: Path) -> subprocess.CompletedProcess[str]:
    agent = COMMAND_LINE[name]
    folder = AGENTS[agent.package].path()
    (home / "order.txt").write_text(ORDER)
    environment = agent.prepare(home, secret)
    return place.apart.run([*agent.command(folder), agent.task(home)], environment, home)


def wants(place: Place, agent: Agent, tokens: int) -> None:
    if agent.tool is None:
        place.names("order.txt", tokens)
    else:
        place.wants(*agent.tool, tokens)


@pytest.mark.parametrize("name", COMMAND_LINE)
def test_it_does_a_task_with_a_tool(place: Place, tmp_path: Path, name: str) -> None:
    agent = COMMAND_LINE[name]
    wants(place, agent, FEW)
    key = place.stand.key(budget="9", **agent.terms)
    done = run(place, name, key.secret or "", tmp_path)
    assert (done.returncode, ORDER in done.stdout) == (0, True), done.stdout + done.stderr
    calls = agent.beside + 2
    assert len(place.upstream.requests) == calls
    ends = place.stand.ended(key.terms.agent_id, calls)
    assert (estimated(ends), charged(ends)) == ([False] * calls, place.upstream.usd)


@pytest.mark.parametrize("name", COMMAND_LINE)
def test_it_is_stopped_in_the_middle_by_its_budget(
    place: Place, arrived: list[bytes], tmp_path: Path, name: str
) -> None:
    agent = COMMAND_LINE[name]
    wants(place, agent, MANY)
    key = place.stand.key(budget=agent.day, **agent.terms)
    done = run(place, name, key.secret or "", tmp_path)
    told = " ".join((done.stdout + done.stderr).split())  # some break lines
    assert (done.returncode != 0) is agent.fails, told
    assert "Aegis refused this call of" in told
    assert f"of ${agent.day} is left until" in told
    calls = agent.beside + 1
    assert len(place.upstream.requests) == calls
    assert len(arrived) == agent.free + calls + 1, f"one request for a refused call, not {arrived}"
    assert charged(place.stand.ended(key.terms.agent_id, calls)) == place.upstream.usd

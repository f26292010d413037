"""Agents as programs of their own in a place without a network: they reach the proxy, and through it alone a provider.

Each does a task in two calls with a tool between them, and is stopped between the two by its budget.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from apart import URL
from fetching import JAVASCRIPT, SDKS
from places import FEW, MANY, ORDER, Place, task
from stands import charged, estimated

PROGRAMS = Path(__file__).with_name("agent_programs")
NEEDS = {
    "openai_loop.py": "openai", "anthropic_loop.py": "anthropic", "langchain_agent.py": "langchain",
    "openai_agents.py": "agents", "pydantic_agent.py": "pydantic_ai", "ai_sdk.mjs": "node",
}  # fmt: skip
AGENTS = [pytest.param(name, marks=[] if name == "openai_loop.py" else [pytest.mark.deep]) for name in NEEDS]
READS = ("read_file", {"name": "order.txt"})
DAY, CLAUDES_DAY = "0.02", "0.13"
"""Dollars of which a call with `MANY` tokens leaves too little for the next one."""


def run(place: Place, program: str, secret: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A program with this key and the proxy's address, and nothing else of ours."""
    (folder / "order.txt").write_text(ORDER)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"}
    environment |= {"OPENAI_BASE_URL": f"{URL}/v1", "OPENAI_API_KEY": secret}
    environment |= {"ANTHROPIC_BASE_URL": URL, "ANTHROPIC_API_KEY": secret}
    if program.endswith(".mjs"):
        runs = shutil.which(NEEDS[program])
        if runs is None:
            pytest.skip("needs Node")
        environment["SDKS"] = str(JAVASCRIPT.path())
    else:
        here = importlib.util.find_spec(NEEDS[program]) is not None
        runs = sys.executable if here else str(SDKS.path() / "bin" / "python")
    return place.apart.run([runs, PROGRAMS / program, task(folder)], environment, folder)


def test_nothing_but_the_proxy_is_there(place: Place, tmp_path: Path) -> None:
    """Not the provider's port on this machine, no machine elsewhere, no name; the proxy answers."""
    code = """
import socket, sys, urllib.request
print(urllib.request.urlopen(f"{sys.argv[1]}/aegis/health", timeout=30).status)
for host, port in (("127.0.0.1", int(sys.argv[2])), ("192.0.2.1", 443), ("example.org", 443)):
    try:
        socket.create_connection((host, port), timeout=30)
        print("reached", host)
    except OSError as error:
        print(type(error).__name__)
"""
    port = place.upstream.root.rpartition(":")[2]
    done = place.apart.run([sys.executable, "-c", code, URL, port], {"PATH": "/usr/bin:/bin"}, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["200", "ConnectionRefusedError", "OSError", "gaierror"]
    assert place.upstream.requests == []


@pytest.mark.parametrize("program", AGENTS)
def test_an_agent_does_its_task(place: Place, tmp_path: Path, program: str) -> None:
    place.wants(*READS, FEW)
    key = place.stand.key(budget="5")
    done = run(place, program, key.secret or "", tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, ORDER), done.stderr
    assert len(place.upstream.requests) == 2
    ends = place.stand.ended(key.terms.agent_id, 2)
    assert (estimated(ends), charged(ends)) == ([False, False], place.upstream.usd)


@pytest.mark.parametrize("program", AGENTS)
def test_an_agent_is_stopped_in_the_middle_by_its_budget(
    place: Place, arrived: list[bytes], tmp_path: Path, program: str
) -> None:
    """The first call eats the budget; the second is refused once, in a sentence that its person reads."""
    place.wants(*READS, MANY)
    day = CLAUDES_DAY if program in {"anthropic_loop.py", "ai_sdk.mjs"} else DAY
    key = place.stand.key(budget=day)
    done = run(place, program, key.secret or "", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Aegis refused this call of" in done.stderr
    assert f"of ${day} is left until" in done.stderr
    assert (len(arrived), len(place.upstream.requests)) == (2, 1)
    assert charged(place.stand.ended(key.terms.agent_id)) == place.upstream.usd

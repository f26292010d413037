"""Agents as programs of their own in a place without a network: they reach the proxy, and through it alone a provider.

Each does a task in two calls with a tool between them, and is stopped between the two by its budget.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from apart import URL, Apart, apart
from fetching import JAVASCRIPT, SDKS
from loopback import Providers, providers
from loopback.answering import Asked, Said
from stands import Stand, charged, estimated, proxying, standing

from aegis_core.testing import private_settings

PROGRAMS = Path(__file__).with_name("agent_programs")
NEEDS = {
    "openai_loop.py": "openai", "anthropic_loop.py": "anthropic", "langchain_agent.py": "langchain",
    "openai_agents.py": "agents", "pydantic_agent.py": "pydantic_ai", "ai_sdk.mjs": "node",
}  # fmt: skip
AGENTS = [pytest.param(name, marks=[] if name == "openai_loop.py" else [pytest.mark.deep]) for name in NEEDS]
DAY, CLAUDES_DAY = "0.02", "0.13"
"""Dollars of which a call with 120,000 tokens leaves too little for the next one."""
TASK = "Read the file order.txt and tell what Ada ordered."
ORDER = "Ada ordered three mills."


@pytest.fixture(scope="module")
def _place(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Providers, Stand, Apart]]:
    settings = private_settings(url=server_url, tenant=f"t-{uuid4().hex[:12]}")
    with (
        apart() as place,
        providers() as upstream,
        standing(settings, tmp_path_factory.mktemp("apart"), url=upstream.root) as stand,
        proxying(stand.settings, place.listener) as url,
    ):
        assert url == URL
        yield upstream, stand, place


@pytest.fixture
def upstream(_place: tuple[Providers, Stand, Apart]) -> Providers:
    """The provider, which wants the file read, and then repeats what stands in it."""
    found = _place[0]
    found.requests.clear()
    found.bills.clear()
    found.reply = lambda asked: wants_the_file(asked, 90)
    return found


@pytest.fixture
def stand(_place: tuple[Providers, Stand, Apart]) -> Stand:
    return _place[1]


@pytest.fixture
def place(_place: tuple[Providers, Stand, Apart]) -> Apart:
    return _place[2]


def wants_the_file(asked: Asked, sent: int) -> Said:
    """The call of the tool, billed with so many tokens, or what was read."""
    if not asked.answered:
        return Said(calls=(("read_file", {"name": "order.txt"}),), sent=sent)
    assert ORDER in json.dumps(asked.body)
    return Said(ORDER, sent=150)


def run(place: Apart, program: str, secret: str, folder: Path) -> tuple[int, str, str]:
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
    done = place.run([runs, PROGRAMS / program, TASK], environment, folder)
    return done.returncode, done.stdout, done.stderr


def test_nothing_but_the_proxy_is_there(place: Apart, upstream: Providers, tmp_path: Path) -> None:
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
    port = upstream.root.rpartition(":")[2]
    done = place.run([sys.executable, "-c", code, URL, port], {"PATH": "/usr/bin:/bin"}, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["200", "ConnectionRefusedError", "OSError", "gaierror"]
    assert upstream.requests == []


@pytest.mark.parametrize("program", AGENTS)
def test_an_agent_does_its_task(stand: Stand, upstream: Providers, place: Apart, tmp_path: Path, program: str) -> None:
    key = stand.key(budget="5")
    code, said, complaint = run(place, program, key.secret or "", tmp_path)
    assert (code, said.strip()) == (0, ORDER), complaint
    assert len(upstream.requests) == 2
    ends = stand.ended(key.terms.agent_id, 2)
    assert (estimated(ends), charged(ends)) == ([False, False], upstream.usd)


@pytest.mark.parametrize("program", AGENTS)
def test_an_agent_is_stopped_in_the_middle_by_its_budget(
    stand: Stand, upstream: Providers, place: Apart, arrived: list[bytes], tmp_path: Path, program: str
) -> None:
    """The first call eats the budget; the second is refused once, in a sentence that its person reads."""
    upstream.reply = lambda asked: wants_the_file(asked, 120_000)
    day = CLAUDES_DAY if program in {"anthropic_loop.py", "ai_sdk.mjs"} else DAY
    key = stand.key(budget=day)
    code, said, complaint = run(place, program, key.secret or "", tmp_path)
    assert (code, said) == (1, "")
    assert "Aegis refused this call of" in complaint
    assert f"of ${day} is left until" in complaint
    assert (len(arrived), len(upstream.requests)) == (2, 1)
    assert charged(stand.ended(key.terms.agent_id)) == upstream.usd

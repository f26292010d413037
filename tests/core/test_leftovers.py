"""What every test is judged by is the documented list of keys; and what is left behind is found."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import certifi
import leftovers
import pytest
import redis
from leftovers import ENDING, PATIENCE, UNENDING, Processes, complaints, keyspace

from aegis_core import Settings, connect_sync
from aegis_core.store import layout

_CHANNELS = {"i"}  # of PUBSUB, and no keys


def documented() -> dict[str, str]:
    """The heads of keys in the table of `layout`, with what bounds them."""
    assert layout.__doc__ is not None
    table = layout.__doc__.split("=\n", 1)[1].rsplit("\n====", 1)[0]
    rows: dict[str, str] = {}
    heads: list[str] = []
    for line in table.splitlines():
        if line.startswith("``"):
            names = re.findall(r"``(\w+)[^`]*``", re.split(r"  +", line, maxsplit=1)[0])
            heads = names
        for head in heads:
            rows[head] = rows.get(head, "") + line
    return rows


def test_every_documented_key_is_judged_by_what_bounds_it() -> None:
    found = documented()
    assert set(found) == UNENDING | ENDING | _CHANNELS
    assert not UNENDING & ENDING
    unsaid = [head for head in ENDING if "expire" not in found[head]]
    assert not unsaid, "they must expire, and the table does not say so"
    ends = {head for head in UNENDING if "expires" in found[head]}
    assert ends == {"r", "wf", "kx"}, "they stay while they are open, and expire then"


@pytest.fixture
def server(settings: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.url) as client:
        yield client


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("nothing", None), ("zz", "the key zz"), ("u:1", "the key u:1"), ("f:a", "the key f:a"),
        ("l:wallet", "locks: "), ("open", "open grants"), ("due", "another deadline"), ("held", "reserves"),
    ],
)  # fmt: skip
def test_what_is_left_on_the_server_is_found(
    settings: Settings, server: redis.Redis, name: str, wrong: str | None
) -> None:
    before = set(keyspace(server)[0])
    with connect_sync(settings=settings) as governor:
        agent = governor.handshake("a")
        grant = agent.request("Work", estimated_cost_usd=1).grant_id or ""
        match name:
            case "open":
                pass
            case "due":
                server.zadd(layout.key(settings.tenant, "d"), {f"r:{grant[3:]}": 7})
            case "held":
                stale = server.get(layout.key(settings.tenant, "a:a"))
                agent.release(grant)
                server.set(layout.key(settings.tenant, "a:a"), stale)
            case "l:wallet":
                agent.release(grant)
                with agent.lock("wallet"):
                    kept = server.dump(layout.key(settings.tenant, name))
                server.restore(layout.key(settings.tenant, name), 60_000, kept)
            case "nothing":
                agent.release(grant)
            case _:
                agent.release(grant)
                server.set(layout.key(settings.tenant, name), "x")
    found = complaints(server, before, set())
    assert (found == []) if wrong is None else any(wrong in each for each in found), found
    assert settings.tenant not in keyspace(server)[0], "its keys are gone"


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes where the kernel shows them")
def test_a_process_that_left_its_starter_is_found(tmp_path: Path) -> None:
    processes = Processes(str(tmp_path))
    starter = (
        "import subprocess\n"
        "quiet = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}\n"
        "print(subprocess.Popen(['sleep', '600'], start_new_session=True, **quiet).pid)"
    )
    done = subprocess.run([sys.executable, "-c", starter], capture_output=True, text=True, check=True)
    number = done.stdout.strip()
    until = time.monotonic() + PATIENCE
    while number not in processes.new():  # the kernel shows its environment a moment after it began
        assert time.monotonic() < until
    os.kill(int(number), signal.SIGKILL)
    assert processes.left() == []


def test_nothing_stays_in_the_folder_for_temporary_files(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert Path(certifi.where()).is_relative_to(tmp_path_factory.getbasetemp()), "which pytest clears up"
    program = (
        "import os; from scratch import scratch; print(scratch('x'), flush=True)\n"
        "if os.fork(): os.wait(); print(os.listdir(os.environ['TMPDIR']))"
    )
    environment = {"PYTHONPATH": str(Path(leftovers.__file__).parent), "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    made, found = done.stdout.splitlines()
    assert [Path(made).name] == ast.literal_eval(found), "what forked off left it there"
    assert list(tmp_path.iterdir()) == []

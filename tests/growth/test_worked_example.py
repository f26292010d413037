"""The worked example of CONTRIBUTING.md, carried out on a copy: three lines give every verdict a new field."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
AFTER = {
    "aegis_core/store/records.py": "    lock: list[Any] | Literal[False]\n",
    "aegis_core/store/lua/lib/outcome.lua": "local R = NEW_R\n",
    "aegis_core/protocol/messages.py": "    routing: Routing | None = None\n",
}
"""Behind which line each of the three goes."""
PROGRAM = """
import asyncio, json
from aegis_core.store.store import open_store
from tests.growth.dumping import restore
from tests.growth.test_growth import DATA
from tests.growth.world import _id, opened, own_server

async def main():
    async with own_server() as store:
        await store.command("FLUSHDB")
        await restore(store, DATA)
        async with opened(store) as (world, _):
            old = await world.port.wait_for(_id("ann", "open"), 0)
            new = [await world.ask("ann", "fresh"), await world.ask("ann", "fresh")]
    print(json.dumps([old.granted, old.trace_id, *(verdict.trace_id for verdict in new)]))

asyncio.run(main())
"""


def test_a_verdict_field_that_the_script_fills_takes_three_lines(tmp_path: Path) -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    block = re.search(r"```text\n(aegis_core/store/records.py.*?)```", page, re.DOTALL)
    assert block
    lines = block[1].splitlines()
    shutil.copytree(ROOT / "aegis_core", tmp_path / "aegis_core", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    changed = {place.partition(",")[0]: line for place, line in zip(lines[::2], lines[1::2], strict=True)}
    assert changed.keys() == AFTER.keys()
    for name, line in changed.items():
        path = tmp_path / name
        text = path.read_text()
        assert text.count(AFTER[name]) == 1
        path.write_text(text.replace(AFTER[name], f"{AFTER[name]}{line}\n"))
    command = [sys.executable, "-c", PROGRAM]
    paths = f"{tmp_path}:{ROOT / 'tests'}"
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    granted, old, new, repeated = json.loads(done.stdout)
    assert (granted, old) == (True, None), "what was stored before has none"
    assert re.fullmatch("[0-9a-f]{16}", new)
    assert repeated == new

"""The worked examples of CONTRIBUTING.md, carried out on a copy of the package and used on a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
MOST_PLACES = 3
ENDS = {
    "aegis_core/policy/rules/__init__.py, the list of RULE_TYPES": '        "agent_blocklist",\n',
    "aegis_core/protocol/windows.py, CALENDAR": '    "month": "m",\n',
    "aegis_core/store/lua/lib/windows.lua, CALENDAR": "  m = of_days(month_of),\n",
    "aegis_core/protocol/locks.py, Preemption": '    "after_grace",\n',
    "aegis_core/store/lua/lib/queues.lua, NOTICES": "  after_grace = function(L) return L[L_GRACE] end,\n",
    "aegis_core/settings.py, a field of Settings": "    operator_secret: SecretStr | None = None\n",
    ".env.example, at the end": "#AEGIS_APPROVAL_WEBHOOK_ALLOW_PRIVATE=false\n",
    "pyproject.toml, an extra": "[project.optional-dependencies]\n",
    "pyproject.toml, the extra `all`": '  "aegis-governor[conditions]",\n',
    "aegis_core/store/records.py, the last field of Record": "    lock: list[Any] | Literal[False]\n",
    "aegis_core/store/lua/lib/outcome.lua, where the record is made": "local R = NEW_R\n",
    "aegis_core/protocol/messages.py, a field of Verdict": "    routing: Routing | None = None\n",
}
"""Behind which line each place of an existing file is."""
_PLACE = re.compile(
    r"^((?:aegis_core|integrations)/[\w./]+|pyproject\.toml|\.env\.example), ([^\n:]+):\n", re.MULTILINE
)


def example(first: str) -> dict[str, str]:
    """What an example puts into which place; `first` is where it begins."""
    block = re.search(rf"^```text\n({re.escape(first)}.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert block, f"CONTRIBUTING.md shows nothing that begins with {first}"
    _, *parts = _PLACE.split(block[1])
    places = dict(
        zip((f"{file}, {where}" for file, where in zip(parts[::3], parts[1::3], strict=True)), parts[2::3], strict=True)
    )
    assert len(places) <= MOST_PLACES
    return places


def carry_out(first: str, into: Path) -> None:
    """Make a copy and change it as the example says; what is changed must please the linter."""
    shutil.copytree(ROOT / "aegis_core", into / "aegis_core", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", ".env.example"):
        shutil.copy(ROOT / name, into)
    (into / "tests").symlink_to(ROOT / "tests")
    places = example(first)
    for place, lines in places.items():
        path = into / place.partition(",")[0]
        if place.endswith(", a new file"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(lines)
            continue
        text, before = path.read_text(), ENDS[place]
        assert text.count(before) == 1, f"{place} is no longer behind {before!r}"
        path.write_text(text.replace(before, before + lines))
    changed = [name for place in places if (name := place.partition(",")[0]).endswith(".py")]
    for check in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *check, "--no-cache", *changed]
        done = subprocess.run(command, cwd=into, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


OPENING = '''
import asyncio, json, re
from contextlib import asynccontextmanager
from aegis_core.client.agent import Governor
from aegis_core.connect import open_governor, open_store
from aegis_core.testing import private_settings, virtual_governor

@asynccontextmanager
async def governed(**values):
    settings = private_settings(**values)
    store = await open_store(settings, throwaway=True)
    try:
        port = await open_governor(store, settings)
        try:
            yield Governor(port), port, settings
        finally:
            await port.aclose()
    finally:
        await store.aclose()

def unexplained():
    """The settings that .env.example lacks, and the variables that it has beyond them."""
    shown = re.findall(r"^#?AEGIS_([A-Z_]+)=", open(".env.example").read(), re.MULTILINE)
    return sorted({name.lower() for name in shown} ^ {*type(private_settings()).model_fields} - {"use_fake_redis"})
'''


def used(copy: Path, program: str, *more_paths: Path) -> list[object]:
    """What a program prints that runs on the copy."""
    paths = os.pathsep.join(map(str, (copy, *more_paths, ROOT / "tests")))
    command = [sys.executable, "-c", program]
    environment = {"PYTHONPATH": paths}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: list[object] = json.loads(done.stdout)
    return found


RULE = """
async def main():
    with open("rules.json", "w") as file:
        json.dump({"schema": 1, "rules": [{"name": "whose", "type": "label_required", "key": "team"}]}, file)
    async with governed(policy_file="rules.json") as (governor, _, _):
        agent = await governor.handshake("a")
        before = await agent.request("Work", estimated_cost_usd=1)
        await governor.label_agent("a", {"team": "red"})
        after = await agent.request("Work", estimated_cost_usd=1)
    print(json.dumps([before.status, before.rule, after.status]))
asyncio.run(main())
"""


def test_a_rule_refuses(tmp_path: Path) -> None:
    carry_out("aegis_core/policy/rules/label_required.py", tmp_path)
    assert used(tmp_path, OPENING + RULE) == ["REJECTED", "whose", "GRANTED"]


WINDOW = """
from datetime import timedelta

async def main():
    async with virtual_governor(private_settings(timezone="Europe/Zurich")) as (governor, clock, _):
        found = []
        state = await governor.set_budget("tenant", governor.tenant, "quarter", 5)
        for when in (clock.now, state.resets_at - timedelta(milliseconds=1), state.resets_at):
            await clock.set(when)
            agent = await governor.handshake("a")
            for cost in (3, 2):
                verdict = await agent.request("Work", estimated_cost_usd=cost)
                found.append(verdict.status)
                if verdict.granted:
                    await agent.settle(verdict.grant_id, cost_usd=cost)
        (turned,) = [each for each in (await governor.budget("a")).budgets if each.window == "quarter"]
    print(json.dumps([found, str(state.resets_at), str(turned.resets_at)]))
asyncio.run(main())
"""


def test_a_budget_of_a_new_window_turns(tmp_path: Path) -> None:
    carry_out("aegis_core/protocol/windows.py", tmp_path)
    granted = ["GRANTED", "GRANTED"]
    found, first, second = used(tmp_path, OPENING + WINDOW)
    assert found == [*granted, "REJECTED", "REJECTED", *granted]
    assert (first, second) == ("2026-03-31 22:00:00+00:00", "2026-06-30 22:00:00+00:00")


LOCK = """
from aegis_core.protocol.errors import LockPreemptedError

async def main():
    async with governed() as (governor, _, _):
        low, high = [await governor.handshake(name, max_priority=7) for name in ("low", "high")]
        async with asyncio.timeout(20):
            try:
                async with low.lock("wallet", priority=1, preemption="at_once", grace_seconds=60):
                    async with high.lock("wallet", priority=7):
                        (seen,) = await governor.locks("wallet")
            except LockPreemptedError:
                print(json.dumps([seen.preemption, [holder.agent_id for holder in seen.holders]]))
asyncio.run(main())
"""


def test_a_lock_of_a_new_preemption_is_taken_from_its_holder(tmp_path: Path) -> None:
    carry_out("aegis_core/protocol/locks.py", tmp_path)
    assert used(tmp_path, OPENING + LOCK) == ["at_once", ["high"]]


CHANNEL = """
from aegis_core.channels.registry import open_channels
from aegis_core.channels.runner import running
from receiver import receiver

async def main():
    with receiver() as place:
        async with governed(ntfy_url=place.url) as (governor, port, settings):
            channels = open_channels(settings, port)
            async with running(channels, port):
                agent = await governor.handshake("mailer")
                verdict = await agent.request("Withdraw the funds to my wallet", estimated_cost_usd=1)
                await asyncio.to_thread(place.until, lambda: place.got)
                await agent.release(verdict.grant_id)
                await asyncio.to_thread(place.until, lambda: len(place.got) > 1)
        texts = [body.decode() for _, body in place.got]
        print(json.dumps([verdict.status, [channel.name for channel in channels], texts, unexplained()]))
asyncio.run(main())
"""


def test_a_channel_announces(tmp_path: Path) -> None:
    carry_out("aegis_core/channels/ntfy/__init__.py", tmp_path)
    status, names, texts, unexplained = used(tmp_path, OPENING + CHANNEL)
    assert (status, names) == ("PENDING", ["ntfy"])
    assert isinstance(texts, list)
    assert "mailer" in texts[0]
    assert "ap_" in texts[1]
    assert unexplained == []


PRICES = """
from aegis_core.protocol.messages import Usage

async def main():
    with open("contract.csv", "w") as file:
        file.write("openai:gpt-4o,30,60\\n")
    with open("prices.json", "w") as file:
        json.dump({"openai:gpt-4o": {"input_usd": 20, "output_usd": 90}}, file)
    async with governed(price_table="contract.csv", prices_file="prices.json") as (governor, port, settings):
        agent = await governor.handshake("a")
        verdict = await agent.request("Work", model="gpt-4o", prompt_bytes=2_000, max_output_tokens=10)
        usage = Usage(model="gpt-4o", input_tokens=1_000, output_tokens=1_000)
        receipt = await agent.settle(verdict.grant_id, usage=usage)
    print(json.dumps([float(receipt.charged_usd), port.arbiter.prices.version, unexplained()]))
asyncio.run(main())
"""


def test_a_new_source_of_prices_counts_where_it_is_dearer(tmp_path: Path) -> None:
    carry_out("aegis_core/metering/price_table.py", tmp_path)
    charged, version, unexplained = used(tmp_path, OPENING + PRICES)
    assert charged == 0.12, "30 dollars of the table for input, and 90 of the file for output, a million tokens"
    assert re.fullmatch(r"genai-prices \S+, file \w{12}, \w{12}", str(version))
    assert unexplained == []


ADAPTER = """
import json
from types import SimpleNamespace as Space
import aegis_core, aegis_openai
from aegis_core.testing import private_settings

sent = []
def create(**asked):
    sent.append(asked)
    return Space(usage=Space(prompt_tokens=1_000, completion_tokens=10))

client = Space(chat=Space(completions=Space(create=create)))
with aegis_core.connect_sync(settings=private_settings(data_dir="data")) as governor:
    agent = governor.handshake("a")
    aegis_openai.govern(client, agent)
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Sum up"}], "max_completion_tokens": 10}
    client.chat.completions.create(**asked)
    spent = agent.budget().budgets[0].spent_usd
    governor.set_budget("agent", "a", "day", spent)
    try:
        client.chat.completions.create(**asked)
    except aegis_core.AegisDenied as error:
        print(json.dumps([float(spent), error.verdict.code, len(sent)]))
"""


def test_an_adapter_governs_a_call(tmp_path: Path) -> None:
    carry_out("integrations/aegis_openai/__init__.py", tmp_path)
    assert used(tmp_path, ADAPTER, tmp_path / "integrations") == [0.0026, "budget_exceeded", 1]
    declared = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert "openai" in declared
    assert "aegis-governor[openai]" in declared["all"]
    assert {f"aegis-governor[{extra}]" for extra in declared} - set(declared["all"]) == {
        f"aegis-governor[{extra}]" for extra in ("all", "dev", "pyautogen")
    }


VERDICT = """
import asyncio, json
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


def test_a_field_of_the_verdict_is_filled(tmp_path: Path) -> None:
    carry_out("aegis_core/store/records.py", tmp_path)
    granted, old, new, repeated = used(tmp_path, VERDICT)
    assert (granted, old) == (True, None), "what was stored before has none"
    assert re.fullmatch("[0-9a-f]{16}", str(new))
    assert repeated == new


@pytest.mark.parametrize(
    "first", sorted({_PLACE.sub(r"\1", found) for found in re.findall(r"^```text\n([^\n]+\n)", PAGE, re.MULTILINE)})
)
def test_every_example_is_carried_out(first: str) -> None:
    assert f'carry_out("{first}"' in Path(__file__).read_text()

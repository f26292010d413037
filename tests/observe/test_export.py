"""Events in files: each once and in order, also when the export is killed, and a clear word where some are gone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from serving import serving
from terminal import run_aegis

from aegis_core import ConfigurationError, ConflictError, Governor, InvalidRequestError, Settings
from aegis_core.client.agent import GovernedAgent
from aegis_core.observe.export import ExportFile, Step, export
from aegis_core.protocol.events import EventQuery
from aegis_core.store import layout

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("grants")]


async def ask(agent: GovernedAgent, times: int) -> None:
    for at in range(times):
        await agent.request(f"Work {at} \u2028 ünïcode", estimated_cost_usd="0.001")


async def exported(governor: Governor, path: Path, **wanted: Any) -> list[Step]:
    with ExportFile(path, governor.tenant) as file:
        found = export(governor.port.find_events, EventQuery(**wanted), file, follow=False)
        return [step async for step in found]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def numbers(path: Path) -> list[int]:
    return [each["number"] for each in lines(path)]


async def last_number(governor: Governor) -> int:
    (newest,) = await governor.port.latest_events(1)
    assert newest.number
    return newest.number


async def test_a_file_goes_on_where_it_ended(governor: Governor, tmp_path: Path) -> None:
    path, agent = tmp_path / "events.jsonl", await governor.handshake("a")
    for _ in range(3):
        await ask(agent, 4)
        await exported(governor, path)
        assert numbers(path) == list(range(1, await last_number(governor) + 1))
    assert await exported(governor, path) == []
    first = lines(path)[2]
    assert (first["kind"], first["agent_id"], first["tenant"]) == ("granted", "a", governor.tenant)
    assert first["facts"]["request"]["intent"] == "Work 0 \u2028 ünïcode"
    for each in (path, tmp_path / "events.jsonl.cursor"):
        assert stat.S_IMODE(each.stat().st_mode) == 0o600


@pytest.mark.parametrize("died", ["in a line", "before the place", "before the first place", "after a move"])
async def test_wherever_it_dies_each_event_is_there_once(died: str, governor: Governor, tmp_path: Path) -> None:
    path, beside, agent = tmp_path / "e.jsonl", tmp_path / "e.jsonl.cursor", await governor.handshake("a")
    await ask(agent, 3)
    await exported(governor, path)
    place, before = beside.read_text(), numbers(path)
    await ask(agent, 3)
    await exported(governor, path)
    if died == "in a line":
        path.write_bytes(path.read_bytes()[:-40])
        beside.write_text(place)
    elif died == "before the place":
        beside.write_text(place)
    elif died == "before the first place":
        beside.write_text("")
    else:
        path.rename(tmp_path / "moved")
        before += list(range(before[-1] + 1, await last_number(governor) + 1))
        assert numbers(tmp_path / "moved") == before
    await ask(agent, 1)
    await exported(governor, path)
    expected = list(range(1, await last_number(governor) + 1))
    assert numbers(path) == (expected[-1:] if died == "after a move" else expected)


async def test_only_what_is_wanted_is_written_and_the_place_goes_on(governor: Governor, tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    one, other = [await governor.handshake(name) for name in ("a", "b")]
    await ask(one, 2)
    await ask(other, 3)
    await exported(governor, path, agent="b", kind="granted")
    assert [(each["agent_id"], each["kind"]) for each in lines(path)] == [("b", "granted")] * 3
    last = await last_number(governor)
    await ask(one, 1)
    await exported(governor, path, agent="b", kind="granted")
    assert len(lines(path)) == 3
    assert json.loads((tmp_path / "e.jsonl.cursor").read_text())["after"].endswith(f".{last + 1}")


async def test_what_retention_took_is_said(governor: Governor, tmp_path: Path) -> None:
    path, agent = tmp_path / "e.jsonl", await governor.handshake("a")
    store: Any = governor.port.reader._stream._store  # type: ignore[attr-defined]
    await ask(agent, 2)
    assert [step.trimmed for step in await exported(governor, path)] == [False]
    kept = numbers(path)
    await store.command("XTRIM", layout.key(governor.tenant, "e"), "MAXLEN", 0)
    await ask(agent, 1)
    assert [step.trimmed for step in await exported(governor, path)] == [False], "only what was exported is gone"
    await ask(agent, 5)
    await store.command("XTRIM", layout.key(governor.tenant, "e"), "MAXLEN", 2)
    assert [step.trimmed for step in await exported(governor, path)] == [True]
    last = await last_number(governor)
    assert numbers(path) == [*kept, kept[-1] + 1, last - 1, last]


async def test_what_is_no_export_of_this_tenant_is_left_alone(governor: Governor, tmp_path: Path) -> None:
    await governor.handshake("a")
    path, beside = tmp_path / "e.jsonl", tmp_path / "e.jsonl.cursor"
    cases = (
        (path, "notes of somebody\n", "is no export of events"),
        (path, "[1]\n", "is no export of events"),
        (path, '{"id": "1-0", "tenant": "other"}\n', "of the tenant other"),
        (beside, "5", "is no export of events"),
        (beside, '{"tenant": "other", "after": "1-0.1"}', "of the tenant other"),
    )
    for where, text, words in cases:
        path.write_text("")
        beside.write_text("")
        where.write_text(text)
        with pytest.raises(ConfigurationError, match=words):
            await exported(governor, path)
        assert where.read_text() == text
    path.write_text("")
    beside.write_text(json.dumps({"tenant": governor.tenant, "after": "99999999999999-0.7"}))
    with pytest.raises(InvalidRequestError, match="lies after the newest event"):
        await exported(governor, path)
    beside.write_text("")
    with ExportFile(path, governor.tenant), pytest.raises(ConflictError, match="Another process exports"):
        await exported(governor, path)
    with pytest.raises(ConfigurationError, match="cannot be written"):
        await exported(governor, tmp_path / "nowhere" / "e.jsonl")


async def test_the_command_writes_to_the_terminal_or_a_file_here_or_over_http(
    settings: Settings, governor: Governor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    await ask(await governor.handshake("a"), 3)
    last, path = await last_number(governor), tmp_path / "e.jsonl"
    with serving(settings) as url:
        for place in (settings.url, url):
            environment = {"AEGIS_URL": place, "AEGIS_TENANT": settings.tenant}

            def run(*more: str, environment: dict[str, str] = environment) -> tuple[int, str, str]:
                return run_aegis(monkeypatch, capsys, "export", "jsonl", *more, environment=environment)

            code, out, _ = await asyncio.to_thread(run)
            assert (code, [json.loads(line)["number"] for line in out.splitlines()]) == (0, list(range(1, last + 1)))
            code, _, err = await asyncio.to_thread(run, "--output", str(path))
            assert (code, f"events written to {path}" in err) == (0, True)
            assert numbers(path) == list(range(1, last + 1))
            code, _, err = await asyncio.to_thread(run, "--since", "yesterday")
            assert (code, "since: must be a time" in err) == (1, True)


@pytest.mark.deep
async def test_a_follower_that_is_killed_again_and_again(
    settings: Settings, governor: Governor, tmp_path: Path
) -> None:
    path, agent = tmp_path / "e.jsonl", await governor.handshake("a")
    program = [sys.executable, "-c", "from aegis_core.cli import main; main()"]
    environment = {**os.environ, "AEGIS_URL": settings.url, "AEGIS_TENANT": settings.tenant}

    def started() -> subprocess.Popen[bytes]:
        command = [*program, "export", "jsonl", "--follow", "--output", str(path)]
        return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    def written(least: int) -> None:
        until = time.monotonic() + 120
        while not path.exists() or path.read_bytes().count(b"\n") < least:
            assert time.monotonic() < until
            time.sleep(0.02)

    for times in range(1, 4):  # fewer than an agent may have open
        process = await asyncio.to_thread(started)
        working = asyncio.create_task(ask(agent, 200))
        await asyncio.to_thread(written, 200 * times - 100)
        process.send_signal(signal.SIGKILL)
        process.wait()
        await working
    await exported(governor, path)
    assert numbers(path) == list(range(1, await last_number(governor) + 1))

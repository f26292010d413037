"""Some keys are gone and the rest is there, as eviction leaves it; and a start on another store than before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import Machine, machine
from terminal import run_aegis

import aegis_core
from aegis_core import Governor, StateLostError
from aegis_core.store.lost_state import see_unregistered
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock, private_settings


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path / "redis") as opened:
        yield opened


async def test_who_registers_while_it_is_asked_for_is_not_taken_to_be_lost(
    virtual: tuple[Governor, FakeClock, Store],
) -> None:
    """A call that found no record looks whether there was one; between the two the agent may shake hands."""
    governor, _, store = virtual
    await governor.handshake("ann")
    await see_unregistered(store, governor.tenant, "ann")
    await see_unregistered(store, governor.tenant, "nobody")


async def test_an_agent_or_budget_whose_record_is_gone_does_not_begin_anew_by_itself(
    server: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    settings = private_settings(url=server.url)
    async with aegis_core.connect(settings=settings) as governor:
        agent, other = await governor.handshake("a"), await governor.handshake("other")
        await governor.set_budget("resource", "api_call", "day", 9)
        verdict = await agent.request("Rent", resource_type="api_call", estimated_cost_usd=4)
        await agent.settle(verdict.grant_id or "", cost_usd=4)
        wish = {"resource_type": "api_call", "estimated_cost_usd": 1}

        saved = server.client.dump("ae:{default}:b:k:api_call")
        server.client.delete("ae:{default}:b:k:api_call")
        with pytest.raises(StateLostError, match="no longer holds the record of budget k:api_call") as caught:
            await agent.request("Rent", **wish)
        assert caught.value.facts["reason"] == "state_lost"
        server.client.restore("ae:{default}:b:k:api_call", 0, saved)
        assert (await other.request("Rent", request_id="mine", **wish)).granted

        server.client.delete("ae:{default}:a:a")
        for asking in (
            lambda: agent.request("Rent", **wish), lambda: governor.handshake("a"), lambda: governor.budget("a"),
        ):  # fmt: skip
            with pytest.raises(StateLostError, match="no longer holds the record of agent a, which it held"):
                await asking()
        assert (await other.request("Rent", request_id="mine", **wish)).granted, "others go on"
        assert (await governor.handshake("new")).session.agent_id == "new"
        names = server.client.zrange("ae:{default}:ag", 0, -1, withscores=True)
        server.client.delete("ae:{default}:ag")
        with pytest.raises(StateLostError):
            await governor.handshake("newer")
        server.client.zadd("ae:{default}:ag", dict(names))
    monkeypatch.chdir(tmp_path)

    async def ran(*words: str) -> tuple[int, str, str]:
        return await asyncio.to_thread(run_aegis, monkeypatch, capsys, *words, environment=place)

    place = {"AEGIS_URL": server.url, "AEGIS_DATA_DIR": tmp_path}
    code, _, err = await ran("restore")
    assert (code, "no longer holds the record of 1 agents or budgets" in err) == (1, True)
    code, out, _ = await ran("restore", "--accept-loss")
    assert (code, "begins anew, with nothing spent" in out) == (0, True)
    async with aegis_core.connect(settings=settings) as governor:
        assert (await governor.handshake("a")).session.agent_id == "a"
        (event,) = [event for event in await governor.latest_events(100) if event.kind == "loss_accepted"]
        assert {**event.facts, "by": 0} == {"agents_lost": 1, "budgets_lost": 0, "whole": False, "by": 0}


async def test_who_starts_knows_from_the_file_what_was_there(
    server: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "kept" / "state.json"
    settings = private_settings(url=server.url, state_file=file)
    async with aegis_core.connect(settings=settings) as governor:
        await governor.handshake("a")
    async with aegis_core.connect(settings=settings) as governor:
        await governor.handshake("a")
    server.client.flushall()
    for _ in range(2):  # the second finds the name that the first gave to the empty database
        with pytest.raises(StateLostError, match="it was emptied, or another volume is mounted"):
            async with aegis_core.connect(settings=settings):
                pytest.fail("connected")
    assert not server.client.exists("ae:{default}:t")
    async with aegis_core.connect(settings=settings, tenant="fresh") as governor:
        await governor.handshake("a")
    monkeypatch.chdir(tmp_path)

    async def ran(*words: str) -> tuple[int, str, str]:
        return await asyncio.to_thread(run_aegis, monkeypatch, capsys, *words, environment=place)

    place = {"AEGIS_URL": server.url, "AEGIS_DATA_DIR": tmp_path, "AEGIS_STATE_FILE": file}
    assert (await ran("restore"))[0] == 1
    assert (await ran("restore", "--accept-loss"))[0] == 0
    async with aegis_core.connect(settings=settings) as governor:
        (event,) = [event for event in await governor.latest_events(100) if event.kind == "loss_accepted"]
        assert event.facts["whole"] is True
    file.write_text("{")
    code, _, err = await ran("budget", "show")
    assert (code, f"AEGIS_STATE_FILE, {file}:" in err) == (1, True)

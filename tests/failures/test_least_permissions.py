"""The Redis user that docs/operations.md names may do all that Aegis does; what one lacks is said in one sentence."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from machines import Machine, machine, until
from plain import ALLOWED

import aegis_core
from aegis_core import Governor, StoreError
from aegis_core.cli.doctor import examine
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.testing import private_settings

ROOT = Path(__file__).parents[2]
IN_LUA = re.compile(r"call\('([A-Z]+)(?:', '([A-Z]+)')?")
IN_PYTHON = re.compile(r"command\(\s*\"([A-Z]+)(?: ([A-Z]+))?\"")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A server whose default user the tests hold, and Aegis has one of its own."""
    with machine(tmp_path_factory.mktemp("guarded")) as server:
        yield server


@asynccontextmanager
async def as_aegis(guarded: Machine, tenant: str) -> AsyncIterator[Governor]:
    url = f"redis://aegis:PASSWORD@127.0.0.1:{guarded.port}/1"
    async with aegis_core.connect(settings=private_settings(url=url, tenant=tenant)) as governor:
        yield governor


def allow(guarded: Machine, *rules: str) -> None:
    guarded.client.execute_command("ACL", "SETUSER", "aegis", "reset", *rules)


async def test_the_whole_path_runs_under_the_documented_user(guarded: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(guarded, *ALLOWED)
    async with as_aegis(guarded, "whole") as governor:
        agent = await governor.handshake("a")
        async with agent.permit("Summarise", estimated_cost_usd="0.10") as grant:
            grant.settle(cost_usd="0.05")
        await asked_and_approved(governor)
        await handed_over(governor)
        await as_operator(governor)
        kinds = {event.kind for event in await governor.events()}
        assert {"granted", "settled", "approved", "key_created", "refunded"} <= kinds
    monkeypatch.setenv("AEGIS_URL", f"redis://aegis:PASSWORD@127.0.0.1:{guarded.port}/1")
    monkeypatch.setenv("AEGIS_TENANT", "whole")
    found = await examine()
    assert [each.text for each in found if each.level == "problem"] == []


async def asked_and_approved(governor: Governor) -> None:
    agent = await governor.handshake("asks")
    waiting = asyncio.create_task(agent.request("Rent a machine", estimated_cost_usd=7, wait=60))
    while not (page := await governor.approvals.list()):  # noqa: ASYNC110 - it is asked of the server
        await asyncio.sleep(0.02)
    await governor.approvals.decide(page[0].approval_id, "approve", by="ada")
    assert (await waiting).granted


async def handed_over(governor: Governor) -> None:
    first, second = await governor.handshake("one"), await governor.handshake("two")
    async with first.lock("till", wait=5):
        waiting = asyncio.create_task(taken(second))
        while not any(each.queued for each in await governor.locks()):  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.02)
    assert await waiting


async def taken(agent: aegis_core.GovernedAgent) -> bool:
    async with agent.lock("till", wait=60):
        return True


async def as_operator(governor: Governor) -> None:
    port: Any = governor.port
    assert isinstance(port, ResourceGovernor)
    operator = port.operator
    await governor.set_budget("agent", "a", "day", 20)
    verdict = await (await governor.handshake("a")).request("Summarise", estimated_cost_usd="0.20")
    await operator.block("two", author="ada")
    await operator.unblock("two", author="ada")
    key = await operator.create_key("agent", name="c", author="ada")
    await operator.revoke_key(key.key_id, author="ada")
    agent = await governor.handshake("a")
    await agent.settle(verdict.grant_id or "", cost_usd="0.20")
    await operator.refund(verdict.grant_id or "", "0.10", author="ada")
    await operator.forget("two", author="ada")
    await governor.agents()
    await governor.latest_events()


def test_every_command_of_the_sources_is_allowed_and_none_that_is_dangerous(guarded: Machine) -> None:
    allow(guarded, *ALLOWED)
    lua = "".join(file.read_text() for file in (ROOT / "aegis_core" / "store" / "lua").rglob("*.lua"))
    python = "".join(file.read_text() for file in (ROOT / "aegis_core").rglob("*.py"))
    found: list[tuple[str, str]] = IN_LUA.findall(lua) + IN_PYTHON.findall(python)
    used = {tuple(part for part in parts if part) for parts in found}
    assert len(used) > 40
    for command in used:
        assert refusal(guarded, command) == "", f"{command} is used and not allowed"
    for command in [
        ("FLUSHALL",),
        ("CONFIG", "SET", "x", "y"),
        ("FUNCTION", "FLUSH"),
        ("KEYS",),
        ("EVAL",),
        ("ACL", "LIST"),
        ("DEBUG",),
        ("SHUTDOWN",),
    ]:
        assert "no permissions to run" in refusal(guarded, command), command
    assert "no permissions to access" in said(guarded, "GET", "other")
    assert "no permissions to access" in said(guarded, "PUBLISH", "other", "x")


def refusal(guarded: Machine, command: tuple[str, ...]) -> str:
    """What the server would say to the user who gave that command with as many arguments as it needs."""
    facts = list(guarded.client.execute_command("COMMAND", "INFO", command[0]).values())
    arity = facts[0]["arity"] if facts else 1
    answer = said(guarded, *command, *["ae:x"] * max(0, abs(arity) - len(command)))
    return answer if "no permission" in answer else ""


def said(guarded: Machine, *parts: str) -> str:
    try:
        answer: Any = guarded.client.execute_command("ACL", "DRYRUN", "aegis", *parts)
    except redis.ResponseError as error:
        return str(error)
    return "" if answer in {b"OK", True} else answer.decode()


@pytest.mark.parametrize("lacking", ["~ae:*", "+@read", "+@write", "+info", "+time", "+fcall", "+function|load"])
async def test_what_is_lacking_is_one_sentence(guarded: Machine, lacking: str) -> None:
    assert lacking in ALLOWED
    guarded.client.flushall()
    guarded.client.function_flush()
    allow(guarded, *[rule for rule in ALLOWED if rule != lacking])
    with pytest.raises(StoreError) as caught:
        async with as_aegis(guarded, "lacking"):
            pytest.fail("connected")
    assert caught.value.facts["reason"] == "auth"
    assert re.fullmatch(
        r"The Redis user in AEGIS_URL lacks a permission that [\w ]+ needs \(.*[Nn]o permissions to .*\); no decision "
        r"was made. Grant it those that docs/operations.md lists: ACL SETUSER.",
        caught.value.message,
    )


async def test_a_permission_taken_away_while_a_script_runs_is_the_same_sentence(guarded: Machine) -> None:
    allow(guarded, *ALLOWED)
    async with as_aegis(guarded, "later") as governor:
        agent = await governor.handshake("a")
        allow(guarded, *ALLOWED, "-xadd")
        with pytest.raises(StoreError, match="lacks a permission that authorize needs") as caught:
            await agent.request("Summarise", estimated_cost_usd="0.10")
        assert caught.value.facts["reason"] == "auth"


async def test_who_may_not_listen_is_told_once(guarded: Machine, caplog: pytest.LogCaptureFixture) -> None:
    allow(guarded, *[rule for rule in ALLOWED if rule != "+subscribe"])
    with caplog.at_level(logging.WARNING, "aegis.store"):
        async with as_aegis(guarded, "deaf") as governor:
            one, two = await governor.handshake("one"), await governor.handshake("two")
            async with one.lock("till", wait=5):
                waiting = asyncio.create_task(two.request("x", estimated_cost_usd=7, wait=0.5))
                await asyncio.to_thread(until, lambda: "refuses to be listened to" in caplog.text)
                await waiting
    assert caplog.text.count("refuses to be listened to") == 1

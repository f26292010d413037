"""Whole experiments: runners that are killed change no evidence, two count no pair twice, a real one is certified."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aegis_langchain import GovernedChatModel
from langchain_openai import ChatOpenAI
from loopback import providers
from loopback.answering import Asked, Said

import aegis_core
from aegis_core import Governor, Settings
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.proxy_keys import KeyTerms
from aegis_core.kaizen.days import DayCloser
from aegis_core.kaizen.experiments import shadow
from aegis_core.kaizen.experiments.betting import Evidence
from aegis_core.kaizen.experiments.judges import Answer, Task, Verifier
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.experiments import ExperimentStart
from aegis_core.protocol.profiles import Profile
from aegis_core.proxy.app import Proxy
from aegis_core.proxy.exchange import Exchange, Message
from aegis_core.proxy.upstreams import open_upstreams
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock
from tests.kaizen import pairing

PROGRAM = [sys.executable, pairing.__file__]
COUNT = 40
WISH = ExperimentStart(task_type="draft", present="gpt-4o", candidate="gpt-4o-mini", share=1)
PLACES = [
    ("opening", 7), ("scoring", 11),
    *(pytest.param(place, times, marks=pytest.mark.deep) for place, times in (
        ("opening", 1), ("opened", 3), ("asked", 5), ("asked", 40), ("scored", 1), ("scored", 39), ("scoring", 40),
    )),
]  # fmt: skip


async def begin(settings: Settings) -> str:
    async with aegis_core.connect(settings=settings) as governor:
        assert isinstance(governor.port, ResourceGovernor)
        return (await governor.port.experiments.start(WISH, author="ada")).experiment_id


async def evidence(settings: Settings, name: str) -> tuple[int, int, float]:
    async with aegis_core.connect(settings=settings) as governor:
        assert isinstance(governor.port, ResourceGovernor)
        found = await governor.port.experiments.one(name)
        return found.pairs, found.open_pairs, found.log_e


def expected() -> float:
    found = Evidence()
    for at in range(COUNT):
        found.add(*pairing.truth(at))
    return found.log_e


@pytest.mark.parametrize(("place", "times"), PLACES)
def test_a_runner_that_is_killed_changes_no_evidence(settings: Settings, place: str, times: int) -> None:
    name = asyncio.run(begin(settings))
    command = [*PROGRAM, settings.url, settings.tenant, name, str(COUNT)]
    killed = subprocess.run([*command, place, str(times)], check=False, timeout=100, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    for _ in range(2):  # and once more, when all is done
        ended = subprocess.run([*command, "end", "1"], check=False, timeout=100, capture_output=True)
        assert ended.returncode == 0, ended.stderr.decode()
        assert asyncio.run(evidence(settings, name)) == (COUNT, 0, pytest.approx(expected(), abs=1e-9))


def test_two_runners_count_no_pair_twice(settings: Settings) -> None:
    name = asyncio.run(begin(settings))
    command = [*PROGRAM, settings.url, settings.tenant, name, str(COUNT), "end", "1"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    for each in both:
        _, said = each.communicate(timeout=100)
        assert each.returncode == 0, said.decode()
    pairs, open_, log_e = asyncio.run(evidence(settings, name))
    assert (pairs, open_) == (COUNT, 0)
    assert log_e == pytest.approx(expected(), abs=1e-6), "in whatever order"


PRESENT, CHEAP = "gpt-4", "gpt-4.1-nano"
REAL = ExperimentStart(task_type="sum", present=PRESENT, candidate=CHEAP, judge="verifier", share=1)


def right(task: Task, answer: Answer) -> bool:
    prompt: Any = task.prompt
    return prompt[-1]["content"].split()[-1] in answer.text.split()


def reply(asked: Asked) -> Said:
    """Both are right in 85 %; in 5 % only the candidate is."""
    number = asked.text.split()[-1]
    draw = random.Random(number).random()
    wrong = draw >= 0.85 if asked.model == PRESENT else draw < 0.05 or draw >= 0.90
    return Said("No idea" if wrong else f"It is {number}", sent=10, made=20)


class ThroughProxy:
    """A client of the proxy, which decides on the test's own clock."""

    def __init__(self, proxy: Proxy, secret: str) -> None:
        self._proxy, self._secret = proxy, secret

    async def ask(self, words: str) -> int:
        body = json.dumps(
            {"model": PRESENT, "messages": [{"role": "user", "content": words}], "max_tokens": 64}
        ).encode()
        headers = {"authorization": f"Bearer {self._secret}", "x-aegis-task-type": "sum"}
        said, sent = list[Message](), [{"type": "http.request", "body": body}]

        async def receive() -> Message:
            if sent:
                return sent.pop()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            said.append(dict(message))

        scope = {
            "method": "POST", "path": "/v1/chat/completions", "query_string": b"", "client": ("127.0.0.1", 1),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }  # fmt: skip
        await self._proxy.handle(Exchange(scope, receive, send))
        return int(said[0]["status"])


async def rich(governor: Governor) -> None:
    """What makes 2 % more than the owner's cap, and rules that ask nobody."""
    port = governor.port
    assert isinstance(port, ResourceGovernor)
    await port.publish_policy(load_policy('{"schema": 1, "rules": []}', "test"), author="test")
    await governor.set_budget("tenant", governor.tenant, "day", "100000")
    for name in ("rich", "ann", "bob"):
        await port.operator.set_profile(Profile(match=name, budgets={"day": Decimal(10_000)}), author="test")


async def spend(governor: Governor) -> None:
    agent = await governor.handshake("rich")
    granted = await agent.request("Work", estimated_cost_usd=60)
    await agent.settle(str(granted.grant_id), cost_usd=60)


@pytest.mark.deep
@pytest.mark.parametrize("door", ["proxy", "langchain"])
async def test_a_real_run_is_certified(
    virtual: tuple[Governor, FakeClock, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    """Two models behind loopback providers, 64 tasks at a time, at most a dollar a day for the shadow."""
    governor, clock, _ = virtual
    port = governor.port
    assert isinstance(port, ResourceGovernor)
    monkeypatch.setattr(shadow, "REFRESH_SECONDS", 0.0)
    monkeypatch.setattr(shadow, "LIMIT_SECONDS", 0.0)
    monkeypatch.setattr(shadow, "MOST_AT_ONCE", 128)
    await rich(governor)
    await spend(governor)
    name = (await port.experiments.start(REAL, author="ada")).experiment_id
    with providers(reply) as at:
        keys = tmp_path / "keys.json"
        keys.write_text(json.dumps({"openai": "sk-none"}))
        keys.chmod(0o600)
        upstreams = open_upstreams({"openai": at.root}, keys)
        proxy = Proxy(port, upstreams, {}, 1 << 20, Verifier(right))
        key = await port.operator.proxy_keys.create(KeyTerms(agent_id="bob"), author="test")
        client = ThroughProxy(proxy, key.secret or "")
        options: dict[str, Any] = {"base_url": at.openai, "api_key": "none", "max_retries": 0, "max_tokens": 64}
        model = GovernedChatModel(
            aegis=await governor.handshake("ann"), models={PRESENT: ChatOpenAI(model=PRESENT, **options)},
            task_type="sum", shadow_models={CHEAP: ChatOpenAI(model=CHEAP, **options)}, judge=Verifier(right),
        )  # fmt: skip
        asked = 0

        async def work(number: int) -> None:
            if door == "proxy":
                assert await client.ask(f"Say {number}") == 200
            else:
                await model.ainvoke(f"Say {number}")

        closer = DayCloser(port.kaizen)
        while (found := await port.experiments.one(name)).state == "running" and asked < 3_000:
            for _ in range(10):
                await asyncio.gather(*(work(number) for number in range(asked, asked + 64)))
                asked += 64
                await proxy.shadow.drain() if proxy.shadow else None
                await model._shadow.shadow.drain()  # type: ignore[union-attr]
            own = (await governor.budget("kaizen")).budgets
            assert all(each.spent_usd + each.reserved_usd <= 1 for each in own if each.scope == "agent")
            await clock.advance(hours=24)
            await closer.look()
            await spend(governor)
        for upstream in upstreams.values():
            upstream.http.close()
    assert (found.state, found.missing) == ("certified", 0), found
    assert found.whole_days >= 2
    assert asked <= 3_000

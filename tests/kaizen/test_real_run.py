"""A whole experiment on loopback providers, by both doors: certified within its money, and no user notices it."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aegis_langchain import GovernedChatModel
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from loopback import Providers, providers
from loopback.answering import Asked, Said

from aegis_core import Governor, Settings
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.proxy_keys import KeyTerms
from aegis_core.kaizen.days import DayCloser
from aegis_core.kaizen.experiments.judges import Answer, Task, Verifier
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.errors import NotFoundError
from aegis_core.protocol.experiments import Experiment, ExperimentStart
from aegis_core.protocol.profiles import Profile
from aegis_core.proxy.app import Proxy
from aegis_core.proxy.exchange import Exchange, Message
from aegis_core.proxy.upstreams import open_upstreams
from aegis_core.testing import virtual_governor

PRESENT, CHEAP = "gpt-4", "gpt-4-turbo"
"""Of which the cheaper one is dear enough that a day's dollar ends before a day's tasks."""
REAL = ExperimentStart(task_type="sum", present=PRESENT, candidate=CHEAP, judge="verifier", share=1)
AT_ONCE, CAP = 64, 64
RAN = list[int]()


@tool
def pay(amount: int) -> str:
    """Pay somebody."""
    RAN.append(amount)
    return "paid"


SPELT = {"type": "function", "function": {"name": "pay", "description": "Pay somebody.", "parameters": {
    "type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}}}  # fmt: skip


class Truth(NamedTuple):
    """How often the present model is right, and in what share only the candidate is; it misses as many alone."""

    present: float
    only_candidate: float
    only_present: float


def right(task: Task, answer: Answer) -> bool:
    prompt: Any = task.prompt
    return prompt[-1]["content"].split()[-1] in answer.text.split()


def replies(truth: Truth) -> Callable[[Asked], Said]:
    """By the number of the task, so that both models know which it is; now and then a tool is wanted, too."""

    def reply(asked: Asked) -> Said:
        number = asked.text.split()[-1]
        draw = random.Random(f"say {number}").random()
        present = draw < truth.present
        candidate = truth.only_present <= draw < truth.present + truth.only_candidate
        good = present if asked.model == PRESENT else candidate
        calls = (("pay", {"amount": 1}),) if asked.body.get("tools") and int(number) % 50 == 7 else ()
        return Said(f"It is {number}" if good else "No idea", calls=calls, sent=20, made=40)

    return reply


@dataclass
class Run:
    """What came of it: the experiment, every answer to a user, and what was decided for users."""

    found: Experiment | None = None
    asked: int = 0
    told: list[str] = field(default_factory=list[str])
    decided: Counter[str] = field(default_factory=Counter[str])
    most_held: Decimal = Decimal(0)


class ThroughProxy:
    """A client of the proxy, which decides on the test's own clock."""

    def __init__(self, proxy: Proxy, secret: str) -> None:
        self.proxy, self._secret = proxy, secret

    async def ask(self, words: str) -> str:
        said = {"model": PRESENT, "messages": [{"role": "user", "content": words}], "max_tokens": CAP, "tools": [SPELT]}
        headers = {"authorization": f"Bearer {self._secret}", "x-aegis-task-type": "sum"}
        answer, sent = list[Message](), [{"type": "http.request", "body": json.dumps(said).encode()}]

        async def receive() -> Message:
            if sent:
                return sent.pop()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            answer.append(dict(message))

        scope = {
            "method": "POST", "path": "/v1/chat/completions", "query_string": b"", "client": ("127.0.0.1", 1),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }  # fmt: skip
        await self.proxy.handle(Exchange(scope, receive, send))
        assert answer[0]["status"] == 200, answer
        return str(json.loads(b"".join(each.get("body", b"") for each in answer))["choices"][0]["message"]["content"])

    async def drain(self) -> None:
        assert self.proxy.shadow is not None
        await self.proxy.shadow.drain()


class ThroughLangChain:
    """A program with a governed model."""

    def __init__(self, model: GovernedChatModel) -> None:
        self._model, self._bound = model, model.bind_tools([pay])

    async def ask(self, words: str) -> str:
        return str((await self._bound.ainvoke(words)).text)

    async def drain(self) -> None:
        assert self._model._shadow is not None
        await self._model._shadow.shadow.drain()


Client = ThroughProxy | ThroughLangChain
Open = Callable[[], Awaitable[Client]]


def doors(governor: Governor, at: Providers, folder: Path) -> dict[str, Open]:
    """What opens a client of the day: sessions end with the day."""
    port = resources(governor)

    async def proxy() -> ThroughProxy:
        keys = folder / "keys.json"
        keys.write_text(json.dumps({"openai": "sk-none"}))
        keys.chmod(0o600)
        opened = Proxy(port, open_upstreams({"openai": at.root}, keys), {}, 1 << 20, Verifier(right))
        key = await port.operator.proxy_keys.create(KeyTerms(agent_id="user"), author="test")
        return ThroughProxy(opened, key.secret or "")

    async def langchain() -> ThroughLangChain:
        options: dict[str, Any] = {"base_url": at.openai, "api_key": "none", "max_retries": 0, "max_tokens": CAP}
        model = GovernedChatModel(
            aegis=await governor.handshake("user"), models={PRESENT: ChatOpenAI(model=PRESENT, **options)},
            task_type="sum", shadow_models={CHEAP: ChatOpenAI(model=CHEAP, **options)}, judge=Verifier(right),
        )  # fmt: skip
        return ThroughLangChain(model)

    return {"proxy": proxy, "langchain": langchain}


def resources(governor: Governor) -> ResourceGovernor:
    assert isinstance(governor.port, ResourceGovernor)
    return governor.port


async def rich(governor: Governor) -> None:
    """What makes 2 % more than the owner's dollar, and rules that ask nobody."""
    port = resources(governor)
    await port.publish_policy(load_policy('{"schema": 1, "rules": []}', "test"), author="test")
    await governor.set_budget("tenant", governor.tenant, "day", "100000")
    for name in ("rich", "user"):
        await port.operator.set_profile(Profile(match=name, budgets={"day": Decimal(10_000)}), author="test")


async def spend(governor: Governor) -> None:
    agent = await governor.handshake("rich")
    granted = await agent.request("Work", estimated_cost_usd=60)
    await agent.settle(str(granted.grant_id), cost_usd=60)


async def run(settings: Settings, folder: Path, door: str, truth: Truth, a_day: int, *, shadow: bool) -> Run:
    """At most three days of so many tasks, as many at once as there may be."""
    made = Run()
    async with virtual_governor(settings, start=datetime(2026, 3, 27, 12, tzinfo=UTC)) as (governor, clock, _):
        port = resources(governor)
        await rich(governor)
        name = (await port.experiments.start(REAL, author="ada")).experiment_id if shadow else ""
        with providers(replies(truth)) as at:
            for _ in range(3):
                await spend(governor)
                client = await doors(governor, at, folder)[door]()
                await a_day_of(made, governor, client, a_day)
                await clock.advance(hours=24)
                await DayCloser(port.kaizen).look()
        made.found = await port.experiments.one(name) if shadow else None
        for kind in ("granted", "refused", "settled", "overrun", "released"):
            for event in await every(governor, kind):
                facts = event.facts
                made.decided[f"{kind} {facts.get('amount_usd')} {facts.get('charged_usd')} {facts.get('model')}"] += 1
    return made


async def every(governor: Governor, kind: str) -> list[Any]:
    page = await governor.find_events(kind=kind, agent="user", limit=500)
    found = list(page.events)
    while page.more:
        page = await governor.find_events(kind=kind, agent="user", limit=500, after=page.next)
        found += page.events
    return found


async def a_day_of(made: Run, governor: Governor, client: Client, a_day: int) -> None:
    for _ in range(0, a_day, AT_ONCE):
        numbers = range(made.asked, min(made.asked + AT_ONCE, (made.asked // a_day + 1) * a_day))
        made.told += await asyncio.gather(*(client.ask(f"Say {number}") for number in numbers))
        made.asked += len(numbers)
        made.most_held = max(made.most_held, await held_for_trials(governor))
        await client.drain()


async def held_for_trials(governor: Governor) -> Decimal:
    """Of today's limit of Aegis's own agent: what is spent and what is reserved."""
    try:
        budgets = (await governor.budget("kaizen")).budgets
    except NotFoundError:  # nothing was tried yet
        return Decimal(0)
    return sum((each.spent_usd + each.reserved_usd for each in budgets if each.scope == "agent"), Decimal(0))


async def certified(settings: Settings, folder: Path, door: str, truth: Truth, a_day: int) -> Run:
    RAN.clear()
    other = settings.model_copy(update={"tenant": f"{settings.tenant}-off"})
    on = await run(settings, folder, door, truth, a_day, shadow=True)
    off = await run(other, folder, door, truth, a_day, shadow=False)
    assert on.found is not None
    assert (on.found.state, on.found.missing, on.found.whole_days) == ("certified", 0, 2), on.found
    assert on.told == off.told
    assert on.decided == off.decided
    assert sum(on.decided.values()) >= 2 * on.asked
    assert on.found.pairs + on.found.skipped == on.asked <= 3_000
    assert RAN == [], "a tool that is proposed is not run"
    return on


@pytest.mark.parametrize("door", ["proxy", "langchain"])
async def test_a_short_run_is_certified_and_no_user_notices(settings: Settings, tmp_path: Path, door: str) -> None:
    on = await certified(settings.model_copy(update={"timezone": "UTC"}), tmp_path, door, Truth(0.5, 0.5, 0), 16)
    assert on.most_held <= 1


@pytest.mark.deep
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("door", ["proxy", "langchain"])
async def test_a_real_run_is_certified_within_a_dollar_a_day(settings: Settings, tmp_path: Path, door: str) -> None:
    """Both models are right in 85 %, in 5 % only the candidate is; a dollar does not pay for all tasks of a day."""
    settings = settings.model_copy(update={"timezone": "UTC"})
    on = await certified(settings, tmp_path, door, Truth(0.85, 0.05, 0.05), 1_000)
    assert on.found is not None
    assert on.found.skipped > 0
    assert Decimal("0.8") < on.most_held <= 1

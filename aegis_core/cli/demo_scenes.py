"""What the agents of the demonstration do. They know the governor's address, and nothing else of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from decimal import Decimal
from statistics import median
from typing import TypeVar, Unpack

import httpx
from pydantic import TypeAdapter

from aegis_core.arbiter.book import price_book
from aegis_core.arbiter.catalog import load_catalog
from aegis_core.cli.demo_kaizen import mend
from aegis_core.cli.demo_page import Page, money
from aegis_core.client.agent import GovernedAgent, Governor
from aegis_core.connect import connect
from aegis_core.protocol.events import Event
from aegis_core.protocol.keywords import RequestFields
from aegis_core.protocol.messages import Framework, Receipt, SessionOpened, Usage, Verdict
from aegis_core.protocol.money import to_usd
from aegis_core.settings import Settings

_ALWAYS = ("claude-opus-4-5", "gpt-4o", "gpt-4o-mini")
"""Models that all calls might have gone to instead: a strong one, a usual one and a cheap one."""
_SIZES = ((300, 80), (900, 200), (2_500, 500), (8_000, 1_200))
"""Tokens in and out of the calls of the grid."""
_HERD, _ASKED, _LIMIT = 50, Decimal("0.50"), Decimal(10)
_T = TypeVar("_T")
_session, _verdict, _receipt = TypeAdapter(SessionOpened), TypeAdapter(Verdict), TypeAdapter(Receipt)


class Show:
    """The state of the demonstration: the connection, the page, and the calls that were routed."""

    def __init__(self, governor: Governor, page: Page, settings: Settings) -> None:
        self.governor, self.page, self.settings = governor, page, settings
        self.prices = price_book(load_catalog())
        self.agents: dict[str, GovernedAgent] = {}
        self.routed: list[tuple[Receipt, Usage]] = []
        self.times: list[float] = []

    async def timed(self, answer: Awaitable[_T]) -> _T:
        """Wait for an answer, and note how long that took."""
        started = time.perf_counter()
        result = await answer
        self.times.append(time.perf_counter() - started)
        return result

    async def ask(self, name: str, intent: str, **fields: Unpack[RequestFields]) -> Verdict:
        """One question and its line on the page."""
        verdict = await self.timed(self.agents[name].request(intent, **fields))
        await self.page.verdict(intent, verdict)
        return verdict

    async def work(self, name: str, intent: str, tokens: tuple[int, int], **fields: Unpack[RequestFields]) -> None:
        """Ask, use the model that was recommended, and settle with the tokens it took."""
        verdict = await self.ask(name, intent, **fields)
        if verdict.grant_id and verdict.recommended_model:
            usage = Usage(model=verdict.recommended_model, input_tokens=tokens[0], output_tokens=tokens[1])
            receipt = await self.agents[name].settle(verdict.grant_id, usage=usage)
            self.routed.append((receipt, usage))
            await self.page.receipt(receipt, f"used {tokens[0]:,} + {tokens[1]:,} tokens of {usage.model}")


async def play(settings: Settings, page: Page) -> bool:
    """The whole demonstration.

    Args:
        settings: with the address of a governor that runs for this alone.
        page: where it is shown.

    Returns:
        True when the governor kept its word: not a cent above a budget, one event a decision, a change kept.
    """
    page.say("Aegis: before an agent spends, it asks.", "bold")
    page.say(f"The governor answers at {settings.url}, for this demonstration only.")
    page.say("No model is called: the agents report the tokens that stand in their part.", "dim")
    async with (
        connect(settings=settings) as governor,
        httpx.AsyncClient(base_url=settings.url, trust_env=False) as http,
    ):
        show = Show(governor, page, settings)
        await _trust(settings, http)
        await _handshakes(show)
        forgotten = await _routing(show)
        await _grid(show)
        await _policy(show)
        await _plain_http(show, http)
        exact = await _herd(show)
        await _costs(show, forgotten)
        kept = await mend(page)
        return await _summary(show) and exact and kept


async def _trust(settings: Settings, http: httpx.AsyncClient) -> None:
    """As operators do for programs that report what a provider billed: else a settlement over HTTP lowers no charge."""
    assert settings.operator_secret is not None
    secret = settings.operator_secret.get_secret_value()
    profiles = {"profiles": [{"match": "*", "settlement": "trusted"}]}
    answer = await http.put("/api/v1/profiles", json=profiles, headers={"Authorization": f"Bearer {secret}"})
    answer.raise_for_status()


async def _handshakes(show: Show) -> None:
    await show.page.scene(
        "1  Agents shake hands",
        f"Whatever their framework, they speak one protocol. Each has {money(show.settings.agent_day_usd)} a day.",
    )
    show.page.say("Their operator trusts them to report usage, so that what they do not use is theirs again.", "dim")
    cast: tuple[tuple[str, Framework, int, str | None], ...] = (
        ("crew-researcher-01", "crewai", 7, "2.50"),
        ("graph-planner", "langgraph", 5, None),
        ("autogen-coder", "autogen", 5, None),
        ("support-chain", "langchain", 5, None),
        ("trader-bot", "custom", 7, None),
        ("swarm", "crewai", 5, None),
    )
    for name, framework, priority, budget in cast:
        agent = show.agents[name] = await show.governor.handshake(
            name, framework=framework, max_priority=priority, session_budget_usd=budget
        )
        await show.page.opened(agent.session)


async def _routing(show: Show) -> Verdict:
    await show.page.scene(
        "2  Granted, and routed", "The logic density of a task, 1 to 10, decides which class of model it needs."
    )
    work = show.work
    await work(
        "crew-researcher-01", "Summarise Sui governance proposals", (9_200, 640), estimated_cost_usd="0.035",
        logic_density=3,
    )  # fmt: skip
    await work(
        "support-chain", "Answer a customer's question on billing", (3_100, 420), prompt_bytes=12_800,
        max_output_tokens=800, logic_density=4,
    )  # fmt: skip
    await work(
        "graph-planner", "Plan the migration of the data warehouse", (14_500, 2_300), prompt_bytes=60_000,
        max_output_tokens=4_000, logic_density=7,
    )  # fmt: skip
    await work(
        "autogen-coder", "Refactor the settlement module", (22_000, 5_800), prompt_bytes=90_000,
        max_output_tokens=8_000, logic_density=9,
    )  # fmt: skip
    return await show.ask("graph-planner", "Draft a report, and then forget to settle it", estimated_cost_usd="0.20")


async def _grid(show: Show) -> None:
    """Every logic density with every size once, so that nobody chose the mix."""
    page, agent = show.page, show.agents["support-chain"]
    await page.scene(
        "3  A mix of calls",
        f"Every logic density from 1 to 10 with {len(_SIZES)} sizes of prompt: a grid, and nobody's traffic.",
    )
    charged: dict[str, list[Decimal]] = {}
    held = Decimal(0)
    for density in range(1, 11):
        for put_in, got_out in _SIZES:
            verdict = await show.timed(
                agent.request(
                    f"Task of density {density}, {put_in} tokens", logic_density=density, prompt_bytes=4 * put_in,
                    max_output_tokens=2_000,
                )
            )  # fmt: skip
            page.count(verdict)
            if verdict.grant_id and verdict.recommended_model:
                usage = Usage(model=verdict.recommended_model, input_tokens=put_in, output_tokens=got_out)
                receipt = await agent.settle(verdict.grant_id, usage=usage)
                page.parts[agent.agent_id].charged += receipt.charged_usd
                show.routed.append((receipt, usage))
                charged.setdefault(usage.model or "", []).append(receipt.charged_usd)
                held += receipt.reserved_usd
    page.models(charged)
    spent = sum((sum(amounts, Decimal(0)) for amounts in charged.values()), Decimal(0))
    page.say(f"{money(held)} were held, one after the other, {money(spent)} charged: {money(held - spent)} came back.")
    await page.pause(2)


async def _policy(show: Show) -> None:
    await show.page.scene("4  Refused, and why", "Words, priority and budgets are judged in one atomic step on Redis.")
    ask = show.ask
    await ask("support-chain", "DROP   DATABASE customers", resource_type="api_call", estimated_cost_usd="0.01")
    swap: RequestFields = {"resource_type": "gas_budget", "estimated_cost_usd": "0.80"}
    await ask("trader-bot", "Swap 2 ETH for USDC", **swap | {"priority": 4})
    await ask("trader-bot", "Swap 2 ETH for USDC, urgently", **swap | {"priority": 9})
    verdict = await ask("trader-bot", "Swap 2 ETH for USDC, properly", **swap | {"priority": 7})
    if verdict.grant_id:
        await show.page.receipt(
            await show.agents["trader-bot"].settle(verdict.grant_id, cost_usd="0.74"), "paid the gas"
        )
    await ask("crew-researcher-01", "Translate the whole archive", estimated_cost_usd="3.00")


async def _plain_http(show: Show, http: httpx.AsyncClient) -> None:
    await show.page.scene(
        "5  A person decides", "Any program that speaks HTTP can ask; this one uses nothing of Aegis."
    )
    hello = {"agent_id": "plain-http-agent", "agent_framework": "custom"}
    opened = await http.post("/api/v1/handshake", json=hello)
    session = _session.validate_json(opened.raise_for_status().content)
    await show.page.opened(session)
    bearer = {"Authorization": f"Bearer {session.session_token}"}
    questions: tuple[tuple[str, dict[str, object]], ...] = (
        ("Rent a GPU for the night", {"resource_type": "compute", "estimated_cost_usd": 6}),
        ("Refund an order", {"resource_type": "api_call", "estimated_cost_usd": 0.5, "confidence": 0.55}),
    )
    for intent, fields in questions:
        body = {"agent_id": session.agent_id, "task_intent": intent, **fields}
        answer = await show.timed(http.post("/api/v1/request-permission", json=body, headers=bearer))
        verdict = _verdict.validate_json(answer.raise_for_status().content)
        await show.page.verdict(intent, verdict)
        gone = await http.post(f"/api/v1/grants/{verdict.grant_id}/release", json={}, headers=bearer)
        receipt = _receipt.validate_json(gone.raise_for_status().content)
        await show.page.receipt(receipt, "nobody is here to approve, so it withdraws")


async def _herd(show: Show) -> bool:
    page, agent = show.page, show.agents["swarm"]
    await page.scene(
        f"6  {_HERD} at once", f"One agent, {money(_LIMIT)} a day, {_HERD} concurrent requests of {money(_ASKED)} each."
    )
    arrived: list[Verdict] = []

    async def one(number: int) -> None:
        arrived.append(await agent.request(f"Label batch {number}", estimated_cost_usd=_ASKED))

    await asyncio.gather(*(one(number) for number in range(1, _HERD + 1)))
    await page.herd(arrived)
    granted = [verdict for verdict in arrived if verdict.granted]
    exact = len(granted) == int(_LIMIT / _ASKED)
    page.say(
        f"{len(granted)} × {money(_ASKED)} = {money(len(granted) * _ASKED)}: the budget, to the cent." if exact
        else f"{len(granted)} were granted, and {int(_LIMIT / _ASKED)} is what the budget pays: this is a bug.",
        "green" if exact else "bold red",
    )  # fmt: skip
    await show.ask("swarm", "Label one more batch", estimated_cost_usd=_ASKED)
    receipts = await asyncio.gather(*(agent.settle(v.grant_id, cost_usd=_ASKED) for v in granted if v.grant_id))
    page.parts["swarm"].charged += sum((receipt.charged_usd for receipt in receipts), Decimal(0))
    return exact


async def _costs(show: Show, forgotten: Verdict) -> None:
    page = show.page
    await page.scene(
        "7  What it really cost", "A grant holds the estimate. Settling returns or charges the difference."
    )
    verdict = await show.ask("autogen-coder", "Write the release notes", estimated_cost_usd="0.10")
    assert verdict.grant_id is not None
    assert forgotten.grant_id is not None
    assert forgotten.expires_at is not None
    await page.receipt(
        await show.agents["autogen-coder"].settle(verdict.grant_id, cost_usd="0.25"), "needed more than it said"
    )
    left = (forgotten.expires_at - datetime.now(UTC)).total_seconds() + 0.1
    if left > 0:
        page.say(f"Waiting {left:.1f} s for the grant that nobody settled …", "dim")
        await asyncio.sleep(left)
    before = page.parts[forgotten.agent_id].charged
    report = await show.governor.budget(forgotten.agent_id)
    spent = next(line.spent_usd for line in report.budgets if (line.scope, line.window) == ("agent", "day"))
    page.parts[forgotten.agent_id].charged = spent
    page.say(
        f"{forgotten.agent_id} never settled: its {money(forgotten.reserved_usd)} are charged, not free "
        f"({money(before)} became {money(spent)})."
    )


async def _summary(show: Show) -> bool:
    page = show.page
    await page.scene("Summary")
    page.summary()
    models = {usage.model for _, usage in show.routed}
    await page.scene(
        "What routing saved",
        f"{len(show.routed)} calls that were settled with their tokens went to {len(models)} models; the same at the "
        "prices of one:",
    )
    charged = sum((receipt.charged_usd for receipt, _ in show.routed), Decimal(0))
    page.savings(charged, {model: _at(show, model) for model in _ALWAYS})
    page.say("How good their answers would be, no price says: docs/routing.md, aegis route eval.", "dim")
    decisions = sum(sum(part.answers.values()) for part in page.parts.values())
    recorded, after = 0, "0"
    while events := await show.governor.events(after=after, limit=500):
        recorded += sum(decisions_in(event) for event in events)
        after = events[-1].id
    spent = Decimal(0)
    for name in page.parts:
        report = await show.governor.budget(name)
        spent += next(line.spent_usd for line in report.budgets if (line.scope, line.window) == ("agent", "day"))
    shown = sum((part.charged for part in page.parts.values()), Decimal(0))
    sound = recorded == decisions and spent == shown
    await page.scene("Checked")
    colour = "green" if sound else "bold red"
    page.say(f"{decisions} decisions were shown, and {recorded} events tell of them.", colour)
    page.say(f"{money(shown)} is what the receipts charged, {money(spent)} what the budgets spent.", colour)
    page.say(f"An answer over HTTP took {median(show.times) * 1000:.1f} ms (median of {len(show.times)}).")
    page.say("Next: aegis serve, aegis replay TRACE, aegis doctor.", "dim")
    return sound


def decisions_in(event: Event) -> int:
    """How many decisions an event tells of."""
    if event.kind == "refusals_repeated":
        return int(str(event.facts["count"]))
    return event.kind in {"granted", "pending", "rejected"}


def _at(show: Show, model: str) -> Decimal:
    """What the same tokens would have cost on one model."""
    nanos = (show.prices.price(usage.model_copy(update={"model": model})) for _, usage in show.routed)
    return to_usd(sum(nanos))

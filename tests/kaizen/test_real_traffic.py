"""Recorded runs asked of a real governor, call by call: what its events say of the day is what the file says of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from aegis_core import Settings
from aegis_core.client.agent import GovernedAgent, Governor
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.kaizen.days import DayCloser
from aegis_core.kaizen.judging import judge
from aegis_core.metering.price_book import PriceBook
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.kaizen import Finding, KaizenReport
from aegis_core.protocol.keywords import SettleFields
from aegis_core.protocol.messages import Usage
from aegis_core.replay.as_day import day_of
from aegis_core.replay.reading import read_trace
from aegis_core.replay.trace import Call, Trace
from aegis_core.testing import FakeClock, virtual_governor

AIRLINE, MODEL = "tau_bench_airline_gpt4o.jsonl", "gpt-4o"
LOST = ("unused-cache", "failed-work", "retries", "loops", "long-context", "runaway", "identical-calls")


async def _asked(agent: GovernedAgent, call: Call) -> None:
    said: SettleFields = {"error_class": call.error}
    if call.tool is None:
        sizes = {"prompt_tokens": call.prompt_tokens, "max_output_tokens": call.max_output_tokens}
        granted = await agent.request(call.intent, model=MODEL, **sizes)
        said["usage"] = Usage(model=MODEL, input_tokens=call.input_tokens, output_tokens=call.output_tokens)
        if call.outcome is not None:
            said["outcome"] = call.outcome
    else:
        named = {"tool": call.tool, "arguments_hash": call.arguments_hash}
        granted = await agent.request(call.intent, resource_type="api_call", estimated_cost_usd=0, **named)
        said["cost_usd"] = 0
    await agent.settle(str(granted.grant_id), **said)


async def _live(settings: Settings, trace: Trace) -> KaizenReport:
    """The report of the day after every call was asked and settled, at the times of the file."""
    start = datetime.fromtimestamp(trace.calls[0].at / 1000, UTC)
    async with virtual_governor(settings, start=start) as (governor, clock, _):
        port = governor.port
        assert isinstance(port, ResourceGovernor)
        await port.publish_policy(load_policy('{"schema": 1, "rules": []}', "none"), author="ada")
        await _all(governor, clock, trace)
        await clock.advance(hours=24)
        assert await DayCloser(port.kaizen).look() == 1
        return await governor.kaizen_report()


async def _all(governor: Governor, clock: FakeClock, trace: Trace) -> None:
    run, agent = "", None
    for call in trace.calls:
        await clock.set(datetime.fromtimestamp(call.at / 1000, UTC))
        if agent is None or call.run != run:
            run, agent = call.run, await governor.handshake(call.agent)
        await _asked(agent, call)


def _said(finding: Finding) -> tuple[object, ...]:
    return finding.state, finding.amount_usd, finding.counted_usd, finding.count, finding.evidence


@pytest.mark.parametrize("runs", [6, pytest.param(100, marks=pytest.mark.deep)])
async def test_the_events_of_a_day_tell_what_was_wasted_in_it(settings: Settings, shared_data: Path, runs: int) -> None:
    trace = read_trace(shared_data / AIRLINE, limit=runs)
    wide = {"timezone": "UTC", "agent_day_usd": "1000", "tenant_day_usd": "1000"}
    live = await _live(settings.model_copy(update=wide), trace)
    file = judge(day_of(trace, MODEL, PriceBook()))
    assert (live.spent_usd, live.found_usd, live.calls) == (file.spent_usd, file.found_usd, len(trace.calls))
    assert (live.sessions, live.missed) == (runs, 0)
    by, known = ({each.detector: each for each in report.findings} for report in (live, file))
    assert {name: _said(by[name]) for name in LOST} == {name: _said(known[name]) for name in LOST}

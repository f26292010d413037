"""A replay is decided by a real governor, on the trace's own time, and counts to the nano-dollar."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from aegis_core.protocol.errors import InvalidRequestError, UnknownModelError
from aegis_core.replay.reading import read_trace
from aegis_core.replay.report import ReplayTerms, as_json
from aegis_core.replay.runner import Plan, replay, replay_settings
from aegis_core.replay.tally import Tally
from aegis_core.replay.trace import Trace
from aegis_core.testing import private_settings

GPT_4O = (2_500, 10_000)  # nano-dollars a token: $2.50 and $10.00 per million
HEADER = "time,input_tokens,output_tokens,agent,model,cost\n"


async def replayed(
    trace: Trace, plan: Plan | None = None, zone: str = "UTC", **limits: Any
) -> tuple[Tally, dict[str, Any]]:
    plan, tally = plan or Plan(), Tally()
    given = {"policy": None, "budget": None, "tenant_budget": None, **limits}
    ticks: list[int] = []
    settings = replay_settings(private_settings(timezone=zone), **given)
    await replay(trace, plan, settings, tally, lambda: ticks.append(1))
    assert len(ticks) == len(trace.calls) == tally.all.calls
    assert tally.all.granted + tally.all.escalated + tally.all.rejected == tally.all.calls
    return tally, as_json(trace, plan, ReplayTerms("test", 0, 0), tally)


def made(tmp_path: Path, rows: str, header: str = HEADER) -> Trace:
    path = tmp_path / "made.csv"
    path.write_text(header + rows)
    return read_trace(path)


def runs(tmp_path: Path, *steps: list[dict[str, Any]]) -> Trace:
    path = tmp_path / "runs.jsonl"
    path.write_text("\n".join(json.dumps({"steps": each}) for each in steps))
    return read_trace(path)


async def test_costs_are_exact_for_the_present_and_the_recommended_model(tmp_path: Path) -> None:
    trace = made(tmp_path, "0,374,44,,,\n1,1,1,,,\n2,0,7,,gpt-4o-mini,\n")
    _, report = await replayed(trace)
    nanos = (374 + 1) * 2_500 + (44 + 1) * 10_000 + 7 * 600
    assert report["cost_usd"] == nanos / 1e9
    assert report["granted_cost_usd"] == nanos / 1e9
    assert 0 < report["recommended_cost_usd"] < nanos / 1e9
    assert "saving_usd" not in report, "nobody measured the quality of the recommended models"
    assert report["recommended_quality"] == report["present_quality"] == "unknown"
    assert report["models"]["gpt-4o"]["calls"] == 2
    assert sum(report["recommended_models"].values()) == 3


async def test_a_budget_that_runs_out_is_named_with_its_times(tmp_path: Path) -> None:
    rows = "".join(f"2026-03-01 10:0{minute}:00,400000,0,,,\n" for minute in range(6))  # a dollar each
    tally, report = await replayed(made(tmp_path, rows), budget=Decimal(4))
    assert (report["granted"], report["rejected"], report["granted_cost_usd"]) == (4, 2, 4.0)
    assert report["cost_usd"] == 6.0
    assert report["by_budget"] == [
        {
            "scope": "agent", "name": "trace", "window": "day", "limit_usd": 4.0,
            "ran_out_at": "2026-03-01T10:04:00.000Z", "resets_at": "2026-03-02T00:00:00.000Z", "rejected": 2,
            "refused_cost_usd": 2.0,
        }
    ]  # fmt: skip
    assert report["by_rule"] == {}
    assert tally.agents["trace"].rejected_cost == 2_000_000_000


async def test_time_is_the_traces_own_so_a_new_day_brings_a_new_budget(tmp_path: Path) -> None:
    rows = "".join(f"{day} {hour}:00,400000,0,,,\n" for day in ("2019-12-31", "2020-01-01") for hour in (22, 23))
    _, report = await replayed(made(tmp_path, rows), budget=Decimal(1))
    assert (report["granted"], report["rejected"]) == (2, 2)
    assert [line["ran_out_at"][:16] for line in report["by_budget"]] == ["2019-12-31T23:00", "2020-01-01T23:00"]
    assert report["first_at"] == "2019-12-31T22:00:00.000Z"


async def test_agents_have_budgets_of_their_own_and_share_the_tenants(tmp_path: Path) -> None:
    rows = "".join(f"{at},400000,0,{agent},,\n" for at, agent in enumerate("aabbcc"))
    _, report = await replayed(made(tmp_path, rows), budget=Decimal(2), tenant_budget=Decimal(3))
    assert {name: share["granted"] for name, share in report["agents"].items()} == {"a": 2, "b": 1, "c": 0}
    assert [(line["scope"], line["rejected"]) for line in report["by_budget"]] == [("tenant", 3)]


async def test_a_recorded_cost_counts_instead_of_list_prices(tmp_path: Path) -> None:
    _, report = await replayed(made(tmp_path, "0,1000,100,,,0.0000000015\n1,1000,100,,,\n"))
    assert report["cost_usd"] == (2 + 1_000 * 2_500 + 100 * 10_000) / 1e9  # what is finer than a nano-dollar: up


async def test_a_rule_escalates_or_refuses_and_what_it_held_is_given_back(tmp_path: Path) -> None:
    rules = {"schema": 1, "rules": [
        {"name": "dear", "type": "max_cost", "limit_usd": 0.5},
        {"name": "never", "type": "blocked_intent", "phrases": ["wipe"]},
    ]}  # fmt: skip
    policy = tmp_path / "rules.json"
    policy.write_text(json.dumps(rules))
    rows = "".join(f"{at},400000,0,,,\n" for at in range(5))
    _, report = await replayed(made(tmp_path, rows), budget=Decimal(1), policy=policy)
    # None of them takes the budget from the next one.
    assert (report["granted"], report["escalated"], report["rejected"]) == (0, 5, 0)
    assert report["by_rule"]["dear"]["escalated"] == 5
    assert report["granted_cost_usd"] == 0
    trace = runs(tmp_path, [
        {"role": "user", "content": "Clean up"},
        {"role": "assistant", "content": None, "tool_calls": [{"name": "shell", "arguments": "wipe it"}]},
    ])  # fmt: skip
    _, report = await replayed(trace, policy=policy)
    assert (report["llm_calls"], report["tool_calls"]) == (1, 1)
    assert report["by_rule"] == {
        "never": {"escalated": 0, "rejected": 1, "first_line": 1, "first_reason": 'The intent matches "wipe".'}
    }


async def test_many_interleaved_sessions_of_one_agent_are_opened_again(tmp_path: Path) -> None:
    lines = [
        {"steps": [{"role": "assistant", "content": "x", "timestamp": at + number} for at in (1_000, 2_000)]}
        for number in range(70)
    ]
    path = tmp_path / "runs.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    _, report = await replayed(read_trace(path))
    assert (report["runs"], report["calls"], report["granted"]) == (70, 140, 140)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York", "Pacific/Marquesas"])
async def test_years_between_two_calls_do_no_harm(tmp_path: Path, zone: str) -> None:
    trace = made(tmp_path, "1999-01-01,1,1,,,\n2026-01-01,1,1,,,\n9999-12-31,1,1,,,\n")
    _, report = await replayed(trace, zone=zone)
    assert report["granted"] == 3


async def test_unknown_models_are_errors_before_anything_is_replayed(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="no price is known for the model 'gpt-99'"):
        await replayed(made(tmp_path, "0,1,1,,,\n"), Plan(model="gpt-99"))
    with pytest.raises(InvalidRequestError, match=r"made\.csv:3: model: no price is known for the model 'gpt-99'"):
        await replayed(made(tmp_path, "0,1,1,,,\n1,1,1,,gpt-99,\n"))


async def test_the_density_steers_the_recommendation_only(tmp_path: Path) -> None:
    trace = made(tmp_path, "0,1000,1000,,,\n")
    costs = [(await replayed(trace, Plan(density=density)))[1] for density in (1, 10)]
    assert costs[0]["cost_usd"] == costs[1]["cost_usd"]
    assert costs[0]["recommended_cost_usd"] < costs[1]["recommended_cost_usd"]


@pytest.mark.parametrize("calls", [2_500, pytest.param(19_366, marks=pytest.mark.deep)])
async def test_the_azure_hour_costs_what_its_raw_file_says(shared_data: Path, tmp_path: Path, calls: int) -> None:
    lines = (shared_data / "azure_llm_conv_2023.csv").read_text().splitlines(keepends=True)
    assert len(lines) == 1 + 19_366
    path = tmp_path / "azure.csv"
    path.write_text("".join(lines[: 1 + calls]))
    with path.open(newline="") as file:
        rows = [(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in csv.DictReader(file)]
    nanos = sum(given * GPT_4O[0] + made * GPT_4O[1] for given, made in rows)
    tally, report = await replayed(read_trace(path))
    assert report["calls"] == len(rows) == calls
    assert tally.all.cost == nanos
    assert report["cost_usd"] == float(Decimal(nanos) / 10**9)
    assert tally.all.granted_cost <= 10 * 10**9 < nanos
    assert report["by_budget"][0]["scope"] == "agent"
    assert report["by_budget"][0]["ran_out_at"].startswith("2023-11-16T18:2")


async def test_the_airline_runs_are_asked_message_by_message(shared_data: Path) -> None:
    path = shared_data / "tau_bench_airline_gpt4o.jsonl"
    answers = tools = nanos = 0
    for line in path.read_text().splitlines():
        before = 0
        for step in json.loads(line)["steps"]:
            asked = [call["name"] + call["arguments"] for call in step.get("tool_calls") or []]
            size = sum(len(text.encode()) for text in [step["content"] or "", *asked])
            if step["role"] == "assistant":
                answers, tools = answers + 1, tools + len(asked)
                nanos += -(-before // 4) * GPT_4O[0] + -(-size // 4) * GPT_4O[1]
            before += size
    tally, report = await replayed(read_trace(path))
    assert (report["runs"], report["llm_calls"], report["tool_calls"]) == (100, answers, tools)
    assert (answers, tools) == (1_163, 577)
    assert tally.all.cost == nanos
    assert report["rejected"] == sum(rule["rejected"] for rule in report["by_rule"].values())


async def test_the_quality_of_the_present_model_is_told_where_the_trace_knows_it(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    steps = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
    rewards = (1.0, 0.0, True, 7, None)  # the last two are no outcomes
    path.write_text("\n".join(json.dumps({"steps": steps, "reward": reward}) for reward in rewards))
    _, report = await replayed(read_trace(path))
    assert report["present_quality"] == {"tasks": 3, "solved": 2}
    assert report["recommended_quality"] == "unknown"

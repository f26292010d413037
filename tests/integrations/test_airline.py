"""The reading of the recorded runs, against a plain count of the raw file."""

from __future__ import annotations

import json
from pathlib import Path

from .airline import APPROVALS, CAP, ESCALATED, MODEL_CALLS, RECORDING, TOOL_CALLS, Flight, Totals, read_runs, recorded


def test_the_totals_are_those_of_the_raw_file(shared_data: Path) -> None:
    rows = [json.loads(line)["steps"] for line in (shared_data / RECORDING).read_text().splitlines()]
    steps = [step for row in rows for step in row]
    calls = [call["name"] for step in steps for call in step.get("tool_calls") or ()]
    closing = sum(row[-1]["role"] == "tool" for row in rows)
    assert sum(step["role"] == "assistant" for step in steps) + closing == MODEL_CALLS
    assert len(calls) == TOOL_CALLS
    assert sum(name in ESCALATED for name in calls) == APPROVALS


def test_every_run_reads_to_its_end(shared_data: Path) -> None:
    totals = Totals()
    runs = read_runs(shared_data)
    assert recorded(runs) == (MODEL_CALLS, TOOL_CALLS, APPROVALS)
    assert min(recorded(read_runs(shared_data, every=5))) >= 10, "what runs every day escalates, too"
    for run in runs:
        flight = Flight(run)
        for exchange in run.exchanges:
            last = exchange.user
            for expected in exchange.answers:
                answer = flight.answer(last)
                assert answer == expected
                assert answer.output_tokens <= CAP
                if answer.tool:
                    last = flight.use(answer.tool, answer.arguments)
            assert exchange.answers[-1].tool is None
        totals.add(flight)
    assert (totals.model_calls, totals.tool_calls, totals.escalated) == (MODEL_CALLS, TOOL_CALLS, APPROVALS)

"""The detectors on two recorded traces: the figures of the design, from the numbers of the files themselves."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from aegis_core.cli.kaizen_page import print_report
from aegis_core.kaizen.judging import judge
from aegis_core.metering.price_book import PriceBook
from aegis_core.protocol.kaizen import Finding, KaizenReport
from aegis_core.replay.as_day import day_of
from aegis_core.replay.reading import read_trace

DATA = Path(__file__).parents[3] / "shared" / "data"
AIRLINE, AZURE = "tau_bench_airline_gpt4o.jsonl", "azure_llm_conv_2023.csv"
pytestmark = pytest.mark.skipif(
    not (DATA / AIRLINE).is_file(), reason="the recorded traces are not part of the project (../shared/data is absent)"
)


PAGE = Path(__file__).parents[2] / "docs" / "kaizen.md"


@lru_cache
def report(name: str) -> KaizenReport:
    return judge(day_of(read_trace(DATA / name), "gpt-4o", PriceBook()))


def by(name: str, detector: str) -> Finding:
    return next(each for each in report(name).findings if each.detector == detector)


def percent(finding: Finding) -> float:
    assert finding.amount_usd is not None
    return float(100 * finding.amount_usd / report(AIRLINE).spent_usd)


def test_airline_runs_pay_for_prompts_that_a_cache_could_have_read() -> None:
    finding = by(AIRLINE, "unused-cache")
    assert percent(finding) == pytest.approx(27.9, abs=1.5)
    assert finding.at_most


def test_airline_runs_failed_and_what_that_cost() -> None:
    finding = by(AIRLINE, "failed-work")
    assert percent(finding) == pytest.approx(65.7, abs=0.1)
    assert finding.facts["failed"] == 51
    assert finding.facts["usd_per_solved_task"] == pytest.approx(0.076, abs=0.0005)
    assert not finding.avoidable


def test_airline_tools_failed_and_one_call_was_a_loop() -> None:
    assert percent(by(AIRLINE, "retries")) == pytest.approx(4.0, abs=0.1)
    assert by(AIRLINE, "loops").count == 1


def test_the_hour_of_azure_has_neither_duplicates_nor_a_runaway() -> None:
    duplicates = by(AZURE, "identical-calls")
    assert (duplicates.state, duplicates.amount_usd) == ("unknown", None)
    runaway = by(AZURE, "runaway")
    assert (runaway.state, runaway.count) == ("clean", 0)
    assert report(AZURE).found_usd == 0
    assert by(AZURE, "unused-cache").state == "unknown"


@pytest.mark.parametrize("name", [AIRLINE, AZURE])
def test_the_sum_is_at_most_what_was_spent(name: str) -> None:
    found = report(name)
    counted = sum((each.counted_usd or Decimal(0) for each in found.findings), Decimal(0))
    assert counted <= found.spent_usd
    assert found.found_usd <= counted


def test_the_same_trace_gives_the_same_report() -> None:
    once = report(AIRLINE)
    report.cache_clear()
    assert report(AIRLINE) == once


@pytest.mark.parametrize("name", [AIRLINE, AZURE])
def test_the_documentation_shows_the_report_as_it_is(name: str) -> None:
    page = StringIO()
    print_report(Console(file=page, width=130), report(name))
    lines = "\n".join(line.rstrip() for line in page.getvalue().splitlines())
    assert f"```text\n{lines}\n```" in PAGE.read_text()

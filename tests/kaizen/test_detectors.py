"""Each detector finds its waste to the cent, is silent where there is none, and says less than it knows never more."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from aegis_core.kaizen.detectors.registry import DETECTORS
from aegis_core.kaizen.facts import Day
from aegis_core.kaizen.findings import Detector, Found
from aegis_core.kaizen.judging import judge
from tests.kaizen.planting import NAMES, call, cents, day, found
from tests.kaizen.plants import PLANTS, amount


def test_there_are_twenty_and_each_is_planted() -> None:
    assert len(NAMES) == len(set(NAMES)) == 20
    assert set(PLANTS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_planted_is_found_to_the_cent(name: str) -> None:
    plant = PLANTS[name]
    finding = found(name, plant.planted())
    assert finding.state == "found", finding
    assert cents(finding) == amount(plant)
    assert finding.seconds == plant.seconds
    assert finding.count >= 1
    assert finding.where
    if finding.currency != "none":
        assert finding.events


@pytest.mark.parametrize("name", NAMES)
def test_what_is_harmless_is_not_found(name: str) -> None:
    finding = found(name, PLANTS[name].harmless())
    assert finding.state in {"clean", "unknown", "too_few"}, finding
    assert not finding.amount_usd
    assert not finding.counted_usd


@pytest.mark.parametrize("name", NAMES)
def test_without_the_least_evidence_nothing_is_said(name: str) -> None:
    """Of what was planted only the first tenth is kept."""
    whole = PLANTS[name].planted()
    few = replace(whole, calls=whole.calls[: len(whole.calls) // 10], locks=whole.locks[:2], rules=None)
    finding = found(name, few)
    assert finding.state != "found"
    assert not finding.amount_usd


@pytest.mark.parametrize("name", NAMES)
def test_the_sum_never_exceeds_what_was_spent(name: str) -> None:
    report = judge(PLANTS[name].planted())
    counted = sum((each.counted_usd or Decimal(0) for each in report.findings), Decimal(0))
    assert counted <= report.spent_usd
    assert report.found_usd <= counted


def test_a_request_is_counted_by_one_detector_alone() -> None:
    """A loop of failed tools is retries, a loop and failed work at once."""
    looped = PLANTS["loops"].planted()
    calls = [replace(each, outcome=0.0 if at % 4 == 2 else None) for at, each in enumerate(looped.calls)]
    many = day([replace(each, id=f"{each.id}-{at}", session=f"s{at}") for at in range(10) for each in calls])
    report = judge(many)
    by = {each.detector: each for each in report.findings}
    assert by["retries"].state == by["loops"].state == by["failed-work"].state == "found"
    assert by["loops"].counted_usd == 0
    assert by["retries"].counted_usd == by["retries"].amount_usd
    total = sum((each.counted_usd or Decimal(0) for each in report.findings), Decimal(0))
    assert total == report.spent_usd


def test_a_detector_that_raises_is_named_and_the_others_go_on() -> None:
    def broken(_: Day) -> Found:
        raise ZeroDivisionError

    bad = Detector("broken", "Broken", "spent", 1, "calls", broken)
    report = judge(PLANTS["retries"].planted(), detectors=(bad, *DETECTORS))
    by = {each.detector: each for each in report.findings}
    assert by["broken"].state == "failed"
    assert "ZeroDivisionError" in by["broken"].note
    assert by["retries"].state == "found"


@pytest.mark.parametrize("calls", [0, 1], ids=["none", "one"])
def test_a_day_of_hardly_anything_has_a_report(calls: int) -> None:
    report = judge(day([call() for _ in range(calls)]))
    assert report.calls == calls
    assert len(report.findings) == 20
    assert not report.found_usd
    assert not report.proposals


def test_findings_are_ranked_by_what_they_are_at_least() -> None:
    spent = [each for each in judge(PLANTS["loops"].planted()).findings if each.currency == "spent"]
    lows = [each.interval.low_usd if each.interval else Decimal(0) for each in spent if each.state == "found"]
    assert lows == sorted(lows, reverse=True)


def test_one_session_has_no_interval() -> None:
    finding = found("retries", PLANTS["retries"].planted())
    assert finding.interval is None
    assert found("failed-work", PLANTS["failed-work"].planted()).interval is not None

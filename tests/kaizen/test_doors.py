"""Reports as people and programs get them: by command, over HTTP, as a picture, and by channels."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from killing import Killed
from pydantic import SecretStr
from serving import OPERATOR, serving
from terminal import run_aegis

import aegis_core
from aegis_core import Settings
from aegis_core.channels.alerts import alert_text
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.kaizen.days import DayCloser
from aegis_core.kaizen.facts import DAY_MS
from aegis_core.protocol.errors import NotFoundError
from aegis_core.protocol.events import Event
from aegis_core.protocol.experiments import ExperimentChange, ExperimentStart, PairPost
from tests.kaizen.plants import PLANTS
from tests.kaizen.telling import DAY, tell

pytestmark = pytest.mark.leaves("grants")
WISH = ExperimentStart(task_type="draft", present="gpt-4o", candidate="gpt-4o-mini")
Aegis = Callable[..., tuple[int, str, str]]


@pytest.fixture
def aegis(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Aegis:
    """The command, on this test's tenant."""
    monkeypatch.chdir(tmp_path)
    environment = {"AEGIS_URL": settings.url, "AEGIS_TENANT": settings.tenant, "COLUMNS": "160"}
    return lambda *arguments: run_aegis(monkeypatch, capsys, *arguments, environment=environment)


async def _a_day_of_failures(settings: Settings) -> tuple[list[Event], str]:
    """Thirty failed tasks and an experiment, and the day closed by an engine whose clock is a day ahead; its findings,
    and its name."""
    async with aegis_core.connect(settings=settings) as governor:
        assert isinstance(governor.port, ResourceGovernor)
        await governor.port.experiments.start(WISH, author="ada")
        for at in range(6):
            agent = await governor.handshake(f"agent-{at}")
            for _ in range(5):
                said = {"model": "gpt-4o", "task_type": "draft", "estimated_cost_usd": "0.5"}
                granted = await agent.request("Work", **said)
                await agent.settle(str(granted.grant_id), cost_usd="0.25", outcome=0)
        closer = DayCloser(Killed(governor.port.kaizen, DAY_MS))
        assert await closer.look() == 1
        await closer.leave()
        found = (await governor.find_events(kind="kaizen_finding")).events
        return list(found), (await governor.kaizen_report()).day


async def _same_at_both_doors(settings: Settings, address: str, day: str) -> None:
    async with (
        aegis_core.connect(address, token=OPERATOR, settings=settings) as far,
        aegis_core.connect(settings=settings) as near,
    ):
        name = f"{day}.failed-work"
        assert await far.kaizen_report() == await near.kaizen_report(date.fromisoformat(day))
        assert await far.port.kaizen_explain(name) == await near.port.kaizen_explain(name)
        for governor in (far, near):
            with pytest.raises(NotFoundError, match="There is no report of 2020-01-01"):
                await governor.kaizen_report(date(2020, 1, 1))
            with pytest.raises(NotFoundError, match="There is no finding"):
                await governor.port.kaizen_explain(f"{day}.nothing")


def test_both_doors_and_the_command_tell_the_same(settings: Settings, aegis: Aegis) -> None:
    settings = settings.model_copy(update={"operator_secret": SecretStr(OPERATOR), "timezone": "UTC"})
    events, day = asyncio.run(_a_day_of_failures(settings))
    name = f"{day}.failed-work"
    assert [event.facts["finding_id"] for event in events] == [name]
    code, out, _ = aegis("kaizen", "run", "--once")
    assert (code, out) == (0, "0 days closed.\n")
    with serving(settings) as address:
        asyncio.run(_same_at_both_doors(settings, address, day))
        code, out, _ = aegis("kaizen", "report", "--json")
        report = json.loads(out)
        assert (code, report["day"], report["spent_usd"]) == (0, day, 7.5)
        code, out, err = aegis("kaizen", "run", "--once")
        assert (code, out, "Another process closes these days" in err) == (1, "", True), "the server does so"
    code, out, _ = aegis("kaizen", "report", "--day", day)
    assert code == 0
    assert "$7.5000" in out
    assert "a cost, not called avoidable" in out
    assert "running: gpt-4o-mini for gpt-4o in draft; 0 pairs; nothing was sampled yet: it cannot run here" in out
    code, out, _ = aegis("kaizen", "explain", name)
    assert (code, "30 outcomes; 30 are needed" in out) == (0, True)
    code, out, _ = aegis("kaizen", "log")
    assert (code, out.split()[2:5], out.split()[-2:]) == (0, [report["experiments"][0]["experiment_id"], "running,",
                                                              "ada"], [name, "$7.50"])  # fmt: skip
    code, out, err = aegis("kaizen", "report", "--day", "2020-01-01")
    assert (code, out) == (1, "")
    assert "There is no report of 2020-01-01" in err


async def _an_experiment_at_both_doors(settings: Settings, address: str, name: str) -> None:
    async with (
        aegis_core.connect(address, token=OPERATOR, settings=settings) as far,
        aegis_core.connect(settings=settings) as near,
    ):
        assert isinstance(near.port, ResourceGovernor)
        one, other = far.port.experiments, near.port.experiments
        again = await one.start(WISH)
        assert (again.experiment_id, again.state) == (name, "running")
        for at in range(12):
            post = PairPost(experiment_id=name, request_id=f"r{at}", present=at % 2, candidate=1)
            noted = await one.post(post)
            assert (noted.number, noted.counted, (await other.post(post)).counted) == (at + 1, True, False)
        for of in (one, other):
            assert (await of.change(name, ExperimentChange(act="pause"), author="ada")).state == "paused"
            assert (await of.change(name, ExperimentChange(act="resume"), author="ada")).state == "running"
        assert await one.all() == await other.all()
        assert await one.explain(name) == await other.explain(name)
        for of in (one, other):
            with pytest.raises(NotFoundError, match="There is no experiment x-00000000"):
                await of.explain("x-00000000")


def test_both_doors_and_the_command_tell_the_same_of_experiments(
    settings: Settings, aegis: Aegis, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"operator_secret": SecretStr(OPERATOR), "timezone": "UTC"})
    assert "No experiment was begun" in aegis("kaizen", "experiments")[1]
    told = aegis("kaizen", "start", "draft", "--present", "gpt-4o", "--candidate", "gpt-4o-mini", "--json")[1]
    name = json.loads(told)["experiment_id"]
    with serving(settings) as address:
        asyncio.run(_an_experiment_at_both_doors(settings, address, name))
    picture = tmp_path / "course.svg"
    code, out, _ = aegis("kaizen", "explain", name, "--svg", str(picture))
    assert (code, "12 pairs" in out, "after    12: ratio 2.000" in out) == (0, True, True)
    assert "gpt-4o-mini for gpt-4o" in picture.read_text()
    assert "nothing changed" in aegis("kaizen", "pair", name, "r3", "1", "0")[1]
    assert "stopped" in aegis("kaizen", "stop", name, "--reason", "enough")[1]
    listed = json.loads(aegis("kaizen", "experiments", "--json")[1])["experiments"]
    assert [(each["state"], each["why"]) for each in listed] == [("stopped", "enough")]
    code, out, err = aegis("kaizen", "resume", name)
    assert (code, out, "is stopped; it cannot resume" in err) == (1, "", True)


def test_a_trace_is_reported_and_drawn(aegis: Aegis, tmp_path: Path) -> None:
    steps = [{"role": "user", "content": "x" * 9_000}, {"role": "assistant", "content": "y", "model": "gpt-4o"}]
    runs = [{"steps": steps, "reward": float(at > 20)} for at in range(40)]
    path, picture = tmp_path / "runs.jsonl", tmp_path / "found.svg"
    path.write_text("\n".join(json.dumps(run) for run in runs))
    code, out, err = aegis("kaizen", "report", "--trace", str(path), "--svg", str(picture))
    assert (code, err) == (0, "")
    assert "Failed work" in out
    drawn = picture.read_text()
    assert "Failed work" in drawn
    assert aegis("kaizen", "report", "--trace", str(path), "--svg", str(picture))[0] == 0
    assert picture.read_text() == drawn, "the same findings give the same picture"
    code, out, err = aegis("kaizen", "report", "--trace", str(path), "--day", "2026-01-01")
    assert (code, "--trace: stands for itself" in err) == (1, True)
    assert aegis("kaizen", "report", "--trace", str(path), "--svg", str(tmp_path / "no" / "x.svg"))[0] == 1


async def test_a_finding_is_told_in_at_most_five_lines(settings: Settings) -> None:
    await tell(settings, DAY)
    async with aegis_core.connect(settings=settings) as governor:
        events = (await governor.find_events(kind="kaizen_finding")).events
    texts = {event.facts["detector"]: alert_text(event) for event in events}
    assert set(texts) == set(PLANTS)
    assert max(text.count("\n") for text in texts.values()) <= 4
    assert texts["failed-work"].split("\n")[:2] == [
        "Kaizen 2025-12-01: Failed work", "$0.2000 spent, in 20 places; 95 %: 0.1000 to 0.3000",
    ]  # fmt: skip
    assert "Proposed: Refuse the third equal call" in texts["loops"]
    assert texts["stale-questions"].split("\n")[1].startswith("$0.3000 held while somebody was refused")
    assert texts["undeciding-rules"].split("\n")[1] == "1 found"

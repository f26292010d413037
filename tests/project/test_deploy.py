"""Alerts and dashboard ask for figures that are there, and alerts fire when they should."""

from __future__ import annotations

import asyncio
import json
import math
import re
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from receiver import receiver
from serving import free_port, serving

import aegis_core
from aegis_core import Settings
from aegis_core.settings import EventWebhook

DEPLOY = Path(__file__).parents[2] / "deploy"
_NAMES = re.compile(r"\baegis_\w+")


def _names(page: str) -> set[str]:
    """Every sample, with the parts of histograms that have none yet."""
    found = set[str]()
    for family in text_string_to_metric_families(page):
        total = {f"{family.name}_total"} if family.type == "counter" else {family.name}
        found |= total | {sample.name for sample in family.samples}
    return found


def test_what_alerts_and_panels_ask_for_is_there(settings: Settings) -> None:
    with serving(settings.model_copy(update={"metrics_budgets": 5})) as url:
        known = _names(httpx.get(f"{url}/metrics", trust_env=False, timeout=30).text)
    alerts = (DEPLOY / "prometheus" / "alerts.yml").read_text("utf-8")
    dashboard = json.loads((DEPLOY / "grafana" / "aegis.json").read_text("utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(expressions) == 15
    for text in (alerts, *expressions):
        asked = set(_NAMES.findall(text))
        assert asked
        assert asked <= known


@pytest.mark.parametrize("command", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")])
def test_alerts_fire_when_they_should(command: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool, of Debian's package prometheus")
    done = subprocess.run(
        [promtool, *command], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _prometheus(url: str, place: Path) -> tuple[subprocess.Popen[bytes], str]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("needs prometheus, of Debian's package of that name")
    job = {"job_name": "aegis", "static_configs": [{"targets": [url.removeprefix("http://")]}]}
    plan = json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [job]})
    (place / "prometheus.yml").write_text(plan, "utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = [program, "--config.file=prometheus.yml", f"--web.listen-address={address}", "--log.level=error"]
    return subprocess.Popen([*command, "--storage.tsdb.path=data"], cwd=place), f"http://{address}"


def _answered(url: str, expression: str) -> bool:
    """Whether Prometheus has figures for it, and all of them are numbers."""
    try:
        answer = httpx.get(f"{url}/api/v1/query", params={"query": expression}, trust_env=False, timeout=30)
    except httpx.TransportError:
        return False
    if answer.status_code == 503:
        return False  # it is starting
    found = answer.json()
    assert found["status"] == "success", (expression, found)
    rows = found["data"]["result"]
    return bool(rows) and all(math.isfinite(float(row["value"][1])) for row in rows)


async def _work(settings: Settings, url: str) -> None:
    """A bit of everything that panels show, by a program and over HTTP."""
    async with aegis_core.connect(settings=settings) as governor:
        agent, other = await governor.handshake("a"), await governor.handshake("b")
        await agent.request("drop database", estimated_cost_usd=1)
        await agent.request("Pay", estimated_cost_usd=6)
        granted = await agent.request("Work", estimated_cost_usd="0.01")
        await agent.settle(granted.grant_id or "", cost_usd="0.02", estimated=True)

        async def take() -> None:
            async with other.lock("wallet", wait=60):
                pass

        async with agent.lock("wallet"):
            waiting = asyncio.create_task(take())
            while not (await governor.locks("wallet"))[0].queued:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
        await waiting
    async with aegis_core.connect(settings=settings.model_copy(update={"url": url})) as governor:
        await (await governor.handshake("c")).request("Work", estimated_cost_usd="0.01")


@pytest.mark.deep
@pytest.mark.leaves("grants", "questions", "leases")
def test_every_panel_shows_something_of_a_real_load(settings: Settings, tmp_path: Path) -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "aegis.json").read_text("utf-8"))
    waiting = {target["expr"] for panel in dashboard["panels"] for target in panel["targets"]}
    with receiver() as place:
        told = {"siem": EventWebhook(url=place.url, secret=SecretStr("k" * 32), allow_private=True)}
        with serving(settings.model_copy(update={"metrics_budgets": 5, "event_webhooks": told})) as url:
            prometheus, at = _prometheus(url, tmp_path)
            try:
                until = time.monotonic() + 150
                while waiting:
                    asyncio.run(_work(settings, url))
                    waiting = {each for each in waiting if not _answered(at, each)}
                    assert time.monotonic() < until, waiting
            finally:
                prometheus.kill()
                prometheus.wait()

"""Alerts and dashboard ask for figures that are there, and alerts fire when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving import serving

from aegis_core import Settings

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
    with serving(settings) as url:
        known = _names(httpx.get(f"{url}/metrics", trust_env=False, timeout=30).text)
    alerts = (DEPLOY / "prometheus" / "alerts.yml").read_text("utf-8")
    dashboard = json.loads((DEPLOY / "grafana" / "aegis.json").read_text("utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(expressions) == 12
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

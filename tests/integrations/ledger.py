"""A third party's ledger: the mock model server of PyPI's ``agent-budget-semantics``, scenario S2, on loopback.

Its sdist is fetched before the tests run (see `fetching`) and checked by its hash; nothing of it is in this project.

::

    def test_s2(s2: S2, s2_aegis: SyncGovernedAgent) -> None:
        ...  # an agent on s2.base_url with s2.model, s2.cap, the tool s2.get_weather and the user message s2.user
        s2.agrees(s2_aegis, error)
"""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from http.server import HTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from fetching import THIRD_PARTY

from aegis_core.client.sync import SyncGovernedAgent
from aegis_core.connect import connect_sync
from aegis_core.protocol.denial import AegisDenied
from aegis_core.store.embedded import join_sync
from aegis_core.testing import private_settings

CATALOG = {
    "density": {"1-10": 1},
    "models": [
        {
            "name": "mock-budget-llm",
            "tier": 1,
            "provider": "perplexity",
            "price_ref": "perplexity:llama-3.1-sonar-large-128k-online",  # $1 per million tokens, both ways
            "context_tokens": 128_000,
            "max_output_tokens": 16_384,
            "tools": True,
        }
    ],
}


class S2:
    """The running server with scenario S2: ten scripted calls of ``get_weather``, each dearer than the one before."""

    model = "mock-budget-llm"
    cap = 64
    user = "What is the weather in these cities?"
    budget_usd = "0.0006"

    def __init__(self, url: str) -> None:
        self.url, self.base_url = url, url + "/v1"
        self.cities: list[str] = []

    def get_weather(self, city: str) -> str:
        """Get weather for a city."""
        self.cities.append(city)
        return f"Sunny in {city}."

    def entries(self) -> list[dict[str, Any]]:
        """What reached the server, by its own count."""
        with urllib.request.urlopen(self.url + "/ledger", timeout=10) as answer:
            return json.load(answer)["entries"]

    def agrees(self, aegis: SyncGovernedAgent, error: BaseException | None) -> None:
        """Exactly 3 calls and 525 tokens; then a denial, after which nothing more reached the server."""
        denied = AegisDenied.from_exception(error) if error is not None else None
        assert denied is not None, f"the run did not end by a denial: {error!r}"
        assert denied.code == "budget_exceeded"
        entries = self.entries()
        assert [entry["total_tokens"] for entry in entries] == [125, 175, 225]
        assert sum(entry["total_tokens"] for entry in entries) == 525
        assert {entry["model"] for entry in entries} == {self.model}
        assert self.cities == ["Seattle", "Portland", "San Francisco"]
        day = next(s for s in aegis.budget().budgets if (s.scope, s.window) == ("agent", "day"))
        assert (day.spent_usd, day.reserved_usd) == (Decimal("0.000525"), Decimal(0))


@pytest.fixture
def s2() -> Iterator[S2]:
    """Scenario S2 on a free port of loopback; its ledger is empty."""
    home = THIRD_PARTY.path()
    spec = importlib.util.spec_from_file_location("mock_llm_server", home / "mock-llm" / "server.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    scenario = yaml.safe_load((home / "scenarios" / "S2-budget-exhaustion.yaml").read_text())
    module.load_script(scenario["script"])
    server = HTTPServer(("127.0.0.1", 0), module.Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield S2(f"http://127.0.0.1:{server.server_address[1]}")
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def s2_aegis(tmp_path: Path) -> Iterator[SyncGovernedAgent]:
    """An agent with the scenario's $0.0006 a day, whose catalog prices the server's model."""
    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps(CATALOG))
    handle = join_sync(None, throwaway=True)
    settings = private_settings(
        url=handle.url, tenant=f"t-{uuid4().hex[:12]}", catalog_file=catalog, agent_day_usd=S2.budget_usd
    )
    with connect_sync(settings=settings) as governor:
        yield governor.handshake("weather")
    handle.leave_sync()

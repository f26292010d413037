"""Two processes, of which one knows a field more of everything, decide on one tenant at the same time."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from aegis_core import connect
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.profiles import Profile
from aegis_core.store.embedded import join_sync
from aegis_core.store.packing import unpack
from aegis_core.store.schema import Config

from .worker import settings_of

ROOT = Path(__file__).parents[2]
POLICY = {
    "schema": 1,
    "rules": [
        {"name": "pace", "type": "rate_limit", "limit": 1_000_000, "window": "1h"},
        {"name": "flow", "type": "spend_rate", "limit_usd": "1000000", "window": "1d", "effect": "deny"},
        {"name": "one", "type": "sensitive_intent", "tools": ["send"]},
    ],
}


@pytest.fixture
def own_url() -> Iterator[str]:
    handle = join_sync(None, throwaway=True, timeout=60)
    yield handle.url
    handle.leave_sync()


async def work(url: str, seconds: float, version: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.growth.worker", url, str(seconds), version, version, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(out)


@pytest.mark.parametrize("seconds", [3, pytest.param(10, marks=pytest.mark.deep)])
async def test_nothing_is_lost_nothing_is_doubled_and_nothing_goes_back_and_forth(own_url: str, seconds: int) -> None:
    async with connect(settings=settings_of(own_url)) as governor:
        port: Any = governor.port
        await port.publish_policy(load_policy(json.dumps(POLICY)), author="ada")
        await port.operator.set_profile(Profile(match="*", budgets={"rolling:10m": 1_000_000}), author="ada")
        await port.set_budget("resource", "api_call", "rolling:10m", 1_000_000, author="ada")
        done = await asyncio.gather(*(work(own_url, seconds, version) for version in ("older", "later")))
        kinds: Counter[str] = Counter()
        charged: dict[str, Decimal] = {}
        after = "0"
        while page := await port.events(after=after, limit=1_000):
            after = page[-1].id
            for event in page:
                kinds[event.kind] += 1
                if event.kind in {"settled", "overrun", "released"}:
                    assert event.facts["request_id"] not in charged, "a grant ended twice"
                    charged[event.facts["request_id"]] = Decimal(str(event.facts["charged_usd"]))
        said = {name: Decimal(cost) for one in done for name, cost in one["charged"].items()}
        print({name: [one[name] if name != "charged" else len(one[name]) for one in done] for name in done[0]})
        assert charged == said
        assert kinds["granted"] + kinds["approved"] == len(said)
        assert kinds["approved"] == sum(one["words"] for one in done) > 0
        assert kinds["lock_acquired"] == sum(one["leases"] for one in done) > 0
        assert kinds["tenant_configured"] == 0
        budgets = [*(await governor.budget("ann")).budgets, *(await governor.budget("bob")).budgets]
        spent = {scope: sum(b.spent_usd for b in budgets if (b.scope, b.window) == scope) for scope in _WINDOWS}
        assert set(spent.values()) == {sum(said.values())}
        shared = await port.shared_budgets()
        assert [b.spent_usd for b in shared if b.scope == "tenant"] == [sum(said.values())]
        assert not any(b.reserved_usd for b in (*budgets, *shared))
        stored = unpack(await port._ledger.store.command("GET", "ae:{both}:t"))
        assert len(stored[5]) in {len(Config._fields), len(Config._fields) + 1}


_WINDOWS = (("agent", "day"), ("agent", "rolling:10m"))

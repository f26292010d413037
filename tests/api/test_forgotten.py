"""After `forget` no answer of the API holds the agent's words, whichever route is asked."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator

import httpx
import pytest
from serving import OPERATOR, serving

from aegis_core import Governor, Settings
from aegis_core.api.app import create_app
from aegis_core.governor.governor import ResourceGovernor
from tests.fundamentals.test_forgetting import plant

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("grants", "questions")]

API = "/api/v1"
MORE = {
    f"{API}/approvals": [{"status": each} for each in ("open", "ended")],
    f"{API}/events": [{"latest": 100}, {"limit": 500}, {"limit": 500, "order": "desc"}, {"agent": "a", "limit": 500}],
    f"{API}/activity": [{"by": each} for each in ("agent", "model", "task_type", "rule", "lock", "labels")],
}


def readable(settings: Settings) -> list[str]:
    """Every path that is read."""
    paths = create_app(settings).openapi()["paths"]
    return [path for path, methods in paths.items() if "get" in methods]


def places(path: str, ids: dict[str, list[str]]) -> Iterator[str]:
    """The path with every one of the things that it may be about."""
    names = [part[1:-1].partition(":")[0] for part in path.split("/") if part.startswith("{")]
    for values in itertools.product(*(ids[name] for name in names)):
        yield path.replace(":path}", "}").format(**dict(zip(names, values, strict=True)))


def answers(http: httpx.Client, settings: Settings, ids: dict[str, list[str]], last: int) -> dict[str, str]:
    """What each route says."""
    found: dict[str, str] = {}
    for path in readable(settings):
        for place in places(path, ids):
            if path.endswith("/stream"):
                with http.stream("GET", place, params={"after": "0"}) as answer:
                    text = ""
                    for line in answer.iter_lines():
                        text += line
                        if line.startswith("data: ") and json.loads(line[6:])["number"] == last:
                            break
                found[path] = text
                continue
            for params in MORE.get(path, [{}]):
                answer = http.get(place, params=params)
                assert answer.status_code in {200, 404}, (place, params, answer.text)
                found[path] = found.get(path, "") + answer.text
    return found


async def test_no_route_shows_a_word_of_a_forgotten_agent(settings: Settings, governor: Governor) -> None:
    asked = await plant(governor, "a")
    port = governor.port
    assert isinstance(port, ResourceGovernor)
    await port.operator.block("a", author="ada")
    events = await governor.events(limit=500)
    ids = {
        "agent_id": ["a"], "approval_id": list(asked.values()), "event_id": [event.id for event in events],
        "grant_id": sorted({event.facts["grant_id"] for event in events if "grant_id" in event.facts}),
        "version": ["1"], "person": ["ada"], "workflow_id": ["wf_" + "0" * 32], "finding_id": ["2026-11-30.retries"],
        "experiment_id": ["x-00000000"],
        "proposal_id": ["p-00000000"],
    }  # fmt: skip
    headers = {"Authorization": f"Bearer {OPERATOR}"}

    def look(last: int) -> dict[str, str]:
        with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60) as http:
            return answers(http, settings, ids, last)

    def forget() -> None:
        with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60) as http:
            assert http.post(f"{API}/agents/a/forget").status_code == 200

    with serving(settings) as url:
        before = await asyncio.to_thread(look, len(events))
        showed = {path for path, text in before.items() if "planted" in text}
        assert {f"{API}/events", f"{API}/events/stream", f"{API}/events/{{event_id}}", f"{API}/approvals"} <= showed
        await asyncio.to_thread(forget)
        after = await asyncio.to_thread(look, len(events) + 1)
    assert after.keys() == before.keys()
    assert {path: text for path, text in after.items() if "planted" in text} == {}
    assert "agent_blocked" in after[f"{API}/events"]
    assert "what ada says of it" in after[f"{API}/events"]

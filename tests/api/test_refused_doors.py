"""What is refused before any decision is in the events, too: credentials that do not hold, and handshakes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from serving import OPERATOR, serving

from aegis_core import AuthError, Governor, Settings
from aegis_core.testing import virtual_governor

AS_OPERATOR = {"Authorization": f"Bearer {OPERATOR}"}
SECRET = "aegis_st_of-somebody-who-guesses"


@pytest.fixture
def door(settings: Settings) -> Iterator[httpx.Client]:
    """A server with a tenant of its own."""
    settings = settings.model_copy(update={"operator_secret": SecretStr(OPERATOR)})
    with serving(settings) as url, httpx.Client(base_url=f"{url}/api/v1", trust_env=False, timeout=30) as http:
        yield http


def told(http: httpx.Client, kind: str) -> list[dict[str, Any]]:
    found = http.get("/events", params={"kind": kind}, headers=AS_OPERATOR).json()["events"]
    return [{**event["facts"], "agent": event["agent_id"]} for event in found]


def until(found: Callable[[], Any]) -> Any:
    end = time.monotonic() + 30
    while not (it := found()):
        assert time.monotonic() < end, "never"
        time.sleep(0.01)
    return it


def test_a_flood_of_wrong_credentials_leaves_one_event_for_each_tenth_power(door: httpx.Client) -> None:
    for _ in range(25):
        assert door.get("/approvals", headers={"Authorization": "Bearer nonsense-of-a-stranger"}).status_code == 401
    found = until(lambda: [each for each in told(door, "login_failed") if each["count"] >= 10])
    assert found[0]["count"] < 25
    everything = told(door, "login_failed")
    assert everything[0] == {"code": "bad_token", "address": "127.0.0.1", "count": 1, "agent": None}
    assert len(everything) <= 3
    assert "nonsense-of-a-stranger" not in str(everything)


@pytest.mark.parametrize(
    ("credential", "code"), [("aegis_key_of-nobody", "bad_key"), (SECRET, "bad_token"), (f"{OPERATOR}x", "bad_token")],
    ids=["key", "session", "operator"],
)  # fmt: skip
def test_each_kind_of_credential_is_told_by_its_code(door: httpx.Client, credential: str, code: str) -> None:
    body = {"agent_id": "a", "task_intent": "x", "resource_type": "compute", "estimated_cost_usd": 1}
    answer = door.post("/request-permission", json=body, headers={"Authorization": f"Bearer {credential}"})
    assert answer.status_code == 401
    (event,) = until(lambda: told(door, "login_failed"))
    assert (event["code"], event["count"]) == (code, 1)


def test_what_is_no_failed_login_is_none(door: httpx.Client) -> None:
    assert door.get("/approvals").status_code == 401, "nothing was shown"
    assert door.get("/approvals", headers=AS_OPERATOR).status_code == 200
    assert door.get("/grants/none", headers=AS_OPERATOR).status_code == 404
    assert told(door, "login_failed") == []


def test_a_handshake_of_a_blocked_agent_is_told(door: httpx.Client) -> None:
    name = f"agent-{uuid4().hex[:8]}"
    door.post("/handshake", json={"agent_id": name})
    assert door.post(f"/agents/{name}/block", headers=AS_OPERATOR).status_code == 200
    for _ in range(12):
        assert door.post("/handshake", json={"agent_id": name}).status_code == 403
    found = told(door, "handshake_refused")
    expected = {"code": "agent_blocked", "credential": None, "agent": name}
    assert found == [{**expected, "count": times} for times in (1, 10)]


async def test_too_many_agents_are_told_by_who_made_them(settings: Settings) -> None:
    """Whoever makes up another name each time fills no stream with them."""
    async with virtual_governor(settings.model_copy(update={"max_agents": 1})) as (governor, clock, _):
        await governor.handshake("first")
        for number in range(11):
            await _refused(governor, f"other-{number}")
        events = [event for event in await governor.latest_events(100) if event.kind == "handshake_refused"]
        assert [(event.agent_id, event.facts["code"], event.facts["count"]) for event in events] == [
            ("other-0", "too_many_agents", 1), ("other-9", "too_many_agents", 10),
        ]  # fmt: skip
        await clock.advance(hours=2)


async def _refused(governor: Governor, name: str) -> None:
    with pytest.raises(Exception, match="agents") as caught:
        await governor.handshake(name)
    assert not isinstance(caught.value, AuthError)

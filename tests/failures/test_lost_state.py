"""Redis comes back empty under a running Aegis: nothing begins anew by itself, and keys are asked for as before."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from machines import Machine, machine
from serving import OPERATOR, serving
from terminal import run_aegis

import aegis_core
from aegis_core import StateLostError
from aegis_core.testing import private_settings

SENTENCE = (
    "Redis no longer holds the state of tenant default: it was emptied, or another volume is mounted. No decision was "
    "made, for every budget would start anew. Restore a backup; or accept the loss with `aegis restore --accept-loss`, "
    "and restart what runs."
)
AS_OPERATOR = {"Authorization": f"Bearer {OPERATOR}"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path / "redis") as opened:
        yield opened


async def test_the_library_decides_nothing_until_the_same_state_is_back(
    server: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    settings = private_settings(url=server.url)
    async with aegis_core.connect(settings=settings) as governor:
        agent = await governor.handshake("a")
        verdict = await agent.request("Rent", estimated_cost_usd=2)
        saved = {name: server.client.dump(name) for name in server.client.keys("*")}
        server.client.flushall()
        with caplog.at_level(logging.ERROR, "aegis.store"):
            for _ in range(2):
                with pytest.raises(StateLostError) as caught:
                    await agent.request("Rent", estimated_cost_usd=2)
                assert caught.value.message == SENTENCE
                with pytest.raises(StateLostError):
                    await governor.handshake("b")
                with pytest.raises(StateLostError):
                    await governor.budget("a")
                with pytest.raises(StateLostError):
                    await governor.events()
        assert caplog.text.count("lost its state") == 1
        assert not server.client.exists("ae:{default}:t"), "nothing was begun anew"
        for name, value in saved.items():
            server.client.restore(name, 0, value, replace=True)
        await agent.settle(verdict.grant_id or "", cost_usd=1)
        assert int((await governor.budget("a")).budgets[0].spent_usd) == 1
        server.client.flushall()
        async with aegis_core.connect(settings=settings) as other:  # as a process would that knows nothing of before
            await other.handshake("a")
            with pytest.raises(StateLostError):
                await governor.port.tenant_store.ping()  # type: ignore[attr-defined]
            with pytest.raises(StateLostError):
                await agent.request("Rent", estimated_cost_usd=2)


@pytest.mark.parametrize("keyed", [True, False])
def test_over_http_it_is_503_and_keys_are_asked_for_as_before(server: Machine, keyed: bool) -> None:
    with (
        serving(private_settings(url=server.url)) as url,
        httpx.Client(base_url=f"{url}/api/v1", trust_env=False, timeout=60) as http,
    ):
        key, token = {}, {}
        if keyed:
            made = http.post("/keys", json={"role": "agent", "name": "c"}, headers=AS_OPERATOR).json()
            key = {"Authorization": f"Bearer {made['secret']}"}
        opened = http.post("/handshake", json={"agent_id": "a"}, headers=key).json()
        if keyed:
            token = {"Authorization": f"Bearer {opened['session_token']}"}
        assert http.get("/ready").status_code == 200
        server.client.flushall()
        wish = {"agent_id": "a", "task_intent": "Rent", "resource_type": "api_call", "estimated_cost_usd": 2}
        calls = {
            "request": http.post("/request-permission", json=wish, headers=token),
            "handshake": http.post("/handshake", json={"agent_id": "b"}, headers=key),
            "budget": http.get("/budget/a", headers=token),
            "events": http.get("/events", headers=AS_OPERATOR),
            "agents": http.get("/agents", headers=AS_OPERATOR),
            "keys": http.get("/keys", headers=AS_OPERATOR),
            "ready": http.get("/ready"),
        }
        for name, answer in calls.items():
            assert (answer.status_code, answer.json().get("code")) == (503, "state_lost"), name
            assert answer.json()["detail"] == SENTENCE
        if keyed:
            for path in ("/events", "/agents"):
                assert http.get(path).status_code == 401, "keys are asked for as before"
        metrics = httpx.get(f"{url}/metrics", headers=AS_OPERATOR, trust_env=False)
        assert "aegis_store_up 0.0" in metrics.text


def test_an_empty_store_is_no_first_start_where_state_is_expected(
    server: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    place = {"AEGIS_URL": server.url, "AEGIS_DATA_DIR": tmp_path, "AEGIS_EXPECT_STATE": "true"}

    def ran(*words: str) -> tuple[int, str]:
        code, out, err = run_aegis(monkeypatch, capsys, *words, environment=place)
        return code, " ".join((out + err).split())

    for command in (("serve",), ("doctor",), ("budget", "show", "a"), ("restore",)):
        code, said = ran(*command)
        assert (code, SENTENCE in said) == (1, True), command
    assert not server.client.exists("ae:{default}:t")
    code, said = ran("restore", "--accept-loss")
    assert (code, "begins anew, with nothing spent" in said) == (0, True)
    code, said = ran("restore", "--accept-loss")
    assert (code, said) == (0, "The state of tenant default is there; nothing is to be restored.")
    assert ran("doctor")[0] == 0

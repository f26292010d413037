"""`aegis proxy` as a process of its own: told to stop, killed, without its Redis; and the commands around it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from payloads import MAKERS, Spent
from proxy_process import AEGIS, MESSAGE, commanded, running_proxy, wait_for
from serving import free_port
from stands import PROVIDER_KEY, Handler, Provider, event_of, providing
from typer.testing import CliRunner

import aegis_core
from aegis_core import Settings
from aegis_core.cli import app

pytestmark = pytest.mark.concurrent


@pytest.fixture
def provider() -> Iterator[Provider]:
    with providing() as found:
        yield found


@pytest.fixture
def environment(settings: Settings, provider: Provider, tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ, "AEGIS_URL": settings.url, "AEGIS_TENANT": settings.tenant, "ANTHROPIC_API_KEY": PROVIDER_KEY,
        "AEGIS_PROXY_UPSTREAMS": json.dumps({"anthropic": provider.url}), "HOME": str(tmp_path),
        "AEGIS_PROXY_DRAIN_SECONDS": "30",
    }  # fmt: skip


def post(url: str, key: str, **more: Any) -> httpx.Response:
    return httpx.post(
        f"{url}/v1/messages", json=MESSAGE | more, headers={"x-api-key": key}, timeout=60, trust_env=False
    )


@pytest.fixture
def held_stream(provider: Provider) -> Iterator[threading.Event]:
    """The provider's stream ends when the event is set."""
    go = threading.Event()

    def act(handler: Handler, _: Any) -> None:
        _, chunks = MAKERS["anthropic"](Spent(), "m")
        handler.bill("anthropic")
        handler.begin_stream()
        for chunk in chunks[:-2]:
            handler.chunk(event_of(chunk))
        go.wait(60)
        for chunk in chunks[-2:]:
            handler.chunk(event_of(chunk))
        handler.wfile.write(b"0\r\n\r\n")

    provider.act = act
    yield go
    go.set()


async def ends(settings: Settings) -> list[tuple[str, Decimal, bool]]:
    """How grants ended; those past their deadline are swept first."""
    async with aegis_core.connect(settings=settings) as governor:
        port: Any = governor.port
        while await port._ledger.sweep():
            pass
        return [
            (event.kind, Decimal(str(event.facts["charged_usd"])), bool(event.facts.get("estimated")))
            for event in await governor.latest_events(500)
            if event.kind in {"settled", "released", "expired", "overrun"}
        ]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_proxy_that_is_told_to_stop_lets_its_streams_end(
    settings: Settings, environment: dict[str, str], provider: Provider, held_stream: threading.Event, tmp_path: Path,
    workers: int,
) -> None:  # fmt: skip
    key = commanded(environment, tmp_path, "proxy", "keys", "create", "--agent", "ada", "--budget", "day=3")
    with running_proxy(environment, tmp_path, "--workers", str(workers)) as running:
        with httpx.stream(
            "POST", f"{running.url}/v1/messages", json=MESSAGE | {"stream": True}, headers={"x-api-key": key},
            timeout=60, trust_env=False,
        ) as answer:  # fmt: skip
            parts = answer.iter_raw()
            got = next(parts)
            running.process.send_signal(signal.SIGTERM)
            while True:  # it takes no new connections
                try:
                    httpx.get(f"{running.url}/aegis/health", timeout=5, trust_env=False)
                except httpx.TransportError:
                    break
            held_stream.set()
            got += b"".join(parts)
        assert b"message_stop" in got
        assert running.process.wait(60) == 0
    assert asyncio.run(ends(settings)) == [("settled", provider.billed_usd, False)]


@pytest.mark.timeout(120)
def test_a_proxy_that_is_killed_leaves_its_calls_charged_at_their_deadline(
    settings: Settings, environment: dict[str, str], held_stream: threading.Event, tmp_path: Path
) -> None:
    key = commanded(environment, tmp_path, "proxy", "keys", "create", "--agent", "ada")
    with running_proxy(environment | {"AEGIS_GRANT_SECONDS": "1"}, tmp_path) as running, httpx.stream(
        "POST", f"{running.url}/v1/messages", json=MESSAGE | {"stream": True}, headers={"x-api-key": key}, timeout=60,
        trust_env=False,
    ) as answer:  # fmt: skip
        reserved = Decimal(answer.headers["x-aegis-reserved-usd"])
        parts = answer.iter_raw()
        next(parts)
        running.process.kill()
        with pytest.raises(httpx.RemoteProtocolError):
            b"".join(parts)
    held_stream.set()
    while not (found := asyncio.run(ends(settings))):
        pass
    assert found == [("expired", reserved, True)]


def test_without_redis_nothing_is_forwarded_and_what_was_on_its_way_is_charged_later(
    environment: dict[str, str], provider: Provider, held_stream: threading.Event, tmp_path: Path
) -> None:
    """The server goes on with its data under the same address: what it could not be told of, it is told then."""
    folder = tmp_path / "redis"
    folder.mkdir()
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--appendonly", "yes",
               "--appendfsync", "always", "--save", ""]  # fmt: skip
    environment |= {"AEGIS_URL": f"redis://127.0.0.1:{port}", "AEGIS_STORE_TIMEOUT_SECONDS": "1"}
    own = aegis_core.Settings(url=environment["AEGIS_URL"], tenant=environment["AEGIS_TENANT"])
    redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(port)
        key = commanded(environment, tmp_path, "proxy", "keys", "create", "--agent", "ada")
        with running_proxy(environment, tmp_path) as running:
            with httpx.stream(
                "POST", f"{running.url}/v1/messages", json=MESSAGE | {"stream": True}, headers={"x-api-key": key},
                timeout=60, trust_env=False,
            ) as answer:  # fmt: skip
                parts = answer.iter_raw()
                next(parts)
                redis.kill()
                redis.wait()
                held_stream.set()
                assert b"message_stop" in b"".join(parts), "the answer is the client's, whatever its bookkeeping"
            asked = len(provider.asked)
            refused = post(running.url, key)
            assert (refused.status_code, refused.headers["x-should-retry"]) == (503, "false")
            assert "nothing was forwarded" in refused.json()["error"]["message"]
            assert refused.json()["error"]["type"] == "api_error"
            assert len(provider.asked) == asked
            redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            wait_for(port)
            until = time.monotonic() + 60
            while not (found := asyncio.run(ends(own))):
                assert time.monotonic() < until, "".join(running.log)
            assert found == [("settled", provider.billed_usd, False)]
            provider.act = None
            assert post(running.url, key).status_code == 200
    finally:
        redis.kill()
        redis.wait()


def test_the_commands_about_keys(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AEGIS_URL", settings.url)
    monkeypatch.setenv("AEGIS_TENANT", settings.tenant)
    runner = CliRunner()

    def run(*command: str) -> Any:
        done = runner.invoke(app, command)
        assert done.exit_code == 0, done.output
        return done

    assert "no keys of the proxy" in run("proxy", "keys", "list").output
    profiles = tmp_path / "profiles.json"
    profiles.write_text(json.dumps({"profiles": [{"match": "ad*", "max_priority": 3, "budgets": {"week": 9}}]}))
    run("profiles", "apply", str(profiles))
    made = run(
        "proxy", "keys", "create", "--agent", "ada", "--label", "team=web", "--budget", "day=20", "--model", "claude-*",
        "--refusal-status", "400", "--json",
    )  # fmt: skip
    found = json.loads(made.stdout)
    assert found["secret"].startswith("aegis_px_")
    (listed,) = json.loads(run("proxy", "keys", "list", "--json").stdout)
    assert (listed["key_id"], listed["agent_id"], listed["models"]) == (found["key_id"], "ada", ["claude-*"])
    assert listed["refusal_status"] == 400
    assert "secret" not in listed
    shown = json.loads(run("profiles", "show", "--json").stdout)["profiles"]
    (own,) = [each for each in shown if each["match"] == "ada"]
    assert (own["max_priority"], own["labels"]) == (3, {"team": "web"}), "what held for it by its pattern still holds"
    assert own["budgets"] == {"week": 9, "day": 20}
    assert json.loads(run("keys", "list", "--json").stdout) == [], "it opens no HTTP API"
    assert found["key_id"] in run("proxy", "keys", "list").output
    run(
        "proxy", "keys", "create", "--agent", "eve", "--min-output-tokens", "7", "--max-output-tokens", "4321",
        "--hosted-calls", "3", "--route", "rewrite", "--cut-streams",
    )  # fmt: skip
    monkeypatch.setenv("COLUMNS", "200")
    rows = [line.split() for line in run("proxy", "keys", "list").output.splitlines()[1:]]
    assert {row[1]: row[2:-2] for row in rows} == {
        "ada": ["claude-*", "8,192–32,000", "400"],
        "eve": ["any", "7–4,321", "402", "hosted", "calls", "3,", "route", "rewrite,", "cut", "streams"],
    }, "every term is shown, the newer ones where a key has them"
    run("proxy", "keys", "revoke", found["key_id"])
    ended = [each["key_id"] for each in json.loads(run("proxy", "keys", "list", "--json").stdout) if each["revoked_at"]]
    assert ended == [found["key_id"]]
    for wrong in (("revoke", "k0"), ("create", "--agent", "a b"), ("create", "--agent", "a", "--budget", "day")):
        done = runner.invoke(app, ("proxy", "keys", *wrong))
        assert done.exit_code != 0
    events = json.loads(run("events", "--limit", "9", "--json").stdout.splitlines()[0])
    assert events


def test_the_doctor_calls_each_upstream_and_says_what_that_cost(
    environment: dict[str, str], provider: Provider, tmp_path: Path
) -> None:
    more = {"OPENAI_API_KEY": PROVIDER_KEY, "MINE_API_KEY": PROVIDER_KEY}
    upstreams = {"openai": provider.url, "anthropic": "http://127.0.0.1:9", "mine": f"{provider.url}/v1"}
    environment |= more | {"AEGIS_PROXY_UPSTREAMS": json.dumps(upstreams)}
    done = subprocess.run(
        [*AEGIS, "proxy", "doctor", "--json"], env=environment, cwd=tmp_path, text=True, capture_output=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    found = {each["upstream"]: each for each in json.loads(done.stdout)}
    assert found["openai"]["works"]
    assert found["openai"]["cost_usd"] > 0
    assert "nothing was sent or charged" in found["anthropic"]["text"]
    assert found["anthropic"]["cost_usd"] == 0
    assert "has no key here" in found["gemini"]["text"]
    assert "--model mine=MODEL" in found["mine"]["text"]
    listed = json.loads(commanded(environment, tmp_path, "proxy", "keys", "list", "--json"))
    assert all(key["revoked_at"] for key in listed)


@pytest.fixture
def _logs_of_its_own() -> Iterator[None]:
    """The command sends logs to what stands for standard error, which is closed after it."""
    loggers = [logging.getLogger(name) for name in ("aegis", "uvicorn", "uvicorn.error", "uvicorn.access")]
    before = [(each.handlers, each.propagate, each.level) for each in loggers]
    yield
    for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.mark.usefixtures("_logs_of_its_own")
@pytest.mark.parametrize(
    ("more", "options", "says"),
    [
        ({"ANTHROPIC_API_KEY": "aegis_px_k0_x"}, (), "The proxy needs the provider's own key"),
        ({"AEGIS_PROXY_UPSTREAMS": "{"}, (), "AEGIS_PROXY_UPSTREAMS is not valid JSON"),
        ({}, ("--upstream", "openrouter"), "give NAME=VALUE"),
        ({}, ("--upstream", "My Upstream=https://x.example"), "cannot be the name of an upstream"),
        ({}, ("--upstream", "a:klingon=https://x.example"), "an upstream speaks one of openai, anthropic, gemini"),
        ({}, ("--upstream", "a=ftp://x.example"), "give https://HOST"),
        ({}, ("--upstream", "a=https://u:p@x.example"), "no credential"),
        ({}, ("--fallback", "openai/gpt-5.5=nobody/gpt-4o"), "upstreams are openai"),
        ({"A_API_KEY": "sk-1"}, ("--upstream", "a=http://x.example"), "plain http beyond this machine"),
        ({"AEGIS_PROXY_KEYS_FILE": "keys.json"}, (), "chmod 600"),
        ({"AEGIS_URL": "http://127.0.0.1:9"}, (), ""),
        ({}, ("--host", "192.0.2.1"), "cannot be listened on"),
    ],
)
def test_a_proxy_that_cannot_be_run_says_what_to_do(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, more: dict[str, str],
    options: tuple[str, ...], says: str,
) -> None:  # fmt: skip
    (tmp_path / "keys.json").write_text('{"anthropic": "sk-secret"}')
    (tmp_path / "keys.json").chmod(0o644)
    for name, value in (environment | more).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ("proxy", "--port", "0", *options))
    assert done.exit_code == 1
    assert says in str(done.exception)
    assert "sk-secret" not in str(done.exception)

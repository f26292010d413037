"""``aegis doctor`` says what is wrong, where, and the command that mends it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import platformdirs
import pytest
import redis
from terminal import run_aegis

from aegis_core import Settings
from aegis_core.store.embedded import join_sync, stop_server
from aegis_core.testing import private_settings
from tests.serving import OPERATOR, serving

Doctor = Callable[..., tuple[int, str]]


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Doctor:
    """Runs it in a home of its own, in an environment that holds only what is given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)

    def run(*arguments: str, **environment: object) -> tuple[int, str]:
        code, out, err = run_aegis(monkeypatch, capsys, "doctor", *arguments, environment=environment)
        assert err == ""
        return code, out

    return run


@pytest.fixture
def private() -> Iterator[redis.Redis]:
    """A throw-away server that the test may spoil; `url` of it is in its connection's path."""
    handle = join_sync(None, throwaway=True, timeout=60)
    with redis.Redis(unix_socket_path=str(handle.socket_path)) as client:
        yield client
    handle.leave_sync()


def url_of(client: redis.Redis) -> str:
    return f"unix://{client.connection_pool.connection_kwargs['path']}"


def test_a_file_of_variables_is_said(doctor: Doctor, server_url: str, tenant: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"AEGIS_TENANT={tenant}\n")
    _, out = doctor(AEGIS_URL=server_url)
    assert re.search(r"settings +\.env of this directory is read by servers only", out)
    assert "aegis --env-file .env doctor" in out
    _, out = doctor(AEGIS_URL=server_url, AEGIS_ENV_FILE=".env")
    assert re.search(r"✓ settings +the environment, and \.env", out)


def test_a_misspelt_setting_is_a_problem_wherever_it_stands(doctor: Doctor, server_url: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AEGIS_REQUIRE_KEY=true\n")
    code, out = doctor(AEGIS_URL=server_url)
    assert code == 1
    assert "a server would not start here: In .env, AEGIS_REQUIRE_KEY is not a setting" in out
    code, out = doctor(AEGIS_URL=server_url, AEGIS_DATADIR="x")
    assert code == 1
    assert "In the environment, AEGIS_DATADIR is not a setting (did you mean AEGIS_DATA_DIR?)" in out


def test_a_server_without_bounds_on_connections(doctor: Doctor, settings: Settings) -> None:
    with serving(settings) as url:  # the application as uvicorn runs it
        _, out = doctor(AEGIS_URL=url, AEGIS_TENANT=settings.tenant, AEGIS_API_KEY=OPERATOR)
    assert re.search(r"connections +the server bounds neither its connections nor how long they may be idle", out)


def test_an_embedded_server_in_health(doctor: Doctor, tmp_path: Path) -> None:
    code, out = doctor(AEGIS_DATA_DIR=tmp_path / "data")
    assert code == 0
    for line in (
        r"✓ aegis +\d\S* on Python 3\.",
        rf"✓ store +embedded server in {tmp_path}/data: not running; it starts when it is needed",
        r"✓ server +(valkey|redis) \d\S*, [\d.]+ MB used, noeviction",
        r"✓ latency +a script takes \d+ µs",
        r"✓ policy +version 1 with \d+ rules",
        r"✓ models +\d+ models in five tiers",
        r"✓ extras +.*server \d",
    ):
        assert re.search(f"^{line}", out, re.MULTILINE), line
    assert "!" not in out
    assert "✗" not in out


def test_json_for_programs(doctor: Doctor, server_url: str, tenant: str) -> None:
    code, out = doctor("--json", AEGIS_URL=server_url, AEGIS_TENANT=tenant, AEGIS_TIMEZONE="Europe/Zurich")
    findings = json.loads(out)
    assert code == 0
    assert set(findings[0]) == {"level", "subject", "text", "mend"}
    levels = {finding["subject"]: finding["level"] for finding in findings}
    assert levels["durability"] == "note"
    assert levels["time zone"] == levels["server"] == levels["policy"] == "ok"


def test_a_server_that_may_evict_is_a_problem_with_its_remedy(doctor: Doctor, private: redis.Redis) -> None:
    private.config_set("maxmemory-policy", "allkeys-lru")
    code, out = doctor(AEGIS_URL=url_of(private))
    assert code == 1
    assert re.search(r"^✗ settings +The server may evict keys \(maxmemory-policy allkeys-lru\)", out, re.MULTILINE)
    remedy = "redis-cli CONFIG SET maxmemory-policy noeviction"
    assert remedy in [line.strip() for line in out.splitlines()]
    private.execute_command(*remedy.split()[1:])
    assert doctor(AEGIS_URL=url_of(private))[0] == 0


def test_a_server_that_forgets_in_a_crash_is_noted(doctor: Doctor, private: redis.Redis) -> None:
    code, out = doctor(AEGIS_URL=url_of(private))
    assert code == 0
    assert re.search(r"^! durability +the append-only file is off", out, re.MULTILINE)
    private.config_set("appendonly", "yes")
    assert "durability" not in doctor(AEGIS_URL=url_of(private))[1]


def test_data_of_a_newer_aegis(doctor: Doctor, private: redis.Redis) -> None:
    from aegis_core.store import layout

    private.set(layout.SCHEMA_KEY, layout.SCHEMA + 1)
    code, out = doctor(AEGIS_URL=url_of(private))
    assert code == 1
    assert "was written by a newer Aegis" in out
    assert "pip install . in a newer checkout of Aegis" in out


def test_data_says_by_which_versions_it_was_written(doctor: Doctor, private: redis.Redis) -> None:
    from aegis_core.protocol.distribution import version
    from aegis_core.store import layout
    from aegis_core.store.schema import FIELDS

    code, out = doctor(AEGIS_URL=url_of(private))
    assert code == 0
    written = rf"schema {layout.SCHEMA}, written by Aegis {re.escape(version())} \({FIELDS} fields\)"
    assert re.search(f"^✓ data +{written}$", out, re.MULTILINE)
    private.zadd(layout.WRITERS_KEY, {"99.0": FIELDS + 2})
    code, out = doctor(AEGIS_URL=url_of(private))
    assert code == 0, "what a newer version added is carried"
    assert re.search(r"^! data +schema .*Aegis 99\.0", out, re.MULTILINE)
    assert "pip install . in a newer checkout of Aegis" in out


def test_a_server_that_is_down(doctor: Doctor) -> None:
    code, out = doctor(AEGIS_URL="redis://:hunter2secret@127.0.0.1:1")
    assert code == 1
    assert re.search(r"^✗ server +Redis at redis://:…@127\.0\.0\.1:1 cannot be reached", out, re.MULTILINE)
    assert "hunter2" not in out
    assert "aegis doctor" not in out
    assert "start it, or change AEGIS_URL" in out
    assert "extras" in out


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ('{"schema": 1,\n "rules": [\n  {"name": "x" "type": "max_cost"}]}', "rules.json:3:"),
        ('{"schema": 1,\n "rules": [\n  {"name": "x", "type": "max_cots", "limit_usd": 1}]}', "rules.json:3"),
    ],
)
def test_a_broken_rules_file_is_named_with_its_line(
    doctor: Doctor, server_url: str, tenant: str, tmp_path: Path, rules: str, message: str
) -> None:
    path = tmp_path / "rules.json"
    path.write_text(rules)
    code, out = doctor(AEGIS_URL=server_url, AEGIS_TENANT=tenant, AEGIS_POLICY_FILE=path)
    assert code == 1
    assert re.search(rf"^✗ rules file +{tmp_path}/{re.escape(message)}", out, re.MULTILINE), out
    assert re.search(r"^✓ policy +version 1 ", out, re.MULTILINE), "the rules in force are told all the same"
    missing = doctor(AEGIS_URL=server_url, AEGIS_TENANT=tenant, AEGIS_POLICY_FILE=tmp_path / "none.json")
    assert missing[0] == 1
    assert "none.json: cannot be read" in missing[1]


def test_a_good_rules_file_is_looked_at_but_not_put_in_force(
    doctor: Doctor, server_url: str, tenant: str, tmp_path: Path
) -> None:
    path = tmp_path / "rules.json"
    path.write_text('{"schema": 1, "rules": [{"name": "ask-me", "type": "max_cost", "limit_usd": 0.01}]}')
    for _ in range(2):
        code, out = doctor(AEGIS_URL=server_url, AEGIS_TENANT=tenant, AEGIS_POLICY_FILE=path)
        assert code == 0
        assert re.search(rf"^✓ rules file +{path}: 1 rules", out, re.MULTILINE)
        assert re.search(r"^✓ policy +version 1 ", out, re.MULTILINE)


def test_a_variable_that_is_wrong(doctor: Doctor) -> None:
    code, out = doctor(AEGIS_PORT="many")
    assert code == 1
    assert re.search(r"^✗ settings +AEGIS_PORT ", out, re.MULTILINE)
    code, out = doctor(AEGIS_URL="ftp://x")
    assert code == 1
    assert "AEGIS_URL 'ftp://x' is not understood" in out


def test_a_governor_over_http(doctor: Doctor, settings: Settings, tenant: str) -> None:
    with serving(settings) as url:
        code, out = doctor(AEGIS_URL=url, AEGIS_TENANT=tenant, AEGIS_OPERATOR_SECRET=OPERATOR)
        assert code == 0
        assert re.search(rf"^✓ governor +answers for tenant {tenant}, in \d+ ms", out, re.MULTILINE)
        code, out = doctor(AEGIS_URL=url, AEGIS_TENANT=tenant, AEGIS_OPERATOR_SECRET="wrong")
        assert code == 1
        assert re.search(r"^✗ governor +This is neither", out, re.MULTILINE)
    code, out = doctor(AEGIS_URL="http://127.0.0.1:1")
    assert code == 1
    assert re.search(r"^✗ server +The governor at http://127\.0\.0\.1:1 cannot be reached", out, re.MULTILINE)


def test_a_server_that_was_asked_to_stay_is_remembered(doctor: Doctor, tmp_path: Path) -> None:
    place = tmp_path / "data"
    try:
        code, out = doctor(AEGIS_DATA_DIR=place, AEGIS_EMBEDDED_STAY="true")
        assert code == 0
        assert "!" not in out
        code, out = doctor(AEGIS_DATA_DIR=place)
        assert code == 0
        assert re.search(r"^! store +nobody uses the embedded server", out, re.MULTILINE)
        command = next(line.strip() for line in out.splitlines() if "stop_server" in line)
        match = re.fullmatch(r'python -c "(.*)"', command)
        assert match is not None
        exec(match[1])
        assert "not running" in doctor(AEGIS_DATA_DIR=place)[1]
    finally:
        stop_server(place)


def test_an_operator_secret_that_others_can_read(doctor: Doctor, server_url: str, tenant: str, tmp_path: Path) -> None:
    from aegis_core.api.secret import operator_secret, secret_path

    settings = private_settings(data_dir=tmp_path / "data")
    operator_secret(settings)
    path = secret_path(settings)
    environment = {"AEGIS_URL": server_url, "AEGIS_TENANT": tenant, "AEGIS_DATA_DIR": tmp_path / "data"}
    assert doctor(**environment)[0] == 0
    path.chmod(0o644)
    code, out = doctor(**environment)
    assert code == 1
    assert re.search(rf"^✗ secret +{path} is open to other users", out, re.MULTILINE)
    assert f"chmod 600 {path}" in out
    assert doctor(**environment, AEGIS_OPERATOR_SECRET=OPERATOR)[0] == 0, "the file is not used then"


def test_the_home_is_the_tests_own(doctor: Doctor, tmp_path: Path) -> None:
    if sys.platform == "linux":
        assert platformdirs.user_data_path("aegis").is_relative_to(tmp_path)

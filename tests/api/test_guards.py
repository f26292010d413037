"""Where the server listens, and the secret that only its operator knows."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from serving import serving

from aegis_core import ConfigurationError, Settings, StoreError
from aegis_core.api.problems import status_of
from aegis_core.api.secret import check_bind, operator_secret
from aegis_core.api.server import serve
from aegis_core.protocol.errors import (
    AuthError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PolicyError,
    StaleError,
    UnknownModelError,
)
from aegis_core.testing import private_settings


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_loopback_may_be_served(host: str) -> None:
    check_bind(host, keys=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1.example.org", ""])
def test_other_machines_are_not_served_without_keys(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Without API keys the server may not listen on .* --host 127.0.0.1"):
        check_bind(host, keys=False)
    check_bind(host, keys=True)


def test_serve_looks_for_keys_before_it_listens(settings: Settings) -> None:
    away = settings.model_copy(update={"host": "0.0.0.0", "port": 0, "operator_secret": SecretStr("x" * 16)})
    with pytest.raises(ConfigurationError, match="aegis keys create operator"):
        serve(away)


def test_a_server_bound_elsewhere_by_other_means_answers_nobody_there(settings: Settings) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; it asks which address this machine would use
        own = probe.getsockname()[0]
    if own.startswith("127."):
        pytest.skip("needs an address beyond loopback")
    with serving(settings, bind="0.0.0.0") as url:
        port = url.rpartition(":")[2]
        answer = httpx.get(
            f"http://{own}:{port}/api/v1/health", headers={"Host": "localhost"}, trust_env=False, timeout=30
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "not_loopback")
        assert httpx.get(f"http://127.0.0.1:{port}/api/v1/health", trust_env=False, timeout=30).status_code == 200


def test_the_secret_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    settings = private_settings(data_dir=tmp_path / "new" / "aegis")
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(lambda _: operator_secret(settings), range(32)))
    assert len(secrets) == 1
    assert len(secrets.pop()) >= 40
    assert [path.name for path in (tmp_path / "new" / "aegis").iterdir()] == ["operator-secret"]
    assert (tmp_path / "new" / "aegis" / "operator-secret").stat().st_mode & 0o777 == 0o600


def test_a_secret_of_the_settings_goes_first(tmp_path: Path) -> None:
    settings = private_settings(data_dir=tmp_path, operator_secret=SecretStr("given-by-settings"))
    assert operator_secret(settings) == "given-by-settings"
    assert not list(tmp_path.iterdir())


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    settings = private_settings(data_dir=tmp_path)
    operator_secret(settings)
    (tmp_path / "operator-secret").chmod(0o644)
    with pytest.raises(ConfigurationError, match="is open to other users: chmod 600"):
        operator_secret(settings)


def test_an_empty_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "operator-secret").touch(mode=0o600)
    with pytest.raises(ConfigurationError, match="holds no secret"):
        operator_secret(private_settings(data_dir=tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match=r"cannot be kept in .*; set AEGIS_OPERATOR_SECRET"):
        operator_secret(private_settings(data_dir=tmp_path / "aegis"))


def test_a_store_that_cannot_be_reached_stops_the_server_with_its_error() -> None:
    with pytest.raises(StoreError, match="cannot be reached"):
        serve(private_settings(url="redis://127.0.0.1:1", operator_secret=SecretStr("x" * 16), port=0))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidRequestError("x"), 422),
        (InvalidRequestError("x", code="malformed_json"), 400),
        (InvalidRequestError("x", code="too_large"), 413),
        (PolicyError("x"), 422),
        (NotFoundError("x"), 404),
        (UnknownModelError("x"), 404),
        (ConflictError("x"), 409),
        (ConflictError("x", code="too_many_agents"), 429),
        (AuthError("x", code="bad_token"), 401),
        (AuthError("x", code="not_yours"), 403),
        (ConfigurationError("x"), 503),
        (StoreError("x"), 503),
        (StaleError("x"), 503),
    ],
)
def test_every_error_has_its_status(error: InvalidRequestError, status: int) -> None:
    assert status_of(error) == status


def test_a_store_that_is_gone_is_a_503_and_not_a_verdict(settings: Settings) -> None:
    from aegis_core.store.embedded import join_sync

    handle = join_sync(None, throwaway=True)
    gone = settings.model_copy(update={"url": handle.url})
    with serving(gone) as url, httpx.Client(base_url=f"{url}/api/v1", trust_env=False, timeout=30) as http:
        assert http.post("/handshake", json={"agent_id": "a"}).status_code == 200
        handle.leave_sync()
        _stop(handle.url)
        for answer in (http.post("/handshake", json={"agent_id": "a"}), http.get("/ready"), http.get("/agents")):
            problem = answer.json()
            assert (answer.status_code, problem["code"], problem["reason"]) == (503, "store_unavailable", "down")
            assert "cannot be reached" in problem["detail"]
            assert answer.headers["retry-after"] == "1"
        assert http.get("/health").status_code == 200


def _stop(url: str) -> None:
    """The supervisor ends a throw-away server once its last user has left; make sure that it is gone."""
    import redis

    with suppress(redis.exceptions.ConnectionError):
        redis.Redis.from_url(url).shutdown(nosave=True)


def test_too_many_agents_is_a_429(settings: Settings) -> None:
    with (
        serving(settings.model_copy(update={"max_agents": 1})) as url,
        httpx.Client(trust_env=False, timeout=30) as http,
    ):
        assert http.post(f"{url}/api/v1/handshake", json={"agent_id": "a"}).status_code == 200
        answer = http.post(f"{url}/api/v1/handshake", json={"agent_id": "b"})
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_agents")
    assert "already has 1 agents, its ceiling (AEGIS_MAX_AGENTS)" in answer.json()["detail"]

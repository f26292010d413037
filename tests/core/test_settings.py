"""Settings come from ``AEGIS_`` variables and the file that one names; one that cannot be accepted is named."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from aegis_core import ConfigurationError, Settings
from aegis_core.connect import with_overrides
from aegis_core.settings import EMBEDDED, load_settings


@pytest.fixture(autouse=True)
def _bare_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AEGIS_TIMEZONE")  # that of the tests


def test_without_anything_the_defaults_hold() -> None:
    settings = load_settings()
    assert (settings.url, settings.is_embedded, settings.tenant, settings.timezone) == (
        EMBEDDED,
        True,
        "default",
        "UTC",
    )
    assert (settings.agent_day_usd, settings.tenant_day_usd) == (10, 100)
    assert (settings.grant_seconds, settings.approval_seconds, settings.reservation) == (600, 600, "strict")
    assert settings.operator_secret is settings.policy_file is settings.data_dir is None


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("url", "redis://127.0.0.1:6379/3", "redis://127.0.0.1:6379/3"),
        ("data_dir", "/tmp/x", Path("/tmp/x")),
        ("embedded_stay", "true", True),
        ("tenant", "acme", "acme"),
        ("tenant", "ａｃｍｅ", "acme"),
        ("timezone", "Europe/Zurich", "Europe/Zurich"),
        ("host", "::1", "::1"),
        ("port", "9000", 9000),
        ("log_level", "debug", "debug"),
        ("policy_file", "rules.json", Path("rules.json")),
        ("catalog_file", "catalog.json", Path("catalog.json")),
        ("agent_day_usd", "2.50", Decimal("2.50")),
        ("tenant_day_usd", "0.000000001", Decimal("0.000000001")),
        ("reservation", "forecast", "forecast"),
        ("grant_seconds", "30.5", 30.5),
        ("max_grant_seconds", "60", 60.0),
        ("approval_seconds", "60", 60.0),
        ("idempotency_seconds", "60", 60.0),
        ("session_idle_seconds", "60", 60.0),
        ("max_open_grants", "5", 5),
        ("max_agents", "5", 5),
        ("events_kept", "100", 100),
        ("store_timeout_seconds", "1", 1.0),
        ("models", '{"prod": "gpt-4o"}', {"prod": "gpt-4o"}),
        ("output_tokens", "8192", 8_192),
        ("telegram_chat_id", "-1001234567890", -1001234567890),
        ("telegram_operators", "11=ana, 22", "11=ana, 22"),
        ("telegram_api_url", "http://127.0.0.1:8081/", "http://127.0.0.1:8081"),
        ("approval_webhook_allow_private", "true", True),
    ],
)
def test_each_variable_is_read(monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: object) -> None:
    monkeypatch.setenv(f"AEGIS_{name.upper()}", value)
    assert getattr(load_settings(), name) == expected


def test_the_file_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text('AEGIS_TENANT=from-file\nAEGIS_PORT="9001"\n# AEGIS_HOST=x\nOTHER=1\nAEGIS_POLICY_FILE=\n')
    monkeypatch.setenv("AEGIS_PORT", "9002")
    monkeypatch.setenv("AEGIS_ENV_FILE", ".env")
    settings = load_settings(host="127.0.0.2")
    assert (settings.tenant, settings.port, settings.host, settings.policy_file) == (
        "from-file",
        9002,
        "127.0.0.2",
        None,
    )
    assert with_overrides(settings, tenant="given", url=None).tenant == "given"
    assert with_overrides(settings, tenant=None, url=None) is settings


def test_an_empty_value_is_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "PORT", "TENANT", "TIMEZONE", "POLICY_FILE", "OPERATOR_SECRET", "AGENT_DAY_USD"):
        monkeypatch.setenv(f"AEGIS_{name}", "")
    monkeypatch.setenv("USE_FAKE_REDIS", "")
    assert load_settings() == Settings()
    assert load_settings().is_embedded


@pytest.mark.parametrize("value", ["true", "1", "TRUE", "yes"])
def test_use_fake_redis_means_embedded_whatever_the_url_says(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("AEGIS_URL", "redis://127.0.0.1:1")
    assert not load_settings().is_embedded
    monkeypatch.setenv("USE_FAKE_REDIS", value)
    assert load_settings().is_embedded
    monkeypatch.setenv("USE_FAKE_REDIS", "false")
    assert not load_settings().is_embedded


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("USE_FAKE_REDIS", "maybe", "boolean"),
        ("AEGIS_EMBEDDED_STAY", "maybe", "boolean"),
        ("AEGIS_TENANT", "a b", "must be 1 to 128 letters"),
        ("AEGIS_TENANT", "{x}", "must be 1 to 128 letters"),
        ("AEGIS_TIMEZONE", "Mars/Base", "'Mars/Base' is not a time zone; give an IANA name"),
        ("AEGIS_TIMEZONE", "/etc/passwd", "is not a time zone"),
        ("AEGIS_PORT", "many", "integer"),
        ("AEGIS_PORT", "65536", "less than or equal to 65535"),
        ("AEGIS_LOG_LEVEL", "loud", "must be one of 'debug', 'info', 'warning' or 'error'"),
        ("AEGIS_AGENT_DAY_USD", "-1", "is negative"),
        ("AEGIS_AGENT_DAY_USD", "nan", "is not finite"),
        ("AEGIS_TENANT_DAY_USD", "lots", "is not an amount of dollars"),
        ("AEGIS_TENANT_DAY_USD", "9e9", "is beyond the largest amount"),
        ("AEGIS_RESERVATION", "loose", "must be one of 'strict' or 'forecast'"),
        ("AEGIS_GRANT_SECONDS", "0", "greater than or equal to 0.05"),
        ("AEGIS_GRANT_SECONDS", "nan", ""),
        ("AEGIS_MAX_GRANT_SECONDS", "1e9", "less than or equal to"),
        ("AEGIS_APPROVAL_SECONDS", "soon", "number"),
        ("AEGIS_IDEMPOTENCY_SECONDS", "1", "greater than or equal to 60"),
        ("AEGIS_SESSION_IDLE_SECONDS", "0", "greater than or equal to 1"),
        ("AEGIS_MAX_OPEN_GRANTS", "0", "greater than or equal to 1"),
        ("AEGIS_MAX_AGENTS", "1.5", "integer"),
        ("AEGIS_EVENTS_KEPT", "10", "greater than or equal to 100"),
        ("AEGIS_STORE_TIMEOUT_SECONDS", "inf", "less than or equal to 300"),
        ("AEGIS_MODELS", "prod=gpt-4o", "is not valid JSON"),
        ("AEGIS_OUTPUT_TOKENS", "0", "greater than or equal to 1"),
    ],
)
def test_a_value_that_cannot_be_accepted_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, problem: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert caught.value.message.startswith(f"{name} ")
    assert problem in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.facts["field"] == name


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEGIS_OPERATOR_SECRET", "aegis_op_hunter2")
    monkeypatch.setenv("AEGIS_PEPPER", "hunter2")
    assert "hunter2" not in repr(load_settings())


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("AEGIS_REQUIRE_KEY", "AEGIS_REQUIRE_KEYS"),
        ("AEGIS_REQUIRED_KEYS", "AEGIS_REQUIRE_KEYS"),
        ("aegis_store_timeout", "AEGIS_STORE_TIMEOUT_SECONDS"),
        ("AEGIS_OPERATOR_SECRETS", "AEGIS_OPERATOR_SECRET"),
        ("AEGIS_ENVFILE", "AEGIS_ENV_FILE"),
        ("AEGIS_QQQQ", None),
    ],
)
@pytest.mark.parametrize("place", ["environment", "named file", "working directory"])
def test_a_misspelt_setting_fails_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, name: str, nearest: str | None, place: str
) -> None:
    if place == "environment":
        monkeypatch.setenv(name, "true")
    else:
        Path("named" if place == "named file" else ".env").write_text(f"AEGIS_TENANT=acme\n{name}=true\n")
    if place == "named file":
        monkeypatch.setenv("AEGIS_ENV_FILE", "named")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(working_directory=True)
    where = {"environment": "the environment", "named file": "named", "working directory": ".env"}[place]
    hint = f" (did you mean {nearest}?)" if nearest else ""
    assert caught.value.message.startswith(f"In {where}, {name.upper()} is not a setting{hint}; nothing was started.")
    assert (caught.value.facts["field"], caught.value.facts["nearest"]) == (name.upper(), nearest)


def test_a_file_that_is_not_read_does_not_fail() -> None:
    Path(".env").write_text("AEGIS_REQUIRE_KEY=true\n")
    assert load_settings().require_keys is False


def test_of_many_misspelt_settings_some_are_named_and_the_rest_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        monkeypatch.setenv(f"AEGIS_HOSTS{number}", "x")
    with pytest.raises(ConfigurationError, match=r"AEGIS_HOSTS4 is not a setting.*, nor are 4 more;"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AEGIS_SERVICE_HOST", "10.0.0.1"),
        ("AEGIS_SERVICE_PORT_HTTP", "8000"),
        ("AEGIS_REDIS_SERVICE_PORT", "6379"),
        ("AEGIS_REDIS_PORT", "tcp://10.0.0.2:6379"),
        ("AEGIS_PORT_8000_TCP", "tcp://10.0.0.1:8000"),
        ("AEGIS_REDIS_PORT_6379_TCP_ADDR", "10.0.0.2"),
        ("AEGIS_REQUIRE_KEY", ""),
        ("OTHER_AEGIS_REQUIRE_KEY", "true"),
    ],
)
def test_what_kubernetes_sets_and_what_says_nothing_is_no_misspelt_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert load_settings() == Settings()

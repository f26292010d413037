"""The settings of a process: read once from the environment (prefix ``AEGIS_``) and passed in, never global."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, SettingsConfigDict, SettingsError

from aegis_core.protocol.ceilings import checked_acts, checked_bounds
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.protocol.events import Names
from aegis_core.protocol.fields import Identifier, Usd
from aegis_core.protocol.misspelt import refuse_misspelt
from aegis_core.protocol.parsing import Message, invalid

EMBEDDED = "embedded"
WORKING_DIRECTORY_FILE = ".env"
"""What a server reads in the directory in which it is started."""


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{value!r} is not a time zone; give an IANA name such as Europe/Zurich") from None
    return value


def _http(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError(f"{value!r} is not a URL; it begins with https://")
    return value.rstrip("/")


def _operators(value: str) -> str:
    read_operators(value)
    return value


_SHARED_IDS = {
    777000: "itself and for posts of linked channels",
    1087968824: "every anonymous administrator of a group",
    136817688: "everybody who writes as a channel",
}


def read_operators(text: str) -> dict[int, str]:
    """The names of operators by their Telegram user id, from ``123456=ana,234567``.

    Raises:
        ValueError: an entry that is neither ``id`` nor ``id=name``, or an id that many share.
    """
    found: dict[int, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        number, _, name = entry.partition("=")
        if not number.strip().isdecimal():
            raise ValueError(f"{entry!r} is not a Telegram user id; give 123456 or 123456=name, with commas between")
        if (shared := _SHARED_IDS.get(int(number))) is not None:
            raise ValueError(f"{entry!r} is nobody's own: Telegram uses that id for {shared}; give the ids of persons")
        found[int(number)] = name.strip()
    return found


def _networks(value: str) -> str:
    read_networks(value)
    return value


def read_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Networks from ``10.0.0.0/8, ::1``.

    Raises:
        ValueError: an entry that is neither an address nor a network.
    """
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


@dataclass(frozen=True, slots=True)
class ReadBy:
    """Marks a setting that names a file of prices: the `module` of `metering` that reads it, with its `READ`."""

    module: str


class EventWebhook(Message):
    """A webhook that is told of events: of all, or of those of a kind, of an agent, with a code."""

    url: Annotated[str, AfterValidator(_http)]
    secret: SecretStr | None = None
    allow_private: bool = False
    kind: Names | None = None
    agent: Identifier | None = None
    code: Names | None = None


class Settings(BaseSettings):
    """Every variable that Aegis reads. Durations are seconds, money is US dollars."""

    model_config = SettingsConfigDict(env_prefix="AEGIS_", env_ignore_empty=True, extra="ignore")

    env_file: Path | None = Field(default=None, description="A file of further variables; the environment wins.")
    url: str = Field(default=EMBEDDED, description="Where the state lives; unset: an embedded server.")
    use_fake_redis: bool = Field(
        default=False,
        validation_alias=AliasChoices("USE_FAKE_REDIS", "use_fake_redis"),
        description="A synonym of the embedded server, whatever AEGIS_URL says.",
    )
    data_dir: Path | None = Field(default=None, description="Where the embedded server keeps its data.")
    embedded_stay: bool = Field(default=False, description="Keep the embedded server when the last process leaves.")
    tenant: Identifier = "default"
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    max_connections_per_address: Annotated[int, Field(ge=1, le=1_000_000)] = 500
    expect_state: bool = Field(
        default=False, description="Redis holds the tenant's state: an empty one was emptied, and is no first start."
    )
    state_file: Path | None = Field(
        default=None, description="Where processes note what Redis held, for those that start when it no longer does."
    )
    open_tenants: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = Field(
        default="", description="Addresses or networks, with commas, whose X-Forwarded-For says who sent a request."
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    policy_file: Path | None = Field(default=None, description="Rules to publish at start; unset: those in force.")
    policy_file_replaces: bool = Field(
        default=False, description="Let those rules replace what somebody published since."
    )
    catalog_file: Path | None = Field(default=None, description="Models and tiers instead of the shipped ones.")
    prices_file: Annotated[Path | None, ReadBy("price_file")] = Field(
        default=None, description="Prices beside the installed list; the higher counts."
    )
    models: dict[Identifier, Identifier] = Field(
        default_factory=dict[str, str],
        description='Names of deployments and the models that they are, as JSON: {"my-deployment": "gpt-4o"}.',
    )
    output_tokens: Annotated[int, Field(ge=1, le=100_000_000)] | None = Field(
        default=None, description="The longest answer of a model of which no table knows it."
    )
    routing_file: Path | None = Field(default=None, description="A text model that aegis route fit wrote.")
    chains_file: Path | None = Field(
        default=None, description="Chains, their nodes and the prices of their coins, as JSON; agents name no node."
    )
    require_keys: bool = Field(default=False, description="Ask for API keys although none was made yet.")
    api_key: SecretStr | None = Field(
        default=None, description="What a client shows to the governor at an http(s) URL."
    )
    allow_plain_http: bool = Field(
        default=False, description="Show that key to a governor beyond this machine that speaks plain http, too."
    )
    operator_secret: SecretStr | None = None
    pepper: SecretStr | None = None
    agent_day_usd: Usd = Field(default=Decimal(10), description="Day budget of an agent seen for the first time.")
    tenant_day_usd: Usd = Field(default=Decimal(100), description="Day budget of a tenant made for the first time.")
    shadow_day_usd: Usd = Field(
        default=Decimal(1), description="What shadow experiments may cost in a day; at most 2 % of the last 24 hours."
    )
    kaizen_auto: Annotated[str, AfterValidator(checked_acts)] = Field(
        default="", description="Changes that Kaizen tries without asking a person: tighten, substitute, with commas."
    )
    kaizen_ceilings: Annotated[str, AfterValidator(checked_bounds)] = Field(
        default="", description="Rules whose limit Kaizen may propose to move, and between what: cost-limit=0.5..5,…"
    )
    kaizen_stage_hours: Annotated[float, Field(ge=0.1, le=720)] = Field(
        default=24,
        description="How long a canary has half of the sessions; before that 10 and 25 %, each half as long.",
    )
    reservation: Literal["strict", "forecast"] = "strict"
    grant_seconds: Annotated[float, Field(ge=0.05, le=86_400)] = 600
    max_grant_seconds: Annotated[float, Field(ge=0.05, le=604_800)] = 3_600
    approval_seconds: Annotated[float, Field(ge=0.05, le=604_800)] = 600
    max_open_approvals: Annotated[int, Field(ge=1, le=100_000)] = 20
    refusal_seconds: Annotated[float, Field(ge=0.05, le=604_800)] = 3_600
    idempotency_seconds: Annotated[float, Field(ge=60, le=604_800)] = 3_600
    pending_share: Annotated[float, Field(ge=0.001, le=1)] = 0.5
    max_requests_per_second: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    max_lock_waits: Annotated[int, Field(ge=1, le=10_000)] = 64
    max_lock_waits_per_key: Annotated[int, Field(ge=1, le=10_000)] = 1_024
    max_locks_per_key: Annotated[int, Field(ge=1, le=10_000)] = 5_000
    session_idle_seconds: Annotated[float, Field(ge=1, le=31_536_000)] = 86_400
    max_open_grants: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    max_agents: Annotated[int, Field(ge=1, le=100_000_000)] = 1_000_000
    max_agents_per_key: Annotated[int, Field(ge=1, le=100_000_000)] = 100_000
    estimated_alert_percent: Annotated[float, Field(ge=0, le=100)] = Field(
        default=20, description="From which share of estimated dollars on an agent's last hour is an event; 0: never."
    )
    events_kept: Annotated[int, Field(ge=100, le=100_000_000)] = 100_000
    events_kept_days: Annotated[float, Field(ge=0, le=36_500)] = Field(
        default=90, description="How long events are kept, where their number allows it; 0: by number only."
    )
    metrics_budgets: Annotated[int, Field(ge=0, le=200)] = Field(
        default=0, description="Of how many agents, and of how many labels, /metrics shows the budgets; 0: of none."
    )
    store_timeout_seconds: Annotated[float, Field(ge=0.05, le=300)] = 5

    proxy_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    proxy_upstreams: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="Further upstreams of the proxy, or other URLs, as JSON from names to URLs.",
    )
    proxy_fallbacks: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="Who answers where an upstream fails, as JSON from UPSTREAM/MODEL to UPSTREAM/MODEL.",
    )
    shadow_judge: str = Field(
        default="",
        description="Who judges the proxy's shadow experiments: package.module:judge, or exact-agreement.",
    )
    proxy_keys_file: Path | None = Field(
        default=None, description="The providers' keys, as JSON from names of upstreams; readable by you alone."
    )
    proxy_max_body_mb: Annotated[int, Field(ge=1, le=1_024)] = 32
    proxy_drain_seconds: Annotated[float, Field(ge=0, le=3_600)] = Field(
        default=120, description="How long a proxy that is told to stop lets its answers go on."
    )

    telegram_token: SecretStr | None = Field(default=None, description="The bot's token, from @BotFather.")
    telegram_chat_id: int | None = Field(default=None, description="The chat in which approvals are announced.")
    telegram_topic_id: int | None = Field(default=None, description="Of a forum: the topic in which that is done.")
    telegram_operators: Annotated[str, AfterValidator(_operators)] = Field(
        default="", description="Who may decide there: user ids, or id=name, with commas between."
    )
    telegram_api_url: Annotated[str, AfterValidator(_http)] = "https://api.telegram.org"
    telegram_webhook_url: Annotated[str, AfterValidator(_http)] | None = Field(
        default=None, description="Where Telegram reaches /api/v1/telegram/webhook; unset: long polling."
    )
    telegram_webhook_secret: SecretStr | None = Field(default=None, description="Unset: derived from the pepper.")
    alerts_per_hour: Annotated[int, Field(ge=0, le=1_000)] = 0
    event_webhooks: dict[Identifier, EventWebhook] = Field(
        default_factory=dict[str, EventWebhook],
        description='Who is told of events, as JSON: {"siem": {"url": "https://…", "secret": "whsec_…"}}.',
    )
    event_webhook_give_up_seconds: Annotated[float, Field(ge=1, le=2_592_000)] = Field(
        default=86_400, description="After how long an event is put aside that its webhook answers with errors."
    )
    approval_webhook_url: Annotated[str, AfterValidator(_http)] | None = Field(
        default=None, description="Where approvals are posted, signed."
    )
    approval_webhook_secret: SecretStr | None = None
    approval_webhook_allow_private: bool = Field(
        default=False, description="Let that URL lead to this machine or a private network, and be plain http."
    )

    @property
    def is_embedded(self) -> bool:
        """True when the state lives in the embedded server."""
        return self.use_fake_redis or self.url == EMBEDDED


def load_settings(*, working_directory: bool = False, **overrides: Any) -> Settings:
    """Read the environment and the file that ``AEGIS_ENV_FILE`` names; keyword arguments win.

    Args:
        working_directory: where no file is named, read ``.env`` of the working directory. For servers, which start
            where they belong; anybody may have written the directory in which a command is given.
        **overrides: settings by name.

    Raises:
        ConfigurationError: a variable that is no setting, or whose value cannot be accepted, by name; or a file that
            cannot be read.
    """
    try:
        refuse_unknown(EnvSettingsSource(Settings).env_vars, "the environment")
        named = Settings(**overrides).env_file
        if named is None and not working_directory:
            return Settings(**overrides)
        if named is not None and not os.access(named, os.R_OK):
            raise ConfigurationError(f"AEGIS_ENV_FILE: {named} cannot be read", field="AEGIS_ENV_FILE")
        refuse_unknown_in(named or Path(WORKING_DIRECTORY_FILE))
        return Settings(_env_file=named or WORKING_DIRECTORY_FILE, **overrides)  # pyright: ignore[reportCallIssue]
    except ValidationError as error:
        found = invalid(error)
        name = found.field if found.field == "USE_FAKE_REDIS" else f"AEGIS_{found.field.upper()}"
        raise ConfigurationError(f"{name} {found.facts['problem']}", field=name) from None
    except SettingsError as error:  # of the variables that are JSON
        name, shown = "AEGIS_MODELS", '{"my-deployment": "gpt-4o"}'
        if "proxy_upstreams" in str(error):
            name, shown = "AEGIS_PROXY_UPSTREAMS", '{"openrouter": "https://openrouter.ai/api"}'
        if "proxy_fallbacks" in str(error):
            name, shown = "AEGIS_PROXY_FALLBACKS", '{"openai/gpt-5.5": "azure/gpt-5.5"}'
        if "event_webhooks" in str(error):
            name, shown = "AEGIS_EVENT_WEBHOOKS", '{"siem": {"url": "https://siem.example/aegis", "secret": "whsec_…"}}'
        raise ConfigurationError(f"{name} is not valid JSON; give {shown}", field=name) from None


def refuse_unknown_in(file: Path) -> None:
    """`refuse_unknown` for a file of variables.

    Raises:
        ConfigurationError: as there.
    """
    refuse_unknown(DotEnvSettingsSource(Settings, env_file=file).env_vars, str(file))


def refuse_unknown(variables: Mapping[str, str | None], place: str) -> None:
    """Refuse a variable that begins as the settings do and is none.

    Args:
        variables: names to values.
        place: where they stand, for the message.

    Raises:
        ConfigurationError: as `refuse_misspelt`.
    """
    refuse_misspelt(variables, place, list(Settings.model_fields))

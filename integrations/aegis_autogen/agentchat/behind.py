"""The clients behind a governed one: what each is set to, and how it takes the cap of an answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

from autogen_core.models import ChatCompletionClient

from aegis_core.adapting.caps import BY_TABLE, cap_in, cap_name, with_cap
from aegis_core.adapting.request_settings import settings_in


@dataclass(frozen=True)
class Behind:
    """One client.

    Attributes:
        client: as it was given.
        provider: the same, or the client in it where it keeps answers in a cache.
        config: what its component declares; nothing where it declares none.
        sends: what it adds to each request. Its component does not declare all of that.
    """

    client: ChatCompletionClient
    provider: ChatCompletionClient
    config: Mapping[str, Any]
    sends: Mapping[str, Any]

    @classmethod
    def of(cls, client: ChatCompletionClient) -> Self:
        """Look at a client."""
        provider = client
        while isinstance(inner := getattr(provider, "client", None), ChatCompletionClient):
            provider = inner
        sends: object = getattr(provider, "_create_args", None)
        return cls(
            client,
            provider,
            _config_of(provider),
            cast("Mapping[str, Any]", sends) if isinstance(sends, Mapping) else {},
        )

    @property
    def model(self) -> str | None:
        """The model that it says to call."""
        found = self.config.get("model") or self.sends.get("model")
        return found if isinstance(found, str) else None

    @property
    def cap(self) -> int | None:
        """The cap that it is set to."""
        return cap_in(self.sends, self.config)

    def cap_name(self, model: str, argument: str | None, sent: Mapping[str, Any]) -> str | None:
        """By which argument of a call it takes the cap: the given one, or that of the table."""
        return cap_name(self.provider, model, self.sends, sent) if argument == BY_TABLE else argument

    def capped(self, model: str, argument: str | None, sent: Mapping[str, Any], cap: int | None) -> dict[str, Any]:
        """The further arguments of a call, with the cap."""
        return with_cap(sent, self.cap_name(model, argument, sent), cap)


def settings_of(behind: Iterable[Behind], sent: Mapping[str, object], json_output: object) -> dict[str, object]:
    """What a call says to the provider beside messages and tools that is input, or that changes what it may cost."""
    clients = list(behind)
    more = {name: value for each in clients for name, value in each.sends.items()}
    said = settings_in({**more, **sent}, *(each.config for each in clients))
    return said | ({"response_format": json_output} if isinstance(json_output, type) else {})


def _config_of(client: ChatCompletionClient) -> Mapping[str, Any]:
    try:
        return client.dump_component().config
    except Exception:  # noqa: BLE001 - a client need not be a component, and fails in its own way then
        return {}

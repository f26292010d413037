"""Clients of frameworks that need a hand to speak to the SDKs of today."""

from __future__ import annotations

from typing import Any


def without_temperature(client: Any) -> Any:
    """AutoGen's client of Anthropic, which always sends a temperature; Anthropic's SDK takes none any more."""
    create = client._client.messages.create

    async def created(temperature: object = None, **request: Any) -> Any:
        return await create(**request)

    client._client.messages.create = created
    return client

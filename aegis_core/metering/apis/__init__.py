"""One reader for each API. A new one is a file here and a name in `APIS`."""

from __future__ import annotations

from aegis_core.metering.apis import (
    anthropic,
    bedrock,
    gemini,
    openai_chat,
    openai_compatible,
    openai_responses,
    openrouter,
)
from aegis_core.metering.apis.api import Api

APIS: tuple[Api, ...] = (
    openai_responses.API,
    anthropic.API,
    gemini.API,
    bedrock.API,
    openrouter.API,
    openai_chat.API,
    openai_compatible.API,
)
"""In the order in which a payload of an unnamed API is tried; those that claim the most come last."""

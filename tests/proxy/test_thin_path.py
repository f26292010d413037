"""Official SDKs through the proxy: answers as without it, and charged to the nano-dollar what was billed."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from payloads import Spent
from stands import MODELS, PROVIDER_KEY, Stand, charged, estimated

SDKS = ("openai_chat", "openai_responses", "anthropic", "gemini")
SAID: Any = [{"role": "user", "content": "Hello there"}]


def call(api: str, url: str, key: str, streamed: bool, **more: Any) -> Any:
    """One call by the official SDK: its answer, or all parts of its stream, as plain values."""
    model = MODELS[api]
    if api.startswith("openai"):
        with openai.OpenAI(base_url=f"{url}/v1", api_key=key, timeout=30) as client:
            if api == "openai_chat":
                found: Any = client.chat.completions.create(model=model, messages=SAID, stream=streamed, **more)
            else:
                found = client.responses.create(model=model, input="Hello there", stream=streamed, **more)
            return plain(found, streamed)
    if api == "anthropic":
        with anthropic.Anthropic(base_url=url, api_key=key, timeout=30) as claude:
            found = claude.messages.create(model=model, messages=SAID, stream=streamed, **{"max_tokens": 900, **more})
            return plain(found, streamed)
    google = genai.Client(api_key=key, http_options=genai.types.HttpOptions(base_url=url, timeout=30_000))
    models = google.models
    if streamed:
        return plain(models.generate_content_stream(model=model, contents="Hello there", **more), True)
    return plain(models.generate_content(model=model, contents="Hello there", **more), False)


def plain(found: Any, streamed: bool) -> Any:
    parts = [part.model_dump(mode="json", warnings=False) for part in (list(found) if streamed else [found])]
    for part in parts:
        part.pop("sdk_http_response", None)
    return parts


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("api", SDKS)
def test_an_answer_is_the_same_as_without_the_proxy_and_charged_as_billed(
    stand: Stand, api: str, streamed: bool
) -> None:
    provider, key = stand.provider, stand.key()
    provider.spent = Spent(fresh=7, said=40)
    direct = call(api, provider.url, "none", streamed)
    before, provider.billed = provider.asked.pop(), 0
    assert call(api, stand.url, key.secret or "", streamed) == direct
    ends = stand.ended(key.terms.agent_id)
    assert ([event.kind for event in ends], estimated(ends)) == (["settled"], [False])
    assert charged(ends) == provider.billed_usd
    (asked,) = provider.asked
    assert asked.path == before.path
    assert key.secret not in json.dumps(asked.headers)
    assert PROVIDER_KEY in json.dumps(asked.headers)

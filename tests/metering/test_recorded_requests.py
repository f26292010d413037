"""Requests that real clients sent, as they were recorded: each has a bound and a price."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from aegis_core.metering.bound import Limits, bound
from aegis_core.metering.price_book import PriceBook

RECORDED = Path(__file__).parents[3] / "shared" / "design" / "recorded"
BOOK = PriceBook()

APIS = (
    (r"/chat/completions", "openai"),
    (r"/embeddings", "openai_embeddings"),
    (r"/responses", "openai"),
    (r"/messages", "anthropic"),
    (r"EmbedContents?$", "gemini_embeddings"),
    (r":(?:stream)?[gG]enerateContent|:countTokens", "gemini"),
)


def recorded() -> list[tuple[str, str, str | None, dict[str, Any]]]:
    """File and number, API, model of the path, and body of each request that has one."""
    found: list[tuple[str, str, str | None, dict[str, Any]]] = []
    for file in sorted(RECORDED.glob("[!_]*.json")) if RECORDED.is_dir() else ():
        for number, request in enumerate(json.loads(file.read_text())["requests"]):
            path = request["path"].partition("?")[0]
            api = next((api for pattern, api in APIS if re.search(pattern, path)), None)
            if api and isinstance(request["body"], dict):
                model = re.search(r"/models/([^:/]+):", path)
                found.append((f"{file.stem} {number}", api, model[1] if model else None, request["body"]))
    return found


@pytest.mark.skipif(not RECORDED.is_dir(), reason="needs the recorded requests beside the checkout")
def test_every_request_of_every_client_has_a_bound_and_a_price() -> None:
    requests = recorded()
    assert len(requests) > 40
    for name, api, model, body in requests:
        output = BOOK.output_maximum(model or body["model"])
        most = bound(body, api=api, model=model, limits=Limits(output_tokens=output))
        assert most.input_tokens > 0, name
        assert most.least_input_tokens <= most.input_tokens, name
        assert BOOK.bound(most) > 0, name
        assert (most.output_tokens == 0) == api.endswith("embeddings"), name
        if "cache_control" in json.dumps(body):
            assert most.cache_write == "5m", name
        elif api in {"anthropic", "gemini"}:
            assert most.cache_write is None, name

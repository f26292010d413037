"""Names: one identity whatever the spelling, the price of the place, and a refusal that says what to do."""

from __future__ import annotations

import pytest
from genai_prices.data_snapshot import get_snapshot

from aegis_core.metering.names import Resolver
from aegis_core.metering.price_book import PriceBook
from aegis_core.protocol.errors import UnknownModelError
from aegis_core.protocol.usage import Usage

ALIASES = {"prod-chat": "gpt-4o", "azure/my-deployment": "gpt-4o", "Team/Helper": "claude-sonnet-4-5"}
BOOK = PriceBook(aliases=ALIASES)
PROFILE = "arn:aws:bedrock:us-east-1:1:inference-profile"

# Dollars a million input and output tokens, from genai-prices 0.2.3 and the pages that it names.
SPELLINGS: dict[str, tuple[str, float, float]] = {
    "gpt-4o": ("gpt-4o", 2.5, 10),
    "GPT-4o": ("gpt-4o", 2.5, 10),
    "openai/gpt-4o": ("gpt-4o", 2.5, 10),
    "openai:gpt-4o": ("gpt-4o", 2.5, 10),
    "openai-responses:gpt-4o": ("gpt-4o", 2.5, 10),
    "gpt-4o-2024-11-20": ("gpt-4o", 2.5, 10),
    "gpt-4o-2024-05-13": ("gpt-4o", 5, 15),
    "azure/gpt-4o": ("gpt-4o", 2.5, 10),
    "azure_ai/gpt-4o": ("gpt-4o", 2.5, 10),
    "azure/eu/gpt-4o-2024-08-06": ("gpt-4o", 2.75, 11),
    "openrouter/openai/gpt-4o": ("gpt-4o", 2.5, 10),
    "litellm_proxy/gpt-4o": ("gpt-4o", 2.5, 10),
    "litellm_proxy/azure/gpt-4o": ("gpt-4o", 2.5, 10),
    "ft:gpt-4o-2024-08-06:acme:bot:AbCdEf12": ("gpt-4o", 3.75, 15),
    "ft:gpt-4o-mini-2024-07-18:acme::AbCdEf12": ("gpt-4o-mini", 0.3, 1.2),
    "prod-chat": ("gpt-4o", 2.5, 10),
    "azure/my-deployment": ("gpt-4o", 2.5, 10),
    "claude-sonnet-4-5": ("claude-sonnet-4-5", 3, 15),
    "claude-sonnet-4-5-20250929": ("claude-sonnet-4-5", 3, 15),
    "anthropic:claude-sonnet-4-5": ("claude-sonnet-4-5", 3, 15),
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0": ("claude-sonnet-4-5", 3.3, 16.5),
    "global.anthropic.claude-sonnet-4-5-20250929-v1:0": ("claude-sonnet-4-5", 3, 15),
    "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0": ("claude-sonnet-4-5", 3.3, 16.5),
    "bedrock/converse/us.anthropic.claude-sonnet-4-5-20250929-v1:0": ("claude-sonnet-4-5", 3.3, 16.5),
    "bedrock/us-east-1/anthropic.claude-3-5-sonnet-20240620-v1:0": ("claude-3-5-sonnet", 3, 15),
    f"{PROFILE}/us.anthropic.claude-sonnet-4-5-20250929-v1:0": ("claude-sonnet-4-5", 3.3, 16.5),
    "vertex_ai/claude-sonnet-4-5@20250929": ("claude-sonnet-4-5", 3, 15),
    "openrouter/anthropic/claude-sonnet-4.5": ("claude-sonnet-4-5", 3, 15),
    "team/helper": ("claude-sonnet-4-5", 3, 15),
    "eu.amazon.nova-lite-v1:0": ("nova-lite", 0.06, 0.24),
    "amazon.nova-pro-v1:0": ("nova-pro", 0.8, 3.2),
    "gemini/gemini-2.5-flash": ("gemini-2.5-flash", 0.3, 2.5),
    "models/gemini-2.5-flash": ("gemini-2.5-flash", 0.3, 2.5),
    "google_genai:gemini-2.5-flash": ("gemini-2.5-flash", 0.3, 2.5),
    "publishers/google/models/gemini-2.5-flash": ("gemini-2.5-flash", 0.3, 2.5),
    "projects/p/locations/europe-west1/publishers/google/models/gemini-2.5-flash": ("gemini-2.5-flash", 0.3, 2.5),
    "fireworks_ai/accounts/fireworks/models/deepseek-v3p2": ("deepseek-v3p2", 0.56, 1.68),
    "fireworks/deepseek-v3p2": ("deepseek-v3p2", 0.56, 1.68),
    "text-embedding-3-small": ("text-embedding-3-small", 0.02, 0),
    "chatgpt-4o-latest": ("chatgpt-4o-latest", 5, 15),
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_spelling_has_one_identity_and_the_price_of_its_place(name: str) -> None:
    canonical, fresh, answer = SPELLINGS[name]
    assert BOOK.canonical(name) == canonical
    million = 10**6
    assert BOOK.price(Usage(model=name, input_tokens=1_000)) == round(fresh * million)
    assert BOOK.price(Usage(model=name, output_tokens=1_000)) == round(answer * million)


def test_a_catalog_s_names_are_the_canonical_ones() -> None:
    book = PriceBook(catalog={"smart": "anthropic:claude-sonnet-4-5", "gpt-4o": "openai:gpt-4o"})
    for name in ("smart", "claude-sonnet-4-5", "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0"):
        assert book.canonical(name) == "smart"
    assert book.canonical("ft:gpt-4o-2024-08-06:acme::X") == "gpt-4o"
    assert book.price(Usage(model="smart", input_tokens=1_000)) == 3_000_000


UNKNOWN = [
    "my-deployment", "azure/another-deployment", "ollama/llama3", "llama3.2", "qwen/qwen-2.5-72b-instruct",
    "ft:gpt-4.1-2025-04-14:acme::x", "claude-sonnet-9", "text-embedding-9", "x", "",
    "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abcd",
    "projects/p/locations/europe-west1/endpoints/123", "fireworks_ai/accounts/acme/models/own",
]  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_refusal_names_both_remedies_and_not_the_name_itself_as_the_nearest(name: str) -> None:
    with pytest.raises(UnknownModelError) as caught:
        BOOK.resolve(name)
    assert "AEGIS_PRICES_FILE" in caught.value.message
    assert f'AEGIS_MODELS={{"{name}": "gpt-4o"}}' in caught.value.message
    bare = name.rpartition("/")[2].lower()
    for near in caught.value.facts["nearest"]:
        assert bare not in {near.lower(), near.lower().partition(":")[0], near.lower().rpartition("/")[2]}


def test_names_of_the_list_itself_are_found_and_keep_their_price() -> None:
    resolver = Resolver(get_snapshot().providers)
    for provider in get_snapshot().providers:
        if provider.id not in {"openai", "anthropic", "google", "aws", "mistral", "deepseek"}:
            continue
        for model in provider.models:
            if model.id.startswith("ft:") or provider.find_model(model.id) is not model:
                continue
            place = "bedrock" if provider.id == "aws" else provider.id
            found = resolver.find(f"{place}:{model.id}")
            assert found is not None, model.id
            assert found.listed is not None
            assert found.listed.model is model


def test_an_alias_leads_nowhere_but_to_a_known_model() -> None:
    book = PriceBook(aliases={"a": "b", "b": "gpt-4o", "loop": "loop"})
    for name in ("a", "loop"):
        with pytest.raises(UnknownModelError):
            book.resolve(name)
    assert book.canonical("b") == "gpt-4o"


def test_a_provider_s_own_name_in_the_list_says_whose_prices_are_meant() -> None:
    """Every provider of the list can be named, also those that no framework has a word for."""
    for name in ("huggingface_together/deepseek-ai/DeepSeek-V4-Flash-0731", "ovhcloud:Llama-3.1-8B-Instruct"):
        listed = BOOK.resolve(name).listed
        assert listed is not None
        assert listed.provider.id == name.replace(":", "/").partition("/")[0]

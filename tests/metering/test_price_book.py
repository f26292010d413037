"""Prices: the list's own arithmetic as the cross-check, the operator's file, fees, tiers and longest answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from math import ceil
from pathlib import Path
from typing import Any

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot

from aegis_core.metering.bound import Bound
from aegis_core.metering.price_book import PriceBook
from aegis_core.metering.price_file import StatedPrices, read_price_file
from aegis_core.protocol.errors import AegisError, ConfigurationError, InvalidRequestError, UnknownModelError
from aegis_core.protocol.usage import CallTokens, Usage

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
PROFILE = "arn:aws:bedrock:eu-west-1:1:application-inference-profile/a"
BOOK = PriceBook(clock=lambda: AT)


def stated(tmp_path: Path, content: dict[str, Any]) -> StatedPrices:
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(content))
    return read_price_file(path)


CHAT_MODELS = [
    (provider.id, model.id)
    for provider in get_snapshot().providers
    if provider.id in {"openai", "anthropic", "google", "mistral", "deepseek", "x-ai", "groq"}
    for model in provider.models
]


@pytest.mark.parametrize("size", [900, 250_000, 400_000])
def test_every_model_costs_what_the_list_s_own_arithmetic_says(size: int) -> None:
    checked = 0
    for provider, model in CHAT_MODELS:
        name = f"{provider}:{model}"
        usage = Usage(model=name, input_tokens=size, output_tokens=777, cached_input_tokens=size // 3)
        theirs = genai_prices.Usage(input_tokens=size, output_tokens=777, cache_read_tokens=size // 3)
        try:
            mine = BOOK.price(usage, AT)
        except AegisError:
            continue
        listed = genai_prices.calc_price(theirs, model, provider_id=provider, genai_request_timestamp=AT)
        assert mine == ceil(listed.total_price * 10**9), name
        checked += 1
    assert checked > 200


@pytest.mark.parametrize("tier", ["flex", "priority", "batch"])
def test_every_tier_costs_what_the_list_s_own_arithmetic_says(tier: str) -> None:
    context = {"processing": "batch"} if tier == "batch" else {"service_tier": tier}
    checked = 0
    for provider, model in CHAT_MODELS:
        usage = Usage(model=f"{provider}:{model}", input_tokens=9_000, output_tokens=777, service_tier=tier)
        try:
            mine = BOOK.price(usage, AT)
        except AegisError:
            continue
        theirs = genai_prices.Usage(input_tokens=9_000, output_tokens=777)
        listed = genai_prices.calc_price(
            theirs, model, provider_id=provider, genai_request_timestamp=AT, price_context=context
        )
        assert mine == ceil(listed.total_price * 10**9), model
        checked += 1
    assert checked > 10


def test_facts_of_the_design() -> None:
    """Amounts measured or read off the providers' pages (genai-prices 0.2.3, docs/metering)."""
    for usage, dollars in (
        (
            Usage(model="claude-opus-4-6", input_tokens=40_020, output_tokens=100, cache_write_5m_tokens=40_000),
            "0.2526",
        ),
        (
            Usage(model="claude-opus-4-6", input_tokens=40_020, output_tokens=100, cache_write_1h_tokens=40_000),
            "0.4026",
        ),
        (Usage(model="gpt-4o", input_tokens=3_000, output_tokens=200, service_tier="priority"), "0.01615"),
        (Usage(model="gpt-5.5", input_tokens=272_000, output_tokens=10), "1.3603"),
        (Usage(model="gpt-5.5", input_tokens=272_001, output_tokens=10), "2.72046"),
        (Usage(model="claude-opus-4-7", input_tokens=1_000, output_tokens=10, speed="fast"), "0.0315"),
        (Usage(model="claude-opus-4-8", input_tokens=1_000, output_tokens=10, speed="fast"), "0.0105"),
        (Usage(model="gpt-5.5", code_sessions=2, file_searches=3), "0.0675"),
    ):
        assert BOOK.price(usage, AT) == int(Decimal(dollars) * 10**9), usage


def test_a_price_that_changes_on_a_day_is_that_of_the_day() -> None:
    # The long-context premium of claude-opus-4-6 ended on 13 March 2026 (claude.com/blog/1m-context-ga).
    usage = Usage(model="claude-opus-4-6", input_tokens=300_000)
    assert BOOK.price(usage, datetime(2026, 3, 12, tzinfo=UTC)) == 3_000_000_000
    assert BOOK.price(usage, datetime(2026, 3, 13, tzinfo=UTC)) == 1_500_000_000


@pytest.mark.parametrize("tier", [None, "batch"])
def test_a_bound_holds_beyond_the_end_of_an_introductory_price(tier: str | None) -> None:
    # gemini-3.8-flash costs half until the end of 2026 (ai.google.dev, pricing).
    usage = Usage(model="gemini-3.8-flash", input_tokens=1_000, output_tokens=1_000, service_tier=tier)
    now, later = BOOK.price(usage, AT), BOOK.price(usage, datetime(2027, 1, 2, tzinfo=UTC))
    assert later == 2 * now
    most = Bound(model="gemini-3.8-flash", input_tokens=1_000, output_tokens=1_000, service_tier=tier)
    assert BOOK.bound(most) == later


def test_each_pass_has_its_own_length_and_so_its_own_step() -> None:
    short = CallTokens(model="gpt-5.5", input_tokens=200_000)
    usage = Usage(model="gpt-5.5", input_tokens=200_000, iterations=(short,))
    assert BOOK.price(usage) == 2 * 1_000_000_000


def test_what_the_provider_states_counts_whatever_the_model() -> None:
    usage = Usage(model="nobody/knows", input_tokens=10, stated_cost_usd=Decimal("0.0123"))
    assert BOOK.price(usage) == 12_300_000


@pytest.mark.parametrize(
    ("usage", "field"),
    [
        (Usage(model="gpt-5.5", service_tier="ultrafast"), "service_tier"),
        (Usage(model="claude-sonnet-4-5", service_tier="priority"), "service_tier"),
        (Usage(model="azure/gpt-4o", service_tier="priority"), "service_tier"),
        (Usage(model="claude-sonnet-4-5", speed="fast"), "speed"),
        (Usage(model="gpt-4o", inference_geo="us"), "inference_geo"),
        (Usage(model="azure/gpt-4o", web_searches=1), "web_searches"),
        (Usage(model="claude-sonnet-4-5", file_searches=1), "file_searches"),
        (Usage(model="us.anthropic.claude-sonnet-4-5-20250929-v1:0", code_sessions=1), "code_sessions"),
    ],
)
def test_what_has_no_known_price_is_an_error_and_never_free(usage: Usage, field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        BOOK.price(usage)
    assert (caught.value.code, caught.value.field) == ("unpriced", field)


def test_parts_beyond_their_whole_are_refused() -> None:
    for parts in (
        {"cached_input_tokens": 6, "cache_write_1h_tokens": 5},
        {"audio_input_tokens": 11},
        {"cached_audio_tokens": 1, "cached_input_tokens": 1},
        {"reasoning_tokens": 1},
        {"audio_output_tokens": 1},
    ):
        with pytest.raises(ValueError, match="part of"):
            Usage(model="gpt-4o", input_tokens=10, **parts)  # type: ignore[arg-type]


def test_a_usage_is_a_value() -> None:
    one = Usage(model="gpt-4o", input_tokens=5, iterations=(CallTokens(model="gpt-4o"),))
    assert one == Usage.model_validate_json(one.model_dump_json())
    assert len({one, one.model_copy()}) == 1
    assert Usage(model="gpt-4o", input_tokens=9, cached_input_tokens=2, cache_write_5m_tokens=3).fresh_input_tokens == 4


class TestPriceFile:
    def test_where_list_and_file_disagree_the_higher_counts(self, tmp_path: Path) -> None:
        higher = {"openai:gpt-4o": {"input_usd": "5", "output_usd": "1"}}
        book = PriceBook(stated=stated(tmp_path, higher))
        assert book.price(Usage(model="openai/gpt-4o-2024-08-06", input_tokens=1_000)) == 5_000_000
        assert book.price(Usage(model="azure/gpt-4o", input_tokens=1_000)) == 2_500_000, "another provider's price"
        assert book.price(Usage(model="gpt-4o", output_tokens=1_000)) == 10_000_000

    @pytest.mark.parametrize("ref", ["openai:gpt-4o", "openai:gpt-4o-2024-08-06", "OpenAI/GPT-4o", "gpt-4o"])
    def test_a_price_under_any_spelling_of_a_model_is_that_model_s(self, tmp_path: Path, ref: str) -> None:
        book = PriceBook(stated=stated(tmp_path, {ref: {"input_usd": 30, "output_usd": 0}}))
        for name in ("gpt-4o", "openai/gpt-4o", "gpt-4o-2024-08-06"):
            assert book.price(Usage(model=name, input_tokens=1_000)) == 30_000_000

    def test_of_two_spellings_in_one_file_the_higher_counts(self, tmp_path: Path) -> None:
        low, high = {"input_usd": 30, "output_usd": 50}, {"input_usd": 40, "output_usd": 20}
        for first, second in ((low, high), (high, low)):
            book = PriceBook(stated=stated(tmp_path, {"openai:gpt-4o": first, "openai:gpt-4o-2024-08-06": second}))
            assert book.price(Usage(model="gpt-4o", input_tokens=1_000)) == 40_000_000
            assert book.price(Usage(model="gpt-4o", output_tokens=1_000)) == 50_000_000

    def test_one_of_a_deployment_is_not_the_model_s_own(self, tmp_path: Path) -> None:
        contracts = {
            "azure:gpt-4o": {"input_usd": 9, "output_usd": 9},
            "litellm_proxy:gpt-4o": {"input_usd": 1, "output_usd": 2},
        }
        book = PriceBook(stated=stated(tmp_path, contracts))
        assert book.price(Usage(model="gpt-4o", input_tokens=1_000)) == 2_500_000
        assert book.price(Usage(model="azure/gpt-4o", input_tokens=1_000)) == 9_000_000
        assert book.price(Usage(model="litellm_proxy/gpt-4o", input_tokens=1_000)) == 1_000_000

    def test_a_deployment_with_a_price_of_its_own_counts_in_its_model_s_budget(self, tmp_path: Path) -> None:
        contract = stated(tmp_path, {"azure:prod": {"input_usd": 1, "output_usd": 2}})
        book = PriceBook(stated=contract, aliases={"azure/prod": "gpt-4o"})
        assert book.canonical("azure/prod") == "gpt-4o"
        assert book.price(Usage(model="azure/prod", input_tokens=1_000)) == 1_000_000

    def test_a_deployment_of_a_model_of_one_s_own_has_its_price(self, tmp_path: Path) -> None:
        own = stated(tmp_path, {"ours:tiny": {"input_usd": 4, "output_usd": 6}})
        book = PriceBook(stated=own, aliases={"edge-3": "ours/tiny"})
        assert book.canonical("edge-3") == book.canonical("ours/tiny")
        assert book.price(Usage(model="edge-3", input_tokens=500, output_tokens=100)) == 2_600_000

    def test_it_may_price_what_a_catalog_needs(self, tmp_path: Path) -> None:
        catalog = {"tiny": "ours:tiny", "gpt-4o": "openai:gpt-4o"}
        book = PriceBook(catalog=catalog, stated=stated(tmp_path, {"ours:tiny": {"input_usd": 1, "output_usd": 1}}))
        book.warm()
        assert book.price(Usage(model="tiny", input_tokens=1_000)) == 1_000_000
        with pytest.raises(ConfigurationError, match="tiny has the price_ref 'ours:tiny', which has no known price"):
            PriceBook(catalog=catalog).warm()

    @pytest.mark.parametrize(
        ("key", "asked"),
        [
            ("ollama:llama3", "ollama/llama3"),
            ("ollama/llama3", "ollama:llama3"),
            ("ollama:llama3", "llama3"),
            ("azure:my-deployment", "azure/my-deployment"),
            ("acme:big-7b", "Acme/Big-7B"),
            ("openai:ft:gpt-4.1-2025-04-14:acme::X", "ft:gpt-4.1-2025-04-14:acme::X"),
            ("ft:gpt-4o-2024-08-06:acme::X", "ft:gpt-4o-2024-08-06:acme::X"),
            ("bedrock:us.anthropic.claude-new-v1:0", "us.anthropic.claude-new-v1:0"),
            ("bedrock/us.anthropic.claude-new-v1:0", "bedrock/us.anthropic.claude-new-v1:0"),
            ("litellm_proxy:gpt-4o", "litellm_proxy/gpt-4o"),
            (PROFILE, PROFILE),
        ],
    )  # fmt: skip
    def test_an_entry_prices_every_spelling_of_its_name(self, tmp_path: Path, key: str, asked: str) -> None:
        book = PriceBook(stated=stated(tmp_path, {key: {"input_usd": "1", "output_usd": "2"}}))
        assert book.price(Usage(model=asked, input_tokens=1_000, output_tokens=1_000)) == 3_000_000

    def test_it_may_state_every_kind(self, tmp_path: Path) -> None:
        entry = {
            "input_usd": 1, "output_usd": 2, "cached_input_usd": "0.1", "cache_write_usd": "1.5",
            "audio_input_usd": 7, "audio_output_usd": 9, "web_search_usd": "0.02",
        }  # fmt: skip
        book = PriceBook(stated=stated(tmp_path, {"acme:big": entry}))
        usage = Usage(
            model="acme/big", input_tokens=100, cached_input_tokens=10, cache_write_5m_tokens=20,
            cache_write_1h_tokens=30, audio_input_tokens=5, output_tokens=50, audio_output_tokens=8, web_searches=2,
        )  # fmt: skip
        expected = 35 * 1_000 + 5 * 7_000 + 10 * 100 + 20 * 1_500 + 30 * 2_000 + 42 * 2_000 + 8 * 9_000 + 2 * 20_000_000
        assert book.price(usage) == expected

    def test_it_has_no_price_for_tiers(self, tmp_path: Path) -> None:
        book = PriceBook(stated=stated(tmp_path, {"acme:big": {"input_usd": 1, "output_usd": 2}}))
        with pytest.raises(InvalidRequestError, match="only the standard price"):
            book.price(Usage(model="acme/big", service_tier="priority"))

    @pytest.mark.parametrize(
        "content",
        ["{", '{"a:b": {"input_usd": -1, "output_usd": 1}}', '{"a:b": {"input_usd": 1}}', '{"a": {}, "a": {}}'],
    )
    def test_a_damaged_one_is_refused_with_its_place(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "prices.json"
        path.write_text(content)
        with pytest.raises(ConfigurationError, match=r"price file, .*prices\.json"):
            read_price_file(path)

    def test_its_version_is_named(self, tmp_path: Path) -> None:
        prices = stated(tmp_path, {"acme:big": {"input_usd": 1, "output_usd": 2}})
        assert PriceBook(stated=prices).version == f"{BOOK.version}, file {prices.version}"


def test_rates_can_be_shown() -> None:
    rates = BOOK.rates("gpt-5.5")
    assert rates["input"] == ((-1, Decimal(5)), (272_000, Decimal(10)))
    assert rates["cached"] == ((-1, Decimal("0.5")), (272_000, Decimal(1)))
    assert BOOK.rates("azure/eu/gpt-4o")["input"] == ((-1, Decimal("2.75")),)
    assert str(BOOK.rates("gpt-4o")["output"][0][1]) == "10"


def test_several_caps_are_bounded_at_once() -> None:
    most = Bound(model="gpt-4o", input_tokens=1_000, output_tokens=None)
    assert BOOK.bounds(most, [0, 10]) == [2_500_000, 2_600_000]


def test_longest_answers_are_known_beyond_the_catalog() -> None:
    assert BOOK.output_maximum("gpt-4o") == 16_384
    assert BOOK.output_maximum("eu.anthropic.claude-sonnet-4-5-20250929-v1:0") == 64_000
    assert BOOK.output_maximum("gemini/gemini-3.8-flash") == 65_536
    maxima = BOOK.maxima("gpt-5.5")
    assert maxima is not None
    assert (maxima.context_tokens, maxima.reasons) == (1_050_000, True)


def test_a_model_without_one_has_the_configured_default_or_needs_a_cap(tmp_path: Path) -> None:
    prices = stated(tmp_path, {"ollama:llama3": {"input_usd": 1, "output_usd": 2}})
    assert PriceBook(stated=prices).output_maximum("ollama/llama3") is None
    assert PriceBook(stated=prices, output_default=8_192).output_maximum("ollama/llama3") == 8_192


def test_a_name_that_nobody_knows_has_no_price() -> None:
    with pytest.raises(UnknownModelError):
        BOOK.price(Usage(model="nobody/knows", input_tokens=10))

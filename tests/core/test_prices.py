"""Prices: exact to the nano-dollar, never below what is charged, never zero for a name that is not known."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from functools import cache

import genai_prices
import pytest
from genai_prices import data_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_core.arbiter.book import price_book
from aegis_core.arbiter.catalog import Catalog, load_catalog, split_provider
from aegis_core.metering.bound import Bound
from aegis_core.metering.price_book import PriceBook
from aegis_core.metering.rates import RateCard, fill, flat
from aegis_core.metering.tariffs import Pricing
from aegis_core.metering.text_rates import TextRates
from aegis_core.protocol.errors import ConfigurationError, NotFoundError, UnknownModelError
from aegis_core.protocol.messages import Usage
from aegis_core.protocol.parsing import parse

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MOMENTS = [AT, AT.replace(hour=2), AT.replace(hour=7), AT.replace(hour=23), datetime(2027, 3, 1, 9, 30, tzinfo=UTC)]
CATALOG = load_catalog()
PRICES = PriceBook(clock=lambda: AT)


def prices_at(at: datetime, catalog: Catalog = CATALOG) -> PriceBook:
    return PriceBook(catalog={model.name: model.price_ref for model in catalog.models}, clock=lambda: at)


def bound(prices: PriceBook, name: str, input_tokens: int, output_tokens: int) -> int:
    """The most that a call of this size costs, by the rates that decisions are made with."""
    return prices.text_rates(name).bound(input_tokens, output_tokens)


def card(steps: tuple[tuple[int, int], ...], output: int = 0, request: int = 0) -> RateCard:
    rates = {"input": steps, "output": ((-1, output),)}
    fill(rates, 200)
    return RateCard(rates, {}, request)


CHEAPER_ABOVE = TextRates.of("a:b", Pricing((card(((-1, 9 * 10**12), (1_000, 10**12)), output=9 * 10**12),), None, 100))


@cache
def priced_names() -> tuple[str, ...]:
    """Every entry of the price list that has a price per token, as provider/model."""
    prices = prices_at(AT)
    names: list[str] = []
    for provider in data_snapshot.get_snapshot().providers:
        for model in provider.models:
            name = f"{provider.id}/{model.id}"
            try:
                prices.text_rates(name)
                charged(name, AT, 1, 0, 1)  # some have a name by which the list itself does not find them
            except (UnknownModelError, LookupError):
                continue
            names.append(name)
    return tuple(names)


def charged(name: str, at: datetime, fresh: int, cached: int, output: int) -> int:
    """What the library itself charges, in nano-dollars, rounded up."""
    provider, ref = split_provider(name)
    usage = genai_prices.Usage(input_tokens=fresh + cached, cache_read_tokens=cached, output_tokens=output)
    price = genai_prices.calc_price(usage, ref, provider_id=provider, genai_request_timestamp=at).total_price
    return int(price.scaleb(9).to_integral_value(ROUND_CEILING))


def usage(model: str, fresh: int, cached: int, output: int) -> Usage:
    return Usage.model_construct(
        model=model, input_tokens=fresh + cached, cached_input_tokens=cached, output_tokens=output
    )


@pytest.fixture
def prices() -> PriceBook:
    return prices_at(AT)


def test_gpt_4o_costs_what_its_price_page_says(prices: PriceBook) -> None:
    """$2.50, $1.25 and $10.00 per million tokens."""
    rates = {kind: steps[0][1] for kind, steps in prices.rates("gpt-4o").items()}
    assert (rates["input"], rates["cached"], rates["output"]) == (Decimal("2.5"), Decimal("1.25"), Decimal(10))
    assert prices.price(parse(Usage, model="gpt-4o", input_tokens=1_000, output_tokens=500)) == 7_500_000
    assert prices.price(parse(Usage, model="gpt-4o", input_tokens=1_000, cached_input_tokens=400)) == 2_000_000
    assert prices.price(parse(Usage, model="gpt-4o")) == 0
    assert bound(prices, "gpt-4o", 1_000, 500) == 7_500_000


def test_a_step_holds_for_all_tokens_of_the_call(prices: PriceBook) -> None:
    """gemini-2.5-pro doubles its input price above 200,000 tokens, for the whole call."""
    assert prices.price(parse(Usage, model="gemini-2.5-pro", input_tokens=200_000, output_tokens=10)) == 250_100_000
    assert prices.price(parse(Usage, model="gemini-2.5-pro", input_tokens=200_001, output_tokens=10)) == 500_152_500
    assert prices.rates("gemini-2.5-pro")["input"] == ((-1, Decimal("1.25")), (200_000, Decimal("2.5")))
    assert bound(prices, "gemini-2.5-pro", 200_000, 10) == 250_100_000


def test_a_bound_covers_writing_to_the_cache(prices: PriceBook) -> None:
    """Anthropic charges 1.25 times the input price for tokens that are written to its cache."""
    assert prices.price(parse(Usage, model="claude-opus-4-5", input_tokens=1_000)) == 5_000_000
    assert bound(prices, "claude-opus-4-5", 1_000, 0) == 6_250_000


def test_a_fee_per_call_is_part_of_the_cost(prices: PriceBook) -> None:
    fee = TextRates.of("a:b", Pricing((card(flat(Decimal(1)), request=5 * 10**18),), None, 100))
    assert fee.expected(1_000, 0) == fee.bound(1_000, 0) == 6_000_000
    assert prices.price(parse(Usage, model="perplexity/sonar")) == charged("perplexity/sonar", AT, 0, 0, 0) > 0


def test_a_fraction_of_a_nano_dollar_is_rounded_up_once() -> None:
    tiny = flat(Decimal("1e-9"))
    rates = TextRates.of("a:b", Pricing((card(tiny, tiny[0][1]),), None, 100))
    assert rates.expected(1, 0) == rates.expected(500_000, 500_000) == 1
    assert rates.expected(500_000, 500_001) == 2


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.deep)])
def test_every_entry_of_the_price_list_costs_what_the_library_charges(every: int) -> None:
    names = priced_names()
    assert len(names) > 2_000
    prices = prices_at(AT)
    for name in names[::every]:
        for fresh, cached, output in [(1, 0, 1), (90_001, 38_000, 4_321), (250_001, 777, 0)]:
            assert prices.price(usage(name, fresh, cached, output)) == charged(name, AT, fresh, cached, output), name


tokens = st.one_of(st.integers(0, 3_000), st.integers(0, 1_000_000), st.sampled_from([128_000, 200_000, 272_001]))


@settings(max_examples=400, deadline=None)
@given(index=st.integers(0), at=st.sampled_from(MOMENTS), fresh=tokens, cached=tokens, output=tokens)
def test_cost_equals_the_library_at_any_size_and_hour(
    index: int, at: datetime, fresh: int, cached: int, output: int
) -> None:
    name = priced_names()[index % len(priced_names())]
    assert prices_at(at).price(usage(name, fresh, cached, output)) == charged(name, at, fresh, cached, output)


@settings(max_examples=400, deadline=None)
@given(
    index=st.integers(0),
    later=st.timedeltas(timedelta(0), timedelta(days=400)),
    call=st.tuples(tokens, tokens, tokens),
    more=st.tuples(tokens, tokens),
)
def test_a_bound_is_never_below_the_cost(
    index: int, later: timedelta, call: tuple[int, int, int], more: tuple[int, int]
) -> None:
    """Whatever share is cached, however much smaller the call is, and at whatever later hour it is settled."""
    name = priced_names()[index % len(priced_names())]
    fresh, cached, output = call
    most = bound(prices_at(AT), name, fresh + cached + more[0], output + more[1])
    assert most >= charged(name, AT + later, fresh, cached, output)


@settings(max_examples=200, deadline=None)
@given(index=st.integers(0), prompt=tokens, caps=st.lists(tokens, max_size=5), other=st.booleans())
def test_bounds_of_several_caps_are_those_of_each(index: int, prompt: int, caps: list[int], other: bool) -> None:
    """Also where prices change with size and hour, and where an operator's file says something else."""
    rates = prices_at(AT).text_rates(priced_names()[index % len(priced_names())])
    if other:
        rates = replace(rates, cards=(*rates.cards, *CHEAPER_ABOVE.cards))
    assert rates.bounds(prompt, caps) == [rates.bound(prompt, cap) for cap in caps]


@settings(max_examples=300, deadline=None)
@given(index=st.integers(0), prompt=tokens, cap=tokens)
def test_decisions_are_made_by_the_bounds_of_the_book(index: int, prompt: int, cap: int) -> None:
    """A request that tells its size alone may write to the cache for the ordinary time."""
    name = priced_names()[index % len(priced_names())]
    most = Bound(model=name, input_tokens=prompt, output_tokens=cap, cache_write="5m")
    assert bound(PRICES, name, prompt, cap) == PRICES.bound(most)


@pytest.mark.parametrize("model", [model.name for model in CATALOG.models])
def test_bounds_of_the_catalog_grow_with_size(model: str, prices: PriceBook) -> None:
    sizes = [0, 1, 127_999, 199_999, 200_000, 200_001, 900_000]
    assert [bound(prices, model, size, 7) for size in sizes] == sorted(bound(prices, model, size, 7) for size in sizes)


def test_a_bound_looks_at_every_step_up_to_its_size() -> None:
    """Where a larger prompt is cheaper, a smaller call may still cost more."""
    rates = CHEAPER_ABOVE
    assert rates.expected(1_000, 0) == 9_000
    assert rates.bound(1_001, 0) == 9_009
    assert rates.bound(1_001, 0) >= rates.expected(1_000, 0) > rates.expected(1_001, 0)


def test_prices_that_change_with_the_hour() -> None:
    """deepseek-chat is cheaper at night: a cost follows the hour, a bound does not."""
    day, night = prices_at(AT), prices_at(AT.replace(hour=20))
    call = usage("deepseek-chat", 1_000_000, 0, 0)
    assert (day.price(call), night.price(call)) == (270_000_000, 135_000_000)
    assert bound(day, "deepseek-chat", 1_000_000, 0) == bound(night, "deepseek-chat", 1_000_000, 0) == 270_000_000


def test_a_rise_announced_for_later_is_in_the_bound_already() -> None:
    """gemini-4-argon doubles on 1 December 2026."""
    now = AT
    prices = PriceBook(clock=lambda: now)
    call = usage("gemini-4-argon", 1_000_000, 0, 0)
    assert prices.price(call) == 2_000_000_000
    assert bound(prices, "gemini-4-argon", 1_000_000, 0) == 4_000_000_000
    now = datetime(2026, 12, 1, tzinfo=UTC)
    assert prices.price(call) == 4_000_000_000


def test_a_price_that_was_cut_no_longer_counts(prices: PriceBook) -> None:
    """o3 cost $10 until June 2025."""
    assert bound(prices, "o3", 1_000_000, 0) == 2_000_000_000


@pytest.mark.parametrize(
    ("name", "ref"),
    [
        ("gpt-4o", "openai:gpt-4o"),
        ("GPT-4o", "openai:gpt-4o"),
        ("openai/gpt-4o", "openai:gpt-4o"),
        ("openai:gpt-4o", "openai:gpt-4o"),
        ("azure/gpt-4o", "azure:gpt-4o"),
        ("anthropic:claude-sonnet-4-5", "anthropic:claude-sonnet-4-5"),
        ("claude-sonnet-4-5-20250929", "anthropic:claude-sonnet-4-5"),
        ("models/gemini-2.5-flash", "google:gemini-2.5-flash"),
        ("vertex_ai/gemini-2.5-flash", "google:gemini-2.5-flash"),
    ],
)
def test_names_are_known_as_frameworks_write_them(name: str, ref: str, prices: PriceBook) -> None:
    assert prices.text_rates(name).ref == ref
    assert prices.text_rates(name) is prices.text_rates(name)


@pytest.mark.parametrize(
    "name", ["gpt-4oo", "openai/gpt-4oo", "anthropic/gpt-4o", "my-own", "", ":", "whisper-1", "tts-1"]
)
def test_an_unknown_price_is_an_error_and_never_zero(name: str, prices: PriceBook) -> None:
    """Also for names that the list holds without a price per token."""
    for act in (
        prices.text_rates,
        lambda name: bound(prices, name, 1, 1),
        lambda name: prices.price(usage(name, 1, 0, 1)),
    ):
        with pytest.raises(UnknownModelError) as caught:
            act(name)
        assert caught.value.facts["name"] == name
    assert isinstance(caught.value, NotFoundError)


def test_an_unknown_model_says_which_names_are_near(prices: PriceBook) -> None:
    with pytest.raises(
        UnknownModelError, match=r"no price is known for the model 'gpt-4oo'.*nearest known are gpt-4o"
    ) as e:
        prices.text_rates("gpt-4oo")
    assert e.value.facts["kind"] == "model"
    assert e.value.facts["nearest"][0] == "gpt-4o"


def test_a_catalog_name_goes_to_its_price_ref() -> None:
    local = CATALOG.models[0].model_copy(update={"name": "gemini-flash"})
    catalog = replace(CATALOG, models=(local,), by_name={"gemini-flash": local})
    assert prices_at(AT, catalog).text_rates("gemini-flash").ref == "google:gemini-2.5-flash-lite"
    for spelling in ("google/gemini-flash", "google:gemini-flash"):
        assert price_book(catalog).canonical(spelling) == "gemini-flash"
    with pytest.raises(UnknownModelError):
        PriceBook().text_rates("gemini-flash")


def test_a_catalog_whose_price_is_unknown_is_a_misconfiguration() -> None:
    wrong = CATALOG.models[0].model_copy(update={"name": "mine", "price_ref": "openai:mine"})
    catalog = replace(CATALOG, models=(wrong,), by_name={"mine": wrong})
    with pytest.raises(ConfigurationError, match="mine has the price_ref 'openai:mine'"):
        prices_at(AT, catalog).warm()


def test_the_whole_catalog_has_prices(prices: PriceBook) -> None:
    prices.warm()
    for model in CATALOG.models:
        rates = prices.text_rates(model.name)
        assert rates.ref == model.price_ref
        assert rates.expected(1_000_000, 0) > 0 < rates.expected(0, 1_000_000)


def test_names_from_agents_do_not_fill_memory(prices: PriceBook) -> None:
    book = data_snapshot.get_snapshot()
    known = len(book._lookup_cache), len(book._provider_cache), len(book._provider_misses)
    for number in range(2_200):
        with pytest.raises(UnknownModelError):
            prices.text_rates(f"zz{number}")
    for kept in (prices._of_others, prices._pricing, prices._names.find, prices._names.nearest):
        assert kept.cache_info().currsize <= 2_048
    assert (len(book._lookup_cache), len(book._provider_cache), len(book._provider_misses)) == known


def test_prices_finer_than_a_nano_dollar_stay_exact(prices: PriceBook) -> None:
    """One reseller lists $0.13999999999999999 a million."""
    name = "huggingface_together/deepseek-ai/DeepSeek-V4-Flash-0731"
    call = usage(name, 10**9, 0, 10**9)
    assert prices.price(call) == charged(name, AT, 10**9, 0, 10**9)


def test_nothing_is_loaded_before_it_is_used() -> None:
    """The price list takes a quarter of a second, which `import aegis_core` must not cost."""
    code = (
        "import sys\n"
        "import aegis_core.arbiter.arbiter as arbiter\n"
        "from aegis_core.arbiter.catalog import load_catalog\n"
        "from aegis_core.arbiter.book import price_book\n"
        "catalog = load_catalog()\n"
        "arbiter.Arbiter(catalog, price_book(catalog))\n"
        "print('genai_prices' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

"""Prices of an operator's own file, beside the installed list."""

from __future__ import annotations

import asyncio
import json
import re
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import pytest

import aegis_core
from aegis_core import Governor, Settings
from aegis_core.arbiter.catalog import load_catalog
from aegis_core.cli.events import _details
from aegis_core.governor import repricing
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.metering.price_book import PriceBook
from aegis_core.metering.price_file import read_price_file
from aegis_core.protocol.errors import ConfigurationError, UnknownModelError
from aegis_core.protocol.messages import Usage

pytestmark = pytest.mark.concurrent


def test_of_two_sources_that_disagree_the_higher_counts(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(
        '{"openai:gpt-4o": {"input_usd": 3, "output_usd": "5", "cached_input_usd": "1"},'
        ' "ours:tiny": {"input_usd": "0.000000001", "output_usd": 0}}'
    )
    prices = PriceBook(stated=read_price_file(path))
    usage = Usage(model="gpt-4o", input_tokens=1_000_000)
    assert prices.price(usage) == 3_000_000_000
    assert prices.price(Usage(model="gpt-4o", output_tokens=1_000_000)) == 10_000_000_000
    assert prices.price(Usage(model="gpt-4o", input_tokens=1_000_000, cached_input_tokens=1_000_000)) == 1_250_000_000
    assert prices.text_rates("gpt-4o").bound(1_000_000, 0) == 3_000_000_000
    assert prices.price(Usage(model="ours:tiny", input_tokens=1)) == 1
    assert "file " in prices.version


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not valid JSON"),
        ('{"openai:gpt-4o": {"input_usd": -1, "output_usd": 1}}', "openai:gpt-4o.input_usd: must be"),
        ('{"openai:gpt-4o": {"input_usd": 1}}', "openai:gpt-4o.output_usd: is required"),
        ('{"a:b": {"input_usd": 9, "output_usd": 9}, "a:b": {}}', "the key 'a:b' is given twice"),
        ("[" * 200_000, "is not valid JSON"),
    ],
)
def test_a_price_file_that_is_wrong_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        read_price_file(path)


@pytest.mark.parametrize("ref", ["openai:gpt-4o", "openai:gpt-4o-2024-08-06", "OpenAI:gpt-4o"])
def test_a_price_stated_under_any_spelling_of_a_model_is_that_model_s(tmp_path: Path, ref: str) -> None:
    """A line that silently counted for nothing would charge less than the operator says."""
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({ref: {"input_usd": 30, "output_usd": 0}}))
    prices = PriceBook(stated=read_price_file(path))
    for name in ("gpt-4o", "openai/gpt-4o", "gpt-4o-2024-08-06"):
        assert prices.price(Usage(model=name, input_tokens=1_000_000)) == 30_000_000_000
        assert prices.text_rates(name).bound(1_000_000, 0) == 30_000_000_000


def test_of_two_spellings_in_one_file_the_higher_counts(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    low, high = {"input_usd": 30, "output_usd": 50}, {"input_usd": 40, "output_usd": 20, "cached_input_usd": 8}
    for first, second in ((low, high), (high, low)):
        path.write_text(json.dumps({"openai:gpt-4o": first, "openai:gpt-4o-2024-08-06": second}))
        prices = PriceBook(stated=read_price_file(path))
        assert prices.price(Usage(model="gpt-4o", input_tokens=1_000_000)) == 40_000_000_000
        assert prices.price(Usage(model="gpt-4o", output_tokens=1_000_000)) == 50_000_000_000


@pytest.mark.leaves("grants")
async def test_a_deployment_can_be_told_which_model_it_is(settings: Settings) -> None:
    """The second remedy that a refusal names; the first one is the price file."""
    ask = {"model": "azure/prod-3", "prompt_bytes": 4_000, "max_output_tokens": 50}
    async with aegis_core.connect(settings=settings) as governor:
        agent = await governor.handshake("a")
        with pytest.raises(
            UnknownModelError, match=r"AEGIS_PRICES_FILE.*AEGIS_MODELS=\{\"azure/prod-3\": \"gpt-4o\"\}"
        ):
            await agent.request("Work", **ask)
    told = settings.model_copy(update={"models": {"azure/prod-3": "gpt-4o"}})
    async with aegis_core.connect(settings=told) as governor:
        agent = await governor.handshake("a")
        verdict = await agent.request("Work", **ask)
        assert verdict.reserved_usd == Decimal("0.0055")
        assert port_of(governor).arbiter.prices.canonical("azure/prod-3") == "gpt-4o"


async def test_a_change_of_prices_is_an_event(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text('{"openai:gpt-4o": {"input_usd": 3, "output_usd": 12}}')
    for given, expected in ((None, 0), (None, 0), (path, 1), (path, 1)):
        async with aegis_core.connect(settings=settings.model_copy(update={"prices_file": given})) as governor:
            events = [event for event in await governor.events() if event.kind == "prices_changed"]
            assert len(events) == expected
    assert "file " in events[0].facts["version"]
    assert "file " not in events[0].facts["before"]


def port_of(governor: Governor) -> ResourceGovernor:
    assert isinstance(governor.port, ResourceGovernor)
    return governor.port


GPT_4O = '{{"openai:gpt-4o": {{"input_usd": {0}, "output_usd": 40}}, "ours:tiny": {{"input_usd": 1, "output_usd": 1}}}}'
NO_TINY = '{"openai:gpt-4o": {"input_usd": 30, "output_usd": 40}}'


@pytest.mark.leaves("grants")
async def test_a_changed_file_of_prices_counts_in_a_running_governor(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repricing, "LOOK_SECONDS", 0.05)
    path = tmp_path / "prices.json"
    path.write_text(GPT_4O.format(10))
    sizes = {"model": "gpt-4o", "prompt_bytes": 2_000, "max_output_tokens": 100}
    async with aegis_core.connect(settings=settings.model_copy(update={"prices_file": path})) as governor:
        agent = await governor.handshake("a")
        before = await agent.request("Work", **sizes)
        path.write_text(GPT_4O.format(20))
        async with asyncio.timeout(10):
            event = await anext(e async for e in governor.follow(after="0") if e.kind == "prices_changed")
        after = await agent.request("Work", **sizes)
        assert after.reserved_usd > before.reserved_usd
        assert before.routing is not None
        assert after.routing is not None
        assert event.facts["before"] == before.routing.price_version
        assert event.facts["version"] == after.routing.price_version != before.routing.price_version
        shown = f"{event.facts['version']}, before {event.facts['before']}"
        assert list(_details(event)) == [shown, "by prices"]
        used = Usage(model="gpt-4o", input_tokens=1_000)
        assert (await agent.settle(after.grant_id or "", usage=used)).charged_usd == Decimal("0.02")
        await asyncio.sleep(0.2)
        assert len([e for e in await governor.events() if e.kind == "prices_changed"]) == 1


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("{", "is not valid JSON"),
        ("[" * 200_000, "is not valid JSON"),
        (None, "cannot be read"),
        (NO_TINY, "tiny has the price_ref 'ours:tiny', which has"),
    ],
    ids=["damaged", "nested too deeply", "gone", "without a price that the catalog needs"],
)
async def test_a_file_that_turns_bad_leaves_the_prices_as_they_were(
    settings: Settings, tmp_path: Path, heard: pytest.LogCaptureFixture, damage: str | None, words: str
) -> None:
    catalog, path = tmp_path / "catalog.json", tmp_path / "prices.json"
    shipped = json.loads((files("aegis_core.arbiter") / "catalog.json").read_text())
    shipped["models"].append(shipped["models"][0] | {"name": "tiny", "provider": "ours", "price_ref": "ours:tiny"})
    catalog.write_text(json.dumps(shipped))
    path.write_text(GPT_4O.format(10))
    given = settings.model_copy(update={"prices_file": path, "catalog_file": catalog})
    usage = Usage(model="gpt-4o", input_tokens=1_000_000)
    async with aegis_core.connect(settings=given) as governor:
        port = port_of(governor)
        watch = repricing.PriceWatch(given, port.arbiter, port.operator)
        version = port.arbiter.prices.version
        path.unlink() if damage is None else path.write_text(damage)
        assert await watch.look() is False
        assert words in heard.text
        heard.clear()
        assert await watch.look() is False
        assert heard.text == "", "it warns once for each content"
        assert port.arbiter.prices.version == version
        assert port.arbiter.prices.price(usage) == 10_000_000_000
        path.write_text(GPT_4O.format(11))
        assert await watch.look() is True
        assert port.arbiter.prices.price(usage) == 11_000_000_000
        assert await watch.look() is False


@pytest.mark.leaves("grants")
async def test_a_new_price_reorders_the_models_of_a_tier(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text("{}")
    given = settings.model_copy(update={"prices_file": path})
    async with aegis_core.connect(settings=given) as governor:
        port = port_of(governor)
        agent = await governor.handshake("a")
        first = (await agent.request("Work", logic_density=1, prompt_bytes=2_000, max_output_tokens=100)).routing
        assert first is not None
        ref = load_catalog().by_name[first.model].price_ref
        path.write_text(json.dumps({ref: {"input_usd": 99, "output_usd": 99}}))
        assert await repricing.PriceWatch(given, port.arbiter, port.operator).look()
        second = (await agent.request("Work", logic_density=1, prompt_bytes=2_000, max_output_tokens=100)).routing
        assert second is not None
        assert second.model != first.model

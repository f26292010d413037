"""Prices of an operator's own file, beside the installed list."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import aegis_core
from aegis_core import Settings
from aegis_core.arbiter.catalog import load_catalog
from aegis_core.arbiter.price_file import read_price_file
from aegis_core.arbiter.prices import Prices
from aegis_core.errors import ConfigurationError
from aegis_core.protocol import Usage


def test_of_two_sources_that_disagree_the_higher_counts(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(
        '{"openai:gpt-4o": {"input_usd": 3, "output_usd": "5", "cached_input_usd": "1"},'
        ' "ours:tiny": {"input_usd": "0.000000001", "output_usd": 0}}'
    )
    prices = Prices(load_catalog(), stated=read_price_file(path))
    usage = Usage(model="gpt-4o", input_tokens=1_000_000)
    assert prices.cost(usage) == 3_000_000_000
    assert prices.cost(Usage(model="gpt-4o", output_tokens=1_000_000)) == 10_000_000_000
    assert prices.cost(Usage(model="gpt-4o", input_tokens=1_000_000, cached_input_tokens=1_000_000)) == 1_250_000_000
    assert prices.bound("gpt-4o", 1_000_000, 0) == 3_000_000_000
    assert prices.cost(Usage(model="ours:tiny", input_tokens=1)) == 1
    assert "file " in prices.version


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not valid JSON"),
        ('{"openai:gpt-4o": {"input_usd": -1, "output_usd": 1}}', "openai:gpt-4o.input_usd must be"),
        ('{"openai:gpt-4o": {"input_usd": 1}}', "openai:gpt-4o.output_usd is required"),
    ],
)
def test_a_price_file_that_is_wrong_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        read_price_file(path)


async def test_a_change_of_prices_is_an_event(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text('{"openai:gpt-4o": {"input_usd": 3, "output_usd": 12}}')
    for given, expected in ((None, 0), (None, 0), (path, 1), (path, 1)):
        async with aegis_core.connect(settings=settings.model_copy(update={"prices_file": given})) as governor:
            events = [event for event in await governor.events() if event.kind == "prices_changed"]
            assert len(events) == expected
    assert "file " in events[0].facts["version"]
    assert "file " not in events[0].facts["before"]

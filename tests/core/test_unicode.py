"""Normal forms of text, in linear time."""

from __future__ import annotations

import re
import sys
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_core.protocol.unicode import LONGEST_RUN, is_mark, normal

ALL = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]


def test_whatever_takes_part_in_the_sorting_is_found_in_a_long_run() -> None:
    found = re.compile(r"[\W\uff9e\uff9f]")
    assert not [char for char in ALL if is_mark(char) and not found.fullmatch(char)]


@given(st.text(st.sampled_from("ab \u0300\u0327\u0345\u0344\uff9e\u200d\u3164é가\ufdfa"), max_size=25))
def test_text_of_people_is_normalised_as_it_is(text: str) -> None:
    for form in ("NFC", "NFD", "NFKC"):
        assert normal(form, text) == normalize(form, text)


@pytest.mark.parametrize("mark", ["\u0301", "\u0344", "\uff9e"])
def test_of_a_longer_run_the_first_are_read(mark: str) -> None:
    assert normal("NFD", "o" + mark * 1_000 + "o") == normalize("NFD", "o" + mark * LONGEST_RUN + "o")
    dashes = "\u2014" * 1_000
    assert normal("NFKC", dashes) == dashes

"""One list says what a request's settings are: those of a call by what they are not, those of a model by name."""

from __future__ import annotations

import pytest

from aegis_core.adapting.request_settings import settings_in
from aegis_core.metering.bound import bound

SAID = "Answer in the voice of a pirate who has lost his parrot. " * 20


def tokens(settings: dict[str, object]) -> int:
    return bound({"messages": [{"role": "user", "content": "Hm?"}], **settings}).input_tokens


@pytest.mark.parametrize("name", ["instructions", "system", "documents", "prediction", "a_name_of_tomorrow"])
def test_each_keyword_of_a_call_is_input(name: str) -> None:
    assert tokens(settings_in({name: SAID, "temperature": 0.5})) > tokens({}) + len(SAID) // 3


@pytest.mark.parametrize("name", ["temperature", "seed", "user", "reasoning_effort", "timeout", "parallel_tool_calls"])
def test_what_no_tokenizer_sees_costs_nothing(name: str) -> None:
    assert tokens(settings_in({name: "a value of some length"})) == tokens({})


def test_what_a_call_has_fields_for_is_no_setting() -> None:
    call = {"messages": ["…"], "tools": ["…"], "model": "m", "max_tokens": 7, "n": 2, "stream": True, "stop": ["x"]}
    assert settings_in(call) == {}


def test_of_what_is_held_known_names_are_read_and_the_first_word_counts() -> None:
    held = {"service_tier": "flex", "instructions": "Be brief.", "client": object(), "response_format": None}
    assert settings_in({"service_tier": "priority"}, held, {"instructions": "Be long."}) == {
        "service_tier": "priority",
        "instructions": "Be brief.",
    }

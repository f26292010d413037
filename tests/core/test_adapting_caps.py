"""The name of the cap follows the client's class and the model, and one cap is sent under one name."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_core.adapting.caps import cap_in, cap_name, held_cap, is_field, is_listed, smallest_cap, with_cap

CLASSIC = ("OpenAIClient", "BaseOpenAIChatCompletionClient", "OpenAICompletion", "BaseChatOpenAI")


def client(*classes: str, **fields: Any) -> Any:
    """An object of a class of this name, whose bases are called like the others."""
    made: type = object
    for name in reversed(classes):
        made = type(name, (made,), {})
    found = made()
    for name, value in fields.items():
        setattr(found, name, value)
    return found


@pytest.mark.parametrize("kind", CLASSIC)
@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o", "max_tokens"),
        ("gpt-4.1-nano", "max_tokens"),
        ("o1", "max_completion_tokens"),
        ("o3-mini-2025-01-31", "max_completion_tokens"),
        ("gpt-5.2-pro", "max_completion_tokens"),
        ("openai/gpt-5-nano", "max_completion_tokens"),
        ("azure/eu/o4-mini", "max_completion_tokens"),
        ("openrouter/openai/o4-mini", "max_completion_tokens"),
        ("ft:gpt-5-mini:acme::id", "max_completion_tokens"),
        ("olmo-7b", "max_tokens"),
        ("mistral-large-latest", "max_tokens"),
    ],
)
def test_openais_thinking_models_take_another_name(kind: str, model: str, name: str) -> None:
    assert cap_name(client(f"My{kind}", kind), model) == name


def test_the_name_that_a_caller_uses_stays_where_both_are_taken() -> None:
    mini = client("OpenAIClient")
    assert cap_name(mini, "gpt-4o-mini", {}, {"max_completion_tokens": 5}) == "max_completion_tokens"
    assert cap_name(mini, "o4-mini", {"max_tokens": 5}) == "max_completion_tokens"
    assert cap_name(mini, "gpt-4o-mini", {"max_output_tokens": 5}) == "max_tokens", "no chat API knows it"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("ChatOpenAI", "max_tokens"),  # renames it itself
        ("ChatGoogleGenerativeAI", "max_output_tokens"),
        ("ChatAnthropic", "max_tokens"),
        ("OpenAIResponsesClient", "max_output_tokens"),
        ("OllamaChatCompletionClient", "num_predict"),
        ("GeminiCompletion", "max_output_tokens"),
        ("SKChatCompletionAdapter", None),
    ],
)
def test_a_class_has_its_name_whatever_the_model(kind: str, name: str | None) -> None:
    assert cap_name(client("Mine", kind), "gpt-5", {"max_completion_tokens": 5}) == name
    assert is_listed(client("Mine", kind))


def test_of_an_unknown_class_the_callers_word_or_its_own_fields_count() -> None:
    other = client("HouseMadeModel")
    assert not is_listed(other)
    assert cap_name(other, "o4-mini") == "max_tokens"
    assert cap_name(other, "x", {"num_predict": 9}) == "num_predict"
    type(other).model_fields = {"max_output_tokens": None}
    assert cap_name(other, "x") == "max_output_tokens"
    type(other).model_fields = {"max_output_tokens": None, "max_tokens": None}
    assert cap_name(other, "x") == "max_tokens"


def test_the_cap_is_read_under_each_name_and_sent_under_one() -> None:
    names = ("max_completion_tokens", "max_output_tokens", "max_tokens", "num_predict")
    assert {cap_in({name: 7}) for name in names} == {7}
    assert cap_in({"max_tokens": True}, {"options": {"num_predict": 8}}) == 8
    assert cap_in({}, {"generation_config": {"max_output_tokens": 9}}) == 9
    assert cap_in({"max_tokens": 5}, {"max_tokens": 3}) == 5, "the call's own word counts"
    assert cap_in({"max_tokens": None}) is None
    assert smallest_cap([None, 9, 4]) == 4
    assert smallest_cap([None]) is None
    call = {"seed": 1, "max_tokens": 900, "max_completion_tokens": 800}
    assert with_cap(call, "num_predict", 60) == {"seed": 1, "num_predict": 60}
    assert with_cap(call, None, 60) == call
    config = {"generation_config": {"max_output_tokens": 900, "top_k": 2}}
    assert with_cap(config, "max_output_tokens", 60) == {
        "generation_config": {"max_output_tokens": 60, "top_k": 2},
        "max_output_tokens": 60,
    }


def test_what_a_client_sends_of_itself_is_read_from_the_fields_that_it_sends() -> None:
    assert held_cap(client("GeminiCompletion", max_tokens=50, max_output_tokens=None)) is None
    assert held_cap(client("GeminiCompletion", max_tokens=50, max_output_tokens=70)) == 70
    assert held_cap(client("OpenAICompletion", max_tokens=50, max_completion_tokens=70)) == 70, "the dearer of both"
    assert held_cap(client("ChatOllama", num_predict=30)) == 30
    assert is_field(client("ChatOllama"))
    assert not is_field(client("ChatOpenAI"))

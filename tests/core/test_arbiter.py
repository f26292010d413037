"""The arbiter: the cheapest model that satisfies a request, what it costs at most, and why there is none."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_core.arbiter.arbiter import MAX_CANDIDATES, Appraisal, Arbiter, Candidate
from aegis_core.arbiter.book import price_book
from aegis_core.arbiter.catalog import Catalog, load_catalog
from aegis_core.arbiter.evidence import DecayedSums, Evidence
from aegis_core.arbiter.forecast import forecast
from aegis_core.arbiter.why import routing_of
from aegis_core.metering.prompt import MESSAGE_TOKENS, TOOL_TOKENS, messages_bound
from aegis_core.metering.tokens import input_bound, text_bound
from aegis_core.protocol.errors import ConfigurationError, InvalidRequestError, UnknownModelError
from aegis_core.protocol.messages import PermissionRequest, Routing
from aegis_core.protocol.parsing import parse

CATALOG = load_catalog()
IMAGE_TOKENS = 6_000
PRICES = price_book(CATALOG)
ARBITER = Arbiter(CATALOG, PRICES)


def ask(**fields: Any) -> PermissionRequest:
    return parse(PermissionRequest, **{"agent_id": "a", "task_intent": "x", "resource_type": "llm_tokens", **fields})


def appraise(**fields: Any) -> Appraisal:
    return ARBITER.appraise(ask(**fields))


def names(appraisal: Appraisal) -> list[str | None]:
    return [candidate.model for candidate in appraisal.candidates]


def tiers(appraisal: Appraisal) -> list[int]:
    return [CATALOG.by_name[name].tier for name in names(appraisal) if name]


# The claim


def test_a_claim_is_what_every_candidate_costs() -> None:
    """The request of the handbook: density 3, 3.5 cents."""
    answer = appraise(estimated_cost_usd="0.035", logic_density=3)
    assert answer.candidates[0] == Candidate("gemini-2.5-flash-lite", 35_000_000)
    assert {candidate.nanos for candidate in answer.candidates} == {35_000_000}
    assert answer.recommended == "gemini-2.5-flash-lite"
    assert answer.priced_by == "claim"
    assert answer.note == "Logic density 3 asks for tier 1 or above."


@pytest.mark.parametrize("usd", ["0.000000001", "7999999.999999999", "0", 0.1, "1E-9"])
def test_a_claim_survives_to_the_nano_dollar(usd: Any) -> None:
    answer = appraise(estimated_cost_usd=usd)
    assert answer.candidates[0].nanos == Decimal(str(usd)) * 10**9


@pytest.mark.parametrize("resource", ["gas_budget", "api_call", "file_lock", "wallet_lock", "compute"])
def test_what_is_not_a_model_costs_its_claim(resource: str) -> None:
    answer = appraise(resource_type=resource, estimated_cost_usd="1.5", requirements={"vision": True})
    assert answer == Appraisal((Candidate(None, 1_500_000_000),), None, "claim", "")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"resource_type": "api_call"}, "estimated_cost_usd"),
        ({"resource_type": "api_call", "prompt_bytes": 10}, "estimated_cost_usd"),
        ({}, "estimated_cost_usd"),
        ({"model": "gpt-4o"}, "estimated_cost_usd"),
        ({"max_output_tokens": 10}, "prompt_bytes"),
        ({"model": "anthropic/claude-2.0", "prompt_bytes": 10}, "max_output_tokens"),
    ],
)
def test_a_request_that_cannot_be_priced_says_what_to_give(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"give|given") as caught:
        appraise(**fields)
    assert caught.value.field == field


# Sizes


def test_sizes_are_bounded_by_the_model_that_answers() -> None:
    """2,000 bytes are at most 1,000 tokens; gemini-2.5-flash-lite costs $0.10 and $0.40 a million."""
    answer = appraise(prompt_bytes=2_000, max_output_tokens=500, logic_density=1)
    assert answer.candidates[0] == Candidate("gemini-2.5-flash-lite", 300_000)
    assert answer.priced_by == "sizes"


def test_without_a_cap_the_longest_answer_counts() -> None:
    answer = appraise(prompt_bytes=2_001, logic_density=1)
    assert answer.candidates[0].nanos == 1_001 * 100 + 65_536 * 400


@pytest.mark.parametrize(("claim", "expected"), [("0.0001", 300_000), ("0.0003", 300_000), ("0.0004", 400_000)])
def test_the_higher_of_claim_and_sizes_counts(claim: str, expected: int) -> None:
    answer = appraise(prompt_bytes=2_000, max_output_tokens=500, logic_density=1, estimated_cost_usd=claim)
    assert answer.candidates[0].nanos == expected
    assert answer.priced_by == "both"


def test_the_higher_counts_for_each_model_alone() -> None:
    answer = appraise(prompt_bytes=2_000, max_output_tokens=500, logic_density=1, estimated_cost_usd="0.0004")
    assert dict(answer.candidates)["gpt-4o-mini"] == 450_000


@settings(max_examples=100, deadline=None)
@given(tokens=st.integers(0, 600_000), odd=st.booleans(), cap=st.none() | st.integers(0, 9_000), named=st.booleans())
def test_tokens_of_a_prompt_count_as_its_bytes_do(tokens: int, odd: bool, cap: int | None, named: bool) -> None:
    fields = {"max_output_tokens": cap, "model": "gpt-4o" if named else None}
    size = max(0, 2 * tokens - odd)
    assert appraise(prompt_tokens=tokens, **fields) == appraise(prompt_bytes=size, **fields)


def test_a_prompt_has_one_size() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        ask(prompt_bytes=2_000, prompt_tokens=1_000)
    assert caught.value.message == "prompt_tokens: give prompt_bytes or prompt_tokens, not both"
    assert caught.value.field == "prompt_tokens"


def test_the_order_follows_the_sizes() -> None:
    """claude-haiku-4-5 reads cheaper and writes dearer than o4-mini."""
    long_prompt = appraise(prompt_bytes=300_000, max_output_tokens=10, logic_density=6)
    short_prompt = appraise(prompt_bytes=40, max_output_tokens=9_000, logic_density=6)
    assert names(long_prompt)[0] == "claude-haiku-4-5"
    assert names(short_prompt)[0] == "o3-mini"


def test_a_model_whose_context_is_too_short_drops_out() -> None:
    answer = appraise(prompt_bytes=500_000, max_output_tokens=1_000, logic_density=8)
    assert "gpt-4o" not in names(answer)
    assert "gpt-4.1" in names(answer)


@pytest.mark.parametrize(("cap", "fits"), [(1_000, True), (1_001, False)])
def test_prompt_and_answer_share_the_context(cap: int, fits: bool) -> None:
    """gpt-4o has 128,000 tokens for both."""
    answer = appraise(prompt_bytes=254_000, max_output_tokens=cap, logic_density=8, requirements={"models": ["gpt-4o"]})
    assert bool(answer.candidates) is fits


def test_a_prompt_that_nothing_holds_is_a_refusal_with_the_longest_context() -> None:
    answer = appraise(prompt_bytes=4_000_000, max_output_tokens=1_000, logic_density=8)
    assert answer.candidates == ()
    assert answer.recommended is None
    assert "2,001,000 tokens" in answer.note
    assert "1,047,576 (gpt-4.1)" in answer.note


# Density, tiers


@pytest.mark.parametrize("density", range(1, 11))
def test_a_density_never_gets_a_lower_tier(density: int) -> None:
    for answer in (
        appraise(estimated_cost_usd=1, logic_density=density),
        appraise(prompt_bytes=100, logic_density=density),
    ):
        assert tiers(answer)[0] == [1, 1, 1, 2, 2, 3, 3, 4, 4, 5][density - 1]
        assert tiers(answer) == sorted(tiers(answer))
        assert len(answer.candidates) <= MAX_CANDIDATES


def test_the_cheapest_of_a_tier_comes_first() -> None:
    """For the mix of 1,000 tokens in and 250 out, when nothing is said about sizes."""
    first = [name for name in names(appraise(estimated_cost_usd=1, logic_density=4)) if name][:3]
    assert first == ["gpt-5-mini", "gpt-4.1-mini", "gemini-2.5-flash"]
    costs = [PRICES.text_rates(name).expected(1_000, 250) for name in first]
    assert costs == [750_000, 800_000, 925_000]


# A named model


def test_a_named_model_is_priced_and_a_cheaper_one_recommended() -> None:
    answer = appraise(model="gpt-4o", prompt_bytes=2_000, max_output_tokens=500, logic_density=3)
    assert answer.candidates == (Candidate("gpt-4o", 7_500_000),)
    assert answer.recommended == "gemini-2.5-flash-lite"


@pytest.mark.parametrize("name", ["gpt-4o", "openai/gpt-4o", "openai:gpt-4o"])
def test_a_named_model_of_the_catalog_has_its_own_cap(name: str) -> None:
    answer = appraise(model=name, prompt_bytes=2_000)
    assert answer.candidates == (Candidate("gpt-4o", 2_500_000 + 16_384 * 10_000),)  # one name, one budget


def test_a_named_model_outside_the_catalog_is_bounded_by_its_longest_answer() -> None:
    bound = 1_000 * 30_000 + 10 * 60_000  # gpt-4: $30 and $60 a million
    longest = 1_000 * 30_000 + 8_192 * 60_000
    assert appraise(model="gpt-4", prompt_bytes=2_000, max_output_tokens=10).candidates == (Candidate("gpt-4", bound),)
    assert appraise(model="gpt-4", estimated_cost_usd=1).candidates == (Candidate("gpt-4", 10**9),)
    assert appraise(model="gpt-4", prompt_bytes=2_000).candidates == (Candidate("gpt-4", longest),)
    assert appraise(model="gpt-4", estimated_cost_usd="0.001", prompt_bytes=2_000).candidates[0].nanos == longest


def test_a_named_model_without_a_price_is_an_error_even_with_a_claim() -> None:
    """It could never be settled by usage."""
    with pytest.raises(UnknownModelError) as caught:
        appraise(model="gpt-4oo", estimated_cost_usd=1)
    assert caught.value.facts["nearest"][0] == "gpt-4o"


def test_a_named_model_stays_when_nothing_can_be_recommended() -> None:
    answer = appraise(model="gpt-4o", estimated_cost_usd=1, requirements={"providers": ["mistral"]})
    assert (names(answer), answer.recommended) == (["gpt-4o"], None)
    assert "requirements.providers" in answer.note


def test_a_named_model_above_the_ceiling_is_refused_with_a_recommendation() -> None:
    answer = appraise(
        model="claude-opus-4-5",
        prompt_bytes=2_000,
        max_output_tokens=500,
        logic_density=2,
        requirements={"ceiling_usd": "0.001"},
    )
    assert answer.candidates == ()
    assert answer.recommended == "gemini-2.5-flash-lite"
    assert answer.note == "claude-opus-4-5 costs up to $0.01875, more than requirements.ceiling_usd, $0.001."


# Requirements


@pytest.mark.parametrize(
    ("requirements", "meets"),
    [
        ({"tools": True}, lambda model: model.tools),
        ({"vision": True}, lambda model: model.vision),
        ({"min_context_tokens": 300_000}, lambda model: model.context_tokens >= 300_000),
        ({"providers": ["anthropic", "google"]}, lambda model: model.provider in {"anthropic", "google"}),
        ({"models": ["gpt-4o", "openai/o3"]}, lambda model: model.name in {"gpt-4o", "o3"}),
    ],
)
def test_every_candidate_meets_each_requirement(requirements: dict[str, Any], meets: Callable[[Any], bool]) -> None:
    expected = {model.name for model in CATALOG.models if meets(model)}
    assert expected
    for density in range(1, 11):
        for sizes in ({"estimated_cost_usd": 1}, {"prompt_bytes": 100}):
            answer = appraise(logic_density=density, requirements=requirements, **sizes)
            possible = [model for model in CATALOG.models if model.tier >= CATALOG.tier_for(density)]
            assert set(names(answer)) <= expected
            assert bool(answer.candidates) == any(model.name in expected for model in possible)


@pytest.mark.parametrize(
    ("requirements", "words"),
    [
        ({"models": ["gpt-4o-mini"]}, "requirements.models (gpt-4o-mini) leaves no model of tier 4 or above"),
        ({"providers": ["mistral"]}, "requirements.providers (mistral) leaves no model"),
        ({"min_context_tokens": 5_000_000}, "requirements.min_context_tokens (5,000,000) leaves no model"),
        ({"providers": ["anthropic"], "min_context_tokens": 900_000}, "without it the cheapest is claude-sonnet-4-5."),
    ],
)
def test_the_note_says_which_requirement_emptied_the_list(requirements: dict[str, Any], words: str) -> None:
    answer = appraise(estimated_cost_usd=1, logic_density=8, requirements=requirements)
    assert (answer.candidates, answer.recommended) == ((), None)
    assert words in answer.note
    assert "which logic density 8 asks for" in answer.note


@pytest.mark.parametrize("capability", ["tools", "vision"])
def test_the_note_names_a_missing_capability(capability: str, tmp_path: Path) -> None:
    content = shipped()
    content["models"] = [{**model, capability: False} for model in content["models"]]
    catalog = load_catalog(write(tmp_path, content))
    answer = Arbiter(catalog, price_book(catalog)).appraise(ask(prompt_bytes=5, requirements={capability: True}))
    assert answer.note.startswith(f"requirements.{capability} leaves no model of tier 2 or above")


def test_a_required_model_outside_the_catalog_is_unknown() -> None:
    with pytest.raises(UnknownModelError, match="nearest are gpt-4o") as caught:
        appraise(estimated_cost_usd=1, requirements={"models": ["gpt-4oo"]})
    assert caught.value.facts == {"kind": "model", "name": "gpt-4oo", "nearest": caught.value.facts["nearest"]}
    with pytest.raises(UnknownModelError, match=r"it has gemini-2\.5-flash-lite, "):
        appraise(estimated_cost_usd=1, requirements={"models": ["qqq"]})


def test_candidates_above_the_ceiling_drop_out() -> None:
    answer = appraise(
        prompt_bytes=2_000, max_output_tokens=500, logic_density=8, requirements={"ceiling_usd": "0.0075"}
    )
    assert answer.candidates == (
        Candidate("gpt-4.1", 6_000_000),
        Candidate("gpt-5.1", 6_250_000),
        Candidate("gpt-4o", 7_500_000),
        Candidate("o3", 6_000_000),
    )


def test_a_ceiling_below_everything_names_the_cheapest_possibility() -> None:
    answer = appraise(prompt_bytes=2_000, max_output_tokens=500, logic_density=8, requirements={"ceiling_usd": "0.005"})
    assert answer.candidates == ()
    assert (
        answer.note == "requirements.ceiling_usd, $0.005, is below the cheapest possibility: gpt-4.1 at up to $0.006."
    )


@pytest.mark.parametrize(("ceiling", "left"), [("0.01", 6), ("0.009999999", 0)])
def test_a_ceiling_bounds_a_claim_too(ceiling: str, left: int) -> None:
    answer = appraise(estimated_cost_usd="0.01", requirements={"ceiling_usd": ceiling})
    assert len(answer.candidates) == left


sized = st.fixed_dictionaries(
    {"logic_density": st.integers(1, 10), "prompt_bytes": st.integers(0, 400_000)},
    optional={
        "max_output_tokens": st.integers(0, 20_000),
        "estimated_cost_usd": st.decimals(0, 2, places=6),
    },
)


@settings(max_examples=200, deadline=None)
@given(fields=sized, low=st.decimals(0, 1, places=5), more=st.decimals(0, 1, places=5))
def test_a_higher_ceiling_never_takes_a_choice_away(fields: dict[str, Any], low: Decimal, more: Decimal) -> None:
    least = appraise(**fields, requirements={"ceiling_usd": low})
    most = appraise(**fields, requirements={"ceiling_usd": low + more})
    free = appraise(**fields)
    assert all(candidate.nanos <= low * 10**9 for candidate in least.candidates)
    if least.candidates:
        assert most.candidates
        assert tiers(free)[0] <= tiers(most)[0] <= tiers(least)[0]
    if len(most.candidates) < MAX_CANDIDATES:
        assert set(least.candidates) <= set(most.candidates)


@settings(max_examples=100, deadline=None)
@given(fields=sized, usage=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_reservation_covers_whatever_the_call_uses(fields: dict[str, Any], usage: tuple[float, float]) -> None:
    for name, nanos in appraise(**fields).candidates:
        assert name
        most = fields.get("max_output_tokens", CATALOG.by_name[name].max_output_tokens)
        spent = (int(input_bound(fields["prompt_bytes"]) * usage[0]), int(most * usage[1]))
        assert PRICES.text_rates(name).expected(*spent) <= nanos


def why_of(answer: Appraisal, place: int = 0) -> Routing:
    """What the verdict says when the script takes the candidate at a place of those considered."""
    about, *lines = (answer.why or "").split("\n")
    why = routing_of(f"{about}\n{lines[place]}")
    assert why is not None
    return why


NEEDS: list[dict[str, Any] | None] = [
    None,
    {"vision": True},
    {"models": ["gpt-4o", "o3"]},
    {"models": ["claude-sonnet-4-5", "gpt-4.1", "o3"]},
    {"min_context_tokens": 300_000},
    {"providers": ["openai"]},
]


@settings(max_examples=300, deadline=None)
@given(
    fields=st.one_of(
        sized,
        sized.map(lambda fields: fields | {"prompt_bytes": 3 * fields["prompt_bytes"]}),
        st.just({"estimated_cost_usd": "0.01"}),
    ),
    verify=st.sampled_from([None, "cheap_first"]),
    needs=st.sampled_from(NEEDS),
)
def test_what_is_recommended_is_never_expected_to_cost_more_than_the_strongest(
    fields: dict[str, Any], verify: str | None, needs: dict[str, Any] | None
) -> None:
    answer = appraise(**fields, verify=verify, requirements=needs)
    if answer.candidates:
        why = why_of(answer)
        assert why.model == answer.recommended
        assert why.expected_cost_usd <= why.strongest_cost_usd
        tokens = input_bound(fields.get("prompt_bytes", 0)) + fields.get("max_output_tokens", 0)
        assert CATALOG.by_name[why.strongest_model].context_tokens >= tokens, "it could not even take the prompt"


def test_a_stronger_model_that_costs_less_comes_first_and_is_no_degradation_to_miss() -> None:
    answer = appraise(
        prompt_bytes=4_000, max_output_tokens=500, logic_density=8, requirements={"models": ["gpt-4o", "o3"]}
    )
    assert names(answer) == ["o3", "gpt-4o"]
    assert not why_of(answer, 1).degraded


def test_where_the_policy_gives_an_order_it_holds_whatever_the_models_cost() -> None:
    answer = ARBITER.appraise(ask(prompt_bytes=4_000, max_output_tokens=500), ("gpt-4o", "o3"))
    assert names(answer) == ["gpt-4o", "o3"]


def test_a_ceiling_that_leads_to_a_weaker_model_of_the_policy_is_said() -> None:
    request = ask(prompt_bytes=4_000, max_output_tokens=500, logic_density=8, requirements={"ceiling_usd": "0.002"})
    why = why_of(ARBITER.appraise(request, ("gpt-4.1", "gpt-4.1-mini")))
    assert (why.model, why.degraded) == ("gpt-4.1-mini", True)
    assert why.note.startswith("Degraded from tier 4 to tier 2, as the policy allows, because the ceiling")
    assert not why_of(ARBITER.appraise(request, ("gpt-4.1-mini", "gpt-4.1"))).degraded


def test_outcomes_do_not_raise_a_task_to_a_tier_whose_models_are_all_unwell(tmp_path: Path) -> None:
    content = shipped() | {"density": {"1-10": 4}}
    content["models"] = [{**model, "healthy": model["tier"] < 5} for model in content["models"]]
    catalog = load_catalog(write(tmp_path, content))
    unwell = Arbiter(catalog, price_book(catalog))
    rows = {
        f"{kind}\t{model}": DecayedSums(good, 100)
        for kind in ("*", "t\tprove")
        for model, good in (("gpt-4.1", 20), ("o3", 99))
    }
    request = ask(prompt_bytes=4_000, max_output_tokens=500, task_type="prove")
    assert tiers(unwell.appraise(request, (), Evidence.of(rows, 200, unwell.tier_of)))[0] == 4
    assert (
        tiers(
            ARBITER.appraise(
                ask(**request.model_dump(include={"prompt_bytes", "max_output_tokens", "task_type"}), logic_density=8),
                (),
                Evidence.of(rows, 200, ARBITER.tier_of),
            )
        )[0]
        == 5
    )


@settings(max_examples=50, deadline=None)
@given(fields=sized)
def test_the_same_request_has_the_same_answer(fields: dict[str, Any]) -> None:
    """Also from another arbiter, whose caches are empty."""
    assert appraise(**fields) == appraise(**fields) == Arbiter(CATALOG, price_book(CATALOG)).appraise(ask(**fields))


def test_requirements_from_agents_do_not_fill_memory() -> None:
    arbiter = Arbiter(CATALOG, PRICES)
    for number in range(2_000):
        arbiter.appraise(ask(estimated_cost_usd=1, requirements={"min_context_tokens": number}))
    assert arbiter._shortlist.cache_info().currsize <= 1_024


def test_warming_leaves_nothing_for_the_first_request() -> None:
    arbiter = Arbiter(CATALOG, price_book(CATALOG))
    arbiter.warm()
    misses = arbiter._shortlist.cache_info().misses
    arbiter.appraise(ask(estimated_cost_usd=1))
    assert arbiter._shortlist.cache_info().misses == misses == 10


def test_importing_the_arbiter_does_not_load_the_price_list() -> None:
    code = "import sys, aegis_core.arbiter.arbiter; print('genai_prices' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# Sizes of texts


@pytest.mark.parametrize(("size", "tokens"), [(0, 0), (1, 1), (2, 1), (3, 2), (1_000_000_000, 500_000_000)])
def test_a_prompt_has_at_most_a_token_for_two_bytes(size: int, tokens: int) -> None:
    assert input_bound(size) == tokens


def test_texts_are_measured_in_bytes_and_dense_ones_closer() -> None:
    assert text_bound("hello world!") == text_bound(b"hello world!") == 6
    assert text_bound("你好") == 3
    assert text_bound("\ud800") == 2
    assert text_bound("QUJD" * 175) == 500
    assert text_bound("see " + "QUJD" * 175 + " there") == 505
    assert text_bound("id 0f8fad5b-d9cb-469f-a165-70867728950e") == 28
    assert text_bound("a plain sentence of ordinary words, " * 20) == 360


@pytest.mark.parametrize("seed", range(20))
def test_dense_runs_are_those_of_the_alphabet_of_base64_and_paths(seed: int) -> None:
    """Counted apart by a regular expression: runs of 32 and more, at the ends, beside each other, beyond ASCII."""
    chance = random.Random(seed)
    parts = ["a", "A9+/=_.%-", " ", "é", "{", "\n"]
    text = "".join(chance.choice(parts) * chance.choice((1, 3, 31, 32, 33, 70)) for _ in range(60))
    data = text.encode()
    dense = sum(len(run) for run in re.findall(rb"[A-Za-z0-9+/=_.%-]{32,}", data))
    assert text_bound(text) == -(-dense * 5 // 7) + (len(data) - dense + 1) // 2


def test_messages_are_bounded_with_their_frames() -> None:
    assert messages_bound([]) == 0
    text = [{"role": "user", "content": "hello world!"}]
    assert messages_bound(text) == MESSAGE_TOKENS + 6
    assert messages_bound([{"role": "user", "content": "A" * 70}]) == MESSAGE_TOKENS + 50
    parts = [{"role": "user", "content": [{"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {}}]}]
    assert messages_bound(parts) == MESSAGE_TOKENS + 3 + IMAGE_TOKENS
    call = {"id": "c", "type": "function", "function": {"name": "pay", "arguments": '{"a":1}'}}
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    for spelt in (call, call["function"]):
        assert messages_bound([said | {"tool_calls": [spelt]}]) == MESSAGE_TOKENS + 2 + 4
    assert messages_bound([{"role": "assistant", "function_call": call["function"]}]) == MESSAGE_TOKENS + 2 + 4
    other = {"type": "custom", "custom": {"name": "pay", "input": "a=1"}}
    assert messages_bound([said | {"tool_calls": [other]}]) == MESSAGE_TOKENS + 2 + 2
    assert messages_bound([{"role": "assistant", "refusal": "No.", "name": "lea"}]) == MESSAGE_TOKENS + 2 + 2
    assert messages_bound(text, [{"name": "f"}]) == messages_bound(text) + TOOL_TOKENS + 7


WORDS = st.text(max_size=80) | st.sampled_from(["", "QUJD" * 40, "0f8fad5b-d9cb-469f-a165-70867728950e", "\ud800"])
PARTS = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": WORDS}),
    st.fixed_dictionaries({"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": WORDS})}),
    st.fixed_dictionaries({"type": st.just("input_audio"), "input_audio": st.fixed_dictionaries({"data": WORDS})}),
)
FUNCTIONS = st.fixed_dictionaries({"name": WORDS, "arguments": WORDS})
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": st.none() | WORDS | st.lists(PARTS)},
    optional={
        "name": WORDS,
        "tool_call_id": WORDS,
        "tool_calls": st.lists(st.fixed_dictionaries({"id": WORDS, "function": FUNCTIONS}), max_size=3),
        "function_call": FUNCTIONS,
    },
)


@settings(max_examples=200, deadline=None)
@given(message=MESSAGES)
def test_a_bound_covers_all_that_a_provider_reads_of_a_message(message: dict[str, Any]) -> None:
    content = message["content"]
    parts = [{"text": content or ""}] if content is None or isinstance(content, str) else content
    calls = [call["function"] for call in message.get("tool_calls", ())] + [message.get("function_call", {})]
    images = [part for part in parts if part.get("type") == "image_url"]
    texts = [
        message.get("name", ""),
        *(part.get("text") or "" for part in parts),
        *(text for call in calls for text in call.values()),
    ]  # fmt: skip
    least = MESSAGE_TOKENS + sum(map(text_bound, texts)) + IMAGE_TOKENS * len(images)
    assert messages_bound([message]) >= least


def test_what_json_has_no_form_for_is_bounded_all_the_same() -> None:
    """A framework may hand a function, a decimal or a set over among a call's arguments."""
    odd = {"f": json.dumps, "d": Decimal(7), "s": {1}, (1, 2): b"x"}
    endless: dict[str, Any] = {}
    endless["self"] = endless
    for value in (odd, endless):
        assert messages_bound([{"role": "user", "content": [value]}]) > MESSAGE_TOKENS + 2


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((None, None), (1_000, 250)),
        ((2_000, None), (1_000, 250)),
        ((20_000, None), (10_000, 2_500)),
        ((20_000, 100), (10_000, 100)),
        ((0, 9_000), (0, 250)),
    ],
)
def test_a_forecast_is_a_quarter_of_the_prompt_within_the_cap(sizes: Any, expected: tuple[int, int]) -> None:
    assert forecast(*sizes) == expected


# The catalog file


def shipped() -> dict[str, Any]:
    return json.loads((Path(sys.modules[Catalog.__module__].__file__ or "").parent / "catalog.json").read_text())


def write(folder: Path, content: Any) -> Path:
    path = folder / "models.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def change(**changes: Any) -> dict[str, Any]:
    content = shipped()
    content["models"][3].update(changes)
    return content


def test_the_shipped_catalog_spans_five_tiers() -> None:
    assert CATALOG.density == (1, 1, 1, 2, 2, 3, 3, 4, 4, 5)
    assert all(len(CATALOG.by_tier(tier)) >= 2 for tier in range(1, 6))
    assert CATALOG.by_name["gpt-4o"].tier == 4
    assert {model.provider for model in CATALOG.models} == {"anthropic", "google", "openai"}


def test_the_version_follows_the_content(tmp_path: Path) -> None:
    assert load_catalog().version == CATALOG.version == load_catalog(write(tmp_path, shipped())).version
    assert len(CATALOG.version) == 12
    assert load_catalog(write(tmp_path, change(tools=False))).version != CATALOG.version


def test_names_are_found_under_their_provider() -> None:
    assert CATALOG.find("gpt-4o") is CATALOG.find("openai/gpt-4o") is CATALOG.by_name["gpt-4o"]
    assert CATALOG.find("models/gemini-2.5-pro") is CATALOG.by_name["gemini-2.5-pro"]
    assert CATALOG.find("azure/gpt-4o") is None
    assert CATALOG.find("gpt") is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not valid JSON"),
        ("[" * 200_000, "is not valid JSON"),
        ('{"models": [], "models": []}', "the key 'models' is given twice"),
        ({"density": {}, "models": []}, "models "),
        ({**shipped(), "model": []}, "model is not a field; did you mean models?"),
        (change(contxt_tokens=5), "models.3.contxt_tokens is not a field; did you mean context_tokens?"),
        (change(zzz=5), "models.3.zzz is not a field; known: name, tier,"),
        (change(tier=6), "models.3.tier must be less than or equal to 5"),
        (change(tier="2"), "models.3.tier"),
        (change(tools="yes"), "models.3.tools"),
        (change(name="two words"), "models.3.name must be 1 to 128 letters"),
        (change(price_ref="gpt-4o"), "models.3.price_ref"),
        (change(name="gpt-4o"), "'gpt-4o' is listed twice"),
        ({**shipped(), "density": {"1-10": 6}}, "density.1-10"),
        ({**shipped(), "density": {"1-9": 1}}, "density says nothing about density 10"),
        ({**shipped(), "density": {"0-10": 1}}, "density.0-10 is not a density or a range within 1-10"),
        ({**shipped(), "density": {"few": 1}}, "density.few is not a density"),
        ({**shipped(), "density": {"1-10": 1, "4": 2}}, "density.4 gives density 4 a second tier"),
        ({**shipped(), "density": {"1-5": 2, "6-10": 1}}, "asks for a lower tier at density 6 than at 5"),
        ({"density": {"1-10": 3}, "models": shipped()["models"][:5]}, "density 1 to tier 3, where there is no model"),
    ],
)
def test_a_catalog_that_cannot_be_used_is_refused_with_its_place(content: Any, words: str, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ConfigurationError) as caught:
        load_catalog(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.facts["file"] == str(path)


def test_a_missing_catalog_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_catalog(tmp_path / "nowhere.json")

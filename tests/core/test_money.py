"""Money is exact: every nano-dollar that may be asked for survives JSON and text, and nothing else is accepted."""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aegis_core import InvalidRequestError
from aegis_core.protocol.messages import PermissionRequest
from aegis_core.protocol.money import MAX_NANOS, MAX_USD, format_usd, to_nanos, to_usd
from aegis_core.protocol.parsing import parse

nanos = st.integers(0, MAX_NANOS) | st.integers(0, 10**10) | st.integers(MAX_NANOS - 10**10, MAX_NANOS)


@given(nanos)
@example(0)
@example(1)
@example(MAX_NANOS)
@example(MAX_NANOS - 1)
@example(2**52 + 1)
@example(7_999_999_999_999_997)
def test_every_nano_dollar_survives_a_json_number(n: int) -> None:
    number = float(to_usd(n))
    assert to_nanos(number) == n
    assert to_nanos(json.loads(json.dumps(number))) == n


@given(nanos)
def test_every_nano_dollar_survives_text_and_decimals(n: int) -> None:
    exact = to_usd(n)
    assert exact.scaleb(9) == n
    assert to_nanos(exact) == to_nanos(str(exact)) == to_nanos(f"{exact:f}") == to_nanos(f"{exact:.9f}00") == n
    assert to_nanos(format_usd(n).removeprefix("$").replace(",", "")) == n


@given(st.lists(st.integers(0, 10**10), max_size=20))
def test_a_sum_is_the_sum(amounts: list[int]) -> None:
    assert sum(to_nanos(float(to_usd(n))) for n in amounts) == sum(amounts)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.1 + 0.2, 300_000_001),  # the residue of arithmetic goes up, never down
        (1.1 * 3, 3_300_000_001),
        (-0.0, 0),
        (0.035, 35_000_000),
        ("1e-9", 1),
        (1e-9, 1),
        ("  2.5 ", 2_500_000_000),
        ("1_000", 1_000_000_000_000),
        (MAX_USD, MAX_NANOS),
        (Decimal("0.0350"), 35_000_000),
        ("0E-30", 0),
    ],
)
def test_what_is_accepted(value: object, expected: int) -> None:
    assert to_nanos(value) == expected


@given(st.floats(min_value=0, max_value=1000))
def test_a_float_is_exact_rounded_up_by_less_than_a_nano_dollar_or_refused(value: float) -> None:
    exact = Decimal(repr(value)).scaleb(9)
    residue = len(exact.as_tuple().digits) >= 15 and exact >= 1
    if residue or exact == int(exact):
        assert 0 <= to_nanos(value) - exact < 1
    else:
        with pytest.raises(InvalidRequestError, match="finer than a nano-dollar"):
            to_nanos(value)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (-1, "is negative; the least amount is 0"),
        ("-0.000000001", "is negative"),
        (Decimal("-1e-30"), "is negative"),
        (float("nan"), "is not finite"),
        ("NaN", "is not finite"),
        (Decimal("sNaN"), "is not finite"),
        (float("inf"), "is not finite"),
        ("-Infinity", "is not finite"),
        (MAX_USD + 1, f"is beyond the largest amount, {MAX_USD} USD"),
        ("8000000.000000001", "is beyond the largest amount"),
        ("1e999999", "is beyond the largest amount"),
        (10**400, "is beyond the largest amount"),
        (1e300, "is beyond the largest amount"),
        ("0.0000000001", "is finer than a nano-dollar (0.000000001)"),
        (1e-10, "is finer than a nano-dollar"),
        (5e-324, "is finer than a nano-dollar"),
        ("1e-999999", "is finer than a nano-dollar"),
        (Decimal("0.1234567891"), "is finer than a nano-dollar"),
        (True, "is not an amount of dollars"),
        (False, "is not an amount of dollars"),
        (None, "is not an amount of dollars"),
        ([], "is not an amount of dollars"),
        ({"usd": 1}, "is not an amount of dollars"),
        ("", "is not an amount of dollars"),
        ("ten", "is not an amount of dollars: give a number or a decimal string such as 0.035"),
        ("$5", "is not an amount of dollars"),
        ("1,5", "is not an amount of dollars"),
        ("1 000", "is not an amount of dollars"),
        ("0x10", "is not an amount of dollars"),
        (1 + 2j, "is not an amount of dollars"),
    ],
)
def test_what_is_refused_and_why(value: object, problem: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        to_nanos(value, "cost_usd")
    assert caught.value.message.startswith("cost_usd: ")
    assert problem in caught.value.message
    assert caught.value.field == "cost_usd"
    assert len(caught.value.message) < 160


@given(st.text(max_size=40) | st.floats() | st.decimals(allow_nan=True) | st.integers())
def test_anything_is_either_an_amount_or_refused(value: object) -> None:
    with suppress(InvalidRequestError):
        assert 0 <= to_nanos(value) <= MAX_NANOS


@pytest.mark.parametrize(
    ("n", "shown"),
    [
        (0, "$0.00"), (1, "$0.000000001"), (9_965_000_000, "$9.965"), (10_000_000_000, "$10.00"),
        (1_234_567_500_000_000, "$1,234,567.50"), (-50_000_000, "-$0.05"), (MAX_NANOS, "$8,000,000.00"),
    ],
)  # fmt: skip
def test_shown_to_a_person(n: int, shown: str) -> None:
    assert format_usd(n) == shown


@pytest.mark.parametrize(
    "number",
    [2**64, 2**64 + 11, -(2**63) - 1, 3**99, 10**4_400],
    ids=lambda number: f"{number:.1e}" if number < 10**300 else "huge",
)
def test_an_integer_that_no_store_keeps_is_refused_by_its_name(number: int) -> None:
    for name in ("nonce", "block number"):
        with pytest.raises(InvalidRequestError, match="is an integer beyond 64 bits; give it as text") as caught:
            parse(PermissionRequest, agent_id="a", task_intent="x", resource_type="api_call", metadata={name: number})
        assert caught.value.field == f"metadata.{name}"

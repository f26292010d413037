"""Arguments have an equal hash when they are equal, and only then."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel, SecretStr

from aegis_core.protocol.arguments import MAX_DEPTH, MAX_DIGITS, hash_arguments
from aegis_core.protocol.errors import InvalidRequestError

NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([-2.0, -0.0, 0.0, 1.0, 0.5, 2.0]),
    st.builds(lambda power, more: 2**power + more, st.sampled_from([53, 54, 70, 200]), st.integers(-2, 2)),
    st.builds(lambda power, more: float(2**power + more), st.sampled_from([53, 54, 70, 200]), st.integers(-2, 2)),
    st.floats(allow_nan=False),
    st.integers(),
)
ODD_TEXTS = ["", "1", "61", "$", "$$", "$bytes", "$int", "$mapping", "\ud83d", "a at 0x1"]
TEXTS = st.one_of(st.sampled_from(ODD_TEXTS), st.text())
LEAVES = st.one_of(
    st.none(), st.booleans(), NUMBERS, TEXTS, st.binary(max_size=2), st.dates(), st.fractions(),
    st.decimals(allow_nan=False), st.builds(PurePosixPath, TEXTS),
    st.frozensets(st.one_of(st.integers(0, 3), st.binary(max_size=1)), max_size=3),
)  # fmt: skip
KEYS = st.one_of(TEXTS, st.integers(0, 2), st.binary(max_size=1))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.tuples(inner), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


def meaning(value: Any) -> Any:
    """What a value is, as something that Python compares: kinds stay apart, equal numbers do not."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, int | float):
        exact = isinstance(value, float) or abs(value) < 2**53
        return ("number" if exact else "integer", value)
    if isinstance(value, list | tuple):
        return ("list", tuple(map(meaning, value)))
    if isinstance(value, dict):
        return ("mapping", frozenset((meaning(key), meaning(item)) for key, item in value.items()))
    if isinstance(value, frozenset):
        return ("set", frozenset(map(meaning, value)))
    return (type(value).__name__, value)


def changed(value: Any) -> st.SearchStrategy[Any]:
    """The same value written otherwise, or nearly the same one."""
    if isinstance(value, bool):
        return st.sampled_from([value, int(value), not value])
    if isinstance(value, int | float) and math.isfinite(value) and abs(value) < 1e300:
        return st.sampled_from([value, int(value), float(value), float(value) * 2, Decimal(value), str(value)])
    if isinstance(value, bytes):
        return st.sampled_from([value, {"$bytes": value.hex()}, value.hex()])
    if isinstance(value, frozenset):
        return st.sampled_from([value, {"$set": sorted(map(str, value))}, list(value)])
    if isinstance(value, list | tuple):
        return st.tuples(*map(changed, value)).map(list)
    if isinstance(value, dict):
        whole = st.tuples(*(st.tuples(st.just(key), changed(item)) for key, item in reversed(value.items()))).map(dict)
        return whole | st.just({str(key): item for key, item in value.items()})
    return st.sampled_from([value, str(value)])


def object_of(value: Any) -> dict[str, Any]:
    return {"a": value}  # text at the top may be read as JSON


@given(st.data())
def test_equal_hashes_are_equal_values(data: st.DataObject) -> None:
    one = data.draw(VALUES)
    other = data.draw(st.one_of(changed(one), VALUES))
    equal = hash_arguments(object_of(one)) == hash_arguments(object_of(other))
    assert equal == (meaning(one) == meaning(other))


JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)
)


@given(JSON)
def test_text_of_an_object_is_that_object(value: Any) -> None:
    text = json.dumps(object_of(value), indent=1)
    assert hash_arguments(text) == hash_arguments(object_of(value))


def test_json_is_hashed_as_rfc_8785_spells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    spelt: list[bytes] = []
    dumps = rfc8785.dumps
    monkeypatch.setattr(rfc8785, "dumps", lambda value: (spelt.append(dumps(value)), spelt[-1])[1])
    found = hash_arguments({"b": [1.0, True, None, 1e21, "é"], "a": 333333333.33333329})
    assert spelt[-1].decode() == '{"a":333333333.3333333,"b":[1,true,null,1e+21,"é"]}'
    assert found.startswith("a2:")
    assert len(found) == 35


@dataclass
class Payment:
    note: str
    to: str


class Order(BaseModel):
    note: str = "swap at 0x1"
    to: str = Field(exclude=True)


class Recipients(RootModel[list[Any]]):
    def __iter__(self) -> Any:
        return iter(self.root)


class Transfer(BaseModel):
    model_config = ConfigDict(extra="allow")

    amount: int = 5
    _account: str = PrivateAttr("")


def transfer(account: str, **more: Any) -> Transfer:
    made = Transfer(**more)
    made._account = account
    return made


class Urgent(Payment):
    def __init__(self, to: str, bank: str) -> None:
        super().__init__("urgent", to)
        self.bank = bank


class Colour(Enum):
    RED = 1
    BLUE = 2


def nested(value: object, levels: int) -> object:
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Payment("swap at 0x1", "ada"), Payment("swap at 0x1", "eve")),
        (Order(to="ada"), Order(to="eve")),
        (PurePosixPath("/a at 0x1"), PurePosixPath("/a at 0x2")),
        ({1: "ada", "1": "eve"}, {"1": "eve"}),
        ({None: 1}, {"null": 1}),
        (Recipients([["iban", "CH1"], ["iban", "CH2"]]), Recipients([["iban", "CH2"]])),
        (Recipients([{"iban": "CH1"}]), Recipients([{"iban": "CH2"}])),
        (transfer("mine"), transfer("yours")),
        (transfer("mine", memo="rent"), transfer("mine", memo="fuel")),
        (Urgent("ada", "north"), Urgent("ada", "south")),
        (Colour.RED, Colour.BLUE),
        (Decimal("1.10"), Decimal("1.11")),
        (Fraction(1, 2), Fraction(1, 3)),
        (float("nan"), "nan"),
        (date(2026, 1, 2), "2026-01-02"),
        (nested("ada", MAX_DEPTH - 2), nested("eve", MAX_DEPTH - 2)),
    ],
)
def test_what_used_to_be_alike_is_told_apart(one: object, other: object) -> None:
    assert hash_arguments({"x": one}) != hash_arguments({"x": other})


def test_what_is_equal_is_spelt_alike() -> None:
    assert hash_arguments(Payment("a", "b")) == hash_arguments(Payment("a", "b"))
    assert hash_arguments({"x": Decimal("1.0")}) == hash_arguments({"x": Decimal("10E-1")})
    assert hash_arguments({"x": (1, 2)}) == hash_arguments({"x": [1.0, 2]})
    assert hash_arguments({"x": bytearray(b"a")}) == hash_arguments({"x": b"a"})


class Key(str):
    """Text that is equal to nothing but itself."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class Raising(timedelta):
    def __repr__(self) -> str:
        raise KeyError("none of your business")


def circle() -> object:
    inside: list[object] = []
    inside.append({"again": inside})
    return inside


def doubling() -> object:
    value: object = "x"
    for _ in range(40):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (object, "cannot be told from others"),
        (lambda: ValueError("pay at 0x1"), "ValueError that cannot be told"),
        (lambda: SecretStr("hunter2"), "SecretStr that cannot be told"),
        (lambda: httpx.QueryParams("iban=CH1&iban=CH2"), "QueryParams that cannot be told"),
        (lambda: re.compile("p" * 250), "Pattern that cannot be told"),
        (lambda: SimpleNamespace(to="ada"), "SimpleNamespace that cannot be told"),
        (lambda: memoryview(b"abcdefgh").cast("H"), "memoryview that cannot be told"),
        (lambda: {Key("to"): "ada", Key("to"): "eve"}, "dict that cannot be told"),
        (Raising, "Raising that cannot be told"),
        (lambda: nested("ada", MAX_DEPTH), "more than 64 levels"),
        (circle, "holds itself"),
        (doubling, "more than 1,000,000 values"),
        (lambda: 10**MAX_DIGITS, "more than 4,300 digits"),
        (lambda: -(10**MAX_DIGITS), "more than 4,300 digits"),
        (lambda: Decimal("1" * (MAX_DIGITS + 1)), "more than 4,300 digits"),
        (lambda: Fraction(10**MAX_DIGITS, 3), "more than 4,300 digits"),
    ],
)
def test_what_cannot_be_told_apart_is_refused_in_a_sentence(make: Callable[[], object], says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says) as refused:
        hash_arguments({"x": make()})
    assert refused.value.field == "arguments"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"to": "ada", "to": "eve"}', "the key 'to' twice"),
        ('{"x": [{"to": 1, "\\u0074o": 1}]}', "the key 'to' twice"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "levels deep"),
        ('{"a":' * 65 + "1" + "}" * 65, "levels deep"),
        ('{"a": ' + "9" * (MAX_DIGITS + 1) + "}", "digits"),
        ('{"a": 0.' + "9" * MAX_DIGITS + "}", "digits"),
        ('{"a": 2e999}', "beyond what readers of JSON can hold"),
    ],
)
def test_text_that_readers_may_take_otherwise_is_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        hash_arguments(text)


def test_the_largest_that_is_accepted() -> None:
    assert hash_arguments({"x": 10**MAX_DIGITS - 1}) == hash_arguments('{"x": ' + "9" * MAX_DIGITS + "}")
    assert hash_arguments("{'not': 'json'}") != hash_arguments({"not": "json"})
    assert hash_arguments("[" * 200_000), "no object, so it is text"

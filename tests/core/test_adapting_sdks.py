"""The SDKs behind a framework's model are looked for once, and again when it holds others."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from aegis_core.adapting import attempts
from aegis_core.adapting.attempts import watch


class Model:
    """As a framework keeps its SDKs: one made at once, one when it is first asked for. Counts who looks."""

    def __init__(self) -> None:
        self.looked = 0
        self.root_client: Any = OpenAI(api_key="none", base_url="http://127.0.0.1:9/v1")
        self.late: Any = None

    @property
    def root_async_client(self) -> Any:
        self.looked += 1
        return self.late


@pytest.fixture(autouse=True)
def unknown(monkeypatch: pytest.MonkeyPatch) -> dict[int, Any]:
    """Nothing is remembered of other tests."""
    known: dict[int, Any] = {}
    monkeypatch.setattr(attempts, "_known", known)
    return known


def is_watched(sdk: Any) -> bool:
    return isinstance(sdk._client._transport, attempts._Transport)


def test_a_model_is_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model()
    model.late = AsyncOpenAI(api_key="none", base_url="http://127.0.0.1:9/v1")
    walks: list[object] = []
    walk = attempts._sdks_of
    monkeypatch.setattr(attempts, "_sdks_of", lambda client: walks.append(client) or walk(client))
    assert [watch(model) for _ in range(5)] == [True] * 5
    assert walks == [model]
    assert is_watched(model.root_client)
    assert is_watched(model.late)


def test_an_sdk_that_takes_the_place_of_another_is_watched() -> None:
    model = Model()
    model.late = AsyncOpenAI(api_key="none")
    watch(model)
    model.root_client = OpenAI(api_key="none")
    assert not is_watched(model.root_client)
    assert watch(model)
    assert is_watched(model.root_client)


def test_an_sdk_that_comes_later_is_watched() -> None:
    """What has a place for one, and none in it yet, is looked at each time."""
    model = Model()
    watch(model)
    model.late = AsyncOpenAI(api_key="none")
    watch(model)
    assert is_watched(model.late)


def test_what_holds_no_sdk_is_remembered_too(unknown: dict[int, Any]) -> None:
    class Fake: ...

    fake = Fake()
    assert not watch(fake)
    assert list(unknown) == [id(fake)]
    del fake
    gc.collect()
    assert unknown == {}, "it is gone, and another object may have its id"


def test_an_object_that_cannot_be_remembered_is_watched_all_the_same() -> None:
    class Slotted:
        __slots__ = ("root_client",)

    model = Slotted()
    model.root_client = OpenAI(api_key="none")
    assert watch(model)
    assert watch(model)
    assert is_watched(model.root_client)


def test_a_maker_whose_product_is_kept_nowhere_is_asked_each_time() -> None:
    class Making:
        def __init__(self) -> None:
            self.made: list[Any] = []

        def _get_sync_client(self) -> Any:
            self.made.append(OpenAI(api_key="none"))
            return self.made[-1]

    model = Making()
    assert watch(model)
    assert watch(model)
    assert list(map(is_watched, model.made)) == [True, True]

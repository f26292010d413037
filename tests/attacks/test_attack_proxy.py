"""Attacks on the proxy by agents that hold one of its keys, and by strangers: on its time, and on its memory."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from guarding import DEFENDED

sys.path.extend(str(Path(__file__).parents[1] / name) for name in ("proxy", "metering"))

from stands import Handler, Stand, standing

from aegis_core.proxy import app, duplicates, exchange, turns
from aegis_core.proxy.request_body import RequestBody
from aegis_core.testing import private_settings

ASKED: dict[str, Any] = {"model": "claude-opus-4-6", "max_tokens": 10}


@pytest.fixture(scope="module")
def _stand(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    settings = private_settings(url=server_url, tenant=f"t-{uuid4().hex[:12]}")
    with standing(settings, tmp_path_factory.mktemp("proxy")) as found:
        yield found


@pytest.fixture
def stand(_stand: Stand) -> Stand:
    _stand.provider.forget()
    return _stand


def holding(values: str) -> bytes:
    return (json.dumps(ASKED)[:-1] + f',"messages":[{{"role":"user","content":[{values}]}}]}}').encode()


@DEFENDED
def test_a_body_of_many_values_beside_the_calls_of_others(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    """Each takes microseconds, so they are read beside the event loop, one body of a key at a time."""
    if not defended:
        monkeypatch.setattr(turns, "FEW_VALUES", 1_000_000)
    read, threads = RequestBody.__init__, list[str]()

    def noted(self: RequestBody, raw: bytes) -> None:
        threads.append(threading.current_thread().name)
        read(self, raw)

    monkeypatch.setattr(RequestBody, "__init__", noted)
    loop = stand.post("/v1/messages", stand.key(), {**ASKED, "messages": [{"role": "user", "content": "Hi"}]})
    many = stand.post("/v1/messages", stand.key(), holding("1," * 2_500 + "1"))
    assert (loop.status_code, many.status_code) == (200, 200)
    assert (threads[0] != threads[1]) is defended


@DEFENDED
@pytest.mark.parametrize("fill", ["1,", '"a",', "[],"])
def test_a_body_of_more_values_than_anybody_has(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, fill: str, defended: bool
) -> None:
    monkeypatch.setattr(turns, "MOST_VALUES", 5_000 if defended else 1_000_000)
    wrong, text = holding(fill * 6_000 + "1"), {"role": "user", "content": "1, [2], {3} " * 2_000}
    answer = stand.post("/v1/messages", stand.key(), wrong)
    assert (answer.status_code == 413) is defended
    assert stand.post("/v1/messages", stand.key(), {**ASKED, "messages": [text]}).status_code == 200, (
        "text is one value"
    )


def test_a_body_of_more_escapes_than_anybody_has(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MOST_ESCAPES", 5_000)
    answer = stand.post("/v1/messages", stand.key(), holding('"' + "\\n" * 6_000 + '"'))
    assert (answer.status_code, "escaped" in answer.text) == (413, True)


@DEFENDED
@pytest.mark.parametrize(
    ("query", "code"), [("a=" + "b" * 9_000, "path_too_long"), ("a&" * 100, "too_many_parameters")]
)
def test_a_query_that_is_read_before_the_key(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, query: str, code: str, defended: bool
) -> None:
    if not defended:
        monkeypatch.setattr(app, "_judge_target", lambda _: None)
    answer = stand.http.get(f"/v1/models?{query}")
    assert answer.json()["error"]["code"] == (code if defended else "missing_credential")


@DEFENDED
def test_answers_kept_for_repeats_until_the_memory_is_full(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    """Embeddings cost next to nothing, and a thousand of their answers a gigabyte."""
    monkeypatch.setattr(duplicates, "MOST_BYTES", 50_000 if defended else 10**9)
    made: list[duplicates.Duplicates] = []
    begin = duplicates.Duplicates.begin

    def noted(self: duplicates.Duplicates, *given: Any) -> Any:
        made.append(self)
        return begin(self, *given)

    def act(handler: Handler, _: Any) -> None:
        handler.whole({"object": "list", "data": "x" * 20_000, "usage": {"prompt_tokens": 1, "total_tokens": 1}})

    monkeypatch.setattr(duplicates.Duplicates, "begin", noted)
    stand.provider.act = act
    key, body = stand.key(), {"model": "text-embedding-3-small", "input": "a"}
    for name in "abcdef":
        assert stand.post("/v1/embeddings", key, body, idempotency_key=name).status_code == 200
    kept = made[0]._attempts.values()  # pyright: ignore[reportPrivateUsage]
    held = [len(message.get("body", b"")) for each in kept for message in each.record or ()]
    assert (sum(held) <= 50_000) is defended
    assert stand.post("/v1/embeddings", key, body, idempotency_key="f").status_code == 200
    assert len(stand.provider.asked) == 6, "the last one is kept"


@DEFENDED
def test_a_long_answer_kept_for_repeats_while_it_comes(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    monkeypatch.setattr(exchange, "MOST_RECORDED", 10_000 if defended else 10**9)
    ends: list[Any] = []
    end = duplicates.Duplicates.end

    def noted(self: duplicates.Duplicates, name: Any, attempt: Any, status: int, record: Any) -> None:
        ends.append(record)
        end(self, name, attempt, status, record)

    monkeypatch.setattr(duplicates.Duplicates, "end", noted)
    stand.provider.act = lambda handler, _: handler.whole({"data": "x" * 20_000, "usage": {"prompt_tokens": 1}})
    body = {"model": "text-embedding-3-small", "input": "a"}
    assert stand.post("/v1/embeddings", stand.key(), body, idempotency_key="long").status_code == 200
    assert (ends == [None]) is defended


@DEFENDED
def test_bodies_that_are_held_while_they_wait(stand: Stand, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    """Of one key, beside which another one's call goes through."""
    monkeypatch.setattr(turns, "MOST_HELD", 30_000 if defended else 10**9)
    going, go = threading.Semaphore(0), threading.Event()

    def act(handler: Handler, _: Any) -> None:
        going.release()
        go.wait(20)
        handler.whole({"type": "message", "usage": {"input_tokens": 1, "output_tokens": 1}})

    stand.provider.act = act
    mine, body = stand.key(), {**ASKED, "messages": [{"role": "user", "content": "x" * 20_000}]}
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(stand.post, "/v1/messages", mine, body)
        assert going.acquire(timeout=20)
        second = pool.submit(stand.post, "/v1/messages", mine, body)
        other = pool.submit(stand.post, "/v1/messages", stand.key(), body)
        assert going.acquire(timeout=20), "of another key"
        if defended:
            assert second.result(20).status_code == 503
        go.set()
        assert {each.result(20).status_code for each in (first, other)} == {200}
        assert (second.result(20).status_code == 503) is defended
    assert stand.post("/v1/messages", mine, body).status_code == 200, "there is room again"

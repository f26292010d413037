"""Attacks by size: text that takes the square of its length, and work on what is not yet known to be small."""

from __future__ import annotations

import gc
import random
import socket
import threading
import time
import tracemalloc
import urllib.parse
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from unicodedata import normalize
from urllib.parse import quote, urlsplit

import pytest
from guarding import DEFENDED, Serve, bearer
from uvicorn.protocols.http import httptools_impl

from aegis_core.api import connections, gate, routes_agents, routing, wire
from aegis_core.api.auth import Auth
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.policy import text
from aegis_core.policy.globs import _pattern
from aegis_core.policy.text import fold, normalise, words
from aegis_core.protocol import fields
from aegis_core.protocol.arguments import MAX_SHOWN, hash_arguments
from aegis_core.protocol.canonical import canonical_json, storable
from aegis_core.protocol.fields import MAX_INTENT, MAX_NAME_BYTES, _printable, identifier
from aegis_core.protocol.masking import mask_json, mask_text, visible
from aegis_core.protocol.parsing import without_repeats

pytestmark = pytest.mark.leaves("grants")

API = "/api/v1"
MARKS = "\u0327\u0301"  # of two classes in the wrong order, so that each is sorted past all others


def repeated(text: str) -> Callable[[int], str]:
    return lambda length: (text * length)[:length]


SHAPES = {
    "marks": lambda length: "a" + repeated(MARKS)(length - 1),
    "marks without a letter": repeated(MARKS),
    "marks of four classes": repeated("\u0345\u0301\u0327\u0315"),
    "marks between hidden characters": repeated(MARKS * 15 + "\u200d"),
    "marks between fillers": repeated("\U0001d165\U0001d16e" * 15 + "\u3164"),
    "half-width marks": repeated("\uff9e\u0301"),
    "doubled marks": repeated("\u0344\u0327"),
    "letters of three": repeated("\u0390"),
    "letters that look like others": repeated("\u0430\u0300"),
    "signs for two words": repeated("\ufdfa" + "a" * 17),
    "syllables": repeated("\u1100\u1161\u11a8"),
    "ascii": repeated("a "),
    "words": repeated("token is "),
    "keys": repeated("sk-"),
    "halves of keys": repeated("sk-a_"),
    "tokens": repeated("eyJ"),
    "passwords": repeated("password    :    "),
    "bearers": repeated("bearer "),
    "addresses": repeated("://a:"),
    "blocks": repeated("-----BEGIN PRIVATE KEY-----"),
    "openings of blocks": repeated("-----BEGIN A "),
    "controls": repeated("\x1b\u202e"),
    "halves of pairs": repeated("\ud83d"),
}
IN_NAMES = ("marks", "marks without a letter", "half-width marks", "letters of three")


def tried(work: Callable[[Any], object]) -> Callable[[Any], object]:
    """To refuse is an answer, too."""

    def run(value: Any) -> object:
        try:
            return work(value)
        except ValueError:
            return None

    return run


def seconds(work: Callable[[Any], object], value: Any, measures: int = 5) -> float:
    """CPU time of one call in this thread: the least of some measures, each long enough for the clock."""
    times = 1
    found: list[float] = []
    while len(found) < measures:
        began = time.thread_time()
        for _ in range(times):
            work(value)
        spent = time.thread_time() - began
        if spent < 0.002 and not found:
            times *= 2
        else:
            found.append(spent / times)
    return min(found)


def assert_linear(work: Callable[[Any], object], make: Callable[[int], Any], length: int) -> None:
    """Twice as much as a length takes at most 2.5 times as long.

    A machine that does other work, too, spoils measures in both directions, so two of up to fifteen pairs have to say
    so. The square of a length takes four times as long.
    """
    short, long = make(length), make(2 * length)
    found: list[float] = []
    gc.disable()
    try:
        while len(found) < 15 and sum(each <= 2.5 for each in found) < 2:
            found.append(seconds(work, long, 3) / seconds(work, short, 3))
    finally:
        gc.enable()
    assert sum(each <= 2.5 for each in found) == 2, f"{found} from {length:,} to {2 * length:,}"


PARTS = pytest.mark.parametrize("part", [2, pytest.param(4, marks=pytest.mark.deep)], ids=["half", "quarter"])
"""Of the most that is accepted: a square shows best where there is most of it."""


@PARTS
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("work", [normalise, fold, words, mask_text, visible, storable, canonical_json, _printable])
def test_no_text_takes_the_square_of_its_length(work: Callable[[Any], object], shape: str, part: int) -> None:
    assert_linear(tried(work), SHAPES[shape], MAX_INTENT // part)


@PARTS
@pytest.mark.parametrize("shape", IN_NAMES)
@pytest.mark.parametrize("work", [identifier, _pattern])
def test_no_name_takes_the_square_of_its_length(work: Callable[[Any], object], shape: str, part: int) -> None:
    most = MAX_NAME_BYTES // len(SHAPES[shape](2)[1].encode())
    assert_linear(tried(work), SHAPES[shape], most // part)
    assert seconds(tried(work), SHAPES[shape](1_000_000)) < 0.001, "what is longer is not looked into"


def _masked(text: str) -> str:
    return mask_json(text, b"k")


@pytest.mark.parametrize(
    ("work", "make", "most"),
    [
        (gate._judge_query, lambda length: "&".join(f"a{at}=" for at in range(length // 6)).encode(), gate.MAX_TARGET),
        # Fewer than a body may hold: for a larger table the system hands out memory anew each time, which is no square
        # of the length, but slow on a busy machine.
        (without_repeats, lambda length: [(f"k{at}", 0) for at in range(length)] + [("k0", 1)], 1_600),
        (hash_arguments, lambda length: '{"a": [' + "1," * (length // 2) + "1]}", gate.MAX_BODY),
        (hash_arguments, lambda length: '{"a": "' + "\\ud83d" * (length // 6) + '"}', gate.MAX_BODY),
        (_masked, lambda length: '{"a":"' + "-----BEGIN A " * (length // 13) + '"}', MAX_SHOWN),
        (_masked, lambda length: '{"a":"' + "token: eyJabcdefgh.sk-" * (length // 22) + '"}', MAX_SHOWN),
        (_masked, lambda length: '{"a":[' + "1," * (length // 2) + "1]}", MAX_SHOWN),
    ],
    ids=["queries", "keys", "arguments", "arguments of halves of pairs", "key blocks", "secrets", "many values"],
)
@PARTS
def test_nothing_else_does(work: Callable[[Any], object], make: Callable[[int], Any], most: int, part: int) -> None:
    assert_linear(tried(work), make, most // part)


@pytest.mark.parametrize("shape", ["marks", "half-width marks", "marks of four classes"])
def test_it_did_before(shape: str) -> None:
    """So that the measure is known to find it."""
    with pytest.raises(AssertionError, match="from"):
        assert_linear(lambda text: normalize("NFKC", text), SHAPES[shape], MAX_INTENT // 2)


@DEFENDED
def test_a_name_of_combining_marks(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    if not defended:
        monkeypatch.setattr(fields, "check_size", lambda value: None)
        monkeypatch.setattr(fields, "normal", normalize)
    server = serve()
    began = time.process_time()  # the server is a thread of this process
    answer = server.http.post(
        f"{API}/handshake", json={"agent_id": "a" + MARKS * 20_000}, headers=bearer(server.agent_key)
    )
    assert answer.status_code == 422
    assert (time.process_time() - began < 0.2) is defended


@DEFENDED
def test_a_path_that_is_read_before_the_credential(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    if not defended:
        monkeypatch.setattr(Auth, "precheck", _passes)
    server = serve()
    path = f"{API}/budget/{quote('a' + MARKS * 200)}"
    assert server.http.get(path).status_code == (401 if defended else 422)
    forged = "aegis_st_s" + "0" * 24 + "_" + "x" * 43
    assert server.http.get(path, headers=bearer(forged)).status_code == (401 if defended else 422)
    assert server.http.get(f"{API}/agents?limit=x").status_code == (401 if defended else 422)


async def _passes(auth: Auth, request: object) -> None:
    """What stood there before."""


@DEFENDED
def test_a_path_and_headers_of_any_length(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    long = f"{API}/health?x=" + "a" * gate.MAX_TARGET
    if not defended:
        for module in (gate, wire):
            monkeypatch.setattr(module, "MAX_TARGET", 1 << 20)
        monkeypatch.setattr(gate, "MAX_HEADERS", 1 << 20)
    server = serve()
    assert server.http.get(long).status_code == (414 if defended else 200)
    many = {f"X-{at}": "a" * 1_000 for at in range(33)}
    assert server.http.get(f"{API}/health", headers=many).status_code == (431 if defended else 200)


@DEFENDED
def test_a_path_of_escapes(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    """uvicorn decodes a path before the gate sees how long it is, in the time of many honest requests."""
    decoded, few = list[int](), wire.FEW_ESCAPES

    def unquote(path: str) -> str:
        decoded.append(path.count("%"))
        return urllib.parse.unquote(path)

    spied = SimpleNamespace(parse=SimpleNamespace(unquote=unquote))
    monkeypatch.setattr(httptools_impl, "urllib", spied)
    if not defended:
        monkeypatch.setattr(wire, "FEW_ESCAPES", 1 << 20)
        monkeypatch.setattr(wire, "MAX_TARGET", 1 << 20)
    server = serve()
    for escapes, status in ((20_000, 414), (2_500, 401)):
        assert server.http.get(f"{API}/budget/{'%CC%95' * (escapes // 2)}").status_code == status
    assert (max(decoded, default=0) <= few) is defended


def test_a_path_of_many_escapes_names_what_it_did(serve: Serve) -> None:
    server = serve()
    head = bearer(server.agent_key)
    name = "ä" * 40
    token = server.http.post(f"{API}/handshake", json={"agent_id": name}, headers=head).json()["session_token"]
    answer = server.http.get(f"{API}/budget/{quote(name)}", headers=bearer(token))
    assert (answer.status_code, answer.json()["agent_id"]) == (200, name)
    broken = server.http.get(f"{API}/budget/{quote(name)}%zz", headers=bearer(token))
    assert broken.status_code in {403, 404, 422}


def test_escapes_mean_what_they_do_elsewhere() -> None:
    """Every byte, in any order, some as escapes: as urllib reads it, unless an escape is broken."""
    chance = random.Random(11)
    signs = [bytes([each]) for each in range(33, 127) if each not in b"%?"] + [b"%%%02X" % each for each in range(256)]
    for _ in range(3_000):
        path = b"".join(chance.choices(signs, k=chance.randrange(40)))
        assert wire._unescaped(path) == urllib.parse.unquote(path.decode())
    assert wire._unescaped(b"/%41%zz=") == "/%41%zz="
    for strange in (b"/\xe4" + b"%41" * 90, b"/\xe4%zz"):  # as uvicorn has it, too
        with pytest.raises(UnicodeDecodeError):
            wire._unescaped(strange)


@DEFENDED
def test_a_body_with_thousands_of_faults_beside_the_calls_of_others(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    if not defended:
        monkeypatch.setattr(routing, "_LARGE", gate.MAX_BODY)
    where: list[int] = []
    parsed, caller = routing._parsed, Auth.caller

    def parsing(*given: Any) -> Any:
        where.append(threading.get_ident())
        return parsed(*given)

    async def calling(auth: Auth, request: Any, **more: Any) -> Any:
        where[:] = [threading.get_ident()]
        return await caller(auth, request, **more)

    monkeypatch.setattr(routing, "_parsed", parsing)
    monkeypatch.setattr(Auth, "caller", calling)
    server = serve()
    session = server.enter("a")
    assert server.ask(session, **{f"k{at}": at for at in range(3_000)}).status_code == 422
    loop, worker = where
    assert (worker != loop) is defended
    assert server.ask(session).status_code == 200
    loop, worker = where
    assert worker == loop, "what is small is parsed at once"


@DEFENDED
def test_an_intent_that_takes_long_to_read_beside_the_calls_of_others(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    if not defended:
        monkeypatch.setattr(routes_agents, "is_heavy", lambda text: False)
    text.reading.cache_clear()
    where: list[int] = []
    read, ask = text.normalise, ResourceGovernor.request_permission

    def reading(intent: str) -> str:
        where.append(threading.get_ident())
        return read(intent)

    async def asking(governor: ResourceGovernor, *given: Any, **more: Any) -> Any:
        where.append(-threading.get_ident())
        return await ask(governor, *given, **more)

    monkeypatch.setattr(text, "normalise", reading)
    monkeypatch.setattr(ResourceGovernor, "request_permission", asking)
    server = serve()
    session = server.enter("a")
    assert server.ask(session, task_intent="\u0390" * (MAX_INTENT // 2)).status_code == 200
    loop = next(-thread for thread in where if thread < 0)
    assert (loop not in where) is defended


def test_signs_that_each_stand_for_many(serve: Serve) -> None:
    server = serve()
    session = server.enter("a")
    answer = server.ask(session, task_intent="\ufdfa" * MAX_INTENT)
    assert answer.status_code == 422
    assert "stand for 144,000 characters" in answer.json()["detail"]


@DEFENDED
def test_headers_that_never_end(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    if not defended:
        monkeypatch.setattr(wire, "MAX_HEAD", 1 << 40)
        monkeypatch.setattr(connections, "HEADER_SECONDS", 600)
    where = urlsplit(serve().url)
    part, taken = b"a" * 65_536, 0
    with socket.create_connection((where.hostname, where.port), timeout=20) as line:
        line.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
        with suppress(OSError):  # the server closes while this still writes
            while taken < 32 * 1024 * 1024:
                line.sendall(part)
                taken += len(part)
    assert (taken < 32 * 1024 * 1024) is defended


@DEFENDED
def test_what_strangers_show_is_not_kept(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    if not defended:
        monkeypatch.setattr(gate, "DigestCache", lambda answer, *, most: lru_cache(most)(answer))
    server = serve()
    tracemalloc.start()
    try:
        began, _ = tracemalloc.get_traced_memory()
        for at in range(120):
            shown = f"aegis_st_{at:06d}" + "h" * 30_000
            assert server.http.get(f"{API}/agents", headers=bearer(shown)).status_code == 401
            assert server.http.get(f"{API}/health", headers={"Host": f"{at:06d}" + "h" * 30_000}).status_code == 200
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (kept - began < 3_000_000) is defended, "7 MB were shown"

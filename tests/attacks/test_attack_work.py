"""Attacks by work and by words: requests that cost a server far more than their sender, and lines of its log."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
import rfc8785
from guarding import AS_OPERATOR, DEFENDED, Guarded, Serve, bearer
from pydantic import SecretStr

from aegis_core.api import app, connections, gate, logs, routing
from aegis_core.api.auth import Auth
from aegis_core.governor import governor, requests
from aegis_core.protocol import masking, parsing
from aegis_core.protocol.arguments import hash_of
from aegis_core.protocol.messages import PermissionRequest

pytestmark = pytest.mark.leaves("grants", "questions")

API = "/api/v1"
PLENTY = 1 << 40
BEFORE_PAYING = {
    "schema": 1,
    "rules": [{"name": "asked", "type": "max_cost", "limit_usd": 0, "tools": ["pay"], "effect": "escalate"}],
}


def forged(server: Guarded) -> str:
    """A token in the right shape, of this tenant, that was never issued."""
    return f"aegis_st_s{'7' * 24}_{'Q' * 43}_{server.settings.tenant}"


def wish(**more: Any) -> bytes:
    asked = {"agent_id": "a", "task_intent": "Pay", "resource_type": "api_call", "estimated_cost_usd": 0.01, **more}
    return json.dumps(asked).encode()


@DEFENDED
@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_under_a_token_that_was_made_up(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, chunked: bool, defended: bool
) -> None:
    if not defended:
        monkeypatch.setattr(Auth, "confirm", _passes)
    taken: list[int] = []
    parsed = routing._parsed
    monkeypatch.setattr(routing, "_parsed", lambda model, body: taken.append(len(body)) or parsed(model, body))
    server = serve()
    body = wish(within=[3] * 3_000)
    answer = server.http.post(
        f"{API}/request-permission", content=iter([body]) if chunked else body,
        headers=bearer(forged(server)) | {"Content-Type": "application/json"},
    )  # fmt: skip
    assert answer.status_code == (401 if defended else 422)
    assert taken == ([] if defended else [len(body)])


async def _passes(auth: Auth, request: object) -> None:
    """What stood there before."""


@DEFENDED
def test_a_message_of_more_values_than_any_has(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    if not defended:
        monkeypatch.setattr(routing, "MAX_ITEMS", PLENTY)
    server = serve()
    session = server.enter("a")
    for more in ({"within": [5] * 9_000}, {"metadata": {f"m{at}": at for at in range(9_000)}}):
        answer = server.ask(session, **more)
        assert answer.status_code == (413 if defended else 422)
        assert answer.json()["code"] == ("too_large" if defended else "invalid_request")
    table = rfc8785.dumps({"csv": '1,\\"2\\",' * 3_000})
    answer = server.ask(session, tool="t", arguments_hash=hash_of(table), arguments_json=table.decode())
    assert answer.json()["status"] == "GRANTED", "commas in a text are no values"


def test_a_list_that_is_wrong_everywhere() -> None:
    """The first item says it; all others would have to be found and put into words."""
    for more in ({"within": [None] * 900}, {"requirements": {"models": [None] * 900, "providers": [None] * 900}}):
        with pytest.raises(parsing.ValidationError) as caught:
            PermissionRequest.model_validate_json(wish(**more), strict=True)
        assert caught.value.error_count() <= 2


@DEFENDED
def test_faults_that_all_are_put_into_words(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    if not defended:
        monkeypatch.setattr(parsing, "_MOST_FAULTS", PLENTY)
    server = serve()
    session = server.enter("a")
    said = server.ask(session, **{f"field{at}": None for at in range(700)}).json()
    assert (said["detail"] == "there are 700 faults in the message") is defended
    assert len(said["errors"]) == (1 if defended else 20)


@DEFENDED
def test_arguments_of_more_values_than_a_person_reads(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    if not defended:
        monkeypatch.setattr(parsing, "MAX_SHOWN_VALUES", PLENTY)
    parsed: list[int] = []
    load = masking.loads
    monkeypatch.setattr(masking, "loads", lambda text: parsed.append(len(text)) or load(text))
    server = serve()
    session = server.enter("a")
    assert (
        server.http.put(f"{API}/policy", json=BEFORE_PAYING, headers=AS_OPERATOR | {"If-Match": "*"}).status_code == 200
    )
    spelt = rfc8785.dumps([["k", 8]] * 2_500)
    verdict = server.ask(session, tool="pay", arguments_hash=hash_of(spelt), arguments_json=spelt.decode()).json()
    assert verdict["status"] == ("REJECTED" if defended else "PENDING"), verdict
    assert bool(parsed) is not defended
    spelt = rfc8785.dumps({"text": "[{,}]" * 5_000})
    verdict = server.ask(session, tool="pay", arguments_hash=hash_of(spelt), arguments_json=spelt.decode()).json()
    assert verdict["status"] == "PENDING", "brackets in a text are no values"


@DEFENDED
def test_arguments_that_take_long_to_mask_beside_the_calls_of_others(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    if not defended:
        monkeypatch.setattr(governor, "LONG", PLENTY)
    where: list[int] = []
    mask, caller = requests.mask_json, Auth.caller

    def masks(*given: Any) -> str:
        where.append(threading.get_ident())
        return mask(*given)

    async def calling(auth: Auth, request: Any, **more: Any) -> Any:
        where[:] = [threading.get_ident()]
        return await caller(auth, request, **more)

    monkeypatch.setattr(requests, "mask_json", masks)
    monkeypatch.setattr(Auth, "caller", calling)
    server = serve()
    session = server.enter("a")
    assert (
        server.http.put(f"{API}/policy", json=BEFORE_PAYING, headers=AS_OPERATOR | {"If-Match": "*"}).status_code == 200
    )
    for values, beside in ((1_200, defended), (12, False)):
        spelt = rfc8785.dumps({"keys": ["0x0"] * values})
        verdict = server.ask(session, tool="pay", arguments_hash=hash_of(spelt), arguments_json=spelt.decode()).json()
        assert verdict["status"] == "PENDING", verdict
        loop, worker = where
        assert (worker != loop) is beside


@DEFENDED
def test_arguments_that_take_long_to_mask_from_many_at_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    """Threads of Python take turns with the loop, so a few that always mask would leave it half of its time."""
    if not defended:
        monkeypatch.setattr(governor, "in_turn", asyncio.to_thread)
    pieces: list[tuple[float, float, float]] = []
    both = threading.Barrier(2)
    mask = requests.mask_json

    def masks(*given: Any) -> str:
        began, working = time.monotonic(), time.thread_time()
        with suppress(threading.BrokenBarrierError):
            both.wait(0.05 if defended else 20)  # until somebody else masks as well, or nobody comes
        while time.thread_time() - working < 0.02:
            mask(*given)
        pieces.append((began, time.monotonic(), time.thread_time() - working))
        return mask(*given)

    monkeypatch.setattr(requests, "mask_json", masks)
    server = serve()
    sessions = [server.enter(f"flood-{at}") for at in range(4)]
    assert (
        server.http.put(f"{API}/policy", json=BEFORE_PAYING, headers=AS_OPERATOR | {"If-Match": "*"}).status_code == 200
    )
    spelt = rfc8785.dumps({"keys": ["0x0"] * 1_200})
    wish = {"tool": "pay", "arguments_hash": hash_of(spelt), "arguments_json": spelt.decode()}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda session: server.ask(session, **wish).json(), sessions))
    assert [answer["status"] for answer in answers] == ["PENDING"] * 4
    pieces.sort()
    rested = [later[0] - before[1] >= 3 * before[2] for before, later in pairwise(pieces)]
    assert all(rested) if defended else not any(rested[::2]), pieces


def test_the_document_is_spelt_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    first = server.http.get("/openapi.json")
    assert first.json()["info"]["title"] == "Aegis Governor"
    monkeypatch.setattr(app.json, "dumps", lambda *_, **__: 1 / 0)
    monkeypatch.setattr(logs, "JsonFormatter", None)
    assert server.http.get("/openapi.json").content == first.content


@DEFENDED
@pytest.mark.parametrize(
    ("limit", "path"),
    [
        ("MAX_PARAMETERS", f"{API}/health?" + "&".join(f"q{at}" for at in range(600))),
        ("MAX_SEGMENTS", f"{API}/health" + "/b" * 2_000),
    ],
)
def test_parameters_and_parts_of_a_path_without_number(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, limit: str, path: str, defended: bool
) -> None:
    if not defended:
        monkeypatch.setattr(gate, limit, PLENTY)
    assert (serve().http.get(path).status_code == 414) is defended


@DEFENDED
def test_addresses_of_proxies_without_number(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    if not defended:
        monkeypatch.setattr(connections, "_MOST_FORWARDED", 1 << 20)
    looked: list[str] = []
    is_in = connections._is_in
    monkeypatch.setattr(connections, "_is_in", lambda *given: looked.append(given[0]) or is_in(*given))
    server = serve(trusted_proxies="127.0.0.1, fd00::/8")
    looked.clear()
    said = "198.51.100.7" + ",fd00::2" * 3_000
    assert server.http.get(f"{API}/health", headers={"X-Forwarded-For": said}).status_code == 200
    assert (len(looked) < 30) is defended
    looked.clear()
    assert server.http.get(f"{API}/health", headers={"X-Forwarded-For": said * 2}).status_code == 431
    assert len(looked) < 30, "what is too large is not looked into"


@DEFENDED
@pytest.mark.parametrize("place", ["path", "body", "request id"])
@pytest.mark.parametrize("kind", ["key", "operator secret"])
def test_a_credential_in_the_place_of_a_name_for_readers_of_the_log(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    heard: pytest.LogCaptureFixture,
    place: str,
    kind: str,
    defended: bool,
) -> None:
    if not defended:
        monkeypatch.setattr(logs, "_shown", lambda name, secret: name)
        monkeypatch.setattr(logs, "_without", lambda text, secret: text)
        monkeypatch.setattr(logs, "mask_text", lambda text: text)
    server = serve(operator_secret=SecretStr("like-the-name-of-a-horse"))
    log = logging.getLogger("aegis")
    monkeypatch.setattr(log, "propagate", True)  # the server has set up its own
    monkeypatch.setattr(log, "level", logging.INFO)
    shown = server.agent_key if kind == "key" else "like-the-name-of-a-horse"
    key = bearer(server.operator_key)
    if place == "path":
        server.http.get(f"{API}/budget/{shown}", headers=key)
    elif place == "body":
        server.http.post(f"{API}/handshake", json={"agent_id": shown}, headers=key)
    else:
        server.http.get(f"{API}/health", headers={"X-Request-Id": shown})
    facts: list[dict[str, Any]] = []
    deadline = time.monotonic() + 30
    while not any("path" in fact for fact in facts):  # the line is written after the answer
        assert time.monotonic() < deadline
        time.sleep(0.01)
        facts = [getattr(record, "facts", {}) for record in list(heard.records)]
    assert (shown not in json.dumps(facts)) is defended

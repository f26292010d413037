"""A call that a person must approve: held while its client waits, then 402 with the approval's id; one claim each."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import pytest
from stands import Stand, charged, proxying

from aegis_core.governor.proxy_keys import ProxyKey
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.approvals import ApprovalEdit
from aegis_core.proxy import asking

MESSAGE: dict[str, Any] = {"model": "claude-opus-4-6", "max_tokens": 9_000}
RULES = [{"name": "dear", "type": "max_cost", "limit_usd": "0.01", "effect": "escalate"}]


@pytest.fixture(autouse=True)
def _asks(stand: Stand) -> Iterator[None]:
    """A rule that asks a person about each of these calls, however short their answers."""
    before = stand.port._rules.policy
    stand.run(stand.port.publish_policy(load_policy(json.dumps({"schema": 1, "rules": RULES})), author="ada"))
    yield
    stand.run(stand.port.publish_policy(before, author="ada"))


def ask(
    stand: Stand, key: ProxyKey, text: str = "Hello", *, session: str = "s", url: str = "", **more: Any
) -> httpx.Response:
    said = [{"role": "user", "content": text}]
    headers = {"x-api-key": key.secret or "", "x-session-id": session}
    return httpx.post(
        f"{url or stand.url}/v1/messages",
        json={**MESSAGE, "messages": said, **more},
        headers=headers,
        timeout=60,
        trust_env=False,
    )


def question(stand: Stand, key: ProxyKey) -> Any:
    """The open question of an agent, once it is asked."""
    while True:
        found = stand.run(stand.port.approvals.list(agent_id=key.terms.agent_id))
        if found:
            return found[0]


def decide(stand: Stand, approval: Any, word: str, **more: Any) -> None:
    stand.run(stand.port.approvals.decide(approval.approval_id, word, by="ada", **more))


def test_a_call_is_held_until_it_is_approved(stand: Stand) -> None:
    key = stand.key()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, stand, key)
        found = question(stand, key)
        assert (found.model, found.prompt_end, found.arguments) == ("claude-opus-4-6", "", "")
        assert stand.provider.asked == []
        decide(stand, found, "approve")
        assert waiting.result().status_code == 200
    ends = stand.ended(key.terms.agent_id)
    assert charged(ends) == stand.provider.billed_usd


def test_a_call_that_a_person_refuses_says_so_and_is_not_asked_about_again(stand: Stand) -> None:
    key = stand.key()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, stand, key)
        decide(stand, question(stand, key), "reject", reason="not today")
        answer = waiting.result()
    assert answer.status_code == 402
    assert "ada rejected it (not today)" in answer.json()["error"]["message"]
    again = ask(stand, key, "Hello again, in other words")
    assert again.json()["error"]["message"] == answer.json()["error"]["message"]
    assert stand.provider.asked == []
    assert stand.run(stand.port.approvals.list(agent_id=key.terms.agent_id)) == ()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "HOLD_SECONDS", 0.05)


@pytest.mark.usefixtures("impatient")
def test_what_was_approved_later_is_the_next_calls_of_its_session_once(stand: Stand) -> None:
    key = stand.key()
    answer = ask(stand, key)
    assert (answer.status_code, answer.headers["x-aegis-code"]) == (402, "approval_needed")
    found = question(stand, key)
    assert answer.headers["x-aegis-approval"] == found.approval_id
    assert found.approval_id in answer.json()["error"]["message"]
    assert ask(stand, key, "a second try, with other words").headers["x-aegis-approval"] == found.approval_id
    decide(stand, found, "approve")
    other = ask(stand, key, session="another")
    assert other.status_code == 402
    assert other.headers["x-aegis-approval"] != found.approval_id
    assert ask(stand, key, "a third try", max_tokens=8_500).status_code == 200
    assert ask(stand, key, "a third try").status_code == 402
    assert len(stand.provider.asked) == 1
    stand.run(stand.port.operator.block(key.terms.agent_id, author="ada"))  # declines what is open
    (end,) = stand.events(key.terms.agent_id, "settled")
    assert charged([end]) == stand.provider.billed_usd


@pytest.mark.usefixtures("impatient")
def test_what_was_approved_is_used_once_whichever_process_is_asked(stand: Stand) -> None:
    key = stand.key(budget="0.30")  # enough for one such call, and the question holds it
    with proxying(stand.settings) as other, ThreadPoolExecutor(6) as pool:

        def together(many: int) -> list[httpx.Response]:
            asking = [pool.submit(ask, stand, key, f"try {at}", url=(other, "")[at % 2]) for at in range(many)]
            return [each.result() for each in asking]

        first = ask(stand, key)
        assert {each.headers["x-aegis-approval"] for each in together(4)} == {first.headers["x-aegis-approval"]}
        decide(stand, question(stand, key), "approve")
        answers = together(6)
        assert sorted(each.status_code for each in answers) == [200, *[402] * 5]
        assert len(stand.provider.asked) == 1
        (end,) = stand.ended(key.terms.agent_id)
        assert charged([end]) == stand.provider.billed_usd
        again = ask(stand, key, url=other)
        assert again.headers["x-aegis-code"] == "approval_needed"
        decide(stand, question(stand, key), "reject", reason="enough")
        for url in ("", other):
            assert "enough" in ask(stand, key, "in other words", url=url).json()["error"]["message"]
    assert stand.run(stand.port.approvals.list(agent_id=key.terms.agent_id)) == ()


@pytest.mark.usefixtures("impatient")
def test_a_dearer_call_than_was_approved_asks_anew(stand: Stand) -> None:
    key = stand.key(budget="9")
    first = ask(stand, key).headers["x-aegis-approval"]
    decide(stand, question(stand, key), "approve")
    dearer = ask(stand, key, "x" * 60_000)
    assert dearer.status_code == 402
    assert dearer.headers["x-aegis-approval"] != first
    stand.run(stand.port.operator.block(key.terms.agent_id, author="ada"))
    stand.run(stand.port.release(f"gr_{first.removeprefix('ap_')}", _release(key)))


def _release(key: ProxyKey) -> Any:
    from aegis_core.protocol.messages import ReleaseRequest

    return ReleaseRequest(agent_id=key.terms.agent_id)


def test_what_an_operator_lowered_bounds_the_answer(stand: Stand) -> None:
    key = stand.key(min_output_tokens=1_000)  # so few cost more than asks a person, and less than is approved
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, stand, key, max_tokens=9_000)
        found = question(stand, key)
        lower = Decimal("0.05")
        assert found.amount_usd > lower
        decide(stand, found, "approve", edit=ApprovalEdit(estimated_cost_usd=lower))
        assert waiting.result().status_code == 200
    assert stand.provider.asked[-1].json["max_tokens"] * Decimal("0.000025") < lower
    stand.ended(key.terms.agent_id)


def test_a_client_that_leaves_while_it_is_held_takes_its_question_back(stand: Stand) -> None:
    key = stand.key()
    left = threading.Event()

    def leave() -> None:
        said = [{"role": "user", "content": "Hello"}]
        with httpx.Client(trust_env=False, timeout=0.6) as http, pytest.raises(httpx.ReadTimeout):
            http.post(
                f"{stand.url}/v1/messages", json={**MESSAGE, "messages": said}, headers={"x-api-key": key.secret or ""}
            )
        left.set()

    thread = threading.Thread(target=leave)
    thread.start()
    question(stand, key)
    thread.join()
    assert left.is_set()
    stand.ended(key.terms.agent_id)
    assert stand.run(stand.port.approvals.list(agent_id=key.terms.agent_id)) == ()
    assert stand.provider.asked == []

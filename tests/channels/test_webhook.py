"""The outgoing webhook: signed so that any Standard Webhooks library can verify it, and sent until it is taken."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from asking import asking
from pydantic import SecretStr
from receiver import Receiver, receiver

from aegis_core import ConfigurationError, Settings
from aegis_core.channels.registry import configured
from aegis_core.observe.posting import signed
from aegis_core.testing import private_settings

pytestmark = pytest.mark.concurrent

SECRET = "whsec_" + base64.b64encode(b"thirty-two bytes of a test's key").decode()


def hooked(settings: Settings, place: Receiver, **more: Any) -> Settings:
    return settings.model_copy(
        update={
            "approval_webhook_url": place.url, "approval_webhook_secret": SecretStr(SECRET),
            "approval_webhook_allow_private": True, "agent_day_usd": 100, **more,
        }
    )  # fmt: skip


def verified(headers: dict[str, str], body: bytes) -> dict[str, Any]:
    """As docs/channels.md says receivers should."""
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    assert hmac.compare_digest(headers["webhook-signature"], expected)
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 60
    return json.loads(body)


def test_a_receiver_is_told_of_the_question_and_of_its_end(settings: Settings) -> None:
    with receiver() as there, asking(hooked(settings, there)) as place:
        agent = place.agent("Rent & run <it>")
        there.until(lambda: there.got)
        asked = verified(*there.got[0])
        assert (asked["type"], asked["tenant"]) == ("approval.asked", settings.tenant)
        assert asked["text"].startswith("Approval needed · Agent: worker · Cost: $12.00")
        assert "Rent" not in asked["text"]  # an agent's words could mention people in a chat
        assert (asked["approval"]["amount_usd"], asked["approval"]["intent"]) == (12.0, "Rent & run <it>")
        place.on_redis(lambda governor: governor.approvals.decide(asked["approval_id"], "approve", by="cli:ana"))
        assert agent.result(60) == "went on with GRANTED"
        there.until(lambda: len(there.got) == 2)
        ended = verified(*there.got[1])
        assert (ended["type"], ended["approval"]["status"]) == ("approval.ended", "approved")
        assert ended["approval"]["decided_by"] == "cli:ana"
        assert there.got[0][0]["host"] == there.url.split("/")[2]


@pytest.mark.leaves("questions")
def test_what_the_receiver_does_not_take_comes_again_with_the_same_id(settings: Settings) -> None:
    with receiver() as there:
        there.answers.extend([(500, {}), (429, {"Retry-After": "1"}), (404, {})])
        with asking(hooked(settings, there)) as place:
            place.agent()
            there.until(lambda: len(there.got) == 4)
            assert len({headers["webhook-id"] for headers, _ in there.got}) == 1
            assert {verified(*one)["type"] for one in there.got} == {"approval.asked"}
            place.agent("Rent another", "second")
            there.until(lambda: len(there.got) == 5)
            assert there.got[4][0]["webhook-id"] != there.got[3][0]["webhook-id"]
            failed = place.events("channel_failed")
            assert [one["problem"].rpartition(" ")[2] for one in failed] == ["500", "404"]


def test_the_signature_is_that_of_the_standards_own_example() -> None:
    """The example in the specification, so that its libraries agree with ours."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', at=1614265330)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"approval_webhook_url": "https://hooks.example/x"}, "AEGIS_APPROVAL_WEBHOOK_SECRET is missing"),
        ({"approval_webhook_url": "https://hooks.example/x", "approval_webhook_secret": "short"}, "shorter than 16"),
        (
            {"approval_webhook_url": "https://hooks.example/x", "approval_webhook_secret": "whsec_AAAAAAAAAAAA"},
            "after whsec_: 16 bytes",
        ),
        ({"approval_webhook_url": "http://hooks.example/x", "approval_webhook_secret": "k" * 32}, "begin with https"),
        ({"approval_webhook_url": "https://a:b@hooks.example", "approval_webhook_secret": "k" * 32}, "no user"),
        ({"approval_webhook_url": "https://hooks.example/x", "approval_webhook_secret": "whsec_!" * 3}, "no base64"),
        ({"telegram_token": "123456"}, "no bot token"),
        ({"telegram_token": "123456:" + "A" * 35}, "AEGIS_TELEGRAM_CHAT_ID is missing"),
        ({"telegram_token": "123456:" + "A" * 35, "telegram_chat_id": 1}, "AEGIS_TELEGRAM_OPERATORS is missing"),
        (
            {
                "telegram_token": "123456:" + "A" * 35, "telegram_chat_id": 1, "telegram_operators": "1",
                "telegram_webhook_secret": "with blanks in it",
            },
            "AEGIS_TELEGRAM_WEBHOOK_SECRET",
        ),
    ],
)  # fmt: skip
def test_what_is_configured_by_halves_is_refused_with_what_is_missing(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        configured(private_settings(**changes))


def test_a_missing_extra_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aegis_core.channels.registry.find_spec", lambda _: None)
    chosen = private_settings(telegram_token="123456:" + "A" * 35, telegram_chat_id=1, telegram_operators="1")
    with pytest.raises(ConfigurationError, match=r"pip install '\.\[telegram\]' in a checkout"):
        configured(chosen)
    assert configured(private_settings()) == {}

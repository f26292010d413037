"""What a message on Telegram shows, within what Telegram takes; and what becomes of it when the chat or it is gone."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from html import escape

import pytest
from asking import Asking, asking, on_telegram
from botapi import BOB, STRANGER, BotApi

from aegis_core import Settings
from aegis_core.channels.telegram.message import MOST_UNITS, fitting, text_of, units
from aegis_core.protocol.approvals import Approval, ApprovalEdit, ApprovalStatus, OriginalRequest, Vote
from aegis_core.protocol.arguments import bound_arguments
from aegis_core.settings import read_operators

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("questions")]

ESCALATE = {"name": "big", "type": "max_cost", "limit_usd": 5}


def test_the_end_of_long_arguments_is_read_and_all_of_them_come_as_a_file(place: Asking, telegram: BotApi) -> None:
    tail = "and then <rm -rf> /srv/archive"
    long = {"command": "echo ok; " * 300 + tail, "api_key": "sk-abcdefghij0123456789"}
    agent = place.agent("Run it", tool="shell", arguments=long)
    message = telegram.announced()
    assert "and then &lt;rm -rf&gt; /srv/archive" in message.text
    assert re.search(r"… [\d,]+ characters are hidden", message.text)
    assert telegram.press(message, "SEND ALL ARGUMENTS AS A FILE") == "Sent."
    (file,) = [one.file for one in telegram.messages.values() if one.reply_to == message.id]
    assert "echo ok; " * 300 + tail in file
    assert "sk-abcdefghij" not in file + message.text
    assert telegram.press(message, "SEND ALL ARGUMENTS AS A FILE", STRANGER) != "Sent."
    telegram.press(message, "REJECT")
    agent.result(60)
    telegram.shows(message, "Rejected by ana")
    assert message.buttons == {}


def test_an_edit_shows_both_arguments(place: Asking, telegram: BotApi) -> None:
    place.agent("Pay", tool="pay", arguments={"to": "bob"})
    message = telegram.announced()
    assert "characters are hidden" not in message.text
    assert list(message.buttons) == ["APPROVE", "REJECT"]
    place.publish({**ESCALATE, "asking": {"quorum": 2}})
    (asked,) = place.on_redis(lambda governor: governor.approvals.list())
    spelt, text = bound_arguments({"to": "ana"})
    edit = ApprovalEdit(arguments_hash=spelt, arguments_json=text)
    place.on_redis(lambda governor: governor.approvals.decide(asked.approval_id, "approve", by="cli:eve", edit=edit))
    shown = telegram.shows(message, "{&quot;to&quot;:&quot;ana&quot;}")
    assert shown.index("{&quot;to&quot;:&quot;bob&quot;}") < shown.index("{&quot;to&quot;:&quot;ana&quot;}")
    telegram.press(message, "REJECT")


def test_what_is_open_is_announced_anew_in_another_chat(settings: Settings, telegram: BotApi) -> None:
    moved = -1009876543210
    wish = {"task_intent": "Rent it", "resource_type": "compute", "estimated_cost_usd": 12}
    with asking(on_telegram(settings, telegram)) as place:
        place.http.post(f"{place.url}/api/v1/handshake", json={"agent_id": "worker"})
        for order in ("one", "two"):
            body = wish | {"agent_id": "worker", "request_id": order}
            place.http.post(f"{place.url}/api/v1/request-permission", json=body)
        first, second = telegram.announced(1), telegram.announced(2)
        telegram.press(second, "REJECT")
    with asking(on_telegram(settings, telegram, telegram_chat_id=moved, telegram_topic_id=7)) as place:
        (again,) = telegram.until(lambda: [one for one in telegram.messages.values() if one.chat == moved])
        assert again.topic == 7
        assert "forged" in telegram.press(again, "", data=first.buttons["APPROVE"], chat=moved)
        said = telegram.write("too dear", chat=moved, reply_to=again)
        assert "Rejected by ana" in telegram.reply(said)
        telegram.shows(again, "Rejected by ana")


def test_an_announcement_that_was_deleted_is_made_anew(place: Asking, telegram: BotApi) -> None:
    place.publish({**ESCALATE, "asking": {"quorum": 2}})
    agent = place.agent()
    message = telegram.announced()
    telegram.deleted.add(message.id)
    telegram.press(message, "APPROVE")  # the press was on its way
    again = telegram.until(lambda: [one for one in telegram.messages.values() if one.buttons and one is not message])[0]
    assert "1 of 2 approvals" in again.text
    assert telegram.press(again, "APPROVE", BOB).startswith("Approved by bob")
    assert agent.result(60) == "went on with GRANTED"
    telegram.shows(again, "Approved by bob")
    assert place.events("channel_failed") == []


def test_a_reminder_notices_that_its_announcement_was_deleted(settings: Settings, telegram: BotApi) -> None:
    with asking(on_telegram(settings, telegram)) as place:
        place.publish({**ESCALATE, "asking": {"timeout_seconds": 60, "remind_seconds": 58}})
        place.agent()
        message = telegram.announced()
        telegram.deleted.add(message.id)
        again = telegram.until(lambda: [one for one in telegram.messages.values() if one.id > message.id])
        assert "APPROVE" in again[0].buttons
        telegram.press(again[0], "REJECT")


@pytest.mark.parametrize("status", ["open", "approved"])
@pytest.mark.parametrize("letter", ["\U0001f4b8", "&", "W"])
def test_a_message_fits_whatever_was_said(letter: str, status: ApprovalStatus) -> None:
    at = datetime(2026, 11, 30, tzinfo=UTC)
    votes = tuple(Vote(f"telegram:{number}", "approve", at, letter * 500) for number in range(300))
    texts = {"intent": letter * 8_000, "reason": letter * 900, "prompt_end": letter * 500}
    approval = Approval(
        approval_id="ap_" + "0" * 32, tenant="t", status=status, agent_id="a" * 128, session_id="s", request_id="r",
        grant_id="g", resource_type="compute", amount_usd=Decimal(7), rule="n" * 128, asked_at=at, deadline=at,
        quorum=301, votes=votes, decided_by="telegram:1", decided_at=at, decision_reason=letter * 500, tool="t" * 128,
        target_resource="a" * 128, model="m" * 128, arguments=letter * 60_000,
        original=OriginalRequest(Decimal(8), arguments=letter * 60_000), **texts,
    )  # fmt: skip
    shown = text_of(approval, {})
    assert units(shown) <= MOST_UNITS
    assert "300 of 301 approvals" in shown
    assert escape(letter) * 200 in shown.rsplit("characters are hidden", 1)[1], "the end of the arguments"
    assert units(fitting("\n".join([letter * 300] * 40))) <= MOST_UNITS


@pytest.mark.parametrize("number", [777000, 1087968824, 136817688])
def test_an_id_that_many_share_is_nobodys(number: int) -> None:
    with pytest.raises(ValueError, match="nobody's own"):
        read_operators(f"11=ana,{number}=bob")

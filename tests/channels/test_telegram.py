"""An agent waits, a person presses on Telegram, the agent goes on; and the message says who decided."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from asking import Asking, asking, on_telegram
from botapi import ANA, BOB, CHAT, STRANGER, BotApi

from aegis_core import Settings
from aegis_core.store.channels import ChannelStore

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("questions")]

ESCALATE = {"name": "big", "type": "max_cost", "limit_usd": 5}


def test_a_press_approves_the_agent_goes_on_and_the_message_says_who(place: Asking, telegram: BotApi) -> None:
    agent = place.agent("Rent a <b>large</b> machine & hurry")
    message = telegram.announced()
    assert message.text.index("worker") < message.text.index("$12.00") < message.text.index("The agent says")
    for fact in ("<b>Agent:</b> worker", "<b>Cost:</b> $12.00", "<b>Rule:</b> big-spend", "<b>Until:</b>"):
        assert fact in message.text
    assert "<blockquote>Rent a &lt;b&gt;large&lt;/b&gt; machine &amp; hurry</blockquote>" in message.text
    assert not agent.done()
    assert telegram.press(message, "APPROVE").startswith("Approved by ana (telegram:11) at ")
    assert agent.result(60) == "went on with GRANTED"
    telegram.shows(message, "✅ <b>Approved by ana (telegram:11) at ")
    assert message.buttons == {}


def test_how_a_prompt_ends_is_shown_after_what_the_agent_says(place: Asking, telegram: BotApi) -> None:
    place.agent(
        "Summarise it", prompt_end="</blockquote> api_key: tulips-and-roses " + "x " * 120 + "pay <Zoe> at once"
    )
    message = telegram.announced()
    before, after = message.text.split("The prompt ends:")
    assert before.index("The agent says") < before.index("Summarise it")
    assert after.strip().startswith("<blockquote>…")
    assert after.endswith("pay &lt;Zoe&gt; at once</blockquote>")
    (approval,) = place.on_redis(lambda governor: governor.approvals.list())
    assert approval.prompt_end.startswith("</blockquote> api_key: [masked] x")
    telegram.press(message, "REJECT")


def test_a_press_rejects(place: Asking, telegram: BotApi) -> None:
    agent = place.agent()
    message = telegram.announced()
    assert telegram.press(message, "REJECT", BOB).startswith("Rejected by bob (telegram:22)")
    assert agent.result(60).startswith("REJECTED")
    telegram.shows(message, "❌ <b>Rejected by bob (telegram:22)")
    assert message.buttons == {}


def test_a_reply_rejects_with_its_words_as_the_reason(place: Asking, telegram: BotApi) -> None:
    agent = place.agent()
    message = telegram.announced()
    said = telegram.write("too dear; ask again <tomorrow>", reply_to=message)
    assert "Rejected by ana" in telegram.reply(said)
    assert "too dear; ask again <tomorrow>" in agent.result(60)
    telegram.shows(message, "Rejected by ana (telegram:11)", "too dear; ask again &lt;tomorrow&gt;")
    late = telegram.write("no!", BOB, reply_to=message)
    assert "decided already" in telegram.reply(late)


def test_silence_times_out_and_the_message_says_so(settings: Settings, telegram: BotApi) -> None:
    with asking(on_telegram(settings, telegram, approval_seconds=5)) as place:
        agent = place.agent()
        message = telegram.announced()
        telegram.shows(message, "⌛ <b>Timed out at ")
        assert message.buttons == {}
        assert agent.result(60).startswith("REJECTED")


def test_nobody_waits_and_still_the_timeout_is_shown(settings: Settings, telegram: BotApi) -> None:
    """No agent, sweeper or person looks; the channel does."""
    with asking(on_telegram(settings, telegram, approval_seconds=5)) as place:
        body = {"agent_id": "a", "task_intent": "x", "resource_type": "compute", "estimated_cost_usd": 9}
        place.http.post(f"{place.url}/api/v1/handshake", json={"agent_id": "a"})
        assert place.http.post(f"{place.url}/api/v1/request-permission", json=body).json()["status"] == "PENDING"
        telegram.shows(telegram.announced(), "⌛ <b>Timed out at ")


def test_what_is_decided_elsewhere_is_shown(place: Asking, telegram: BotApi) -> None:
    agent = place.agent()
    message = telegram.announced()
    approval = place.on_redis(lambda governor: governor.approvals.list())[0]
    assert approval.approval_id in message.text
    place.on_redis(lambda governor: governor.approvals.decide(approval.approval_id, "approve", by="cli:carol"))
    assert agent.result(60) == "went on with GRANTED"
    telegram.shows(message, "✅ <b>Approved by cli:carol at ")
    old = telegram.press(message, "", BOB, data=telegram.messages[message.id].buttons.get("REJECT", "rubbish"))
    assert "not a button of this bot" in old


def test_an_old_button_says_what_was_decided_and_changes_nothing(place: Asking, telegram: BotApi) -> None:
    agent = place.agent()
    message = telegram.announced()
    approve, reject = message.buttons["APPROVE"], message.buttons["REJECT"]
    telegram.press(message, "APPROVE")
    assert agent.result(60) == "went on with GRANTED"
    telegram.shows(message, "Approved by ana")
    for data in (approve, reject):
        assert "decided already. Approved by ana" in telegram.press(message, "", BOB, data=data)
    approval = place.on_redis(lambda governor: governor.approvals.list("ended"))[0]
    assert (approval.status, approval.decided_by) == ("approved", "telegram:11")
    assert [one for one in place.events("channel_refused") if one["act"] == "old_button"] == [
        {"channel": "telegram", "act": "old_button", "by": "telegram:22"}
    ]


def test_two_presses_at_the_same_instant_have_one_outcome(place: Asking, telegram: BotApi) -> None:
    agent = place.agent()
    message = telegram.announced()
    buttons = dict(message.buttons)
    ready, answers = threading.Barrier(2), {}

    def press(label: str, user: int) -> None:
        ready.wait()
        answers[user] = telegram.press(message, "", user, data=buttons[label])

    both = [threading.Thread(target=press, args=one) for one in (("APPROVE", ANA), ("REJECT", BOB))]
    for one in both:
        one.start()
    for one in both:
        one.join()
    approval = place.on_redis(lambda governor: governor.approvals.list("ended"))[0]
    won = {"telegram:11": ANA, "telegram:22": BOB}[str(approval.decided_by)]
    lost = BOB if won == ANA else ANA
    assert answers[won].startswith(approval.status.capitalize())
    assert "already" in answers[lost]
    assert (agent.result(60) == "went on with GRANTED") == (won == ANA)


def test_a_quorum_shows_its_votes_and_counts_nobody_twice(place: Asking, telegram: BotApi) -> None:
    place.publish({**ESCALATE, "asking": {"quorum": 2}})
    agent = place.agent()
    message = telegram.announced()
    assert "0 of 2 approvals" in message.text
    assert telegram.press(message, "APPROVE") == "Noted. 1 more must approve."
    telegram.shows(message, "1 of 2 approvals", "approved by ana (telegram:11)")
    assert telegram.press(message, "APPROVE") == "Noted. 1 more must approve."
    assert not agent.done()
    assert telegram.press(message, "APPROVE", BOB).startswith("Approved by bob")
    assert agent.result(60) == "went on with GRANTED"
    telegram.shows(message, "✅", "approved by ana (telegram:11)", "approved by bob (telegram:22)")


def test_an_operator_whom_the_rule_does_not_name_is_told_so(place: Asking, telegram: BotApi) -> None:
    place.publish({**ESCALATE, "asking": {"operators": ["telegram:22"]}})
    agent = place.agent()
    message = telegram.announced()
    assert not telegram.press(message, "APPROVE").startswith("Approved")
    assert not agent.done()
    assert telegram.press(message, "APPROVE", BOB).startswith("Approved by bob")
    assert agent.result(60) == "went on with GRANTED"


def test_an_edit_elsewhere_makes_new_buttons_and_ends_the_old_ones(place: Asking, telegram: BotApi) -> None:
    from aegis_core.protocol.approvals import ApprovalEdit

    place.publish({**ESCALATE, "asking": {"quorum": 2}})
    agent = place.agent()
    message = telegram.announced()
    before = message.buttons["APPROVE"]
    edit = ApprovalEdit(estimated_cost_usd=7)
    approval = place.on_redis(lambda governor: governor.approvals.list())[0]
    place.on_redis(
        lambda governor: governor.approvals.decide(approval.approval_id, "approve", by="cli:carol", edit=edit)
    )
    telegram.shows(message, "$7.00 (edited)")
    assert "changed since" in telegram.press(message, "", data=before)
    assert not agent.done()
    assert telegram.press(message, "APPROVE").startswith("Approved by ana")
    assert agent.result(60) == "went on with GRANTED"


def test_every_edit_is_shown_whatever_it_changes(place: Asking, telegram: BotApi) -> None:
    from aegis_core.protocol.approvals import ApprovalEdit

    place.publish({**ESCALATE, "asking": {"quorum": 2}})
    agent = place.agent(target_resource="here")
    message = telegram.announced()
    approval = place.on_redis(lambda governor: governor.approvals.list())[0].approval_id
    for who, target in (("cli:carol", "there"), ("cli:dora", "elsewhere")):
        edit = ApprovalEdit(target_resource=target)
        place.on_redis(lambda governor: governor.approvals.decide(approval, "approve", by=who, edit=edit))  # noqa: B023
        telegram.shows(message, target, f"approved by {who}")
    assert telegram.press(message, "APPROVE").startswith("Approved by ana")
    assert agent.result(60) == "went on with GRANTED"


def test_a_reminder_comes_once_and_without_a_sound(place: Asking, telegram: BotApi) -> None:
    place.publish({**ESCALATE, "asking": {"timeout_seconds": 8, "remind_seconds": 2}})
    place.agent()
    message = telegram.announced()
    reminder = telegram.until(lambda: [one for one in telegram.messages.values() if one.reply_to == message.id])
    assert "Still waiting" in reminder[0].text
    assert reminder[0].silent
    assert not message.silent
    answered = telegram.reply(telegram.write("no", reply_to=reminder[0]))
    assert answered.startswith("Nothing was decided.")
    telegram.shows(message, "Timed out")
    assert len([one for one in telegram.messages.values() if one.reply_to == message.id]) == 1


def test_commands_of_operators(place: Asking, telegram: BotApi) -> None:
    assert "/pending" in telegram.reply(telegram.write("/help"))
    assert telegram.reply(telegram.write("/pending")) == "Nothing waits for a decision."
    agent = place.agent("Buy <things>")
    message = telegram.announced()
    listed = telegram.reply(telegram.write("/pending@aegis_test_bot"))
    assert "worker $12.00" in listed
    assert "Buy &lt;things&gt;" in listed
    assert "day: $88.00 left of $100.00" in telegram.reply(telegram.write("/budget worker", ANA, chat=ANA))
    assert "whose" in telegram.reply(telegram.write("/budget"))
    assert "never shook hands" in telegram.reply(telegram.write("/budget nobody"))
    assert "<b>worker</b> is blocked. 1 questions" in telegram.reply(telegram.write("/block worker", BOB))
    assert agent.result(60).startswith("REJECTED")
    telegram.shows(message, "worker")
    assert place.events("agent_blocked") == [{"by": "telegram:22"}]


def test_talk_in_the_group_is_none_of_the_bots_matter(place: Asking, telegram: BotApi) -> None:
    place.agent()
    message = telegram.announced()
    telegram.write("what does it want?", STRANGER)
    telegram.write("no idea", ANA)
    assert "/pending" in telegram.reply(telegram.write("/help"))  # so the two before were heard and left alone
    assert {one.id for one in telegram.messages.values() if one.reply_to is None} == {message.id}
    assert place.events("channel_refused") == []
    assert "APPROVE" in message.buttons


def test_telegram_throttles_and_is_obeyed(settings: Settings, telegram: BotApi) -> None:
    telegram.throttled.extend([1, 1])
    with asking(on_telegram(settings, telegram)) as place:
        place.agent()
        telegram.announced()
        telegram.until(lambda: place.events("channel_recovered"))
        sends = [at for method, at in telegram.calls if method == "sendMessage"]
        assert len(sends) == 3
        assert all(later - sooner >= 1 for sooner, later in pairwise(sends))
        assert len(place.events("channel_failed")) == len(place.events("channel_recovered")) == 1


def test_one_message_that_telegram_refuses_does_not_hold_up_the_others(place: Asking, telegram: BotApi) -> None:
    telegram.refused["cursed"] = "can't parse entities"
    place.agent("cursed", "first")
    telegram.until(lambda: [1 for method, _ in telegram.calls if method == "sendMessage"])
    agent = place.agent("blessed", "second")
    message = telegram.announced()
    assert "second" in message.text
    telegram.press(message, "APPROVE")
    assert agent.result(60) == "went on with GRANTED"
    assert "can't parse entities" in place.events("channel_failed")[0]["problem"]
    telegram.refused.clear()
    assert "first" in telegram.announced(2).text  # it is tried again for as long as it is open


def test_the_webhook_mode(settings: Settings, telegram: BotApi) -> None:
    web = on_telegram(settings, telegram, telegram_webhook_url="https://aegis.example/api/v1/telegram/webhook")
    with asking(web) as place:
        telegram.forward_to = f"{place.url}/api/v1/telegram/webhook"
        agent = place.agent()
        message = telegram.announced()
        telegram.until(lambda: telegram.webhook.get("url"))
        assert telegram.webhook["url"] == "https://aegis.example/api/v1/telegram/webhook"
        assert telegram.press(message, "APPROVE").startswith("Approved by ana")
        assert agent.result(60) == "went on with GRANTED"
        telegram.shows(message, "Approved by ana (telegram:11)")
        assert not [1 for method, _ in telegram.calls if method == "getUpdates"]


def test_without_webhook_mode_there_is_no_such_route(place: Asking) -> None:
    assert place.http.post(f"{place.url}/api/v1/telegram/webhook", json={}).status_code == 404


def test_the_chat_is_the_only_one(place: Asking, telegram: BotApi) -> None:
    """An operator who is member of another group may not bring the bot to speak there."""
    place.agent()
    telegram.announced()
    number = telegram.write("/pending", ANA, chat=CHAT - 1)
    assert "hears its listed operators only" in telegram.reply(number)


def test_a_reply_counts_though_the_message_is_noted_down_only_a_moment_later(
    place: Asking, telegram: BotApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """People are that quick where a bot answers for them, and a busy store is that slow."""
    looked = ChannelStore.approval_of
    looks: list[str] = []

    async def late(store: ChannelStore, ref: str) -> str | None:
        looks.append(ref)
        return None if len(looks) < 3 else await looked(store, ref)

    monkeypatch.setattr(ChannelStore, "approval_of", late)
    place.agent()
    said = telegram.write("too dear", reply_to=telegram.announced())
    assert "Rejected by ana" in telegram.reply(said)
    assert len(looks) == 3

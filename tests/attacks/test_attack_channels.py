"""Attacks through the channels: strangers, forged and old buttons, foreign tenants, and targets inside the network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from asking import Asking, asking, on_telegram
from botapi import ANA, CHAT, STRANGER, BotApi, Sent, bot_api
from guarding import DEFENDED
from pydantic import SecretStr

from aegis_core import Settings
from aegis_core.channels.telegram.buttons import Buttons
from aegis_core.channels.telegram.handlers import Handlers
from aegis_core.channels.webhook.channel import WebhookChannel
from aegis_core.observe import targets
from aegis_core.observe.pace import Pace
from aegis_core.observe.receivers import Receiver
from aegis_core.protocol.approvals import Approval
from aegis_core.protocol.errors import ChannelError

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("questions")]

WEBHOOK = "https://aegis.example/api/v1/telegram/webhook"


@pytest.fixture
def telegram() -> Iterator[BotApi]:
    with bot_api() as api:
        yield api


@pytest.fixture
def place(settings: Settings, telegram: BotApi) -> Iterator[Asking]:
    with asking(on_telegram(settings, telegram)) as served:
        yield served


def open_ones(place: Asking) -> tuple[Approval, ...]:
    return place.on_redis(lambda governor: governor.approvals.list())


async def _nobody_is_strange(*_: object) -> bool:
    return False


@DEFENDED
def test_a_press_by_a_stranger(
    settings: Settings, telegram: BotApi, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    if not defended:
        monkeypatch.setattr(Handlers, "_is_stranger", _nobody_is_strange)
    with asking(on_telegram(settings, telegram)) as place:
        agent = place.agent()
        message = telegram.announced()
        said = telegram.press(message, "APPROVE", STRANGER)
        if not defended:
            assert said.startswith("Approved")
            assert agent.result(60) == "went on with GRANTED"
            return
        assert f"Your user id is {STRANGER}." in said
        assert [telegram.press(message, label, STRANGER) for label in ("APPROVE", "REJECT", "APPROVE")] == ["", "", ""]
        assert not agent.done()
        assert len(open_ones(place)) == 1
        assert place.events("channel_refused") == [
            {"channel": "telegram", "act": "button", "by": f"telegram:{STRANGER}"}
        ]


def test_commands_and_replies_of_a_stranger(place: Asking, telegram: BotApi) -> None:
    place.agent()
    message = telegram.announced()
    answered = telegram.write("/pending", STRANGER, chat=STRANGER)
    told = telegram.reply(answered)
    assert f"Your user id is {STRANGER}. This chat&#x27;s id is {STRANGER}." in told
    assert "worker" not in told
    for text in ("/block worker", "/budget worker", "/help"):
        telegram.write(text, STRANGER)
    telegram.write("no", STRANGER, reply_to=message)
    telegram.reply(telegram.write("/help", ANA))  # all before it were taken
    assert [one.reply_to for one in telegram.messages.values() if one.reply_to][:1] == [answered]
    assert len([one for one in telegram.messages.values() if "hears its listed" in one.text]) <= 2
    assert place.events("agent_blocked") == []
    assert len(open_ones(place)) == 1
    assert {one["by"] for one in place.events("channel_refused")} == {f"telegram:{STRANGER}"}


@DEFENDED
def test_forged_and_truncated_buttons(
    place: Asking, telegram: BotApi, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    agent = place.agent()
    message = telegram.announced()
    good = message.buttons["APPROVE"]
    forged = good[:-16] + "A" * 16
    if not defended:
        monkeypatch.setattr(Buttons, "verify", lambda *_: None)
        assert telegram.press(message, "", data=forged).startswith("Approved")
        assert agent.result(60) == "went on with GRANTED"
        return
    swapped = message.buttons["REJECT"].replace("r", "a", 1)
    for data in (forged, swapped, good[:-1], good[:23], good + "A", "a", "approve:" + open_ones(place)[0].approval_id):
        assert "forged" in telegram.press(message, "", data=data) or "not a button" in telegram.press(
            message, "", data=data
        )
    assert not agent.done()
    assert len(open_ones(place)) == 1
    refused = place.events("channel_refused")
    assert refused == [{"channel": "telegram", "act": "forged_button", "by": f"telegram:{ANA}"}]


def test_a_replayed_button_and_one_of_an_earlier_request_with_the_same_id(place: Asking, telegram: BotApi) -> None:
    agent = place.agent(request_id="again")
    first = telegram.announced()
    buttons = dict(first.buttons)
    telegram.press(first, "REJECT")
    assert agent.result(60).startswith("REJECTED")
    assert "decided already" in telegram.press(first, "", data=buttons["APPROVE"])
    place.on_redis(lambda governor: _forget(governor, open_or_ended(place)))
    second = place.agent("Rent two", request_id="again")
    message = telegram.announced(2)
    assert message.buttons["APPROVE"][:23] == buttons["APPROVE"][:23]  # the same approval by name
    assert "changed since" in telegram.press(first, "", data=buttons["APPROVE"])
    assert not second.done()
    telegram.press(message, "APPROVE")
    assert second.result(60) == "went on with GRANTED"


def open_or_ended(place: Asking) -> Approval:
    return place.on_redis(lambda governor: governor.approvals.list("ended"))[0]


async def _forget(governor: object, approval: Approval) -> None:
    """What an hour does: the record and the refusal that answers for it are gone."""
    ledger = governor._ledger
    for name in await ledger.store.command("KEYS", f"ae:{{{ledger.tenant}}}:*"):
        if name.endswith(approval.approval_id[3:].encode()) or b":x:" in name:
            await ledger.store.command("DEL", name)


def test_a_button_in_another_chat(place: Asking, telegram: BotApi) -> None:
    agent = place.agent()
    message = telegram.announced()
    for chat in (CHAT - 1, ANA):
        assert not telegram.press(message, "APPROVE", ANA, chat=chat).startswith("Approved")
    assert not agent.done()
    assert len(open_ones(place)) == 1


def test_a_button_of_another_tenants_approval(settings: Settings, telegram: BotApi) -> None:
    """Two servers on one Redis, with one pepper and one chat: a tenant's button opens nothing in the other."""
    with bot_api() as theirs, asking(on_telegram(settings, telegram)) as place:
        other = on_telegram(settings.model_copy(update={"tenant": settings.tenant + "-b"}), theirs)
        with asking(other) as there:
            mine, foreign = place.agent(request_id="same"), there.agent(request_id="same")
            here, message = telegram.announced(), theirs.announced()
            assert here.buttons["APPROVE"][:23] == message.buttons["APPROVE"][:23]  # the same name, in each tenant
            assert "forged" in telegram.press(here, "", data=message.buttons["APPROVE"])
            assert not mine.done()
            assert not foreign.done()
            assert theirs.press(message, "APPROVE").startswith("Approved")
            assert foreign.result(60) == "went on with GRANTED"
            assert len(open_ones(place)) == 1


@DEFENDED
def test_an_update_posted_without_the_secret(
    settings: Settings, telegram: BotApi, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    if not defended:
        monkeypatch.setattr("aegis_core.channels.telegram.hearing.hmac.compare_digest", lambda *_: True)
    with asking(on_telegram(settings, telegram, telegram_webhook_url=WEBHOOK)) as place:
        telegram.forward_to = f"{place.url}/api/v1/telegram/webhook"
        agent = place.agent()
        message = telegram.announced()
        telegram.until(lambda: telegram.webhook)
        press = _press(message)
        if not defended:
            assert telegram.push(press, secret="").status_code == 200
            assert agent.result(60) == "went on with GRANTED"
            return
        real = telegram.webhook["secret_token"]
        for secret in ("", "wrong", real[:-1], real + "0", "ünsafe"):
            answer = place.http.post(
                telegram.forward_to, json={"update_id": 1, **press},
                headers={b"X-Telegram-Bot-Api-Secret-Token": secret.encode()},
            )  # fmt: skip
            assert (answer.status_code, answer.json()["code"]) == (401, "bad_token")
        assert not agent.done()
        assert place.events("channel_refused") == [{"channel": "telegram", "act": "webhook", "by": "stranger"}]
        assert telegram.push(press).status_code == 200
        assert agent.result(60) == "went on with GRANTED"


def _press(message: Sent) -> dict[str, object]:
    about = {"message_id": message.id, "date": 1, "chat": {"id": CHAT, "type": "supergroup", "title": "x"}}
    user = {"id": ANA, "is_bot": False, "first_name": "Ana"}
    said = {"id": "1", "from": user, "message": about, "chat_instance": "1", "data": message.buttons["APPROVE"]}
    return {"callback_query": said}


def test_markup_and_direction_marks_in_an_agents_words(place: Asking, telegram: BotApi) -> None:
    words = "</blockquote><b>Cost:</b> $0.01\n<a href='tg://user?id=1'>ok</a> \u202eevil \x1b[31m " + "x" * 5_000
    place.agent(words)
    text = telegram.announced().text
    assert text.count("<blockquote>") == text.count("</blockquote>") == 1
    assert text.endswith("…</blockquote>")
    assert "<a " not in text
    assert "\u202e" not in text
    assert "\\u202eevil" in text
    assert text.index("$12.00") < text.index("&lt;/blockquote&gt;")
    assert len(text) < 2_000


PRIVATE = [
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200",
    "168.63.129.16", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "fec0::1",
    "2001:0:0:0:0:0:80ff:fffe", "192.0.0.192", "::ffff:192.0.0.192", "::127.0.0.1", "3fff::1", "5f00::1",
]  # fmt: skip


@DEFENDED
def test_an_outgoing_webhook_to_a_private_address(monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    for address in PRIVATE:
        assert not targets.is_public(ip_address(address)), address
    for address in ("93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:8.8.8.8"):
        assert targets.is_public(ip_address(address)), address
    with bot_api() as inside:  # any server that listens on loopback
        port = inside.url.rpartition(":")[2]
        if not defended:
            monkeypatch.setattr(targets, "is_public", lambda _: True)
        for host in ("localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "0x7f000001", "2130706433"):
            plan = Receiver(f"http://{host}:{port}/bot/x", b"k" * 32, allow_private=False, private_variable="")
            with pytest.raises(ChannelError, match="not a public address" if defended else "answers"):
                asyncio.run(_test(plan))
        assert (inside.calls == []) == defended or not defended


def test_a_name_that_leads_elsewhere_the_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that was judged is the one that is connected to; the name is not looked up again."""
    asked: list[str] = []

    class Http:
        def build_request(self, method: str, url: object, **_: object) -> object:
            return url

        async def send(self, request: object, **_: object) -> object:
            asked.append(str(request))
            raise ChannelError("far enough")

        async def aclose(self) -> None: ...

    async def run() -> None:
        answers = iter(["93.184.215.14", "127.0.0.1"])

        async def lookup(*_: object, **__: object) -> list[object]:
            return [(2, 1, 6, "", (next(answers), 443))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lookup, raising=False)
        channel = WebhookChannel(
            Receiver("https://hooks.example/x", b"k" * 32, allow_private=False, private_variable=""),
            tenant="t",
            pace=Pace(),
        )
        await channel.aclose()
        channel._poster._http = Http()
        for problem in ("far enough", "not a public address"):
            with pytest.raises(ChannelError, match=problem):
                await channel.test()

    asyncio.run(run())
    assert asked == ["https://93.184.215.14/x"]


def test_a_redirect_of_the_webhooks_receiver(settings: Settings) -> None:
    from receiver import receiver

    with receiver() as there, receiver() as inside:
        there.answers.append((302, {"Location": inside.url}))
        plan = Receiver(there.url, b"k" * 32, allow_private=True, private_variable="")
        with pytest.raises(ChannelError, match="redirect"):
            asyncio.run(_test(plan))
        assert len(there.got) == 1
        assert inside.got == []


async def _test(plan: Receiver) -> str:
    channel = WebhookChannel(plan, tenant="t", pace=Pace(send=30))
    try:
        return await channel.test()
    finally:
        await channel.aclose()


def test_the_bots_token_and_the_webhooks_secret_are_said_nowhere(
    settings: Settings, telegram: BotApi, heard: pytest.LogCaptureFixture
) -> None:
    token = "999999:" + "S" * 35
    chosen = on_telegram(settings, telegram, telegram_token=SecretStr(token))  # one that Telegram refuses
    with asking(chosen) as place:
        place.agent()
        telegram.until(lambda: place.events("channel_failed"))
        said = json.dumps(place.http.get(f"{place.url}/api/v1/events?limit=500").json()) + heard.text + repr(chosen)
    assert "Unauthorized" in said
    assert token not in said
    assert "S" * 35 not in said

"""Whatever Telegram sends or refuses, the bot goes on hearing; and where it cannot hear, people are told."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from asking import AS_OPERATOR, WISH, Asking, ask_on, asking, on_telegram
from botapi import ANA, CHAT, STRANGER, TOKEN, BotApi
from terminal import run_aegis

from aegis_core import Settings

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("grants", "questions")]


def private(**odd: Any) -> dict[str, Any]:
    """A message that a stranger writes to the bot alone."""
    said = {"message_id": 5, "date": 1, "chat": {"id": STRANGER, "type": "private"}, "text": "hello"}
    return {"message": said | {"from": {"id": STRANGER, "is_bot": False, "first_name": "S"}} | odd}


UNREADABLE: dict[str, dict[str, Any]] = {
    "a forward of a kind that is newer than the library": private(forward_origin={"type": "hologram", "date": 2}),
    "an old forward without its author's name": private(forward_origin={"type": "hidden_user", "date": 2}),
    "an answer to a story that is gone": private(reply_to_story={}),
    "a message without its chat": {"message": {"message_id": 6, "date": 1, "from": {"id": STRANGER}}},
    "a field of another type": private(date="yesterday"),
    "an update that is no object within": {"message": "hello"},
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_press_after_what_cannot_be_read_decides(place: Asking, telegram: BotApi, name: str) -> None:
    agent = place.agent()
    message = telegram.announced()
    telegram.push(UNREADABLE[name])
    assert telegram.press(message, "APPROVE").startswith("Approved by ana")
    assert agent.result(60) == "went on with GRANTED"
    (skipped,) = place.events("channel_refused")
    assert skipped["act"] == "unreadable_update"
    known = isinstance(UNREADABLE[name]["message"], dict)
    assert skipped["by"] == (f"telegram:{STRANGER}" if known else "telegram")
    assert place.events("channel_failed") == []


def test_a_flood_of_what_cannot_be_read_is_one_event(place: Asking, telegram: BotApi) -> None:
    agent = place.agent()
    message = telegram.announced()
    for odd in [*UNREADABLE.values()][:2] * 20:
        telegram.push(odd)
    assert telegram.press(message, "REJECT").startswith("Rejected by ana")
    assert agent.result(60).startswith("REJECTED")
    assert len(place.events("channel_refused")) == 1


def test_the_webhook_skips_what_cannot_be_read(settings: Settings, telegram: BotApi) -> None:
    web = on_telegram(settings, telegram, telegram_webhook_url="https://aegis.example/api/v1/telegram/webhook")
    with asking(web) as place:
        telegram.forward_to = f"{place.url}/api/v1/telegram/webhook"
        agent = place.agent()
        message = telegram.announced()
        telegram.until(lambda: telegram.webhook.get("url"))
        for odd in UNREADABLE.values():
            posted = telegram.push(odd)
            assert posted is not None
            assert posted.status_code == 200, "else Telegram sends it again for a day"
        assert telegram.press(message, "APPROVE").startswith("Approved by ana")
        assert agent.result(60) == "went on with GRANTED"
        assert {one["act"] for one in place.events("channel_refused")} == {"unreadable_update"}
        telegram.until(lambda: _channel(place).get("hearing"))
        assert _channel(place)["hearing"]["problem"] == ""


def test_ids_are_found_beside_what_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], telegram: BotApi, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for odd in UNREADABLE.values():
        telegram.push(odd)
    telegram.write("/start", ANA)
    alone = {"AEGIS_TELEGRAM_TOKEN": TOKEN, "AEGIS_TELEGRAM_API_URL": telegram.url}
    with caplog.at_level(logging.WARNING, "aegis.channels"):
        code, out, _ = run_aegis(monkeypatch, capsys, "channels", "ids", environment=alone)
    assert (code, out.splitlines()) == (0, [f"chat {CHAT} (Operators), user {ANA} (User {ANA})"])
    assert caplog.text.count("skipped an update that cannot be read") == len(UNREADABLE)


CONFLICT = (409, "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running")


@pytest.mark.parametrize("refusal", [(401, "Unauthorized"), (404, "Not Found")])
def test_a_bot_that_telegram_refuses_says_so(place: Asking, telegram: BotApi, refusal: tuple[int, str]) -> None:
    agent = place.agent()
    message = telegram.announced()
    telegram.deaf = refusal
    pressed = telegram.pressed(message, "APPROVE")
    telegram.until(lambda: place.events("channel_failed"), "an event")
    (failed,) = place.events("channel_failed")
    assert (failed["direction"], failed["by"]) == ("hearing", "telegram")
    assert refusal[1] in failed["problem"]
    telegram.deaf = None
    telegram.until(lambda: pressed in telegram.answers, "the press, once it is heard")
    assert agent.result(60) == "went on with GRANTED"


def test_a_bot_that_cannot_hear_says_so_and_when_it_hears_again(
    place: Asking, telegram: BotApi, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:  # fmt: skip
    agent = place.agent()
    message = telegram.announced()
    telegram.deaf = refusal = CONFLICT
    pressed = telegram.pressed(message, "APPROVE")
    telegram.until(lambda: place.events("channel_failed"), "an event")
    (failed,) = place.events("channel_failed")
    assert (failed["direction"], failed["by"]) == ("hearing", "telegram")
    assert refusal[1] in failed["problem"]
    assert pressed not in telegram.answers
    shown = _channel(place)
    assert (shown["served"], shown["sending"]["problem"]) == (True, "")
    assert refusal[1] in shown["hearing"]["problem"]
    monkeypatch.chdir(tmp_path)
    environment = {"AEGIS_URL": place.settings.url, "AEGIS_TENANT": place.settings.tenant}
    code, out, _ = run_aegis(monkeypatch, capsys, "doctor", "--json", environment=environment)
    found = {(one["level"], one["text"].split(" since")[0]) for one in json.loads(out) if one["subject"] == "channels"}
    assert (code, found) == (1, {("ok", "telegram: sending works"), ("problem", "telegram: hearing fails")})
    telegram.deaf = None
    telegram.until(lambda: pressed in telegram.answers, "the press, once it is heard")
    assert agent.result(60) == "went on with GRANTED"

    def heard_again() -> object:
        """An update ends a long poll, which else lasts 25 seconds; a while without a refusal says that it is over."""
        if not telegram.updates:
            telegram.write("Are you there?", ANA)
        return place.events("channel_recovered")

    telegram.until(heard_again, "that it hears again")
    assert [one["direction"] for one in place.events("channel_recovered")] == ["hearing"]
    assert _channel(place)["hearing"]["problem"] == ""
    assert len(place.events("channel_failed")) == 1


def test_the_state_of_channels_is_said_to_whom_it_concerns(place: Asking, telegram: BotApi) -> None:
    ready = f"{place.url}/api/v1/ready"
    telegram.until(lambda: _channel(place).get("served"))
    for plain in ("", "?verbose=false"):
        assert place.http.get(ready + plain).json()["channels"] is None
    made = place.http.post(f"{place.url}/api/v1/keys", json={"role": "operator", "name": "screen"}, headers=AS_OPERATOR)
    assert made.status_code == 200, made.text
    assert place.http.get(ready + "?verbose").json() == {
        "status": "ready", "tenant": None, "store": None, "channels": None, "connections": None,
        "keys_required": None, "standing": None,
    }  # fmt: skip
    assert _channel(place, AS_OPERATOR)["served"]
    assert place.http.get(ready + "?verbose", headers={"Authorization": "Bearer aegis_op_no"}).status_code == 401


def test_a_channel_that_stopped_is_seen_to_be_served_by_nobody(
    settings: Settings, telegram: BotApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    with asking(on_telegram(settings, telegram)) as place:
        place.agent(name="worker")
        telegram.press(telegram.announced(), "REJECT")
        telegram.until(lambda: _channel(place).get("hearing"))
    ask_on(settings.model_copy(update={"agent_day_usd": 100}), **WISH)
    monkeypatch.chdir(tmp_path)
    environment = {"AEGIS_URL": settings.url, "AEGIS_TENANT": settings.tenant}
    _, out, _ = run_aegis(monkeypatch, capsys, "doctor", environment=environment)
    assert "telegram: nobody serves it now" in out
    assert "aegis channels run" in out


def _channel(place: Asking, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """What `/ready?verbose` says of the bot."""
    answer = place.http.get(f"{place.url}/api/v1/ready?verbose", headers=headers or {})
    assert answer.status_code == 200, answer.text
    return next((one for one in answer.json()["channels"] if one["name"] == "telegram"), {})

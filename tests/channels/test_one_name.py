"""A person who comes by Telegram, the terminal and HTTP is one, and every channel names that one alike."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from asking import Asking, asking, on_telegram
from botapi import ANA, BOB, BotApi
from receiver import Receiver, receiver
from test_webhook import hooked, verified

import aegis_core
from aegis_core import Settings
from aegis_core.governor.governor import ResourceGovernor

pytestmark = pytest.mark.concurrent


@dataclass
class Persons:
    """A server with the bot and the webhook, ada with three credentials, bob with two."""

    place: Asking
    telegram: BotApi
    hook: Receiver
    keys: dict[str, str]

    def says(self, door: str, name: str, approval_id: str) -> dict[str, Any]:
        """Approve as a person, from the terminal or with their key over HTTP; how the question stands then."""
        if door == "terminal":
            self.place.on_redis(lambda governor: governor.approvals.decide(approval_id, "approve", by=f"cli:{name}"))
            shown = self.place.http.get(
                f"{self.place.url}/api/v1/approvals/{approval_id}",
                headers={"Authorization": f"Bearer {self.keys[name]}"},
            )
            return shown.json()
        answer = self.place.http.post(
            f"{self.place.url}/api/v1/approvals/{approval_id}/decision",
            json={"decision": "approve"},
            headers={"Authorization": f"Bearer {self.keys[name]}"},
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ended(self) -> dict[str, Any]:
        """What the webhook tells of the end."""
        self.hook.until(lambda: bool(self.told("approval.ended")))
        (told,) = self.told("approval.ended")
        return told

    def told(self, kind: str) -> list[dict[str, Any]]:
        """What the webhook told of a kind."""
        return [told for told in (verified(*one) for one in list(self.hook.got)) if told["type"] == kind]


async def _people(governor: ResourceGovernor) -> dict[str, str]:
    people = governor.operator.people
    await people.add("olga", "owner", author="cli:olga")
    await people.add("ada", "approver", telegram=ANA, terminal="ada", author="olga")
    await people.add("bob", "approver", telegram=BOB, author="olga")
    made = [await governor.operator.create_person_key(name, author="olga") for name in ("ada", "bob")]
    return {name: key.secret or "" for name, key in zip(("ada", "bob"), made, strict=True)}


async def _agent(settings: Settings) -> str:
    """Wait for people beside the server: since there are keys, nobody comes over HTTP without one."""
    async with aegis_core.connect(settings=settings) as governor:
        agent = await governor.handshake("worker")
        async with agent.permit("Rent it", resource_type="compute", estimated_cost_usd=12) as grant:
            return grant.verdict.status


def _run(settings: Settings, telegram: BotApi, quorum: int, work: Any) -> None:
    with receiver() as hook, asking(hooked(on_telegram(settings, telegram), hook)) as place:
        persons = Persons(place, telegram, hook, place.on_redis(_people))
        place.publish({"name": "big", "type": "max_cost", "limit_usd": 5, "asking": {"quorum": quorum}})
        agent = place.pool.submit(lambda: asyncio.run(_agent(place.settings)))
        message = telegram.announced()
        (approval,) = place.on_redis(lambda governor: governor.approvals.list())
        hook.until(lambda: bool(hook.got))
        work(persons, message, approval.approval_id)
        assert agent.result(60) == "GRANTED"


@pytest.mark.parametrize("door", ["telegram", "terminal", "http"])
def test_whatever_the_door_both_channels_show_the_person(settings: Settings, telegram: BotApi, door: str) -> None:
    def work(persons: Persons, message: Any, approval_id: str) -> None:
        if door == "telegram":
            assert telegram.press(message, "APPROVE", ANA).startswith("Approved by ada at ")
        else:
            assert persons.says(door, "ada", approval_id)["decided_by"] == "ada"
        telegram.shows(message, "✅ <b>Approved by ada at ")
        told = persons.ended()
        assert told["approval"]["decided_by"] == "ada"
        assert "Approved by ada" in told["text"]
        assert persons.place.events("approved")[0]["decided_by"] == "ada"

    _run(settings, telegram, 1, work)


def test_two_credentials_of_one_person_leave_a_quorum_open_in_every_channel(
    settings: Settings, telegram: BotApi
) -> None:
    def work(persons: Persons, message: Any, approval_id: str) -> None:
        assert telegram.press(message, "APPROVE", ANA) == "Noted. 1 more must approve."
        for door in ("terminal", "http"):
            still = persons.says(door, "ada", approval_id)
            assert (still["status"], [vote["operator"] for vote in still["votes"]]) == ("open", ["ada"])
        telegram.shows(message, "1 of 2 approvals", "approved by ada")
        assert not persons.told("approval.ended")
        assert persons.says("http", "bob", approval_id)["decided_by"] == "bob"
        telegram.shows(message, "✅", "approved by ada", "approved by bob")
        assert [vote["operator"] for vote in persons.ended()["approval"]["votes"]] == ["ada", "bob"]

    _run(settings, telegram, 2, work)

"""Webhooks for events: signed CloudEvents, each event at least once and in order, whoever dies or does not answer."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from receiver import receiver
from serving import serving
from terminal import run_aegis

import aegis_core
from aegis_core import ConfigurationError, Governor, Settings
from aegis_core.observe.destinations import destinations
from aegis_core.observe.pace import Pace
from aegis_core.observe.sending import sending
from aegis_core.protocol.events import Event
from aegis_core.settings import EventWebhook, load_settings
from aegis_core.store import layout
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock, private_settings
from tests.observe.posted import (
    QUICK,
    SECRET,
    caught_up,
    deliveries,
    numbers,
    resources,
    sender,
    served,
    state_is,
    told,
    until,
    verified,
)  # fmt: skip

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("grants", "questions")]
PROGRAM = Path(__file__).with_name("send.py")
Virtual = tuple[Governor, FakeClock, Store]


async def ask(governor: Governor, times: int, name: str = "ann") -> None:
    agent = await governor.handshake(name)
    for at in range(times):
        await agent.request(f"Work {at}", estimated_cost_usd="0.001")


async def of_kind(governor: Governor, kind: str) -> list[dict[str, Any]]:
    return [one.facts for one in await governor.events(limit=500) if one.kind == kind]


async def test_an_event_arrives_as_a_signed_cloud_event(settings: Settings, governor: Governor) -> None:
    with receiver() as place:
        async with sending([sender(governor, told(settings, place))]):
            await served(governor)
            agent = await governor.handshake("ann")
            asked = await agent.request("Work", estimated_cost_usd="0.5", traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01")
            await until(lambda: len(place.got) == 2)
    headers, body = place.got[1]
    message = verified(headers, body)
    event = (await governor.events(limit=500))[-1]
    data = message.pop("data")
    assert message == {
        "specversion": "1.0", "id": event.id, "source": f"/aegis/{settings.tenant}", "type": "dev.aegis.granted",
        "time": event.at.isoformat().replace("+00:00", "Z"), "datacontenttype": "application/json", "subject": "ann",
        "sequence": f"{event.number:020d}", "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01",
    }  # fmt: skip
    assert (data["number"], data["facts"]["grant_id"]) == (event.number, asked.grant_id)
    assert data["facts"]["request"]["intent"] == "Work"
    assert headers["content-type"].startswith("application/cloudevents+json")
    assert headers["host"] == urlsplit(place.url).netloc


async def test_only_what_is_wanted_is_posted_and_the_place_goes_on(settings: Settings, governor: Governor) -> None:
    with receiver() as place:
        chosen = told(settings, place, kind="rejected", agent="bob")
        async with sending([sender(governor, chosen)]):
            await served(governor)
            await ask(governor, 3)
            bob = await governor.handshake("bob")
            for usd in ("1", "5000", "6000"):
                await bob.request("Work", estimated_cost_usd=usd)
            await caught_up(governor)
    found = [verified(*one) for one in place.got]
    assert [(one["type"], one["subject"]) for one in found] == [("dev.aegis.rejected", "bob")]


async def test_a_receiver_that_dies_under_load_loses_nothing(settings: Settings, governor: Governor) -> None:
    """Two processes contend for the lease meanwhile; the pauses of the outage are those of a minute, made short."""
    with receiver() as place:
        chosen = told(settings, place)
        async with sending([sender(governor, chosen), sender(governor, chosen)]):
            await served(governor)
            begin = (await deliveries(governor).state("siem")).number
            await ask(governor, 40)
            await until(lambda: len(place.got) >= 10)
            working = asyncio.create_task(ask(governor, 200, "bob"))
            port = urlsplit(place.url).port
            assert port
            await asyncio.to_thread(place.stop)
            await state_is(governor, lambda state: state.attempts >= 12)
            with receiver(place, port):
                await working
                await caught_up(governor)
            last = (await governor.events(limit=500))[-1].number
    assert last is not None
    expected = list(range(begin + 1, last + 1))
    assert [number for number in numbers(place) if number <= last] == expected
    state = await deliveries(governor).state("siem")
    assert (state.problem, state.dead) == ("", 0)
    assert len(await of_kind(governor, "channel_failed")) == len(await of_kind(governor, "channel_recovered")) == 1


@pytest.mark.deep
@pytest.mark.timeout(600)
async def test_a_receiver_that_is_gone_for_a_minute_loses_nothing(settings: Settings, governor: Governor) -> None:
    """Under load all the time, at the pace at which receivers are served, for a minute by the clock."""
    asked, over = 0, asyncio.Event()

    async def load() -> None:
        nonlocal asked
        while not over.is_set():
            await ask(governor, 10)
            asked += 10
            await asyncio.sleep(0.5)

    with receiver() as place:
        chosen = told(settings, place)
        async with sending([sender(governor, chosen, Pace()), sender(governor, chosen, Pace())]):
            await served(governor)
            begin = (await deliveries(governor).state("siem")).number
            working = asyncio.create_task(load())
            await until(lambda: len(place.got) >= 10)
            port = urlsplit(place.url).port
            assert port
            await asyncio.to_thread(place.stop)
            gone, before = time.monotonic(), asked
            await asyncio.sleep(60)
            with receiver(place, port):
                over.set()
                await working
                assert asked > before
                await state_is(governor, lambda state: not state.behind)
            outage = time.monotonic() - gone
        events = [event async for event in everything(governor)]
    assert outage >= 60
    last = events[-1].number
    assert last is not None
    assert [number for number in numbers(place) if number <= last] == list(range(begin + 1, last + 1))
    state = await deliveries(governor).state("siem")
    assert (state.problem, state.dead) == ("", 0)


async def everything(governor: Governor) -> AsyncIterator[Event]:
    """All events, oldest first."""
    after = "0"
    while page := await governor.events(after=after, limit=1_000):
        for event in page:
            yield event
        after = page[-1].id


@pytest.mark.deep  # every day `test_delivery_mutants` and the receiver that dies show as much
def test_a_sender_that_is_killed_goes_on_elsewhere(settings: Settings) -> None:
    async def work(times: int) -> None:
        async with aegis_core.connect(settings=settings) as governor:
            await ask(governor, times)

    async def wait(what: Any) -> Any:
        async with aegis_core.connect(settings=settings) as governor:
            return await what(governor)

    with receiver() as place:
        given = {"siem": {"url": place.url, "secret": SECRET, "allow_private": True}}
        command = [sys.executable, str(PROGRAM), settings.url, settings.tenant, json.dumps(given)]
        root = Path(__file__).parents[2]

        def started() -> subprocess.Popen[str]:
            process = subprocess.Popen(
                command, cwd=root, env={"PYTHONPATH": f"{root}:{root / 'tests'}"}, stdout=subprocess.PIPE, text=True
            )
            assert process.stdout
            assert process.stdout.readline() == "serving\n"
            return process

        first = started()
        asyncio.run(wait(served))
        begin = asyncio.run(wait(lambda governor: deliveries(governor).state("siem"))).number
        for at in range(2):
            asyncio.run(work(40))
            place.until(lambda at=at: len(place.got) >= 30 * (at + 1))
            first.send_signal(signal.SIGKILL)
            first.communicate()
            asyncio.run(work(10))
            first = started()
        asyncio.run(wait(caught_up))
        first.send_signal(signal.SIGKILL)
        first.communicate()
    last = asyncio.run(wait(lambda governor: deliveries(governor).state("siem"))).number
    assert numbers(place) == list(range(begin + 1, last + 1))


async def test_what_is_refused_is_put_aside_and_replayed(
    settings: Settings, governor: Governor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with receiver() as place:
        chosen = told(settings, place)
        async with sending([sender(governor, chosen)]):
            await served(governor)
            place.answers.extend([(400, {})] * 3)
            await ask(governor, 2)
            await caught_up(governor)
        refused = verified(*place.got[0])
        assert [verified(*one)["id"] for one in place.got[:3]] == [refused["id"]] * 3
        (aside,) = await of_kind(governor, "webhook_dead_lettered")
        assert aside == {
            "event_id": refused["id"], "event_kind": "handshake", "attempts": 3, "problem": "localhost answers 400",
            "by": "webhook:siem",
        }  # fmt: skip
        assert len(set(numbers(place))) == 4  # the handshake, two decisions, and what became of the handshake
        environment = {
            "AEGIS_URL": settings.url, "AEGIS_TENANT": settings.tenant,
            "AEGIS_EVENT_WEBHOOKS": json.dumps(
                {"siem": {"url": place.url, "secret": SECRET, "allow_private": True}}
            ),
        }  # fmt: skip

        def aegis(*arguments: str) -> tuple[int, str, str]:
            return run_aegis(monkeypatch, capsys, "webhooks", *arguments, environment=environment)

        def run(*arguments: str) -> Any:
            return asyncio.to_thread(aegis, *arguments)

        code, out, _ = await run("list")
        assert code == 0
        assert "4 sent" not in out
        assert "3 sent · 0 behind · 1 put aside" in out
        assert f"event {refused['id']} (handshake) after 3 attempts: localhost answers 400" in out
        (listed,) = json.loads((await run("list", "--json"))[1])
        assert (listed["name"], listed["dead_letters"][0]["event_id"]) == ("siem", refused["id"])
        assert SECRET not in out + json.dumps(listed)

        place.answers.append((410, {}))
        code, _, err = await run("replay", "siem")
        assert (code, "answers 410" in err) == (1, True)
        code, _, err = await run("replay", "siem")
        assert (code, "took 1 of the events" in err) == (0, True)
        assert verified(*place.got[-1])["id"] == refused["id"]
        assert await deliveries(governor).dead_letters("siem") == []
        assert [one["count"] for one in await of_kind(governor, "webhook_replayed")] == [1]

        assert (await run("test"))[0] == 0
        assert verified(*place.got[-1])["type"] == "dev.aegis.test"
        code, _, err = await run("replay", "other")
        assert (code, "no webhook other; it has siem" in err) == (1, True)


async def test_a_sender_goes_back_where_an_operator_says_so(settings: Settings, governor: Governor) -> None:
    with receiver() as place:
        async with sending([sender(governor, told(settings, place))]):
            await served(governor)
            await ask(governor, 5)
            await caught_up(governor)
            before = numbers(place)
            place.got.clear()
            again = await deliveries(governor).go_back("siem", "1h", by="ada")
            await until(lambda: len(numbers(place)) > again)
    assert numbers(place)[-1] == before[-1] + 1  # that it was replayed is an event, too
    assert numbers(place) == list(range(1, before[-1] + 2))
    (replayed,) = await of_kind(governor, "webhook_replayed")
    assert (replayed["count"], replayed["by"], replayed["channel"]) == (again, "ada", "webhook:siem")


async def test_two_that_refuse_everything_do_not_tell_of_each_other_for_ever(
    settings: Settings, governor: Governor
) -> None:
    with receiver() as one, receiver() as other:
        one.otherwise = other.otherwise = 400
        chosen = told(settings, one)
        both = chosen.event_webhooks | {"bi": EventWebhook(url=other.url, secret=SECRET, allow_private=True)}  # type: ignore[arg-type]
        from aegis_core.governor.delivering import senders

        chosen = chosen.model_copy(update={"event_webhooks": both})
        async with sending(senders(resources(governor), chosen, QUICK)):
            for name in both:
                await served(governor, name)
            await ask(governor, 1)
            for name in both:
                await caught_up(governor, name)
            for name in both:  # the first may have told of one more meanwhile
                await caught_up(governor, name)
    aside = await of_kind(governor, "webhook_dead_lettered")
    assert sorted((each["event_kind"], each["by"]) for each in aside) == sorted(
        (kind, f"webhook:{name}") for kind in ("handshake", "granted") for name in both
    )


async def test_a_receiver_that_fails_for_an_hour_is_waited_for(settings: Settings, virtual: Virtual) -> None:
    governor, clock, _ = virtual
    with receiver() as place:
        place.otherwise = 500
        patient = Pace(lease=7_200, send=5, first_retry=0.01, longest_retry=0.02, give_up=5_400)
        async with sending([sender(governor, told(settings, place), patient)]):
            await served(governor)
            begin = (await deliveries(governor).state("siem")).number
            await ask(governor, 3)
            await until(lambda: len(place.got) > 3)
            for _ in range(4):
                await clock.advance(minutes=15)
                seen = len(place.got)
                await until(lambda seen=seen: len(place.got) > seen + 1)
            state = await deliveries(governor).state("siem")
            assert (state.dead, state.problem) == (0, "localhost answers 500")
            assert {verified(*one)["id"] for one in place.got} == {state.failing}
            granted = await (await governor.handshake("bob")).request("Work", estimated_cost_usd="0.01")
            assert granted.status == "GRANTED"  # decisions are none the worse
            place.got.clear()
            place.otherwise = 200
            await caught_up(governor)
            assert numbers(place) == list(range(begin + 1, begin + 1 + len(numbers(place))))
            assert (await deliveries(governor).state("siem")).problem == ""


async def test_an_event_that_always_ends_in_an_error_is_put_aside_at_last(settings: Settings, virtual: Virtual) -> None:
    governor, clock, _ = virtual
    with receiver() as place:
        place.otherwise = 500
        patient = Pace(lease=7_200, send=5, first_retry=0.01, longest_retry=0.02, give_up=5_400)
        async with sending([sender(governor, told(settings, place), patient)]):
            await served(governor)
            await ask(governor, 0)
            await until(lambda: len(place.got) > 1)
            await clock.advance(hours=1.6)
            await state_is(governor, lambda state: state.dead)
            place.otherwise = 200
            await caught_up(governor)
    kinds = [verified(*one)["type"] for one in place.got]
    assert kinds[0] == "dev.aegis.handshake"
    assert [aside["event_kind"] for aside in await of_kind(governor, "webhook_dead_lettered")] == ["handshake"]


@pytest.mark.parametrize("what", ["hangs", "redirects", "asks for patience"])
async def test_a_bad_receiver_is_told_of_in_a_few_words(what: str, settings: Settings, governor: Governor) -> None:
    with receiver() as place, receiver() as elsewhere:
        said = {
            "hangs": "localhost gives no answer within 3 s",
            "redirects": "localhost answers with a redirect, which is not followed",
            "asks for patience": "localhost answers 429",
        }[what]
        if what == "hangs":
            place.answering.clear()
        elif what == "redirects":
            place.answers.extend([(302, {"Location": elsewhere.url})] * 2)
        else:
            place.answers.append((429, {"Retry-After": "1"}))
        pace = Pace(lease=8, send=3 if what == "hangs" else 30, first_retry=0.01, longest_retry=0.05)
        async with sending([sender(governor, told(settings, place), pace)]):
            await served(governor)
            agent = await governor.handshake("ann")
            assert (await agent.request("Work", estimated_cost_usd="0.01")).status == "GRANTED"
            failed = await until(lambda: of_kind(governor, "channel_failed"))
            place.answering.set()
            await caught_up(governor)
    assert [one["problem"] for one in failed] == [said]
    assert elsewhere.got == []
    assert len(set(numbers(place))) >= 2


async def test_what_retention_took_unsent_is_an_event(settings: Settings, governor: Governor) -> None:
    store: Any = governor.port.reader._stream._store  # type: ignore[attr-defined]
    with receiver() as place:
        async with sending([sender(governor, told(settings, place))]):
            await served(governor)
            begin = (await deliveries(governor).state("siem")).number
        await ask(governor, 9)
        await store.command("XTRIM", layout.key(governor.tenant, "e"), "MAXLEN", 4)
        async with sending([sender(governor, told(settings, place))]):
            await caught_up(governor)
    last = begin + 10
    (lost,) = await of_kind(governor, "events_lost")
    assert lost == {"first_number": begin + 1, "last_number": last - 4, "by": "webhook:siem"}
    assert numbers(place) == list(range(last - 3, last + 2))


async def test_what_was_forgotten_is_not_lost(settings: Settings, governor: Governor) -> None:
    with receiver() as place:
        async with sending([sender(governor, told(settings, place))]):
            await served(governor)
        await ask(governor, 3)
        await resources(governor).operator.forget("ann", author="ada")
        async with sending([sender(governor, told(settings, place))]):
            await caught_up(governor)
    assert await of_kind(governor, "events_lost") == []
    assert b"Work" not in b"".join(body for _, body in place.got)
    assert len(place.got) == 5


def test_a_server_serves_the_webhooks_beside_the_api(settings: Settings) -> None:
    async def work() -> None:
        async with aegis_core.connect(settings=settings) as governor:
            await served(governor)
            await ask(governor, 1)

    with receiver() as place, serving(told(settings, place)):
        asyncio.run(work())
        place.until(lambda: any(verified(*one)["type"] == "dev.aegis.granted" for one in list(place.got)))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"url": "https://hooks.example/x"}, "siem: secret is missing"),
        ({"url": "https://hooks.example/x", "secret": "short"}, "shorter than 16"),
        ({"url": "http://hooks.example/x", "secret": "k" * 32}, 'set "allow_private": true of siem'),
        ({"url": "https://a:b@hooks.example/x", "secret": "k" * 32}, "no user"),
    ],
)
def test_a_webhook_that_is_described_by_halves_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        destinations(private_settings(event_webhooks={"siem": given}))


def test_settings_that_are_no_webhooks_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, words in (
        ("{", "AEGIS_EVENT_WEBHOOKS is not valid JSON"),
        ('{"siem": {"uri": "x"}}', "AEGIS_EVENT_WEBHOOKS"),
        ('{"siem": {"url": "https://x", "kind": "Granted"}}', "AEGIS_EVENT_WEBHOOKS"),
    ):
        monkeypatch.setenv("AEGIS_EVENT_WEBHOOKS", text)
        with pytest.raises(ConfigurationError, match=words) as found:
            load_settings()
        assert "None" not in str(found.value)

"""What an older version wrote is read and driven to its end; what a newer one wrote is carried unharmed."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from leftovers import ENDING, UNENDING

from aegis_core.protocol.experiments import ExperimentStart, PairPost
from aegis_core.protocol.messages import Handshake, PermissionRequest
from aegis_core.protocol.people import PersonChange
from aegis_core.protocol.workflows import (
    InviteRequest,
    JoinRequest,
    Step,
    StepChange,
    WorkflowChange,
    WorkflowRequest,
)
from aegis_core.store.schema import KINDS, VERSION_ROW

from .dumping import dump, restore
from .grown import grow, marks, marks_of_experiment
from .world import build, drive, opened, own_server
from .write_fixture import FIXTURE

DATA: dict[str, Any] = json.loads(FIXTURE.read_text())


async def told(data: dict[str, Any] | None, seen: list[dict[str, Any]] | None = None) -> list[Any]:
    """What becomes of restored data, or of fresh data; what is stored meanwhile goes to `seen`."""
    async with own_server() as store:
        if data is None:
            async with opened(store) as (world, _):
                await build(world)
        else:
            await store.command("FLUSHDB")
            await restore(store, data)
        async with opened(store) as (world, clock):
            await clock.advance(seconds=5)
            async for _ in drive(world):
                if seen is not None:
                    seen.append(await dump(store))
            return world.told


async def built() -> dict[str, Any]:
    """The data of the code of now."""
    async with own_server() as store, opened(store) as (world, _):
        await build(world)
        return await dump(store)


def same(one: list[Any], other: list[Any]) -> None:
    """Step by step, so that the first difference is shown."""
    for first, second in zip(one, other, strict=True):
        assert second == first


def unshown(value: Any) -> Any:
    """Without when channels showed a question, and whether anything was heard of a grant, which were not kept yet when
    the data was written."""
    if isinstance(value, dict):
        return {name: unshown(each) for name, each in value.items() if name not in {"shown_at", "nothing_heard"}}
    return [unshown(each) for each in value] if isinstance(value, list) else value


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Turns this process into one of a later version."""
    return lambda: grow(lambda kind, name, value: monkeypatch.setattr(kind, name, value, raising=False))


def test_the_data_holds_every_kind_of_record() -> None:
    heads = {name.partition("}:")[2].partition(":")[0] for name in DATA if "{" in name}
    # Shares of forecasts are kept only where one is opted in; the lease of the channel was given back.
    # How a channel is, its alerts, what questions show, which results are long, what keys and queues are counted by,
    # counts and persons were not kept yet then, nor did words lie apart or sums by the hour; nor webhooks and chains.
    later = {"f", "cl", "ch", "cm", "ca", "q", "jl", "lp", "lk", "ac", "c", "w", "h", "hc", "pe", "pc"}
    later |= {"wf", "wm", "wo", "wl", "dv", "dl", "dn", "g", "gt", "gd", "gn", "kz", "kd", "kx", "kp", "qn", "bl"}
    assert heads == (UNENDING | ENDING) - later | ({"cm"} & heads)


async def test_old_data_ends_as_fresh_data_does() -> None:
    same(unshown(await told(None)), unshown(await told(DATA)))


async def test_a_later_version_reads_old_data(later: Callable[[], None]) -> None:
    fresh = await told(None)
    later()
    same(unshown(fresh), unshown(await told(DATA)))


async def test_a_later_version_goes_on_with_its_own_data(later: Callable[[], None]) -> None:
    fresh = await told(None)
    later()
    same(fresh, await told(None))


async def test_an_older_version_carries_what_a_later_one_wrote(
    later: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = await told(None)
    later()
    data = await built()
    before = marked(data)
    monkeypatch.undo()
    seen: list[dict[str, Any]] = []
    same(fresh, await told(data, seen))
    carried: set[str] = set()
    for stored in seen:
        for name, after in found(stored).items():
            for path in after.keys() & before.get(name, {}).keys():
                assert after[path] == before[name][path], f"{name}{path} lost what a later version keeps there"
                if stored[name]["value"] != data[name]["value"]:
                    carried.add(path.rpartition(".")[2].partition("[")[0])
    assert "SCORE" in carried
    assert {kind.prefix for kind in KINDS} - carried == {
        "D", "P", "F", "X",  # never stored, or only written anew
        "BAR",  # of refusals, which are never written again
        "ALERT", "REFUSED",  # the world comes near no limit, and nothing is refused again; see below
        "PERSON",  # old data has none; see below
        "GAS", "WATCH",  # nor these: no chain was watched yet
        "FLOW", "PLAN", "JOIN",  # nor these: see below
        "PAIR", "TALLY", "CLOSED",  # nor these: see below
        "CANARY", "PROPOSAL",  # nor these: nothing is proposed
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "costs"),
    [("ALERT", ("3.5", "0.5")), ("REFUSED", ("4.5", "5", "6"))],  # of a limit of 4: most and the rest, or too much
)
async def test_an_older_version_carries_what_a_later_one_keeps_of_an_agent(
    later: Callable[[], None], monkeypatch: pytest.MonkeyPatch, kind: str, costs: tuple[str, ...]
) -> None:
    later()
    async with own_server() as store, opened(store) as (world, _):
        await world.port.handshake(Handshake(agent_id="near"))
        await world.port.set_budget("agent", "near", "day", 4)
        for at, cost in enumerate(costs[:-1]):
            await world.ask("near", f"before-{at}", estimated_cost_usd=cost)
        data = await dump(store)
    before = marked(data)
    monkeypatch.undo()
    async with own_server() as store:
        await store.command("FLUSHDB")
        await restore(store, data)
        async with opened(store) as (world, _):
            await world.ask("near", "after", estimated_cost_usd=costs[-1])
        stored = await dump(store)
    after = found(stored)
    marks = {(name, path): mark for name, all_ in before.items() for path, mark in all_.items() if kind in path}
    assert [name.rpartition("}:")[2] for name, _ in marks] == ["a:near"]
    assert {(name, path): after[name][path] for name, path in marks} == marks
    assert all(stored[name]["value"] != data[name]["value"] for name, _ in marks), "it was written anew"


async def test_an_older_version_carries_what_a_later_one_keeps_of_a_person(
    later: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    later()
    async with own_server() as store, opened(store) as (world, _):
        await world.port.operator.people.add("bob", "approver", telegram=7, author="ada")
        await world.port.operator.create_key("agent", name="door", author="ada")  # so the tenant is written, too
        data = await dump(store)
    before = marked(data)
    monkeypatch.undo()
    async with own_server() as store:
        await store.command("FLUSHDB")
        await restore(store, data)
        async with opened(store) as (world, _):
            await world.port.operator.people.link("bob", "cli:bob", author="ada")
            await world.port.operator.create_person_key("bob", author="ada")
            await world.port.operator.people.unlink("bob", "telegram:7", author="ada")
            changed = await world.port.operator.people.change("bob", PersonChange(role="owner"), author="ada")
        stored = await dump(store)
    assert (changed.role, len(changed.credentials)) == ("owner", 2)
    marks = {(name, path): mark for name, all_ in before.items() for path, mark in all_.items() if "PERSON" in path}
    assert len(marks) == 1
    assert {(name, path): found(stored)[name][path] for name, path in marks} == marks


async def test_an_older_version_carries_what_a_later_one_keeps_of_a_workflow(
    later: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    later()
    async with own_server() as store, opened(store) as (world, _):
        await world.port.handshake(Handshake(agent_id="boss"))
        plan = (Step(tool="look", times=5, upto_usd=Decimal(1)), Step(tool="note", upto_usd=Decimal(2)))
        wish = WorkflowRequest(agent_id="boss", name="grow", budget_usd=Decimal(3), plan=plan)
        opening = await world.port.workflows.open(wish)
        await world.port.approvals.decide(opening.approval_id, "approve", by="ada")
        token = await world.port.workflows.invite(opening.workflow_id, InviteRequest(uses=2))
        data = await dump(store)
    before = marked(data)
    monkeypatch.undo()
    async with own_server() as store:
        await store.command("FLUSHDB")
        await restore(store, data)
        async with opened(store) as (world, _):
            port = world.port
            await port.handshake(Handshake(agent_id="boss"))  # sessions are numbered, and this is the same one
            await port.workflows.join(JoinRequest(join_token=token.join_token, agent_id="one"))
            asking = PermissionRequest(
                agent_id="one", task_intent="Look", resource_type="api_call", tool="look", estimated_cost_usd=Decimal(1)
            )
            assert (await port.request_permission(asking)).plan_step == 1
            change = WorkflowChange(
                content=opening.content, budget_usd=Decimal(2), steps=(StepChange(number=2, times=0),)
            )
            smaller = await port.workflows.change(opening.workflow_id, change, by="ada")
            assert [each.uses for each in smaller.plan.steps] == [1, 0]
        stored = await dump(store)
    marks = {(name, path): mark for name, all_ in before.items() for path, mark in all_.items() if "}:wf:" in name}
    assert {path.rpartition(".")[2].partition("[")[0] for _, path in marks} >= {"FLOW", "PLAN", "JOIN", "O"}
    assert {(name, path): found(stored)[name][path] for name, path in marks} == marks


async def test_an_older_version_carries_what_a_later_one_keeps_of_an_experiment(
    later: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    later()
    wish = ExperimentStart(task_type="draft", present="gpt-4o", candidate="gpt-4o-mini", judge="llm", share=1)
    async with own_server() as store, opened(store) as (world, clock):
        of = world.port.experiments
        name = (await of.start(wish, author="ada")).experiment_id
        for at, scores in enumerate(((1, 1), (1, 0), None)):
            await of.open_pair(name, f"r{at}", milliseconds=86_400_000 * 3)
            if scores:
                await of.score(name, f"r{at}", scores)
            await clock.advance(hours=24)
        await of.post(PairPost(experiment_id=name, request_id="r0", present=1, candidate=1, labelled=True))
        await world.port.operator.create_key("agent", name="door", author="ada")  # so the tenant is written, too
        before, data = await of.one(name), await dump(store)
        now = clock.now
    marked_before = marked(data)
    monkeypatch.undo()
    async with own_server() as store:
        await store.command("FLUSHDB")
        await restore(store, data)
        async with opened(store, now) as (world, _):
            of = world.port.experiments
            assert await of.one(name) == before
            assert await of.score(name, "r2", (0.5, 0.5))
            await of.post(PairPost(experiment_id=name, request_id="r1", present=1, candidate=1, labelled=True))
            after = await of.one(name)
            assert (after.pairs, after.labels, after.whole_days) == (3, 2, 2)
        stored = await dump(store)
    marks = {path: mark for key, all_ in marked_before.items() for path, mark in all_.items() if "}:kx:" in key}
    kept = {path: mark for key, all_ in found(stored).items() for path, mark in all_.items() if "}:kx:" in key}
    assert set(marks) == {"1.PAIR", "2.PAIR", "3.PAIR", "tally.TALLY", "closed.CLOSED"}
    del marks["closed.CLOSED"]  # what a day held is written anew when the next one is over
    assert {path: kept[path] for path in marks} == marks


def marked(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Put a mark of its own at the end of every record; answers them by key and path."""
    numbers = iter(range(100_000))
    return _each(data, lambda: f"mark {next(numbers)}")


def found(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The last element of every record, by key and path."""
    return _each(data, None)


def _each(data: dict[str, Any], mark: Callable[[], str] | None) -> dict[str, dict[str, Any]]:
    answer: dict[str, dict[str, Any]] = {}
    for name, entry in data.items():
        if entry["type"] == "string":
            blob, answer[name] = marks(name, b64decode(entry["value"]), mark)
            entry["value"] = b64encode(blob).decode()
        elif name.endswith("}:o"):
            answer[name] = {}
            for pair in entry["value"]:
                row, text = (b64decode(each).decode() for each in pair)
                if row != VERSION_ROW:
                    text = f"{text} {mark()}" if mark else text
                    answer[name][f"{row}.SCORE"] = text.split(" ", 3)[3:]
                    pair[1] = b64encode(text.encode()).decode()
        elif entry["type"] == "hash" and name.partition("}:")[2][:3] in {"lw:", "cn:", "pe"}:
            answer[name] = {}
            for pair in entry["value"]:
                blob, here = marks(name, b64decode(pair[1]), mark)
                answer[name] |= {f"{pair[0]}{path}": each for path, each in here.items()}
                pair[1] = b64encode(blob).decode()
        elif entry["type"] == "hash" and "}:kx:" in name:
            answer[name] = {}
            for pair in entry["value"]:
                field = b64decode(pair[0]).decode()
                blob, here = marks_of_experiment(field, b64decode(pair[1]), mark)
                answer[name] |= {f"{field}{path}": each for path, each in here.items()}
                pair[1] = b64encode(blob).decode()
    return answer

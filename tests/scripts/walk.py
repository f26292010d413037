"""The walk through a tenant's keys in Redis, compared with its model."""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha256
from typing import Any

import msgpack

from aegis_core.store import layout
from aegis_core.store.packing import Named
from aegis_core.store.records import AlikeRefusals, Record
from aegis_core.store.schema import Agent, Session, Tenant
from aegis_core.store.schema import Budget as Stored

from .bench import DAY, TIMINGS, TRANSIENT, Side
from .model import CELLS, World
from .model import Record as Expected
from .refusal_model import as_stored

TRANSIENT_CODES = {"budget_exceeded", "too_many_open_grants", "too_much_pending", "too_many_questions"}


def read(one: Side) -> tuple[dict[bytes, Any], dict[bytes, int]]:
    """Every key of a tenant: its value and whether it expires; and how many ms it has left."""
    names: Any = one.bench.plain.keys(f"ae:{{{one.name}}}:*")
    reader = one.bench.plain.pipeline(transaction=False)
    prefix = len(f"ae:{{{one.name}}}:")
    short = sorted(name[prefix:] for name in names)
    for name in short:
        full = layout.key(one.name, name.decode())
        kind = name[:2]
        if kind in {b"d", b"ag", b"as", b"ap", b"ah"}:
            reader.zrange(full, 0, -1, withscores=True)
        elif kind in {b"u:", b"o", b"c"}:
            reader.hgetall(full)
        elif kind == b"bs":
            reader.smembers(full)
        elif name == b"e" or kind == b"w:":
            reader.xlen(full)
        else:
            reader.get(full)
        reader.pttl(full)
    answers = reader.execute()
    image = {name: (answers[2 * i], answers[2 * i + 1] > -1) for i, name in enumerate(short)}
    return image, dict(zip(short, answers[1::2], strict=True))


def windows(one: Side) -> dict[tuple[str, str | None, str | int], float]:
    """The window in which each stored budget counts."""
    found: dict[tuple[str, str | None, str | int], float] = {}
    for name, (value, _) in read(one)[0].items():
        head, _, tail = name.decode().partition(":")
        if kind := {"a": Agent, "s": Session, "t": Tenant}.get(head):
            purse, whose = named(kind, value)["PURSE"], (head, tail or None)
        elif head == "b":
            purse, whose = msgpack.unpackb(value), (tail, None)
        else:
            continue
        for budget in purse:
            facts = named(Stored, budget)
            found[*whose, facts["KIND"]] = facts["WINDOW"]
    return found


def check_events(one: Side) -> None:
    """The stream grew by exactly what the model announced, in its order."""
    entries: Any = one.bench.plain.xrange(layout.key(one.name, "e"), one.last_event, "+")
    told = [_event(fields) for _, fields in entries]
    for entry_id, fields in entries:
        if b"d" in fields:
            _check_words(one, entry_id, fields)
    expected = list(one.world.events)
    one.world.events.clear()
    assert told == expected
    if entries:
        one.last_event = f"({entries[-1][0].decode()}"


def _check_words(one: Side, entry_id: bytes, fields: dict[bytes, bytes]) -> None:
    """What an event has a digest of lies with its agent, under the id of the event."""
    agent = named(Record, msgpack.unpackb(fields[b"b"]))["AGENT"]
    ((_, words),) = one.bench.plain.xrange(layout.key(one.name, f"w:{agent}"), entry_id, entry_id)
    assert sha256(words[b"s"] + words[b"w"]).digest() == fields[b"d"]
    assert b"intent" in words[b"w"]


def check_keys(one: Side, image: dict[bytes, Any], ttl: dict[bytes, int]) -> None:
    """Every key is documented, expires or not as it must, and holds what the model holds."""
    world = one.world
    purses: dict[tuple[str, str | None], list[Any]] = {}
    open_records: dict[bytes, Any] = {}
    bill: dict[tuple[int, str], int] = {}
    open_counts: dict[str, tuple[int, ...]] = {}
    ended = set()
    for name, entry in image.items():
        value, expires = entry
        head, _, tail = name.decode().partition(":")
        record = _record(value) if head == "r" else {}
        assert expires == (head in {"u", "w"} or (head == "r" and record["STATE"] not in {"G", "P"})), name
        if head == "r":
            if record["STATE"] in {"G", "P"}:
                open_records[tail.encode()] = record
            else:
                transient = (
                    record["CODE"] in TRANSIENT_CODES or world.records[record["AGENT"], record["REQUEST"]].repeated
                )
                assert ttl[name] <= (TRANSIENT if transient else TIMINGS.keep), name
                ended.add((record["AGENT"], record["REQUEST"]))
        elif head == "a":
            purses["a", tail] = named(Agent, value)["PURSE"]
            open_counts[tail] = tuple(named(Agent, value)[name] for name in ("OPEN", "PENDING", "QUESTIONS"))
            refused = [named(AlikeRefusals, row) for row in named(Agent, value)["REFUSED"]]
            assert as_stored(refused) == world.refusals.stored(tail)
        elif head == "s":
            purses["s", tail] = named(Session, value)["PURSE"]
        elif head == "b":
            purses[tail, None] = msgpack.unpackb(value)
        elif head == "t":
            purses["t", None] = named(Tenant, value)["PURSE"]
        elif head == "u":
            assert ttl[name] <= 400 * DAY
            bill |= {(int(tail), field.decode()): int(number) for field, number in value.items()}
        else:
            assert head in {"d", "e", "ag", "as", "bs", "p", "pf", "ap", "ah", "pv", "o", "c", "w"}, (
                f"{name!r} is not documented"
            )
    _check_records(world, open_records, ended, image, open_counts)
    assert bill == {
        (day, "\t".join((*row, sort))): number
        for (day, *row), numbers in world.bill.items()
        for sort, number in numbers.items()
    }
    _check_money(one, purses, list(open_records.values()))


def _check_records(
    world: World,
    open_records: dict[bytes, Any],
    ended: set[Any],
    image: dict[bytes, Any],
    counts: dict[str, tuple[int, ...]],
) -> None:
    assert {(r["AGENT"], r["REQUEST"]): r["DEADLINE"] for r in open_records.values()} == {
        key: record.deadline for key, record in world.records.items() if record.open
    }
    assert ended == {key for key, record in world.records.items() if not record.open}
    due = {f"r:{key.decode()}".encode(): r["DEADLINE"] for key, r in open_records.items()}
    due |= {f"s:{sid}".encode(): session.due for sid, session in world.sessions.items()}
    due |= {f"a:/{agent}".encode(): at for agent, at in world.refusals.due.items()}
    assert dict(image.get(b"d", ([],))[0]) == due
    asked = {r.key.encode(): r for r in world.records.values() if r.escalated}
    assert dict(image.get(b"ap", ([],))[0]) == {key: r.created for key, r in asked.items() if r.open}
    assert dict(image.get(b"ah", ([],))[0]) == {key: r.answered for key, r in asked.items() if not r.open}
    held: dict[str, list[Expected]] = {agent: [] for agent in world.agents}
    for (agent, _), record in world.records.items():
        if record.open:
            held[agent].append(record)
    for agent, records in held.items():
        pending = [record.amount for record in records if record.state == "pending"]
        assert counts.pop(agent) == (len(records), sum(pending), len(pending))
    assert not counts


def _check_money(one: Side, purses: dict[tuple[str, str | None], list[Any]], open_records: list[Any]) -> None:
    """Reserved is what open grants hold in that window; an admission leaves no budget above its limit."""
    held: dict[tuple[Any, ...], int] = defaultdict(int)
    for record in open_records:
        for owner, kind, window, _, _ in rows_of(record["LINES"]):
            name = {"a": record["AGENT"], "s": record["SESSION"]}.get(owner)
            held[owner, name, kind, window] += record["AMOUNT"]
    budgets = one.world.every_budget()
    seen = set()
    for (owner, name), purse in purses.items():
        for packed in purse:
            kind, limit, window, spent, reserved, _, ring, *_ = packed
            seen.add((owner, name, kind))
            assert limit == budgets[owner, name, kind].limit
            if ring is False:
                assert reserved == held[owner, name, kind, window], (owner, name, kind)
            else:
                cells = {number: kept for number, *kept in rows_of(ring)}
                assert min(cells, default=window) >= window - CELLS
                assert (spent, reserved) == tuple(sum(cell[i] for cell in cells.values()) for i in (0, 1))
                for cell, (_, kept) in cells.items():
                    assert kept == held[owner, name, kind, cell], (owner, name, kind)
            if _applied(one.admitted, owner, name, kind):
                assert spent + reserved <= limit, f"admitted above the limit of {owner} {name} {kind}"
                budget = budgets[owner, name, kind]
                assert (spent, reserved) == (budget.total(budget.spent), budget.total(budget.reserved))
    assert seen == set(budgets)


def _applied(record: Expected | None, owner: str, name: str | None, kind: str | int) -> bool:
    if record is None or (owner, kind) not in record.lines:
        return False
    return name == {"a": record.ask.agent, "s": record.session}.get(owner)


def repeated(body: list[Any]) -> tuple[Any, ...]:
    """The event of repeated refusals, whose body lacks the time."""
    agent, row = body
    refused = named(AlikeRefusals, row)
    return ("refusals_repeated", agent, *(refused[name] for name in ("SINCE", "UNTIL", "COUNT", "CODE", "MOST")))


def _record(blob: bytes) -> dict[str, Any]:
    return named(Record, blob)


def named(kind: type[Named], packed: bytes | list[Any]) -> dict[str, Any]:
    """A stored list by the names that scripts have for its fields. It must have all of them and no other."""
    values = msgpack.unpackb(packed) if isinstance(packed, bytes) else packed
    return {name.upper(): value for name, value in zip(kind._fields, values, strict=True)}


def rows_of(flat: list[Any]) -> list[tuple[Any, ...]]:
    """The rows of a list that begins with their length."""
    width = flat[0]
    return [tuple(flat[at : at + width]) for at in range(1, len(flat), width)]


def _event(fields: dict[bytes, bytes]) -> tuple[Any, ...]:
    kind, body = fields[b"k"].decode(), msgpack.unpackb(fields[b"b"])
    if len(body) == len(Record._fields):
        record = named(Record, body)
        assert (b"q" in fields) == (kind in {"granted", "rejected"}), "what was asked is told once; a question holds it"
        assert (b"d" in fields) == (kind in {"granted", "rejected", "pending"})
        assert b"\xa6intent" not in fields[b"b"] + fields.get(b"q", b""), "an agent's words lie apart"
        return (kind, record["AGENT"], record["REQUEST"], record["CODE"], record["AMOUNT"], record["CHARGED"])
    body = [None if value is False else value for value in body[1:]]
    match kind:
        case "handshake" | "session_closed":
            return (kind, *body[:2])
        case "budget_set":
            return (kind, *body[:6])
        case "budget_reset":
            return (kind, *body[:7])
        case "budget_ahead":
            return (kind, *body[:4])
        case "policy_published" | "profiles_published":
            return (kind, body[0])
        case "tenant_opened":
            return (kind,)
        case "refusals_repeated":
            return repeated(body)
    return (kind, *body)

"""What `soak.py` judges afterwards: events and records against limits, and against what the workers were told."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from soak_worker import AGENT_USD

from aegis_core.protocol.money import to_nanos
from aegis_core.store import layout
from aegis_core.store.event_bodies import BODIES
from aegis_core.store.packing import decode, unpack
from aegis_core.store.records import Record
from aegis_core.store.schema import Agent, Budget
from aegis_core.store.states import OPEN, REJECTED

TENANT = "soak"
LIMIT = to_nanos(AGENT_USD)


@dataclass
class Books:
    """What the events say.

    Attributes:
        held: nano-dollars that each open record holds, by its agent and request.
        charged: what each ended one was charged.
        above: how often an agent's spent and reserved money stood above its limit after an admission; it never may.
        kinds: how many events there were of each kind.
        most: the highest that an agent stood at.
    """

    held: dict[tuple[str, str], int] = field(default_factory=dict)
    charged: dict[tuple[str, str], int] = field(default_factory=dict)
    above: int = 0
    most: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    taken: Counter[str] = field(default_factory=Counter)

    def tell(self, kind: str, body: bytes) -> None:
        """One event, in the order of the stream."""
        self.kinds[kind] += 1
        if BODIES.get(kind) is not Record:
            return
        record = decode(Record, unpack(body))
        if record.state == REJECTED:
            return
        key = record.agent, record.request
        before = self.held.pop(key, 0) + self.charged.pop(key, 0)
        if record.state in OPEN:
            self.held[key], now = record.amount, record.amount
        else:
            self.charged[key], now = record.charged, record.charged
        self.taken[record.agent] += now - before
        if now > before and kind in {"granted", "pending"}:
            self.above += self.taken[record.agent] > LIMIT
            self.most = max(self.most, self.taken[record.agent])


def read_books(client: Any) -> Books:
    """Walk all events."""
    books, after = Books(), "-"
    while page := client.xrange(layout.key(TENANT, "e"), after, "+", count=5_000):
        after = "(" + page[-1][0].decode()
        for _, fields in page:
            books.tell(fields[b"k"].decode(), fields[b"b"])
    return books


def compare(client: Any, books: Books) -> int:
    """See that money is conserved: each agent's budget says what the events say. Answers how many agents there were.

    Raises:
        AssertionError: it is not.
    """
    spent, held = Counter[str](), Counter[str]()
    for (agent, _), cost in books.charged.items():
        spent[agent] += cost
    for (agent, _), cost in books.held.items():
        held[agent] += cost
    prefix, agents = layout.key(TENANT, "a:"), 0
    for raw in client.scan_iter(match=f"{prefix}soak-*", count=2_000):
        name = raw.decode().removeprefix(prefix)
        agents += 1
        for row in decode(Agent, unpack(client.get(raw))).purse:
            budget = decode(Budget, row)
            if budget.kind != "t":  # days turned with the clock
                continue
            assert budget.spent == spent[name], f"{name}: spent {budget.spent}, the events say {spent[name]}"
            assert budget.reserved == held[name], f"{name}: reserved {budget.reserved}, the events say {held[name]}"
            assert budget.spent + budget.reserved <= budget.limit, name
    return agents


@dataclass
class Journals:
    """What the workers were told, and how long they waited.

    Attributes:
        counts: answers and errors of each kind of call.
        granted: dollars of each grant, by agent and grant id.
        settled: dollars that a receipt said.
        slow: calls beyond their deadline: number of the process, name, began, ended, by how much.
        off: when each process did not run, stopped or because others had the processors.
        growth: of each process that lived for a minute, its last memory over that at its start.
        fences: of each lock, its fences in the order in which they were told.
    """

    counts: Counter[str] = field(default_factory=Counter)
    granted: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    settled: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    slow: list[tuple[int, str, float, float, float]] = field(default_factory=list)
    off: dict[int, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    growth: dict[int, float] = field(default_factory=dict)
    fences: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


WARM = 15
"""Seconds after which a process has all that it needs to work."""
LIVED = 60


def read_journals(files: list[Path]) -> Journals:
    """Read the journals, whose last line may be torn."""
    found = Journals()
    for number, file in enumerate(files):
        memory: list[tuple[float, int]] = []
        for kind, *rest in _lines(file):
            match kind:
                case "granted":
                    found.granted[rest[0], rest[1]] = Decimal(rest[2])
                case "settled":
                    found.settled[rest[0], rest[1]] = Decimal(rest[2])
                case "slow":
                    found.slow.append((number, rest[0], *map(float, rest[1:])))  # type: ignore[arg-type]
                case "off":
                    found.off[number].append((float(rest[0]), float(rest[1])))
                case "memory":
                    memory.append((float(rest[0]), int(rest[1])))
                case "fence":
                    found.fences[rest[0]].append(int(rest[1]))
                case "count":
                    found.counts[rest[0]] += int(rest[1])
        if len(memory) > LIVED:
            found.growth[number] = max(held for _, held in memory[WARM:]) / memory[WARM][1]
    return found


def _lines(file: Path) -> Iterator[list[str]]:
    for line in file.read_text("ascii").split("\n")[:-1] if file.exists() else ():
        yield line.split("\t")

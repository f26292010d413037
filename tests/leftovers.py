"""What a test leaves behind: on the server of its worker, and among the processes of the machine.

A key that never expires and that no document bounds fills a server some day, and a process that outlives its starter
does so sooner. Both are seen best right after the test that made them.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgpack
import redis

from aegis_core.governor.event_catalog import KINDS
from aegis_core.governor.events import decode_event
from aegis_core.store import layout
from aegis_core.store.flow_records import Workflow
from aegis_core.store.packing import Named
from aegis_core.store.records import Record
from aegis_core.store.schema import Agent, Session, Tenant
from aegis_core.store.states import LIVE, PENDING
from tests.scripts import lock_walk
from tests.scripts.walk import named, rows_of

UNENDING = frozenset({
    "t", "a", "s", "r", "d", "e", "c", "ag", "as", "b", "bs", "p", "pf", "pv", "k", "ks", "o", "lc", "ld", "la", "lk",
    "ap", "ah", "v", "ol", "ac", "hc", "pe", "pc", "dn", "gt", "gd", "kz", "kx", "kp", "bl", "wf", "wm",
    "wo", "wl",
})  # fmt: skip
"""Names of keys, up to the colon, that may have no expiry: those to which the table of `layout` gives a bound."""
ENDING = frozenset({
    "u", "f", "j", "ja", "jl", "jx", "ca", "cl", "ch", "cn", "cm", "cx", "l", "lq", "lw", "lp", "q", "x", "w", "h",
    "dv", "dl", "g", "gn", "kd", "qn",
})  # fmt: skip
"""Those that must have one. The test of this module holds both against the table."""
GLOBAL = frozenset(
    {
        layout.SCHEMA_KEY, layout.PEPPER_KEY, layout.BIRTH_KEY, layout.TENANTS_KEY, layout.CLOCK_KEY,
        layout.WRITERS_KEY, layout.LIBRARIES_KEY, layout.LOOKER_KEY, layout.SERVER_KEY,
    }
)  # fmt: skip
PACKED = frozenset({"r", "t", "a", "s", "b", "wf"})
"""Those whose values are read."""
OPEN_STATES = {LIVE: "grants", PENDING: "questions"}

PATIENCE = 60.0
"""Seconds that a process may take to end; an embedded server ends a moment after its last user."""
MARK = "PYTEST_AEGIS_WORKER"
"""The variable in which every process that descends from a worker has the worker's name, also one that daemonised."""


def keyspace(server: redis.Redis) -> tuple[dict[str, list[str]], set[str]]:
    """The keys of each tenant, without their prefix, and those of no tenant."""
    of: dict[str, list[str]] = defaultdict(list)
    others = set()
    for key in server.scan_iter(count=10_000):
        name = key.decode()
        if name.startswith("ae:{"):
            tenant, _, short = name[4:].partition("}:")
            of[tenant].append(short)
        else:
            others.add(name)
    return of, others


READ = """
local left, values = {}, {}
for at, key in ipairs(KEYS) do
  left[at] = redis.call('PTTL', key)
  local value = ARGV[at + 2] == '1' and redis.pcall('GET', key)
  values[at] = type(value) == 'string' and value
end
local due = redis.call('ZRANGE', ARGV[1], 0, -1, 'WITHSCORES')
return {left, values, due, redis.call('XREVRANGE', ARGV[2], '+', '-', 'COUNT', 50)}
"""
"""All that a walk looks at but for locks, in one call: every test that uses the server makes one."""


class Walk:
    """All keys of one tenant."""

    def __init__(self, server: redis.Redis, tenant: str, names: list[str]) -> None:
        self.server, self.tenant = server, tenant
        self.prefix = f"ae:{{{tenant}}}:"
        keys = [self.prefix + name for name in names]
        packed = ["1" if name.partition(":")[0] in PACKED else "0" for name in names]
        found: Any = server.eval(READ, len(keys), *keys, f"{self.prefix}d", f"{self.prefix}e", *packed)
        left, values, due, self.told = found
        self.expires = {name: ms >= 0 for name, ms in zip(names, left, strict=True) if ms != -2}
        self.packed = {name: blob for name, blob in zip(names, values, strict=True) if blob is not None}
        self.due = {name.decode(): float(score) for name, score in zip(due[::2], due[1::2], strict=True)}
        self.records = {name[2:]: named(Record, blob) for name, blob in self._values("r").items()}

    def _values(self, *heads: str) -> dict[str, bytes]:
        """The packed values of the keys with these heads."""
        return {name: blob for name, blob in self.packed.items() if name.partition(":")[0] in heads}

    def undocumented(self) -> list[str]:
        """Keys that no document knows, or that live on where a document says that they end."""
        return [
            name
            for name, expires in self.expires.items()
            if (head := name.partition(":")[0]) not in UNENDING | ENDING or not (expires or head in UNENDING)
        ]

    def open_records(self) -> dict[str, dict[str, Any]]:
        """Grants and questions that have not ended."""
        return {key: record for key, record in self.records.items() if record["STATE"] in OPEN_STATES}

    def differences(self) -> list[str]:
        """Where the books of the tenant contradict each other."""
        found = []
        due = dict(self.due)
        for key, record in self.records.items():
            is_open = record["STATE"] in OPEN_STATES
            if self.expires[f"r:{key}"] == is_open:
                found.append(f"record {key} is {'open and expires' if is_open else 'ended and stays'}")
            if due.pop(f"r:{key}", None) != (record["DEADLINE"] if is_open else None):
                found.append(f"record {key} has another deadline than the list of deadlines")
        of = {name: name.replace("/", "", 1) if name.startswith("a:/") else name for name in due}
        of |= {name: f"wf:{name[2:]}" for name in due if name.startswith("w:")}
        found += [f"{name} has a deadline and does not exist" for name, key in of.items() if key not in self.expires]
        found += [*self._money(), *self._flows()]
        if any(name.startswith("l") for name in self.expires):
            try:
                locks, owned, index = lock_walk.read(self.server, self.tenant)
                lock_walk.check_books(locks, owned, index)
            except AssertionError as error:
                found.append(f"locks: {error}")
        return found

    def _money(self) -> list[str]:
        """Reserved is what open records hold in that window."""
        held: dict[tuple[Any, ...], int] = defaultdict(int)
        for record in self.open_records().values():
            for owner, kind, window, _, _ in rows_of(record["LINES"]):
                name = {"a": record["AGENT"], "s": record["SESSION"]}.get(owner)
                if owner.startswith("o:"):  # of who opened its workflow
                    owner, name = "a", owner[2:]  # noqa: PLW2901
                held[owner, name, kind, window] += record["AMOUNT"]
        found = []
        for name, blob in self._values("t", "a", "s", "b").items():
            head, _, tail = name.partition(":")
            owner = (tail, None) if head == "b" else (head, tail or None)
            purse = msgpack.unpackb(blob) if head == "b" else named(_OWNERS[head], blob)["PURSE"]
            for kind, _, window, _, reserved, _, ring, *_ in purse:
                if ring is False:
                    counted, expected = reserved, held[*owner, kind, window]
                else:
                    cells = {number: kept for number, _, kept in rows_of(ring)}
                    counted, expected = sum(cells.values()), sum(held[*owner, kind, cell] for cell in cells)
                if counted != expected:
                    found.append(f"the budget {name} {kind} reserves {counted}, and open records hold {expected}")
        return found

    def _flows(self) -> list[str]:
        """What a workflow holds is what the records of its members do."""
        found = []
        for key, blob in self._values("wf").items():
            flow, sums = named(Workflow, blob), dict.fromkeys(("USED", "BESIDE", "WAITING", "OPEN"), 0)
            for record in self.records.values():
                if record["WORKFLOW"] != key[3:] or record["PLAN_STEP"] < 0:
                    continue
                is_open = record["STATE"] in OPEN_STATES
                held = record["AMOUNT"] if is_open else max(0, record["CHARGED"] - record["REFUNDED"])
                where = "USED" if record["PLAN_STEP"] else "WAITING" if record["STATE"] == PENDING else "BESIDE"
                sums[where] += held
                sums["OPEN"] += is_open
            found += [
                f"{key} counts {flow[name]} {name}, not {held}" for name, held in sums.items() if flow[name] != held
            ]
            steps = sum(row[4] for row in rows_of(flow["STEPS"]))
            if steps != flow["USED"]:
                found.append(f"the steps of {key} use {steps}, not {flow['USED']}")
        return found

    def undeclared(self) -> list[str]:
        """What the newest events say that `event_catalog` does not declare."""
        entries = [(name.decode(), dict(zip(flat[::2], flat[1::2], strict=True))) for name, flat in self.told]
        events = [decode_event(entry_id, fields, self.tenant) for entry_id, fields in entries]
        said = {(event.kind, fact) for event in events for fact in event.facts}
        return sorted(
            f"an event {kind} says {fact}, which nothing declares"
            for kind, fact in said
            if kind not in KINDS or fact not in KINDS[kind].facts.split()
        )

    def left(self) -> set[str]:
        """What is still open: grants, questions, leases."""
        found = {OPEN_STATES[record["STATE"]] for record in self.open_records().values()}
        return found | {"leases" for name in self.expires if name.startswith("l:")}


_OWNERS: dict[str, type[Named]] = {"t": Tenant, "a": Agent, "s": Session}


class Processes:
    """Processes of this worker that are there now and were not there before."""

    def __init__(self, folder: str) -> None:
        self.folder = folder.encode()
        self.can_look = Path("/proc/self/environ").exists()
        self._before = self._numbers()

    def _numbers(self) -> set[str]:
        return {name for name in os.listdir("/proc") if name.isdigit()} if self.can_look else set()  # noqa: PTH208

    def new(self) -> dict[str, str]:
        """Their numbers and command lines; those of `multiprocessing` itself stay for the next test."""
        mine = f"{MARK}={os.environ[MARK]}".encode()
        found = {}
        for number in self._numbers() - self._before:
            try:
                command = Path(f"/proc/{number}/cmdline").read_bytes()
                descends = mine in Path(f"/proc/{number}/environ").read_bytes().split(b"\0")
                status = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended, or is another user's
                continue
            if not command and status[0] != "Z":
                continue  # of the kernel
            started_here = descends or int(status[1]) == os.getpid() or self.folder in command
            if started_here and b"multiprocessing" not in command:
                found[number] = command.replace(b"\0", b" ").decode(errors="replace")[:300] or "a zombie"
        return found

    def left(self) -> list[str]:
        """Those that do not end by themselves."""
        until = time.monotonic() + PATIENCE
        while (found := self.new()) and time.monotonic() < until:
            time.sleep(0.02)
        return list(found.values())


def complaints(server: redis.Redis, before: Collection[str], may_leave: set[str]) -> list[str]:
    """What is wrong with what a test left. Its keys are gone after that.

    Args:
        before: the tenants that are not the test's.
        may_leave: any of ``grants``, ``questions`` and ``leases``; or ``anything``, where faults were put into the
            scripts on purpose.
    """
    of, others = keyspace(server)
    stray = others - GLOBAL
    found = [] if "anything" in may_leave else [f"the key {name} of no tenant" for name in stray]
    if stray:
        server.unlink(*stray)
    for tenant in of.keys() - before:
        if "anything" not in may_leave:
            walk = Walk(server, tenant, of[tenant])
            wrong = [*(f"the key {name}" for name in walk.undocumented()), *walk.differences(), *walk.undeclared()]
            wrong += [f"open {what}" for what in sorted(walk.left() - may_leave)]
            found += [f"{tenant}: {each}" for each in wrong]
        server.unlink(*(f"ae:{{{tenant}}}:{name}" for name in of[tenant]))
    return found

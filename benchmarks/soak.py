"""Everything at once: eight processes on one Redis are killed and stopped while it restarts, hangs and its clock steps.

Usage: python benchmarks/soak.py [--seconds 600] [--seed 1] [--folder F]

Six processes hold the library, one is `aegis serve`, one speaks to it. Every few seconds something happens to one of
them or to Redis, whose append-only file keeps what it acknowledged. Afterwards nothing may have been granted beyond a
budget, the events must say of each agent's money what its budget says, and whatever a worker was told must stand there;
no process may have grown, and no call of a process that ran may have waited longer than its deadline and a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from soak_books import Books, Journals, compare, read_books, read_journals
from soak_worker import PATIENCE, by_virtual_clock, settings_for

import aegis_core
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.protocol.profiles import Profile
from aegis_core.store import layout
from aegis_core.store.embedded import find_binary

WORKERS = 7
"""Beside the server of the HTTP API; the last one speaks to that."""
HERE = Path(__file__).parent


def _free_port() -> int:
    """Below those that the system gives to connections."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Server:
    """A Redis that keeps what it acknowledged, and its clock."""

    def __init__(self, folder: Path) -> None:
        self.port, self._folder, self.ahead = _free_port(), folder, 0.0
        self.client: Any = redis.Redis(port=self.port, protocol=2, socket_timeout=0.5)
        self._process: subprocess.Popen[bytes]
        self._over = threading.Event()
        self.start()
        self._ticking = threading.Thread(target=self._tick, daemon=True)
        self._ticking.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, again where it was killed; it is there when it answers."""
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--logfile", "log.txt"]
        keeping = ["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]
        self._process = subprocess.Popen([str(find_binary()), *place, *keeping], stdin=subprocess.DEVNULL)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._process.kill()
        self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Stop it, or let it go on."""
        self._process.send_signal(number)

    def _tick(self) -> None:
        while not self._over.wait(0.02):
            with suppress(redis.RedisError):
                self.client.set(layout.CLOCK_KEY, int((time.time() + self.ahead) * 1_000))

    def settle(self, seconds: float = 60) -> None:
        """Wait until it answers.

        Raises:
            TimeoutError: it does not.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(redis.RedisError):
                if self.client.ping():
                    return
            time.sleep(0.05)
        raise TimeoutError("Redis does not answer")

    def close(self) -> None:
        """End the clock and the server."""
        self._over.set()
        self._ticking.join()
        self.client.close()
        self.kill()


@dataclass
class Member:
    """One process, and when it was stopped."""

    role: str
    target: str
    journal: Path
    process: subprocess.Popen[bytes]
    stopped: list[tuple[float, float]] = field(default_factory=list)


class Crew:
    """The eight processes. One that was killed is followed by another with a journal of its own."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._folder, self.members, self.present = folder, list[Member](), list[Member]()
        self.http = _free_port()
        self.launch("server", server.url)
        for number in range(WORKERS):
            self.launch("worker", server.url if number < WORKERS - 1 else f"http://127.0.0.1:{self.http}")

    def launch(self, role: str, url: str) -> None:
        """Start one."""
        journal = self._folder / f"{len(self.members)}.txt"
        more = [str(self.http)] if role == "server" else []
        command = [sys.executable, "-W", "ignore", str(HERE / "soak_worker.py"), role, url, str(journal), *more]
        log = (self._folder / f"{len(self.members)}.log").open("wb")
        with log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        member = Member(role, url, journal, process)
        self.members.append(member)
        self.present.append(member)

    def kill(self, member: Member) -> None:
        """End one at once, and start another."""
        member.process.kill()
        member.process.wait()
        self.present.remove(member)
        self.launch(member.role, member.target)

    def close(self) -> None:
        """End all."""
        for member in self.present:
            member.process.send_signal(signal.SIGCONT)
            member.process.kill()
            member.process.wait()


class Mishaps:
    """What happens, by dice."""

    def __init__(self, server: Server, crew: Crew, seed: int) -> None:
        self._server, self._crew, self._dice = server, crew, random.Random(seed)
        self.happened: Counter[str] = Counter()
        self.farthest = 0.0
        self._turn: list[Callable[[], None]] = [
            self.kill_one, self.stop_one, self.restart_redis, self.stop_redis, self.step_clock, self.stop_one,
        ]  # fmt: skip

    def happen(self) -> None:
        """One of them, each as often as the others."""
        what = self._turn[sum(self.happened.values()) % len(self._turn)]
        self.happened[what.__name__] += 1
        what()

    def kill_one(self) -> None:
        """SIGKILL to a process."""
        self._crew.kill(self._dice.choice(self._crew.present))

    def stop_one(self) -> None:
        """SIGSTOP to a process for some seconds. The server is not stopped: whoever speaks to it runs on."""
        member = self._dice.choice([each for each in self._crew.present if each.role == "worker"])
        began = time.monotonic()
        member.process.send_signal(signal.SIGSTOP)
        time.sleep(self._dice.uniform(1, 6))
        member.process.send_signal(signal.SIGCONT)
        member.stopped.append((began, time.monotonic()))

    def restart_redis(self) -> None:
        """SIGKILL to Redis, and it starts again after a moment."""
        self._server.kill()
        time.sleep(self._dice.uniform(0, 3))
        self._server.start()

    def stop_redis(self) -> None:
        """SIGSTOP to Redis for some seconds."""
        self._server.send(signal.SIGSTOP)
        time.sleep(self._dice.uniform(0.5, 5))
        self._server.send(signal.SIGCONT)

    def step_clock(self) -> None:
        """The clock of Redis jumps, by seconds or over a day, and is right again at the next such turn."""
        far = self._dice.random() < 0.3
        step = self._dice.choice([-1, 1]) * self._dice.uniform(1, 60) + 90_000 * far
        self._server.ahead = 0.0 if self._server.ahead else step
        self.farthest = max(self.farthest, step)


def slowest(crew: Crew, journals: Journals) -> tuple[float, str]:
    """By how many seconds the slowest call was beyond its deadline, of those during which its process was not stopped,
    and which. The time during which it, or the server that it asked, did not get a processor does not count."""
    worst, which = 0.0, ""
    servers = [number for number, member in enumerate(crew.members) if member.role == "server"]
    for number, name, began, ended, beyond in journals.slow:
        member = crew.members[number]
        if any(first < ended and began < last + 0.2 for first, last in member.stopped):
            continue
        asked = [number, *(servers if member.target.startswith("http") else ())]
        off = sum(
            max(0.0, min(ended, last) - max(began, first)) for each in asked for first, last in journals.off[each]
        )
        if beyond - off > worst:
            worst, which = beyond - off, f"{name} of {member.journal.name} at {began:.1f}, {off:.1f} s off"
    return worst, which


def told_right(books: Books, journals: Journals) -> tuple[int, int]:
    """How many grants and receipts workers were told of, each of which the events must know.

    Raises:
        AssertionError: one is missing, or was charged something else.
    """
    agents = Counter(agent for agent, _ in (*books.held, *books.charged))
    for agent, told in Counter(agent for agent, _ in journals.granted).items():
        assert told <= agents[agent], f"{agent}: {told} grants were told, the events know {agents[agent]}"
    paid: Counter[str] = Counter()
    for (agent, _), usd in journals.settled.items():
        paid[agent] += int(usd * 1_000_000_000)
    for agent, nanos in paid.items():
        known = sum(cost for (name, _), cost in books.charged.items() if name == agent)
        assert nanos <= known, f"{agent}: receipts say {nanos}, the events {known}"
    for lock, fences in journals.fences.items():
        assert len(set(fences)) == len(fences), f"{lock}: a fence was given twice"
    return len(journals.granted), len(journals.settled)


async def _prepare(url: str) -> None:
    by_virtual_clock()
    async with aegis_core.connect(url, settings=settings_for(url)) as governor:
        port = governor.port
        assert isinstance(port, ResourceGovernor)
        await port.operator.set_profile(Profile(match="*", settlement="trusted"), author="soak")


async def _sweep(url: str) -> None:
    """Wait until every grant and question that is open has passed its deadline."""
    await asyncio.sleep(6)
    async with aegis_core.connect(url, settings=settings_for(url)) as governor:
        port: Any = governor.port
        while await port._ledger.sweep():
            pass


def soak(folder: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Let it all happen; answers what was seen.

    Raises:
        AssertionError: money was granted beyond a budget, is not conserved, or what was told is not so.
    """
    (folder / "redis").mkdir()
    server = Server(folder / "redis")
    try:
        server.settle()
        asyncio.run(_prepare(server.url))
        crew = Crew(server, folder)
        mishaps = Mishaps(server, crew, seed)
        try:
            end, dice = time.monotonic() + seconds, random.Random(seed)
            time.sleep(min(20.0, seconds / 4))
            while time.monotonic() < end:
                mishaps.happen()
                time.sleep(dice.uniform(1, 5))
        finally:
            crew.close()
        server.settle()
        server.ahead = mishaps.farthest + 30  # what was granted by a clock that was ahead is overdue, too
        asyncio.run(_sweep(server.url))
        server.client.connection_pool.disconnect()
        with redis.Redis(port=server.port, protocol=2) as client:
            books = read_books(client)
            agents = compare(client, books)
        journals = read_journals([member.journal for member in crew.members])
    finally:
        server.close()
    grants, receipts = told_right(books, journals)
    worst, which = slowest(crew, journals)
    return {
        "seconds": seconds, "mishaps": dict(mishaps.happened), "processes": len(crew.members), "agents": agents,
        "events": sum(books.kinds.values()), "admitted": books.kinds["granted"] + books.kinds["pending"],
        "grants_told": grants, "receipts_told": receipts, "expired": books.kinds["expired"],
        "above_a_limit": books.above, "still_held": len(books.held),
        "fullest_budget": round(books.most / 4_000_000_000, 4),
        "memory_growth": round(max(journals.growth.values(), default=0), 3), "processes_measured": len(journals.growth),
        "slowest_beyond_deadline": round(worst, 3), "slowest": which, "deadline": PATIENCE,
        "answers": sum(times for name, times in journals.counts.items() if name.endswith(" answered")),
        "errors": sum(times for name, times in journals.counts.items() if not name.endswith(" answered")),
        "counts": dict(sorted(journals.counts.items())),
    }  # fmt: skip


def main() -> None:
    """Run it and print what was seen; exit 1 when something was not right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where journals and logs stay; default: nowhere")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = soak(folder, options.seconds, options.seed)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    right = found["above_a_limit"] == found["still_held"] == 0 and found["memory_growth"] <= 1.3
    sys.exit(0 if right and found["slowest_beyond_deadline"] <= 1 else 1)


if __name__ == "__main__":
    main()

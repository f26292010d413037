"""What an adapter adds to one call of a model: the same agent with Aegis and without, turn by turn in one run.

Usage: python benchmarks/adapters.py [--calls 15] [--rounds 5] [--only langchain] [--json]

The agents use their frameworks' own clients of OpenAI, and a provider on loopback that answers at once, in a process
of its own: a real one takes a hundred times as long. The governor is in this process, its server an embedded one. Each
governed call is two decisions, to reserve and to settle; the rows of OpenAI's SDK without a framework are these alone.
Rows "over idle" compare with an agent that has the framework's own middleware or node in the same place, doing
nothing. The bare agent and the governed one take turns at each call; a figure is the p50 of the one over the p50 of
the other, the median of the rounds. Beside it stands redis-py's PING of the same server, measured in the same rounds.
Rows with an ``a`` run in the governor's own event loop, the others in plain code, from where each decision crosses
into the governor's thread.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import redis.asyncio as redis
from adapter_rows import AROWS, ROWS, Row
from proxy import MESSAGE, free_port, process

from aegis_core.connect import connect, connect_sync
from aegis_core.store.embedded import join_sync
from aegis_core.testing import private_settings

SAID = MESSAGE["content"].strip()
"""What the provider of the proxy's benchmark says to everything."""


class Measured(NamedTuple):
    """One round: seconds of a bare and of a governed call, and of a PING."""

    bare: float
    governed: float
    ping: float


def turn_by_turn(row: Row, calls: int) -> tuple[float, float]:
    """Seconds of a bare and of a governed call, p50."""
    bare: list[float] = []
    governed: list[float] = []
    for _ in range(calls):
        for work, found in ((row.bare, bare), (row.governed, governed)):
            start = time.perf_counter()
            answer = work()
            found.append(time.perf_counter() - start)
            assert SAID in str(answer), answer
    return statistics.median(bare), statistics.median(governed)


async def aturn_by_turn(row: Row, calls: int) -> tuple[float, float]:
    """The same for what is awaited."""
    bare: list[float] = []
    governed: list[float] = []
    for _ in range(calls):
        for work, found in ((row.bare, bare), (row.governed, governed)):
            start = time.perf_counter()
            answer = await work()
            found.append(time.perf_counter() - start)
            assert SAID in str(answer), answer
        if row.reset is not None:
            await row.reset()
    return statistics.median(bare), statistics.median(governed)


async def pings(client: Any, calls: int) -> float:
    """Seconds of one PING of redis-py, p50."""
    found: list[float] = []
    for _ in range(calls):
        start = time.perf_counter()
        await client.ping()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def run(calls: int, rounds: int, only: str, url: str) -> dict[str, list[Measured]]:
    """All rows in every round."""
    handle = join_sync(None, throwaway=True)
    settings = private_settings(url=handle.url, agent_day_usd="1000000", tenant_day_usd="8000000")
    with asyncio.Runner() as runner, connect_sync(settings=settings) as governor:
        connection, client = connect(settings=settings), redis.Redis.from_url(handle.url)
        aegis = governor.handshake("shopkeeper")
        aaegis = runner.run(runner.run(connection.__aenter__()).handshake("shopkeeper-async"))
        plain = [row for rows_of in ROWS for row in rows_of(aegis, url) if only in row.name]
        awaited = [row for rows_of in AROWS for row in rows_of(aaegis, url) if only in row.name]
        found: dict[str, list[Measured]] = {row.name: [] for row in (*plain, *awaited)}
        for number in range(rounds + 1):
            count = calls if number else 3  # the first round warms up
            print(f"round {number} of {rounds}" if number else "warming up", file=sys.stderr)
            for row in (*plain, *awaited):
                gc.collect()
                ping = runner.run(pings(client, count))
                seconds = runner.run(aturn_by_turn(row, count)) if row in awaited else turn_by_turn(row, count)
                if number:
                    found[row.name].append(Measured(*seconds, ping))
        runner.run(client.aclose())
        runner.run(connection.__aexit__(None, None, None))
    handle.leave_sync()
    return found


def summed_up(rounds: list[Measured]) -> dict[str, float]:
    """Medians over the rounds, in milliseconds and as ratios of one round each."""
    return {
        "bare_ms": statistics.median(each.bare for each in rounds) * 1000,
        "governed_ms": statistics.median(each.governed for each in rounds) * 1000,
        "ratio": statistics.median(each.governed / each.bare for each in rounds),
        "added_ms": statistics.median(each.governed - each.bare for each in rounds) * 1000,
        "pings": statistics.median((each.governed - each.bare) / each.ping for each in rounds),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=15, help="of each of the two agents, in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # the frameworks' own, as are the warnings
    port = free_port()
    provider = [sys.executable, str(Path(__file__).with_name("proxy.py")), "--serve", "provider", str(port), ""]
    with warnings.catch_warnings(), process(provider, port, "/v1/models", dict(os.environ)):
        warnings.simplefilter("ignore")
        url = f"http://127.0.0.1:{port}/v1"
        measured = run(options.calls, options.rounds, options.only, url)
        found = {name: summed_up(rounds) for name, rounds in measured.items()}
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for name, row in found.items():
        times = f"{row['bare_ms']:6.2f} ms bare, {row['governed_ms']:6.2f} governed: {row['ratio']:5.2f} x"
        print(f"{name:32s} {times}  (+{row['added_ms']:5.2f} ms, {row['pings']:5.1f} PINGs)")


if __name__ == "__main__":
    main()

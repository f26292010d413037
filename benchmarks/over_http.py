"""Decisions over HTTP: 50 connections against `aegis serve`, all on this machine.

Usage: python benchmarks/over_http.py [--connections 50] [--seconds 3] [--rounds 7] [--json]

The load generator is this process: raw asyncio, keep-alive, one request in flight on each connection. The governor and
its embedded server run beside it, so two cores carry all three. Medians over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def serving(**settings: str) -> Iterator[int]:
    """`aegis serve` on a free port, with an embedded server of its own, room for the load, and more `settings`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AEGIS_")}
        environment |= {
            "AEGIS_DATA_DIR": folder, "AEGIS_AGENT_DAY_USD": "1000000", "AEGIS_TENANT_DAY_USD": "8000000",
            "AEGIS_MAX_OPEN_GRANTS": "100000", "AEGIS_GRANT_SECONDS": "3600", "AEGIS_LOG_LEVEL": "warning",
            **settings,
        }  # fmt: skip
        command = [sys.executable, "-c", "from aegis_core.cli import main; main()", "serve", "--port", str(port)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as server:
            until = time.monotonic() + 30
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/ready", timeout=2).close()
                    break
                except OSError:
                    if server.poll() is not None or time.monotonic() > until:
                        raise
                    time.sleep(0.05)
            yield port
            server.terminate()


async def post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: bytes) -> bytes:
    """One request on an open connection."""
    head = f"POST /api/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    headers = await reader.readuntil(b"\r\n\r\n")
    assert headers.startswith(b"HTTP/1.1 200"), headers
    at = headers.lower().index(b"content-length:") + 15
    return await reader.readexactly(int(headers[at : headers.index(b"\r\n", at)]))


async def load(port: int, connections: int, seconds: float) -> tuple[float, float, float]:
    """Decisions per second, p50 and p99 in ms."""
    latencies: list[float] = []

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        agent = f"agent-{number % 8}"
        await post(reader, writer, "handshake", json.dumps({"agent_id": agent}).encode())
        body = json.dumps(
            {
                "agent_id": agent,
                "task_intent": "Summarise Sui governance proposals",
                "resource_type": "llm_tokens",
                "estimated_cost_usd": 0.000001,
                "logic_density": 3,
            }
        ).encode()
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end:
            answer = await post(reader, writer, "request-permission", body)
            latencies.append(time.perf_counter() - start)
            assert b'"GRANTED"' in answer, answer
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(connections)))
    elapsed = time.perf_counter() - start
    latencies.sort()
    p50, p99 = latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)]
    return len(latencies) / elapsed, p50 * 1000, p99 * 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with serving() as port:
        asyncio.run(load(port, options.connections, 1))
        rounds = [asyncio.run(load(port, options.connections, options.seconds)) for _ in range(options.rounds)]
    rate, p50, p99 = (statistics.median(values) for values in zip(*rounds, strict=True))
    if options.json:
        print(json.dumps({"per_second": rate, "p50_ms": p50, "p99_ms": p99, "connections": options.connections}))
    else:
        print(f"{rate:,.0f} decisions/s with {options.connections} connections (wanted >= 2,000)")
        print(f"p50 {p50:.1f} ms, p99 {p99:.1f} ms (wanted <= 80)")


if __name__ == "__main__":
    main()

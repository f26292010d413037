"""What hostile connections leave to honest ones, over HTTP with keys, all on this machine.

Usage: python benchmarks/hostile.py [--honest 16] [--hostile 4] [--seconds 2] [--rounds 5] [--only NAME] [--json]

Sixteen honest connections ask for permission, each as soon as it has its answer. Beside them, from a process of their
own, four more do the same, or four hostile ones send what is listed below, as fast as they are answered. The ratio is
what the sixteen get beside hostile ones over what they get beside honest ones. Both are measured in turns; medians over
the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from over_http import serving

from aegis_core.protocol.arguments import hash_of

OPERATOR = secrets.token_urlsafe(24)
WANTED = 0.8
MARKS = "\u0327\u030d"
"""Combining marks of two classes: to sort a run of them takes the square of its length."""
BEGIN = 3.0
"""Seconds from the start of the others until they are counted on."""


def asked(agent: str, **fields: object) -> dict[str, object]:
    """An honest request, or one with other fields."""
    wish: dict[str, object] = {
        "agent_id": agent, "task_intent": "Summarise Sui governance proposals", "resource_type": "llm_tokens",
        "estimated_cost_usd": 0.000001, "logic_density": 3,
    }  # fmt: skip
    return wish | fields


def message(path: str, body: bytes | None, token: str, headers: str = "") -> bytes:
    """One request as it goes over the line; a body makes it a POST."""
    credential = f"Authorization: Bearer {token}\r\n" if token else ""
    method, length = ("GET", "") if body is None else ("POST", f"Content-Length: {len(body)}\r\n")
    kind = "" if body is None else "Content-Type: application/json\r\n"
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{credential}{kind}{length}{headers}\r\n"
    return head.encode() + (body or b"")


def spelt(content: object) -> bytes:
    """JSON in UTF-8, so that a character takes as few bytes as it can."""
    return json.dumps(content, ensure_ascii=False).encode()


def permission(agent: str, token: str, **fields: object) -> bytes:
    return message("/api/v1/request-permission", spelt(asked(agent, **fields)), token)


def asking(agent: str, token: str, arguments: str) -> bytes:
    """A question about arguments, with the hash that is theirs."""
    bound = hash_of(arguments.encode())
    return permission(agent, token, estimated_cost_usd=6, tool="t", arguments_hash=bound, arguments_json=arguments)


def inputs(agent: str, token: str, key: str) -> dict[str, list[bytes]]:
    """What hostile connections send, by what it is called: in turns where there are several."""
    handshake = "/api/v1/handshake"
    wrong = {f"k{at}": at for at in range(8_000)}
    return {
        "names of combining marks, 64 KB": [message(handshake, spelt({"agent_id": "a" + MARKS * 16_000}), key)],
        "intents of combining marks, 16 KB": [permission(agent, token, task_intent="a" + MARKS * 3_900)],
        "intents of 8,000 signs": [permission(agent, token, task_intent="\u0390" * 7_900)],
        "paths of 60 KB without a credential": [message("/api/v1/budget/" + "%CC%95%CC%80" * 5_000, None, "")],
        "paths of 8 KB without a credential": [message("/api/v1/budget/" + "%CC%95%CC%80" * 640, None, "")],
        "headers of 30 KB": [message("/api/v1/health", None, "", f"X-Long: {'a' * 30_000}\r\n")],
        "wrong credentials of 20 KB": [
            message("/api/v1/agents", None, f"aegis_st_{at}" + "h" * 20_000) for at in range(9)
        ],
        "wrong session tokens": [
            message("/api/v1/agents", None, f"aegis_st_s{at:024x}_{'t' * 43}") for at in range(64)
        ],
        "bodies of 250 KB": [permission(agent, token, task_intent="a" * 250_000)],
        "bodies with 8,000 faults": [permission(agent, token, **wrong)],
        "brackets, 250 KB of them": [message(handshake, b"[" * 250_000, key)],
        "keys given twice": [message(handshake, b'{"agent_id":"a","agent_id":"b"}', key)],
        "120,000 faults under a made-up token": [permission(agent, MADE_UP, within=[0] * 120_000)],
        "3,900 faults under a made-up token": [permission(agent, MADE_UP, within=[0] * 3_900)],
        "120,000 faults": [permission(agent, token, within=[0] * 120_000)],
        "arguments of 60 KB": [asking(agent, token, "[" + "1," * 30_000 + "1]")],
        "arguments of 4,000 values": [asking(agent, token, "[" + '"0x0123456789",' * 3_900 + '"0x"]')],
        "13,000 headers": [message("/api/v1/health", None, "", "a:b\r\n" * 13_000)],
        "1,500 parameters": [message("/api/v1/health?" + "&".join(f"{at:x}=" for at in range(1_500)), None, "")],
        "paths of 4,000 parts": [message("/api/v1/locks" + "/a" * 4_000, None, "")],
        "the OpenAPI document": [message("/openapi.json", None, "")],
        "chunks of one byte": [CHUNKED + b"1\r\na\r\n" * 40_000],
        BODIES: [CHUNKED + b"ea60\r\n" + b"a" * 60_000 + b"\r\n", *[b"ea60\r\n" + b"a" * 60_000 + b"\r\n"] * 63],
        PIPELINES: [message("/", None, "") * 2_000],
        "refusals that are alike": [permission(agent, token, task_intent="drop database")],
        "refusals that differ": [
            permission(agent, token, task_intent="drop database", target_resource=f"t{at}", metadata={"m": "x" * 1_000})
            for at in range(256)
        ],
        "questions": [permission(agent, token, estimated_cost_usd=6)],
        "handshakes": [message(handshake, spelt({"agent_id": f"fresh-{at}"}), key) for at in range(4_096)],
        "connections that are opened and left": [b"POST /api/v1/handshake HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le"],
    }  # fmt: skip


LEFT = "connections that are opened and left"
BODIES = "bodies that go on after their refusal"
PIPELINES = "pipelines of 2,000 requests"
UNREAD = frozenset({BODIES, PIPELINES})
"""Sent without waiting for what is answered."""
MADE_UP = f"aegis_st_s{'3' * 24}_{'B' * 43}_default"
CHUNKED = (
    b"POST /api/v1/request-permission HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def call(port: int, path: str, body: object, token: str) -> dict[str, str]:
    """One request, before anything is measured."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1/{path}", json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


async def answered(reader: asyncio.StreamReader) -> None:
    """Read one answer to its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    at = head.index(b"content-length:") + 15
    await reader.readexactly(int(head[at : head.index(b"\r\n", at)]))


async def sending(port: int, parts: list[bytes], until: float, *, leaves: bool = False) -> int:
    """Send these in turns, each once the one before was answered; how many were. What is closed is opened again."""
    count = 0
    while time.monotonic() < until:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                while time.monotonic() < until:
                    writer.write(parts[count % len(parts)])
                    await writer.drain()
                    if leaves:
                        break
                    await answered(reader)
                    count += 1
            finally:
                writer.close()
    return count


async def pouring(port: int, parts: list[bytes], until: float) -> int:
    """Send these in turns on one connection, whatever is answered, until it is closed; how many answers were read."""
    count = 0
    while time.monotonic() < until:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            reading = asyncio.ensure_future(reader.read())
            try:
                at = 0
                while time.monotonic() < until and not reading.done():
                    writer.write(parts[at % len(parts)] if at < len(parts) else parts[-1])
                    await writer.drain()
                    at += 1
                    count += 1
            finally:
                writer.close()
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
    return count


async def load(port: int, connections: list[list[bytes]], begin: float, seconds: float, *, name: str = "") -> float:
    """Answers per second on these connections, from a moment on."""
    await asyncio.sleep(max(0.0, begin - time.monotonic()))
    until = time.monotonic() + seconds
    if name in UNREAD:
        counts = await asyncio.gather(*(pouring(port, parts, until) for parts in connections))
    else:
        counts = await asyncio.gather(*(sending(port, parts, until, leaves=name == LEFT) for parts in connections))
    return sum(counts) / seconds


@contextmanager
def beside(port: int, name: str, number: int, begin: float, seconds: float) -> Iterator[None]:
    """So many more connections from another process, which began before and end after what is measured."""
    command = [sys.executable, __file__, "--beside", name, "--port", str(port), "--hostile", str(number)]
    command += ["--begin", str(begin), "--seconds", str(seconds)]
    with subprocess.Popen(command, env=os.environ | {"HOSTILE_OPERATOR": OPERATOR}) as other:
        yield
        assert other.wait(120) == 0, "the process beside failed"


def entered(port: int, name: str, operator: str) -> tuple[str, str]:
    """A key of its own, and the session that it opens for an agent."""
    key = call(port, "keys", {"role": "agent", "name": name}, operator)["secret"]
    return key, call(port, "handshake", {"agent_id": name}, key)["session_token"]


def stand_beside(port: int, name: str, number: int, begin: float, seconds: float) -> None:
    """What the other process does."""
    agent = f"beside-{secrets.token_hex(4)}"
    key, token = entered(port, agent, os.environ["HOSTILE_OPERATOR"])
    parts = {"honest": [permission(agent, token)], **inputs(agent, token, key)}
    asyncio.run(load(port, [parts[name]] * number, begin, seconds, name=name))


def measured(port: int, honest: list[list[bytes]], name: str, number: int, seconds: float) -> float:
    """What the honest ones get beside others."""
    begin = time.monotonic() + BEGIN
    with beside(port, name, number, begin - 0.25, seconds + 0.5):
        return asyncio.run(load(port, honest, begin, seconds))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--honest", type=int, default=16)
    parser.add_argument("--hostile", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="inputs whose name holds this")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--beside", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--begin", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.beside:
        stand_beside(options.port, options.beside, options.hostile, options.begin, options.seconds)
        return
    found: dict[str, float] = {}
    with serving(AEGIS_OPERATOR_SECRET=OPERATOR) as port:
        honest = [
            [permission(f"honest-{at}", entered(port, f"honest-{at}", OPERATOR)[1])] for at in range(options.honest)
        ]
        measured(port, honest, "honest", options.hostile, 1)
        for name in inputs("", "", ""):
            if options.only and options.only not in name:
                continue
            ratios: list[float] = []
            for _ in range(options.rounds):
                fair = measured(port, honest, "honest", options.hostile, options.seconds)
                ratios.append(measured(port, honest, name, options.hostile, options.seconds) / fair)
            found[name] = statistics.median(ratios)
            if not options.json:
                print(f"{found[name]:5.0%}  {name}  ({min(ratios):.0%} to {max(ratios):.0%})", flush=True)
    if options.json:
        print(json.dumps(found))
    else:
        worst = min(found, key=lambda name: found[name])
        print(f"least: {found[worst]:.0%} beside {worst} (wanted >= {WANTED:.0%})")


if __name__ == "__main__":
    main()

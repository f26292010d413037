"""What governing a call costs: a provider asked directly, through a bare proxy, and through `aegis proxy`.

Usage: python benchmarks/proxy.py [--seconds 1] [--rounds 3] [--litellm PYTHON] [--json]

The provider answers at once, whole (1 KB) or as 20 events. The bare proxy forwards with the same server and the same
client, and decides nothing: what is slower than it is governing. `--litellm` names the Python of an environment with
`litellm[proxy]`, whose proxy is then measured with a budget, too; it does more for each call (a router, callbacks,
logging), and is what people use for this. Everything shares this machine with the load, which is raw asyncio with one
call in flight on each connection. All kinds take turns in each round; medians over the rounds.
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
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

CONNECTIONS = (1, 16)
EVENTS = 20
MODEL = "gpt-4o-mini"
USAGE = {"prompt_tokens": 40, "completion_tokens": 200, "total_tokens": 240}
BASE = {"id": "chatcmpl-1", "created": 1, "model": MODEL}
MESSAGE = {"role": "assistant", "content": "word " * 200}
WHOLE = json.dumps(
    {**BASE, "object": "chat.completion", "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
     "usage": USAGE}
).encode()  # fmt: skip
CHUNK = {**BASE, "object": "chat.completion.chunk"}
STREAM = [
    *(
        {**CHUNK, "choices": [{"index": 0, "delta": {"content": "ten words "}, "finish_reason": None}]}
        for _ in range(EVENTS)
    ),
    {**CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {**CHUNK, "choices": [], "usage": USAGE},
]
STREAM_BYTES = [f"data: {json.dumps(each)}\n\n".encode() for each in STREAM] + [b"data: [DONE]\n\n"]


class Target(NamedTuple):
    """Something that is asked: its port, the process that answers, and the credential."""

    port: int
    pid: int
    key: str


class Measured(NamedTuple):
    """Calls per second, the median and 99th percentile of their time in ms, and CPU of the process in ms per call."""

    rate: float
    p50: float
    p99: float
    cpu: float


async def provider(scope: Any, receive: Any, send: Any) -> None:
    """The provider, as an ASGI application."""
    if scope["type"] != "http":
        await _lifespan(receive, send)
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    streams = b'"stream":true' in body or b'"stream": true' in body
    kind = b"text/event-stream" if streams else b"application/json"
    headers = [(b"content-type", kind)] + ([] if streams else [(b"content-length", str(len(WHOLE)).encode())])
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for event in STREAM_BYTES if streams else ():
        await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": b"" if streams else WHOLE})


class Bare:
    """A proxy that decides nothing: the same request, the same client, the same answer."""

    def __init__(self, url: str) -> None:
        self._url, self._upstream = url, None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Forward one request."""
        from aegis_core.proxy.exchange import Exchange
        from aegis_core.proxy.upstreams import open_upstreams, passed_back

        if scope["type"] != "http":
            await _lifespan(receive, send)
            return
        if self._upstream is None:
            self._upstream = open_upstreams({"openai": self._url}, None, {"OPENAI_API_KEY": "sk-x"})["openai"]
        upstream, exchange = self._upstream, Exchange(scope, receive, send)
        body = await exchange.body(32 * 1024 * 1024, lambda _: None)
        headers = upstream.headers(exchange.headers, own_credential=False)
        answer = await upstream.http.send(b"POST", exchange.path, headers, body)
        await exchange.start(answer.status, passed_back(answer.headers, changed=False))
        async for chunk in answer.chunks():
            await exchange.write(chunk)
        await exchange.write(b"", more=False)


async def _lifespan(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


def serve(kind: str, port: int, url: str) -> None:
    """Be the provider or the bare proxy, in a process of its own."""
    import uvicorn

    from aegis_core.api.server import http_protocol
    from aegis_core.settings import load_settings

    app: Any = provider if kind == "provider" else Bare(url)
    uvicorn.run(
        app, port=port, log_level="error", http=http_protocol(load_settings()), ws="none", access_log=False,
        server_header=False, date_header=False,
    )  # fmt: skip


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(
    command: list[str], port: int, path: str, environment: dict[str, str], longest: float = 60
) -> Iterator[int]:
    """A server that answers; its process id."""
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        until = time.monotonic() + longest
        try:
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2).close()
                    break
                except urllib.error.HTTPError:
                    break
                except OSError:
                    if server.poll() is not None or time.monotonic() > until:
                        raise
                    time.sleep(0.05)
            yield server.pid
        finally:
            server.terminate()


@contextmanager
def targets(folder: Path, litellm: str | None) -> Iterator[dict[str, Target]]:
    """All that is measured, by name."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AEGIS_")}
    with ExitStack() as stack:

        def start(kind: str, url: str) -> Target:
            port = free_port()
            command = [sys.executable, __file__, "--serve", kind, str(port), url]
            return Target(port, stack.enter_context(process(command, port, "/v1/models", clean)), "sk-x")

        found = {"direct": start("provider", "")}
        url = f"http://127.0.0.1:{found['direct'].port}"
        found["ungoverned"] = start("bare", url)
        aegis = [sys.executable, "-c", "from aegis_core.cli import main; main()", "proxy"]
        environment = clean | {
            "AEGIS_DATA_DIR": str(folder), "OPENAI_API_KEY": "sk-x", "AEGIS_LOG_LEVEL": "warning",
            "AEGIS_AGENT_DAY_USD": "1000000", "AEGIS_TENANT_DAY_USD": "8000000", "AEGIS_MAX_OPEN_GRANTS": "100000",
        }  # fmt: skip
        create = [*aegis, "keys", "create", "--agent", "bench"]
        key = subprocess.run(create, env=environment, capture_output=True, text=True, check=True).stdout.strip()
        port = free_port()
        command = [*aegis, "--port", str(port), "--upstream", f"openai={url}"]
        pid = stack.enter_context(process(command, port, "/aegis/health", environment))
        found["governed"] = Target(port, pid, key)
        if litellm:
            found["litellm"] = stack.enter_context(_litellm(litellm, folder, url, clean))
        yield found


@contextmanager
def _litellm(python: str, folder: Path, url: str, environment: dict[str, str]) -> Iterator[Target]:
    """LiteLLM's proxy with a budget for its provider, kept in its memory."""
    config = folder / "litellm.json"  # JSON is YAML
    model = {"model": f"openai/{MODEL}", "api_base": f"{url}/v1", "api_key": "sk-x"}
    budget = {"openai": {"budget_limit": 1_000_000, "time_period": "1d"}}
    config.write_text(
        json.dumps({
            "model_list": [{"model_name": MODEL, "litellm_params": model}],
            "router_settings": {"provider_budget_config": budget},
            "general_settings": {"master_key": "sk-master"},
        })
    )  # fmt: skip
    port = free_port()
    command = [
        str(Path(python).with_name("litellm")),
        "--config",
        str(config),
        "--port",
        str(port),
        "--num_workers",
        "1",
    ]
    quiet = environment | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    with process(command, port, "/health/liveliness", quiet, longest=180) as pid:
        yield Target(port, pid, "sk-master")


async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
    """One call on an open connection, to the end of its answer."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    assert b" 200 " in head[:20], head + await reader.read(500)
    at = head.find(b"content-length:")
    if at >= 0:
        await reader.readexactly(int(head[at + 15 : head.index(b"\r\n", at)]))
        return
    last = b""
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        last = await reader.readexactly(size + 2)
    await reader.readexactly(2)
    assert b"[DONE]" in last or not last, last


async def load(target: Target, streams: bool, connections: int, seconds: float) -> Measured:
    """Ask for some time."""
    said = [{"role": "user", "content": "Summarise what a governor of agents does, in a few words. " * 3}]
    more = {"stream": True, "stream_options": {"include_usage": True}} if streams else {}
    body = json.dumps({"model": MODEL, "messages": said, "max_completion_tokens": 500, **more}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {target.key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    request, times = head.encode() + body, list[float]()

    async def client(until: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
        while (start := time.perf_counter()) < until:
            await call(reader, writer, request)
            times.append(time.perf_counter() - start)
        writer.close()

    began, cpu = time.perf_counter(), cpu_of(target.pid)
    await asyncio.gather(*(client(began + seconds) for _ in range(connections)))
    elapsed, used = time.perf_counter() - began, cpu_of(target.pid) - cpu
    times.sort()
    p50, p99 = times[len(times) // 2] * 1000, times[int(len(times) * 0.99)] * 1000
    return Measured(len(times) / elapsed, p50, p99, used / len(times) * 1000)


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used; 0 where that cannot be seen."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(found: dict[str, Target], seconds: float, rounds: int) -> dict[str, dict[str, Measured]]:
    """Medians by kind of call and by target."""
    kinds = [(name, streams, many) for name, streams in (("chat", False), ("SSE", True)) for many in CONNECTIONS]
    for target in found.values():  # so that nothing is loaded or connected for the first time while it is measured
        for streams in (False, True):
            asyncio.run(load(target, streams, 4, min(seconds, 0.5)))
    seen: dict[str, dict[str, list[Measured]]] = {}
    for _ in range(rounds):
        for name, streams, many in kinds:
            for who, target in found.items():
                once = asyncio.run(load(target, streams, many, seconds))
                seen.setdefault(f"{name} c={many}", {}).setdefault(who, []).append(once)
    return {
        kind: {who: Measured(*map(statistics.median, zip(*many, strict=True))) for who, many in by.items()}
        for kind, by in seen.items()
    }


def report(found: dict[str, dict[str, Measured]]) -> None:
    """Print the table, and what governing adds."""
    print(f"{'':10}{'':14}{'calls/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms/call':>13}")
    for kind, by in found.items():
        for who, each in by.items():
            print(f"{kind:10}{who:14}{each.rate:9,.0f}{each.p50:9.2f}{each.p99:9.2f}{each.cpu:13.2f}")
    for kind, by in found.items():
        bare, governed = by["ungoverned"], by["governed"]
        more, cpu = governed.p50 - bare.p50, governed.cpu - bare.cpu
        said = f"{kind}: governing adds {more:.2f} ms to the median and {cpu:.2f} ms of CPU to a call, "
        said += f"{governed.rate / bare.rate:.2f} of the ungoverned rate"
        if "litellm" in by:
            said += f", {governed.rate / by['litellm'].rate:.1f} times LiteLLM's"
        print(said)
    print("wanted: <= 0.7 ms at c=1, >= 0.4 of the ungoverned rate at c=16, >= 10 times LiteLLM's rate")


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], int(sys.argv[3]), sys.argv[4])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--litellm", metavar="PYTHON")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        targets(Path(folder), options.litellm) as found,
    ):
        measured = measure(found, options.seconds, options.rounds)
    if options.json:
        print(json.dumps({kind: {who: each._asdict() for who, each in by.items()} for kind, by in measured.items()}))
    else:
        report(measured)


if __name__ == "__main__":
    main()

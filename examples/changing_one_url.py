"""A program that knows nothing of Aegis is governed by changing one URL: a streamed call, then one too many.

    python examples/changing_one_url.py

The proxy runs as `aegis proxy` does, on an embedded server of its own. The provider is on this machine, too, and speaks
as OpenAI's API: no key is needed, and nothing is sent anywhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

AEGIS = [sys.executable, "-c", "from aegis_core.cli import main; main()"]
WORDS = ("Before", "an", "agent", "spends,", "it", "asks.")
ZONE = "AEGIS_TIMEZONE"
USAGE = {"prompt_tokens": 1_200, "completion_tokens": 400, "total_tokens": 1_600}


class Provider(BaseHTTPRequestHandler):
    """Answers every chat with the same words, as server-sent events, and bills 1,200 and 400 tokens for them."""

    asked = 0

    def do_POST(self) -> None:
        """Stream an answer."""
        type(self).asked += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for word in WORDS:
            self.event({"choices": [{"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}]})
        self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self.event({"choices": [], "usage": USAGE})
        self.wfile.write(b"data: [DONE]\n\n")

    def event(self, value: dict[str, object]) -> None:
        """One chunk."""
        sent = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o", **value}
        self.wfile.write(f"data: {json.dumps(sent)}\n\n".encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - so it is called there
        """Say nothing."""


def aegis(environment: dict[str, str], *command: str) -> str:
    """What a command of Aegis prints."""
    done = subprocess.run([*AEGIS, *command], env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@contextmanager
def proxy(environment: dict[str, str], upstream: str) -> Generator[str]:
    """The proxy before one upstream; its URL."""
    command = [*AEGIS, "proxy", "--port", "0", "--upstream", f"openai={upstream}"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = ""
        for line in process.stderr:
            if '"serving"' in line:
                found = json.loads(line)["url"]
                break
        if not found:
            raise SystemExit("The proxy did not start.")
        reader = threading.Thread(target=process.stderr.read, daemon=True)  # else a full pipe would stop it
        reader.start()
        try:
            while not answers(found):
                time.sleep(0.05)
            yield found
        finally:
            process.terminate()
            process.wait()
            reader.join()


def answers(url: str) -> bool:
    """Whether it serves yet."""
    try:
        return httpx.get(f"{url}/aegis/health", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def chat(base_url: str, api_key: str) -> bool:
    """A client as any other: it streams one answer to the terminal. False: it was refused."""
    body = {"model": "gpt-4o", "stream": True, "max_completion_tokens": 500,
            "messages": [{"role": "user", "content": "What does Aegis do?"}]}  # fmt: skip
    headers = {"Authorization": f"Bearer {api_key}"}
    url = f"{base_url}/chat/completions"
    with httpx.stream("POST", url, json=body, headers=headers, timeout=60, trust_env=False) as answer:
        if answer.status_code != 200:
            print(f"  {answer.status_code}: {json.loads(answer.read())['error']['message']}")
            return False
        print("  200: ", end="")
        for line in answer.iter_lines():
            data = line.removeprefix("data: ")
            if data.startswith("{"):
                print(json.loads(data)["choices"][0]["delta"].get("content", ""), end="", flush=True)
        print(f"(at most ${answer.headers['x-aegis-reserved-usd']} reserved)")
        return True


def main() -> None:
    """Both calls, and the bill."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AEGIS_") or name == ZONE}
        environment = kept | {"AEGIS_DATA_DIR": folder, "OPENAI_API_KEY": "sk-the-providers-own"}
        create = ("proxy", "keys", "create", "--agent", "ada", "--budget", "day=0.015", "--min-output-tokens", "500")
        key = aegis(environment, *create)
        with proxy(environment, f"http://127.0.0.1:{server.server_address[1]}") as url:
            print(f"OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY={key[:12]}…, $0.015 a day")
            calls = 1
            while chat(f"{url}/v1", key):
                calls += 1
        if calls == 1 or Provider.asked != calls - 1:
            raise SystemExit(f"{Provider.asked} of {calls} calls reached the provider: this is a bug.")
        print(f"  {calls} calls, of which the provider saw {Provider.asked}.")
        print(aegis(environment | {"NO_COLOR": "1", "COLUMNS": "80"}, "budget", "show", "ada"))
    server.shutdown()


if __name__ == "__main__":
    main()

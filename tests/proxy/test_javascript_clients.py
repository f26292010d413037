"""The official SDKs for JavaScript and Vercel's AI SDK, with and without the proxy; see `test_clients_alike`."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from fetching import JAVASCRIPT
from payloads import Spent
from spliced import SPLICED, changed
from stands import Stand, charged, estimated

pytestmark = [pytest.mark.deep, pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")]

PROGRAM = Path(__file__).with_name("clients.mjs")
CLIENTS = {
    "openai chat": "openai_chat", "openai responses": "openai_responses", "anthropic": "anthropic", "genai": "gemini",
    "ai openai": "openai_responses", "ai anthropic": "anthropic", "ai google": "gemini",
}  # fmt: skip


def run(client: str, streamed: bool, url: str, key: str) -> subprocess.CompletedProcess[str]:
    node = shutil.which("node")
    assert node is not None
    command = [node, PROGRAM, client, "stream" if streamed else "whole", url, key]
    environment = {"PATH": "/usr/bin:/bin", "SDKS": str(JAVASCRIPT.path())}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_gets_the_same_and_the_provider_is_asked_the_same(stand: Stand, client: str, streamed: bool) -> None:
    provider, key = stand.provider, stand.key()
    provider.spent = Spent(fresh=7, said=40)
    direct = run(client, streamed, provider.url, "none")
    assert direct.returncode == 0, direct.stderr
    (before,), provider.billed = provider.asked, 0
    provider.asked.clear()
    proxied = run(client, streamed, stand.url, key.secret or "")
    assert (proxied.returncode, json.loads(proxied.stdout)) == (0, json.loads(direct.stdout))
    (after,) = provider.asked
    assert after.path == before.path
    assert changed(before.json, after.json) <= SPLICED[CLIENTS[client]]
    ends = stand.ended(key.terms.agent_id)
    assert (estimated(ends), charged(ends)) == ([False], provider.billed_usd)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_refusal_is_the_clients_own_error_after_one_request(
    stand: Stand, arrived: list[bytes], client: str, streamed: bool
) -> None:
    key = stand.key(budget="0.000001", min_output_tokens=1)
    done = run(client, streamed, stand.url, key.secret or "")
    assert done.returncode == 1
    assert "Aegis refused this call of" in done.stderr
    assert (len(arrived), stand.provider.asked) == (1, [])

"""Attacks by text: what steers a terminal, a page, a spreadsheet or an eye."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal

import pytest
from fastapi import Response
from guarding import DEFENDED, Guarded, Serve, bearer
from pydantic import TypeAdapter

from aegis_core.api.routing import Writer
from aegis_core.cli.usage import write_csv
from aegis_core.governor.usage import UsageTotal

API = "/api/v1"
HOSTILE = "pay \x1b[2J\x1b]0;owned\x07 \x9b31m \u202egnp.exe\u202c <script>alert(1)</script> [bold red]ok[/] \u200b"


def _aegis(server: Guarded, *arguments: str) -> str:
    environment = os.environ | {"AEGIS_URL": server.settings.url, "AEGIS_TENANT": server.settings.tenant}
    command = [sys.executable, "-c", "from aegis_core.cli import main; main()", *arguments]
    done = subprocess.run(command, capture_output=True, env=environment, timeout=150, check=True)
    return done.stdout.decode()


@DEFENDED
@pytest.mark.leaves("grants")
def test_terminal_escapes_bidi_and_markup_over_http(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    if not defended:

        def plain(writer: Writer, value: object) -> Response:
            return Response(TypeAdapter(type(value)).dump_json(value), media_type="application/json")

        monkeypatch.setattr(Writer, "__call__", plain)
    server = serve()
    session = server.enter("a")
    asked = server.ask(session, task_intent=HOSTILE, metadata={"note": HOSTILE})
    events = server.http.get(f"{API}/events?latest=1", headers=bearer(server.operator_key))
    assert asked.json()["status"] == "GRANTED"
    assert events.json()["events"][0]["facts"]["request"]["intent"] == HOSTILE
    assert events.headers["content-type"] == "application/json"
    assert (events.text.isascii() and events.text.isprintable()) is defended


@pytest.mark.leaves("grants")
def test_terminal_escapes_bidi_and_markup_on_a_terminal(serve: Serve) -> None:
    server = serve()
    server.ask(server.enter("a"), task_intent=HOSTILE)
    for arguments in (("events", "--limit", "1"), ("events", "--limit", "1", "--json")):
        text = _aegis(server, *arguments)
        assert text.rstrip("\n").isprintable(), arguments
        assert "\\u202e" in text
        assert "[bold red]ok[/]" in text
    assert not HOSTILE.isprintable(), "the intent would have steered the terminal"


def test_an_equals_sign_in_a_cell_of_csv(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    server = serve()
    session = server.enter("@SUM")
    grant = server.grant(session)
    server.http.post(f"{API}/grants/{grant}/settle", json={"cost_usd": 0.25}, headers=bearer(session["session_token"]))
    assert (
        _aegis(server, "usage", "--by", "agent", "--csv")
        == "agent,calls,cost_usd,estimated_usd\n'@SUM,1,0.250000000,0.000000000\n"
    )
    write_csv("agent", [UsageTotal(name, 1, Decimal(1)) for name in ('=cmd|"/c calc"!A1', "+1", "-1", "@x", "\t=1")])
    cells = capsys.readouterr().out.splitlines()[1:]
    assert not [cell for cell in cells if cell.lstrip('"')[:1] in {"=", "+", "-", "@", "\t"}]


@pytest.mark.leaves("grants")
def test_a_credential_in_an_intent_is_stored_nowhere(serve: Serve) -> None:
    server = serve()
    session = server.enter("a")
    server.ask(session, task_intent=f"Use {server.agent_key} and {session['session_token']}")
    text = server.http.get(f"{API}/events", headers=bearer(server.operator_key)).text
    assert "Use [masked] and [masked]" in text
    for secret in (server.agent_key, session["session_token"]):
        assert secret[36:76] not in text

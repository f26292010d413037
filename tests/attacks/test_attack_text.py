"""Attacks by text: what steers a terminal, a page, a spreadsheet or an eye."""

from __future__ import annotations

import io
import json
import os
from decimal import Decimal
from pathlib import Path

import pytest
from asking import AS_OPERATOR, asking, on_telegram
from botapi import bot_api
from fastapi import Response
from guarding import DEFENDED, Guarded, Serve, bearer
from pydantic import SecretStr, TypeAdapter
from receiver import receiver
from rich.console import Console
from warm import Warm

from aegis_core import Settings
from aegis_core.api.routing import Writer
from aegis_core.channels.telegram.message import text_of
from aegis_core.cli.approvals_page import details, table
from aegis_core.cli.usage import write_csv
from aegis_core.governor.usage import UsageTotal
from aegis_core.protocol.approvals import Approval

API = "/api/v1"
HOSTILE = "pay \x1b[2J\x1b]0;owned\x07 \x9b31m \u202egnp.exe\u202c <script>alert(1)</script> [bold red]ok[/] \u200b"


def _aegis(warm: Warm, server: Guarded, *arguments: str) -> str:
    environment = os.environ | {"AEGIS_URL": server.settings.url, "AEGIS_TENANT": server.settings.tenant}
    done = warm.run(arguments, Path.cwd(), environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


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
def test_terminal_escapes_bidi_and_markup_on_a_terminal(warm: Warm, serve: Serve) -> None:
    server = serve()
    server.ask(server.enter("a"), task_intent=HOSTILE)
    for arguments in (("events", "--limit", "1"), ("events", "--limit", "1", "--json")):
        text = _aegis(warm, server, *arguments)
        assert text.rstrip("\n").isprintable(), arguments
        assert "\\u202e" in text
        assert "[bold red]ok[/]" in text
    assert not HOSTILE.isprintable(), "the intent would have steered the terminal"


def test_an_equals_sign_in_a_cell_of_csv(warm: Warm, serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    server = serve()
    session = server.enter("@SUM")
    grant = server.grant(session)
    server.http.post(f"{API}/grants/{grant}/settle", json={"cost_usd": 0.25}, headers=bearer(session["session_token"]))
    assert (
        _aegis(warm, server, "usage", "--by", "agent", "--csv")
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


@DEFENDED
@pytest.mark.leaves("questions")
def test_names_that_mix_scripts_for_those_who_approve(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    """To the eye they are the names that an operator knows; in Cyrillic is the first vowel of each."""
    if not defended:
        monkeypatch.setattr("aegis_core.protocol.writing._mixed", lambda _name: "")
    agent, tool, said = "p\u0430yroll-bot", "w\u0456re", "mixes Latin and Cyrillic"
    webhook = {"approval_webhook_secret": SecretStr("whsec_" + "QWVnaXMg" * 4), "approval_webhook_allow_private": True}
    with (
        bot_api() as telegram,
        receiver() as there,
        asking(on_telegram(settings, telegram, approval_webhook_url=there.url, **webhook)) as place,
    ):
        waits = place.agent("Pay", agent, tool=tool, target_resource="treasury")
        message = telegram.announced()
        pending = telegram.reply(telegram.write("/pending"))
        there.until(lambda: there.got)
        posted = json.loads(there.got[0][1])
        (asked,) = place.http.get(f"{place.url}/api/v1/approvals", headers=AS_OPERATOR).json()["approvals"]
        (found,) = place.on_redis(lambda governor: governor.approvals.list())
        telegram.press(message, "REJECT")
        assert waits.result(60).startswith("REJECTED")
    mixed = {"agent_id": "Latin and Cyrillic", "tool": "Latin and Cyrillic"} if defended else {}
    assert asked["mixed_scripts"] == posted["approval"]["mixed_scripts"] == found.mixed_scripts == mixed
    terminal = Console(file=io.StringIO(), width=240)
    terminal.print(table((found,)), details(found))
    screen = terminal.file.getvalue()  # type: ignore[attr-defined]
    assert screen.count(f"{agent} ({said})") == (2 if defended else 0)
    assert screen.count(f"{tool} ({said})") == (1 if defended else 0)
    assert (f"{agent} ({said})" in pending) is defended
    for text in (message.text.replace("</b>", "").replace("<b>", ""), posted["text"]):
        assert (f"Agent ({said}): {agent}" in text) is defended
        assert (f"Tool ({said}): {tool}" in text) is defended
        assert "Target: treasury" in text
    found.reason, found.arguments = "x" * 5_000, json.dumps({"long": "\U0001f600" * 20_000})
    assert (f"Agent ({said})" in text_of(found, {})) is defended, "what else is said cannot push it out"


@DEFENDED
@pytest.mark.leaves("questions")
def test_a_name_wholly_in_another_script_for_those_who_approve(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    """All of its letters are Cyrillic, so it mixes nothing, and to the eye it is the agent that an operator knows."""
    if not defended:
        monkeypatch.setattr("aegis_core.protocol.writing._alike", lambda _name: "")
    agent = "\u0440\u0430\u0443\u0435\u0433"
    server = serve(agent_day_usd=100)
    server.enter("payer")
    verdict = server.ask(server.enter(agent), estimated_cost_usd=6, tool="\u0441\u043e\u0440\u0443").json()
    assert verdict["status"] == "PENDING"
    path = f"{API}/approvals/{verdict['grant_id']}"
    asked = server.http.get(path, headers=bearer(server.operator_key)).json()
    alike = {"agent_id": "payer", "tool": "copy"} if defended else {}
    assert (asked["looks_like"], asked["mixed_scripts"]) == (alike, {})
    found = TypeAdapter(Approval).validate_python(asked)
    terminal = Console(file=io.StringIO(), width=240)
    terminal.print(table((found,)), details(found))
    screen = terminal.file.getvalue()  # type: ignore[attr-defined]
    assert screen.count(f"{agent} (looks like payer)") == (2 if defended else 0)
    assert ("Agent (looks like payer)" in text_of(found, {})) is defended

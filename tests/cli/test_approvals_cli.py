"""``aegis approvals``: what waits is seen and decided from the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import pytest
from serving import OPERATOR, serving
from warm import Warm

from aegis_core import Settings, connect, connect_sync
from aegis_core.governor.governor import ResourceGovernor
from tests.cli.test_commands import COMMAND, EVIL, Aegis, aegis, on_a_terminal, plain  # noqa: F401 - fixtures

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("grants", "questions")]


def ask(settings: Settings, agent: str = "payer", intent: str = "Pay the invoice", cost: object = 7) -> str:
    """The id of a question that waits."""
    with connect_sync(settings=settings) as governor:
        session = governor.handshake(agent)
        governor.set_budget("agent", agent, "day", 40)
        governor.set_budget("tenant", "-", "day", 800)
        verdict = session.request(intent, resource_type="api_call", estimated_cost_usd=cost)
        assert verdict.escalation_id is not None, verdict
        return verdict.escalation_id


def test_what_waits_is_listed_and_decided_by_its_first_letters(here: Settings, aegis: Aegis) -> None:  # noqa: F811
    first, second = ask(here), ask(here, cost=6)
    listed = json.loads(aegis("approvals", "list", "--json").out)
    assert [each["approval_id"] for each in listed] == [first, second]
    assert (listed[0]["amount_usd"], listed[0]["rule"], listed[0]["intent"]) == (7.0, "big-spend", "Pay the invoice")
    done = aegis("approvals", "approve", first[:14], "--reason", "fine", "--as", "ada")
    assert done.out == f"{first} is approved: $7.00 for payer.\n"
    assert aegis("approvals", "approve", first, "--as", "ada").code == 0
    assert aegis("approvals", "reject", first, "--as", "bob").failed("It was approved by ada at ")
    assert aegis("approvals", "reject", second, "--json").out.startswith("{")
    assert "There are no open approvals." in aegis("approvals", "list").out
    ended = json.loads(aegis("approvals", "list", "--status", "ended", "--json").out)
    assert {each["decided_by"] for each in ended} >= {"ada"}


def test_more_than_a_page_is_listed_and_found(here: Settings, aegis: Aegis, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr("aegis_core.cli.finding._PAGE", 2)
    asked = [ask(here, cost=6) for _ in range(5)]
    assert aegis("approvals", "show", asked[4][:14]).out.split()[1] == asked[4]
    assert aegis("approvals", "show", "ap_").failed("ap_ fits several open approvals; give more of it")
    first = aegis("approvals", "list", "--limit", 3, "--json")
    assert [each["approval_id"] for each in json.loads(first.out)] == asked[:3]
    assert first.err == f"aegis: there may be more; go on with --after {asked[2]}\n"
    rest = aegis("approvals", "list", "--limit", 3, "--after", asked[2][:14], "--json")
    assert ([each["approval_id"] for each in json.loads(rest.out)], rest.err) == (asked[3:], "")
    assert "There are no more open approvals." in aegis("approvals", "list", "--after", asked[4]).out


def test_an_ended_approval_is_found_as_it_is_listed(here: Settings, aegis: Aegis) -> None:  # noqa: F811
    approval = ask(here)
    aegis("approvals", "reject", approval, "--as", "ada", "--reason", "not now")
    name = aegis("approvals", "list", "--status", "ended").out.splitlines()[1].split()[0]
    assert approval.startswith(name)
    assert json.loads(aegis("approvals", "show", name, "--json").out)["decision_reason"] == "not now"
    assert aegis("approvals", "show", approval.removeprefix("ap_")).out.split()[1] == approval
    assert aegis("approvals", "approve", name, "--as", "bob").failed("It was rejected by ada at ")


def test_another_amount_is_approved(here: Settings, aegis: Aegis) -> None:  # noqa: F811
    approval = ask(here)
    assert "$5.50" in aegis("approvals", "approve", approval, "--cost", "5.50").out
    assert json.loads(aegis("approvals", "show", approval, "--json").out)["edited"] is True


def test_a_wrong_word_is_one_line(here: Settings, aegis: Aegis) -> None:  # noqa: F811
    assert aegis("approvals", "show", "ap_77").failed("ap_77 is no approval's beginning")
    assert aegis("approvals", "list", "--status", "maybe").failed("status: must be one of open, ended")
    assert aegis("approvals", "ahead", "5", "--agent", "a").failed("tool: give tool, rule, phrase or resource_type")
    assert aegis("approvals", "ahead", "5", "--agent", "a", "--tool", "t", "--for", "long").failed("such as 30m")
    assert aegis("approvals", "watch").failed("watch needs a terminal")


def test_over_http_nobody_says_who_they_are(here: Settings, aegis: Aegis) -> None:  # noqa: F811
    approval = ask(here)
    with serving(here) as url:
        remote = {"AEGIS_URL": url, "AEGIS_OPERATOR_SECRET": OPERATOR}
        said = aegis("approvals", "approve", approval, "--as", "ada", **remote)
        assert said.failed("as: a server reads from the credential who decides")
        assert "There are no ended approvals." in aegis("approvals", "list", "--status", "ended", **remote).out
        assert "is approved" in aegis("approvals", "approve", approval, **remote).out
        assert json.loads(aegis("approvals", "show", approval, "--json", **remote).out)["decided_by"] == "operator"


def test_approving_in_advance_and_limits(here: Settings, aegis: Aegis) -> None:  # noqa: F811
    done = aegis("approvals", "ahead", "9", "--agent", "payer", "--phrase", "pay the", "--for", "2h", "--as", "ada")
    assert re.match(r"ev_[0-9a-f]{16}: up to \$9\.00 until 20", done.out)
    with connect_sync(settings=here) as governor:
        agent = governor.handshake("payer")
        assert agent.request("Pay the bill", resource_type="api_call", estimated_cost_usd=6).granted
    row = plain(aegis("approvals", "envelopes").out)
    assert "payer words pay the $6.00 $9.00 1" in row
    gone = aegis("approvals", "revoke", done.out[:19])
    assert gone.out.endswith("is revoked; $6.00 of $9.00 was used.\n")
    assert aegis("approvals", "envelopes").out == "Nothing is approved in advance.\n"
    made = json.loads(aegis("approvals", "ahead", "9", "--agent", "payer", "--type", "compute", "--json").out)
    assert made["resource_type"] == "compute"
    assert aegis("approvals", "ahead", "9", "--agent", "a", "--type", "gold").failed("resource_type: must be one of")
    assert json.loads(aegis("approvals", "revoke", made["envelope_id"], "--json").out)["used_usd"] == 0
    assert aegis("approvals", "limit").out == "Every operator may approve any amount.\n"
    assert aegis("approvals", "limit", "telegram:7", "12.5").out == "telegram:7  $12.50\n"
    assert aegis("approvals", "limit", "telegram:7", "none").code == 0
    assert json.loads(aegis("approvals", "limit", "--json").out) == {}


def test_an_agents_words_cannot_steer_the_operators_terminal(here: Settings, warm: Warm) -> None:
    approval = ask(here, intent=EVIL)
    for arguments in (("list",), ("show", approval)):
        seen = on_a_terminal(warm, "approvals", *arguments)
        assert "\x1b]0;" not in seen
        assert "\u202e" not in seen


class Screen:
    """A live view on a terminal of its own, with keys to press."""

    def __init__(self, home: Path, lines: int = 40) -> None:
        self.terminal, side = pty.openpty()
        environment = os.environ | {"COLUMNS": "120", "LINES": str(lines), "TERM": "xterm-256color", "HOME": str(home)}
        command = [*COMMAND, "approvals", "watch", "--as", "ada"]
        self.process = subprocess.Popen(command, stdin=side, stdout=side, stderr=side, env=environment)
        os.close(side)
        self.seen = ""

    def until(self, text: str) -> None:
        deadline = time.monotonic() + 30
        while text not in plain(self.seen):
            assert time.monotonic() < deadline, self.seen[-2_000:]
            if select.select([self.terminal], [], [], 0.2)[0]:
                self.seen += os.read(self.terminal, 65_536).decode(errors="replace")

    def press(self, key: str) -> None:
        self.seen = ""
        os.write(self.terminal, key.encode())

    def leave(self) -> None:
        self.press("q")
        assert self.process.wait(20) == 0

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self.terminal)


@pytest.mark.timeout(120)
def test_a_live_view_where_a_key_decides(here: Settings, tmp_path: Path) -> None:
    first = ask(here)
    screen = Screen(tmp_path)
    try:
        screen.until("Pay the invoice")
        second = ask(here, intent="Buy the second thing", cost=6)
        screen.until("Buy the second thing")
        screen.press("j")
        screen.until(second)
        screen.press("a")
        screen.until(f"{second[:11]} is approved.")
        screen.until("choose another one")
        screen.press("ak")  # nothing is chosen now, so a second press decides nothing; what comes at once is all heard
        screen.until(first)
        screen.press("r")
        screen.until(f"{first[:11]} is rejected.")
        screen.leave()
    finally:
        screen.close()
    with connect_sync(settings=here) as governor:
        ended = {each.approval_id: (each.status, each.decided_by) for each in governor.approvals.list("ended")}
    assert ended == {first: ("rejected", "ada"), second: ("approved", "ada")}


@pytest.mark.timeout(120)
def test_what_a_key_decides_is_on_the_screen_however_many_wait(here: Settings, tmp_path: Path) -> None:
    asked = [ask(here, agent, intent=f"Pay {agent}" + " and more" * 12, cost=6) for agent in "abcdef" for _ in range(6)]
    screen = Screen(tmp_path, lines=24)
    try:
        screen.until(asked[0])
        screen.until("1 of 36")
        for _ in range(7):
            screen.press("jjjjj")
        screen.until("36 of 36")
        assert "approve" in plain(screen.seen)
        screen.until(asked[35])
        screen.press("r")
        screen.until(f"{asked[35][:11]} is rejected.")
        screen.leave()
    finally:
        screen.close()


@pytest.mark.timeout(120)
def test_a_live_view_outlives_a_lost_connection(here: Settings, tmp_path: Path) -> None:
    async def cut() -> None:
        async with connect(settings=here) as governor:
            assert isinstance(governor.port, ResourceGovernor)
            await governor.port._ledger.store.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    screen = Screen(tmp_path)
    try:
        screen.until("Nothing waits for you.")
        asyncio.run(cut())
        approval = ask(here)
        screen.until(approval)
        screen.leave()
    finally:
        screen.close()

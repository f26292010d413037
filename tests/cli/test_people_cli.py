"""``aegis people``: persons made, shown and changed from the terminal."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import pytest
from terminal import run_aegis

from aegis_core import Settings, connect_sync

pytestmark = pytest.mark.leaves("questions")


@pytest.fixture
def aegis(here: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the command in this process: exit code, standard output, standard error."""
    return lambda *arguments, **environment: run_aegis(monkeypatch, capsys, *arguments, environment=environment)


def test_a_person_from_first_to_last(aegis) -> None:
    code, out, err = aegis("people", "add", "olga", "--role", "owner")
    assert (code, "olga is the first owner of the tenant" in err) == (0, True)
    code, out, _ = aegis("people", "add", "ada", "--role", "approver", "--group", "finance", "--telegram", "7",
                         "--up-to", "50", "--json")  # fmt: skip
    ada = json.loads(out)
    assert (ada["role"], ada["groups"], ada["credentials"]) == ("approver", ["finance"], ["telegram:7"])
    assert (ada["approve_up_to_usd"], ada["author"]) == (50, f"cli:{getpass.getuser()}")
    assert aegis("people", "set", "ada", "--up-to", "none", "--no-groups", "--role", "operator")[0] == 0
    code, out, _ = aegis("people", "show", "telegram:7")
    assert "role: operator\n" in out
    assert "approves up to: any amount" in out
    assert "groups: none" in out
    code, out, err = aegis("people", "credential", "add", "ada", "--key")
    assert out.startswith("aegis_key_k")
    assert "(ada, operator): keep it now" in err
    key = "key:" + out.split("_")[2]
    assert aegis("people", "credential", "revoke", "ada", key)[0] == 0
    assert key not in aegis("people", "list")[1]
    assert aegis("people", "remove", "ada")[0] == 0
    assert "ada" not in aegis("people", "list")[1]
    assert "removed" in aegis("people", "list", "--removed")[1]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("add", "bob", "--telegram", "7"), "telegram:7 is ada's already"),
        (("add", "ADA"), "looks like ada"),
        (("add", "cli:root"), "holds a colon"),
        (("add", "operator"), "is reserved"),
        (("add", "ad\u0430"), "mixes Latin and Cyrillic"),
        (("add", "bob", "--role", "king"), "role"),
        (("add", "bob", "--up-to", "-1"), "approve_up_to_usd"),
        (("set", "ada"), "give --role"),
        (("set", "nobody-here", "--up-to", "1"), "no such person"),
        (("show", "nobody-here"), "no person nobody-here"),
        (("remove", "olga"), "the only owner"),
        (("set", "olga", "--role", "viewer"), "the only owner"),
        (("credential", "add", "ada"), "give one of --key"),
        (("credential", "revoke", "ada", "telegram:8"), "no such credential"),
        (("credential", "revoke", "ada", "sparrow"), "must be telegram:USER_ID"),
    ],
    ids=lambda value: "-".join(value).replace("\u0430", "a") if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_one_line(aegis, arguments: tuple[str, ...], problem: str) -> None:
    aegis("people", "add", "olga", "--role", "owner")
    aegis("people", "add", "ada", "--telegram", "7")
    code, out, err = aegis("people", *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert problem in err


def test_the_terminal_user_acts_under_the_name_of_their_person(aegis, here: Settings) -> None:
    aegis("people", "add", "ada", "--role", "owner", "--terminal", getpass.getuser(), "--up-to", "5")
    with connect_sync(settings=here) as governor:
        agent = governor.handshake("buyer")
        asked = agent.request("Pay", resource_type="api_call", estimated_cost_usd=6)
    assert "may approve up to $5.00" in aegis("approvals", "approve", asked.escalation_id)[2]
    assert "Nobody sets a limit" in aegis("approvals", "limit", "ada", "none")[2]
    assert "Nobody sets a limit" in aegis("people", "set", "ada", "--up-to", "none")[2]
    assert aegis("approvals", "reject", asked.escalation_id)[0] == 0
    assert aegis("block", "buyer")[0] == 0
    events = [json.loads(line) for line in aegis("events", "--json")[1].splitlines()]
    by = {event["kind"]: event["facts"].get("by") or event["facts"].get("decided_by") for event in events}
    assert (by["declined"], by["agent_blocked"], by["person_added"]) == ("ada", "ada", f"cli:{getpass.getuser()}")


def test_on_the_embedded_server_the_first_command_makes_an_owner(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place = {"AEGIS_URL": "embedded", "AEGIS_DATA_DIR": str(tmp_path / "data")}
    monkeypatch.delenv("AEGIS_URL", raising=False)
    user = getpass.getuser()
    _, out, err = run_aegis(monkeypatch, capsys, "people", "list", "--json", environment=place)
    assert "is the first owner of the tenant" in err
    (owner,) = json.loads(out)
    assert (owner["role"], owner["credentials"]) == ("owner", [f"cli:{user}"])
    _, out, err = run_aegis(monkeypatch, capsys, "people", "list", "--json", environment=place)
    assert ("first owner" in err, len(json.loads(out))) == (False, 1)

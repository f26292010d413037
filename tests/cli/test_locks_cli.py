"""``aegis locks`` on a real server, as a person or a script meets it."""

from __future__ import annotations

import json

import pytest
from terminal import run_aegis

from aegis_core import Settings, connect_sync
from aegis_core.cli.common import whoami
from aegis_core.protocol.errors import LockLostError


@pytest.fixture
def aegis(here: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def run(*arguments: str, of: str | None = "locks") -> tuple[int, str, str]:
        return run_aegis(monkeypatch, capsys, *([of] if of else []), *arguments)

    return run


def test_an_operator_lists_shows_and_releases(here: Settings, aegis) -> None:
    assert aegis("list")[1] == "No lock is held.\n"
    with connect_sync(settings=here) as governor:
        agent = governor.handshake("trader")
        with pytest.raises(LockLostError), agent.lock("wallet_main", priority=4) as lease:  # noqa: PT012
            code, out, _ = aegis("list", "--json")
            (lock,) = json.loads(out)
            assert (code, lock["resource"], lock["permits"], lock["queued"]) == (0, "wallet_main", 1, 0)
            assert [(one["agent_id"], one["fence"]) for one in lock["holders"]] == [("trader", lease.fence)]
            assert lease.token not in out
            fence = lease.fence
            assert f"trader #{lease.fence}" in aegis("list")[1]
            shown = aegis("show", "wallet_main")[1]
            assert "wallet_main: 1 permits, preemption after_grace" in shown
            assert "holds" in shown
            assert json.loads(aegis("show", "wallet_main", "--json")[1])["holders"][0]["priority"] == 4
            assert aegis("release", "wallet_main", "--fence", str(lease.fence + 1)) == (
                1, "", "aegis: Nobody holds that lock (with that fence).\n",
            )  # fmt: skip
            assert aegis("release", "wallet_main")[1] == f"Taken from trader, fence {lease.fence}.\n"
            assert lease.evicting.wait(60)
        assert aegis("show", "wallet_main")[::2] == (1, "aegis: Nobody holds or waits for wallet_main.\n")
        forced = [event for event in governor.events() if event.kind == "lock_forced"]
        assert [(event.agent_id, event.facts["because_of"]) for event in forced] == [("trader", whoami())]
    lines = [line.split(maxsplit=1)[1] for line in aegis("events", of=None)[1].splitlines() if " lock_" in line]
    assert [line.split(" · held")[0] for line in lines] == [
        f"lock_{kind:9} trader · wallet_main · fence {fence}" for kind in ("acquired", "forced")
    ]
    assert lines[1].endswith(" s · because of " + whoami())


@pytest.mark.parametrize("command", ["list", "show", "release"])
def test_help_gives_an_example(aegis, command: str) -> None:
    assert f"Example: aegis locks {command}" in aegis(command, "--help")[1]

"""``aegis workflows`` on a real server, as a person or a script meets it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from planned import plan_asked
from terminal import run_aegis

from aegis_core import AegisDenied, Settings, Step, connect_sync
from aegis_core.client.sync import SyncGovernor

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("grants", "questions")]

PLAN = [Step(tool="pay_invoice", times=3, upto_usd=2), Step(resource_type="llm_tokens", upto_usd="1.50")]


@pytest.fixture
def aegis(here: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the command in this process: exit code, standard output, standard error."""
    return lambda *arguments: run_aegis(monkeypatch, capsys, *arguments)


def opening(governor: SyncGovernor, name: str, budget: int = 7):
    return governor.workflow(name, budget_usd=budget, until="2h", plan=PLAN)


def test_a_plan_is_seen_edited_approved_used_and_revoked(here: Settings, aegis) -> None:
    assert aegis("workflows", "list")[:2] == (0, "There are no workflows.\n")
    with connect_sync(settings=here) as governor, ThreadPoolExecutor(1) as pool:

        def work() -> str:
            with opening(governor, "close the books") as flow:
                payer = flow.join("payer", framework="crewai")
                assert payer.request("Pay", tool="pay_invoice", resource_type="api_call", estimated_cost_usd=2).granted
                beside = payer.request("Fly", tool="fly", resource_type="api_call", estimated_cost_usd=0)
                assert beside.status == "PENDING"
                return flow.workflow_id

        waiting = pool.submit(work)
        approval = plan_asked(governor).approval_id
        shown = aegis("approvals", "show", approval)[1]
        for piece in (
            "close the books",
            "pay_invoice",
            "3 ×",
            "$2.00 each",
            "any number",
            "$1.50 in all",
            "$7.00",
            "workflows narrow wf_",
        ):
            assert piece in shown
        code, out, _ = aegis("workflows", "list", "--json")
        (found,) = json.loads(out)
        assert (code, found["state"], found["approval_id"], found["opener"]) == (
            0, "pending", approval, "close-the-books"
        )  # fmt: skip
        short = found["workflow_id"][:11]
        code, out, err = aegis("workflows", "narrow", short, "--budget", "5", "--step", "1=2@1", "--for", "30m")
        assert (code, err) == (0, "")
        assert "2 ×" in out
        smaller = aegis("workflows", "narrow", short, "--step", "1=@2", "--as", "eve")
        assert smaller == (
            1,
            "",
            "aegis: A plan is only made smaller; for more, people must be asked about another one.\n",
        )
        assert aegis("workflows", "narrow", short, "--step", "1=2@2")[0] == 1
        assert (
            json.loads(aegis("workflows", "narrow", short, "--budget", "4.5", "--json")[1])["plan"]["budget_usd"] == 4.5
        )
        assert "is approved: $4.50 for close-the-books" in aegis("approvals", "approve", approval, "--as", "ada")[1]
        with pytest.raises(AssertionError):  # $2 a use was made $1
            waiting.result(60)
        shown = aegis("workflows", "show", short)[1]
        for piece in ("ended (opener)", "ada", "payer (crewai", "asked 1 times", "30 min from its approval on"):
            assert piece in shown

        waiting = pool.submit(work)
        assert aegis("approvals", "approve", plan_asked(governor).approval_id)[0] == 0
        flow = waiting.result(60)
        assert aegis("workflows", "list")[1].count("close the books") == 2
        found = json.loads(aegis("workflows", "show", flow, "--json")[1])
        assert (found["used_usd"], found["asked"], found["members"][0]["agent_id"]) == (2, 1, "payer")
        said = aegis("workflows", "revoke", flow[:10], "--as", "ada")[1]
        assert said.startswith(f"{flow} has ended (opener): $2.00 of $7.00 was used, $0.00 beside the plan; 1 grants")

        block = opening(governor, "open ended")  # which nobody leaves before it is revoked
        waiting = pool.submit(lambda: block.__enter__().workflow_id)
        assert aegis("approvals", "approve", plan_asked(governor).approval_id)[0] == 0
        done = json.loads(aegis("workflows", "revoke", waiting.result(60), "--as", "ada", "--json")[1])
        assert (done["ended"], done["ended_by"]) == ("operator", "ada")
        block.__exit__(None, None, None)  # again is harmless


def test_a_plan_is_rejected(here: Settings, aegis) -> None:
    with connect_sync(settings=here) as governor, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: opening(governor, "books").__enter__())
        assert aegis("approvals", "reject", plan_asked(governor).approval_id, "--reason", "not in December")[0] == 0
        with pytest.raises(AegisDenied, match="rejected its plan"):
            waiting.result(60)
        assert "rejected" in aegis("workflows", "list")[1]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("show", "wf_" + "0" * 32), "There is no such workflow"),
        (("show", "wf_ff"), "workflow: wf_ff is no workflow's beginning"),
        (("revoke", "nonsense"), "is no workflow's beginning"),
        (("narrow", "wf_ff", "--step", "1"), "step: must be a number and times or an amount"),
        (("narrow", "wf_ff", "--for", "soon"), "for: must be a number and s, m, h or d"),
        (("narrow", "wf_" + "0" * 32, "--budget", "1"), "There is no such workflow"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_one_line(here: Settings, aegis, arguments: tuple[str, ...], problem: str) -> None:
    with connect_sync(settings=here) as governor:
        governor.handshake("any")
    code, out, err = aegis("workflows", *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert problem in err


@pytest.mark.parametrize("command", ["list", "show", "narrow", "revoke"])
def test_help_gives_an_example(aegis, command: str) -> None:
    assert f": aegis workflows {command}" in aegis("workflows", command, "--help")[1]

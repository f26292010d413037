"""``aegis route explain``, ``export`` and ``reset`` on a real server, as a person or a script meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from terminal import run_aegis

from aegis_core import Settings, connect_sync

Aegis = Callable[..., tuple[int, str, str]]


@pytest.fixture
def aegis(here: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Aegis:
    def run(*arguments: str, given: bytes = b"") -> tuple[int, str, str]:
        return run_aegis(monkeypatch, capsys, *arguments, given=given)

    return run


def explained(aegis: Aegis, *arguments: str, given: bytes = b"") -> dict[str, object]:
    """What ``explain --json`` says, which is JSON alone."""
    code, out, err = aegis("route", "explain", *arguments, "--json", given=given)
    assert (code, err) == (0, "")
    return json.loads(out)


@pytest.mark.leaves("grants")
def test_it_explains_what_the_verdict_then_says(here: Settings, aegis: Aegis) -> None:
    found = explained(aegis, "Prove the lemma", "--density", "8", "--task-type", "proof", "--max-output-tokens", "500")
    with connect_sync(settings=here) as governor:
        agent = governor.handshake("anyone")
        verdict = agent.request(
            "Prove the lemma", task_type="proof", logic_density=8, prompt_bytes=15, max_output_tokens=500
        )
    assert verdict.routing is not None
    assert found["recommended_model"] == verdict.recommended_model
    assert found["routing"]["note"] == verdict.routing.note  # type: ignore[index]
    assert found["candidates"][0]["reserves_usd"] == float(verdict.reserved_usd)  # type: ignore[index]


def test_the_policy_in_force_counts(here: Settings, aegis: Aegis) -> None:
    models = ["gpt-4.1", "gpt-4.1-mini"]
    rule = {"name": "ours", "type": "model_override", "models": models, "task_types": ["contract"]}
    Path("rules.json").write_text(json.dumps({"schema": 1, "rules": [rule]}))
    assert aegis("policy", "apply", "rules.json")[0] == 0
    asked = ("Work", "--density", "1", "--task-type")
    assert explained(aegis, *asked, "contract")["recommended_model"] == "gpt-4.1"
    assert explained(aegis, *asked, "letter")["recommended_model"] == "gemini-2.5-flash-lite"
    assert "The policy permits gpt-4.1, gpt-4.1-mini here." in aegis("route", "explain", *asked, "contract")[1]


@pytest.mark.parametrize("prompt", [b"", b"word " * 200_000, bytes(range(256)) * 500, "東京都 🙂".encode()])
def test_any_prompt_can_be_explained_from_standard_input(aegis: Aegis, prompt: bytes) -> None:
    """A megabyte is more than an argument may have."""
    found = explained(aegis, "-", "--max-output-tokens", "10", given=prompt)
    first = found["candidates"][0]  # type: ignore[index]
    assert first["reserves_usd"] >= len(prompt) / 2 * 0.1e-6, "the size is that of the bytes"


def test_a_ceiling_below_the_cheapest_is_a_refusal_of_one_line(aegis: Aegis) -> None:
    code, out, err = aegis("route", "explain", "Work", "--ceiling", "0.0000001")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "below the cheapest possibility" in err


def test_outcomes_are_exported_and_forgotten(here: Settings, aegis: Aegis) -> None:
    assert "No outcome was reported yet" in aegis("route", "export")[1]
    with connect_sync(settings=here) as governor:
        agent = governor.handshake("a")
        verdict = agent.request("Work", task_type="t", logic_density=1, estimated_cost_usd="0.001")
        agent.settle(verdict.grant_id or "", cost_usd="0.001", outcome=0.5)
    found = json.loads(aegis("route", "export", "--json")[1])
    assert (found["version"], len(found["rows"])) == (1, 3)
    assert {row["mean"] for row in found["rows"]} == {0.5}
    assert json.loads(aegis("route", "reset", "--json")[1]) == {"rows": 3}
    assert json.loads(aegis("route", "export", "--json")[1]) == {"version": 2, "rows": []}


@pytest.mark.parametrize("command", ["explain", "export", "reset", "fit", "eval", "report"])
def test_help_gives_an_example(aegis: Aegis, command: str) -> None:
    assert f"Example: aegis route {command}" in aegis("route", command, "--help")[1]

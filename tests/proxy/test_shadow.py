"""The proxy asks a cheaper model what an upstream has answered, after the answer, with money of Aegis's own agent."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from loopback import APIS, Providers, gemini_api, openai_api, providers
from loopback.answering import Asked, Bill, Said
from stands import Stand, standing

from aegis_core import Governor, Settings
from aegis_core.kaizen.experiments import shadow
from aegis_core.kaizen.experiments.judges import Answer, Task, Verifier
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.protocol.experiments import Experiment, ExperimentStart
from aegis_core.proxy.answers import answer_in
from aegis_core.proxy.shadowing import judge_named

PRESENT, CHEAP = "gpt-4", "gpt-4.1-nano"
WISH = ExperimentStart(task_type="sum", present=PRESENT, candidate=CHEAP, judge="verifier", share=1)


def right(task: Task, answer: Answer) -> bool:
    prompt: Any = task.prompt
    return prompt[-1]["content"].split()[-1] in answer.text.split()


JUDGE = Verifier(right)


def reply(asked: Asked) -> Said:
    number = asked.text.split()[-1]
    draw = random.Random(number).random()
    wrong = draw >= 0.85 if asked.model == PRESENT else draw < 0.05 or draw >= 0.90
    status = 500 if asked.model == CHEAP and number == "7" else 200
    return Said("I do not know" if wrong else f"It is {number}", sent=10, made=20, status=status)


@pytest.fixture
def at() -> Any:
    with providers(reply) as running:
        yield running


@pytest.fixture
def stand(settings: Settings, tmp_path: Path, at: Providers, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(shadow, "REFRESH_SECONDS", 0.02)
    settings = settings.model_copy(update={"shadow_judge": f"{__name__}:JUDGE"})
    with standing(settings, tmp_path, at.root) as made:
        yield made


def ask(stand: Stand, key: Any, words: str, **more: Any) -> Any:
    headers = {"x-aegis-task-type": "sum"} | more.pop("headers", {})
    body = {"model": PRESENT, "messages": [{"role": "user", "content": words}], "max_tokens": 64} | more
    return stand.post("/v1/chat/completions", key, body, **headers)


async def spent_before(port: Any) -> None:
    """Three dollars, of which 2 % may be spent on trials."""
    agent = await Governor(port).handshake("rich")
    granted = await agent.request("Work", estimated_cost_usd=3)
    await agent.settle(str(granted.grant_id), cost_usd=3)


def when(stand: Stand, name: str, pairs: int) -> Experiment:
    """The experiment once so many pairs are counted."""
    until = time.monotonic() + 30
    while (found := stand.run(stand.port.experiments.one(name))).pairs + found.skipped < pairs:
        assert time.monotonic() < until, found
        time.sleep(0.02)
    return found


def test_the_proxy_asks_a_cheaper_model_afterwards(stand: Stand, at: Providers) -> None:
    stand.run(spent_before(stand.port))
    name = stand.run(stand.port.experiments.start(WISH, author="ada")).experiment_id
    key = stand.key(budget="5")
    before = len(at.models)
    for number in range(12):
        answer = ask(stand, key, f"Say {number}")
        assert answer.status_code == 200
        assert answer.json()["model"] == PRESENT
        when(stand, name, number + 1)
    found = stand.run(stand.port.experiments.explain(name))
    truth = [random.Random(str(number)).random() for number in range(12)]
    present = sum(draw < 0.85 for draw in truth)
    candidate = sum(0.05 <= draw < 0.9 for number, draw in enumerate(truth) if number != 7)
    assert (found.experiment.pairs, found.experiment.missing, found.experiment.skipped) == (12, 0, 0)
    assert found.course[-1].ratio == pytest.approx(candidate / present, abs=1e-6)
    assert at.models[before:].count(PRESENT) == 12
    assert at.models[before:].count(CHEAP) == 11
    own = stand.events("kaizen", "granted")
    assert len(own) == 12
    assert own[0].facts["request"]["metadata"]["shadow_of"] == PRESENT
    assert own[0].facts["request"]["propensity"] == 1
    stand.ended("kaizen", 12)


def test_what_the_proxy_does_not_shadow(stand: Stand, at: Providers) -> None:
    stand.run(spent_before(stand.port))
    name = stand.run(stand.port.experiments.start(WISH, author="ada")).experiment_id
    key, narrow = stand.key(budget="5"), stand.key(budget="5", models=(PRESENT,))
    before = len(at.models)
    ask(stand, key, "Say 1", headers={"x-aegis-task-type": ""})
    ask(stand, key, "Say 1", headers={"x-aegis-task-type": "other"})
    ask(stand, key, "my key is sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD, say 2")
    ask(stand, narrow, "Say 3")
    assert when(stand, name, 1).skipped == 1, "the key may not call it"
    ask(stand, key, "Say 4")
    found = when(stand, name, 2)
    assert (found.pairs, found.skipped) == (1, 1)
    assert at.models[before:].count(CHEAP) == 1


def test_a_stream_is_shadowed_when_it_has_ended(stand: Stand, at: Providers) -> None:
    stand.run(spent_before(stand.port))
    name = stand.run(stand.port.experiments.start(WISH, author="ada")).experiment_id
    key = stand.key(budget="5")
    before = len(at.models)
    for number in range(4):
        answer = ask(stand, key, f"Say {number}", stream=True)
        assert answer.text.rstrip().endswith("data: [DONE]")
        when(stand, name, number + 1)
    found = stand.run(stand.port.experiments.explain(name))
    truth = [random.Random(str(number)).random() for number in range(4)]
    ratio = sum(0.05 <= draw < 0.9 for draw in truth) / sum(draw < 0.85 for draw in truth)
    assert (found.experiment.pairs, found.course[-1].ratio) == (4, pytest.approx(ratio, abs=1e-6))
    assert at.models[before:] == [PRESENT, CHEAP] * 4


SAID = Said("It is 17, and no more", calls=(("pay", {"amount": 1}), ("look", {"at": ["a", "b"]})), version="v-1")


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.__name__.rpartition(".")[2])
def test_a_stream_is_read_as_the_same_answer_whole(api: Any) -> None:
    asked = Asked(model="m", text="x", streams=True, body={})
    bill = Bill.of(asked, SAID, 1)
    whole = answer_in(json.dumps(api.answer(asked, SAID, bill)).encode(), "m")
    assert whole is not None
    assert (whole.text, whole.failed) == (SAID.text, False)
    assert [(name, json.loads(said)) for name, said in whole.calls] == [*SAID.calls]
    assert whole.version == ("v-1" if api is openai_api else "m")
    events = [each if isinstance(each, str) else json.dumps(each) for each in api.events(asked, SAID, bill)]
    lines = [f"event: x\ndata: {each}\n\n".encode() for each in events]
    assert answer_in(b"".join(lines), "m") == whole
    ended = [at for at in range(len(lines)) if answer_in(b"".join(lines[:at]), "m") == whole]
    assert all(at > 0.6 * len(lines) for at in ended), "only with its end is it an answer"
    for at in set(range(1, len(lines))) - set(ended):
        assert answer_in(b"".join(lines[:at]), "m") is None
        assert answer_in(b"".join(lines[:at])[:-9], "m") is None
    if api is gemini_api:
        assert answer_in(f"[{','.join(events)}]".encode(), "m") == whole


def test_what_is_no_answer_has_failed() -> None:
    for data in (b"", b"{}", b'{"choices": []}', b'{"content": [{}]}', b"{"):
        assert answer_in(data, "m") == Answer("m", failed=True)
    for data in (b"data: {", b"[{", b"<html>", b"data: [DONE]\n\n"):
        assert answer_in(data, "m") is None


def test_a_judge_is_named_or_refused() -> None:
    assert judge_named("exact-agreement").name == "exact-agreement"
    assert judge_named(f"{__name__}:JUDGE") is JUDGE
    for name in ("nothing", "os:nothing", "os:path", "no.such.module:judge", ":"):
        with pytest.raises(ConfigurationError, match="AEGIS_SHADOW_JUDGE"):
            judge_named(name)

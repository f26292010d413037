"""The governed model: what it measures, what it hands through, and how it stops CrewAI."""

from __future__ import annotations

import asyncio
import json
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aegis_crewai import CallRefused, CallStopped, GovernedLLM
from crewai import LLM
from crewai.hooks import HookAborted
from crewai.llms.base_llm import call_stop_override, call_stream_override
from crewai.utilities.converter import Converter
from pydantic import BaseModel

from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.connect import connect_sync
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.settings import Settings
from aegis_core.testing import ModelScript, Turn, carry_out
from aegis_core.testing.contract.base import price, reserved, spent

from .harness import ScriptedLLM, crew_of

pytestmark = pytest.mark.concurrent

SUNNY = Turn("It is sunny in Bern.", usage=(321, 12), seconds=0.05)
SAID = [{"role": "user", "content": "What is the weather?"}]


class CountsByItself(ScriptedLLM):
    """As Bedrock's class: its own counting, past CrewAI's."""

    def _track_token_usage_internal(self, usage_data: dict[str, Any]) -> None:
        self._token_usage["prompt_tokens"] += usage_data["prompt_tokens"]
        self._token_usage["completion_tokens"] += usage_data["completion_tokens"]


@pytest.mark.parametrize("kind", [ScriptedLLM, CountsByItself])
def test_calls_at_the_same_time_are_measured_apart(aegis: SyncGovernedAgent, kind: type[ScriptedLLM]) -> None:
    script = ModelScript(SUNNY)
    behind = kind(script)
    llm = GovernedLLM(aegis=aegis, models=behind)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(llm.call, [SAID] * 24)) == [SUNNY.text] * 24
    assert (spent(aegis), reserved(aegis)) == (24 * price(SUNNY), 0)
    assert llm.get_token_usage_summary().prompt_tokens == behind.get_token_usage_summary().prompt_tokens == 24 * 321


def test_several_answers_of_one_call_are_all_reserved(governor: SyncGovernor, aegis: SyncGovernedAgent) -> None:
    """Each may be as long as the model's cap."""
    governor.set_budget("agent", aegis.agent_id, "day", "0.0002")
    script = ModelScript(SUNNY, cap=100)
    behind = ScriptedLLM(script)
    behind.n = 8
    with pytest.raises(CallRefused, match=r"it costs up to \$0\.0004"):
        GovernedLLM(aegis=aegis, models=behind).call(SAID)
    assert script.calls == []


async def test_coroutines_at_the_same_time_are_measured_apart(aegis: SyncGovernedAgent) -> None:
    llm = GovernedLLM(aegis=aegis, models=ScriptedLLM(ModelScript(SUNNY)))
    await asyncio.gather(*(llm.acall(SAID) for _ in range(8)))
    assert (spent(aegis), reserved(aegis)) == (8 * price(SUNNY), 0)


async def test_a_cancelled_coroutine_is_charged_as_reserved(aegis: SyncGovernedAgent) -> None:
    script = ModelScript(Turn("Too late.", seconds=30))
    behind = ScriptedLLM(script)
    llm = GovernedLLM(aegis=aegis, models=behind)
    with pytest.raises(TimeoutError):
        await carry_out(llm.acall(SAID), script.reached)
    try:
        async with asyncio.timeout(25):  # the model itself would end later
            while await asyncio.to_thread(reserved, aegis):  # noqa: ASYNC110 - it is in the server
                await asyncio.sleep(0.02)
        assert await asyncio.to_thread(spent, aegis) > 0
    finally:
        behind.hang_up()


def test_crewais_settings_of_one_call_reach_the_model_behind(aegis: SyncGovernedAgent) -> None:
    seen: list[Any] = []

    class Watched(ScriptedLLM):
        def call(self, *args: Any, **kwargs: Any) -> Any:
            seen.append((self.stop_sequences, self._effective_stream(), kwargs["response_model"]))
            return super().call(*args, **kwargs)

    class Weather(BaseModel):
        sunny: bool

    behind = Watched(ModelScript(SUNNY))
    behind.stop = ["Halt"]
    llm = GovernedLLM(aegis=aegis, models=behind)
    with call_stop_override(llm, ["Observation:"]), call_stream_override(llm, True):
        llm.call("What is the weather?", response_model=Weather)
    llm.call("What is the weather?", response_model=None)
    assert seen == [(["Observation:"], True, Weather), (["Halt"], None, None)]
    assert llm.get_context_window_size() == 100_000
    assert llm.supports_function_calling()


def test_crewais_own_clients_keep_what_they_declare(aegis: SyncGovernedAgent) -> None:
    behind = LLM(model="gpt-4o-mini", api_key="none", max_tokens=77)
    llm = GovernedLLM(aegis=aegis, models=behind)
    assert llm.get_context_window_size() == behind.get_context_window_size() > 50_000
    assert (llm.model, llm.provider, llm.max_tokens) == ("gpt-4o-mini", "openai", 77)


def test_a_model_by_name_gets_the_cap_of_the_agent(aegis: SyncGovernedAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    llm = GovernedLLM(aegis=aegis, models=["gpt-4o-mini", "gpt-4o"], max_output_tokens=99)
    assert [each.max_tokens for each in llm.models] == [99, 99]


def test_a_refusal_that_speaks_of_a_rate_limit_is_not_repeated(settings: Settings, tmp_path: Path) -> None:
    """CrewAI would wait and call again."""
    policy = tmp_path / "policy.json"
    rule = {"name": "closed", "type": "blocked_intent", "phrases": ["weather"], "reason": "the rate limit is 0"}
    policy.write_text(json.dumps({"schema": 1, "rules": [rule]}))
    with connect_sync(settings=settings.model_copy(update={"policy_file": policy})) as governor:
        aegis = governor.handshake("crew")
        script = ModelScript(SUNNY)
        with pytest.raises(CallRefused, match="rate limit"):
            GovernedLLM(aegis=aegis, models=ScriptedLLM(script), intent="Tell the weather").call(SAID)
        assert script.calls == []
        events = governor.events()
        kinds = [event.kind for event in (*events, *governor.events(after=events[-1].id))]
        assert (kinds.count("rejected"), kinds.count("refusals_repeated")) == (1, 0)


def test_a_throttled_provider_is_asked_again_and_paid_once(
    aegis: SyncGovernedAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By CrewAI's own repeats, under the one reservation."""
    monkeypatch.setattr("crewai.llms.retry.get_retry_delay_seconds", lambda *_args, **_kwargs: 0.01)
    script = ModelScript(Turn(error=RuntimeError("429 too many requests")), SUNNY)
    assert GovernedLLM(aegis=aegis, models=ScriptedLLM(script)).call(SAID) == SUNNY.text
    assert len(script.calls) == 2
    assert (spent(aegis), reserved(aegis)) == (price(SUNNY), 0)


def test_a_denial_is_an_abort_of_crewai(aegis: SyncGovernedAgent, governor: SyncGovernor) -> None:
    governor.set_budget("agent", aegis.agent_id, "day", "0.000001")
    llm = GovernedLLM(aegis=aegis, models=ScriptedLLM(ModelScript(SUNNY)))
    with pytest.raises(CallRefused) as caught:
        crew_of(llm, [], "What is the weather?", retries=5).kickoff()
    error = caught.value
    assert isinstance(error, AegisDenied)
    assert isinstance(error, HookAborted)
    assert isinstance(error, ValueError)
    assert (error.code, error.reason, error.source) == ("budget_exceeded", error.message, "aegis")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.code, again.reason, again.facts) == (CallRefused, error.code, error.reason, error.facts)


def test_a_model_without_a_known_price_is_not_called(aegis: SyncGovernedAgent) -> None:
    script = ModelScript(SUNNY, model="nobodys-model")
    llm = GovernedLLM(aegis=aegis, models=ScriptedLLM(script))
    with pytest.raises(CallStopped, match="nobodys-model") as caught:
        crew_of(llm, [], "What is the weather?", retries=5).kickoff()
    assert caught.value.code == "unknown_model"
    assert isinstance(caught.value, HookAborted)
    assert script.calls == []


def test_a_model_without_a_cap_reserves_the_models_most_and_says_so(
    aegis: SyncGovernedAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegis_core.adapting.costs._unbounded", set[str]())  # it is said once in a process
    llm = GovernedLLM(aegis=aegis, models=ScriptedLLM(ModelScript(SUNNY, model="gpt-4.1-nano", cap=None)))
    with pytest.warns(UserWarning, match="no output cap"):
        llm.call(SAID)
    assert reserved(aegis) == 0


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ([], "at least one"),
        ([3], "models of CrewAI or their names"),
        ("twice", "none twice"),
        ("governed", "charged twice"),
    ],
)
def test_models_are_checked(aegis: SyncGovernedAgent, models: Any, said: str) -> None:
    one = ScriptedLLM(ModelScript(SUNNY))
    given = {"twice": [one, ScriptedLLM(ModelScript(SUNNY))], "governed": GovernedLLM(aegis=aegis, models=one)}
    with pytest.raises(ConfigurationError, match=said):
        GovernedLLM(aegis=aegis, models=given.get(models, models) if isinstance(models, str) else models)


def test_aegis_is_checked(governor: SyncGovernor) -> None:
    for aegis in (governor, None, "crew"):
        with pytest.raises(ConfigurationError, match="aegis= takes an agent of Aegis"):
            GovernedLLM(aegis=aegis, models=ScriptedLLM(ModelScript(SUNNY)))


def test_a_call_past_the_model_is_stopped(aegis: SyncGovernedAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    """CrewAI's converter to JSON asks the provider by a client of its own."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")

    class Weather(BaseModel):
        sunny: bool

    llm = GovernedLLM(aegis=aegis, models=ScriptedLLM(ModelScript(SUNNY)))
    with pytest.raises(CallStopped, match="output_pydantic"):
        Converter(llm=llm, text="sunny", model=Weather, instructions="Convert").to_json()


def test_another_thread_than_the_loop_of_the_agent(settings: Settings) -> None:
    """An agent of `connect` is asked from CrewAI's threads while its loop runs."""
    from aegis_core.connect import connect

    async def body() -> tuple[str, Any]:
        async with connect(settings=settings) as governor:
            aegis = await governor.handshake("crew")
            llm = GovernedLLM(aegis=aegis, models=ScriptedLLM(ModelScript(SUNNY)))
            return str(await crew_of(llm, [], "What is the weather?").akickoff()), threading.active_count()

    assert asyncio.run(body())[0] == SUNNY.text


def test_importing_it_loads_nothing_heavy() -> None:
    """Neither CrewAI before its first use, nor another framework ever."""
    program = (
        "import sys, aegis_crewai; early = 'crewai' in sys.modules; aegis_crewai.govern_crew;"
        "others = {'langchain', 'langchain_core', 'langgraph', 'autogen', 'autogen_agentchat'} & set(sys.modules);"
        "print(early, 'crewai' in sys.modules, sorted(others))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=170, check=True)
    assert done.stdout.strip().splitlines()[-1] == "False True []"


def test_without_crewai_one_sentence_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "crewai").mkdir()
    (tmp_path / "crewai" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module\", name='crewai')")
    program = "from aegis_crewai import govern_crew"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=170, check=False,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin"},
    )  # fmt: skip
    assert "pip install '.[crewai]' in a checkout of Aegis" in done.stderr.strip().splitlines()[-1]

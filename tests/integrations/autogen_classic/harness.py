"""Classic AutoGen's side of the contract, for `autogen` and `pyautogen`: an assistant and its proxy on a script."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import tempfile
import threading
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar
from uuid import uuid4

import openai
from aegis_autogen import register_governor
from autogen import Cache, ConversableAgent
from autogen.oai.client import ModelClient

from aegis_core.testing import Drive, ModelScript, RunEnd, Turn, carry_out


class ScriptedClient:
    """A model client on the script, as AutoGen lets users register their own."""

    cap_parameter = "max_tokens"

    def __init__(self, config: dict[str, Any], run: Run) -> None:
        self._run = run

    def create(self, params: dict[str, Any]) -> Any:
        run = self._run
        others = {name for name in params if name.startswith(("max_", "num_"))} - {self.cap_parameter}
        assert not others, f"{params['model']} does not know {others}"
        try:
            turn = run.script.answer(model=params["model"], cap=params.get(self.cap_parameter))
        except ConnectionError as error:
            if not (run.ask.retries or run.ask.fallback):
                raise
            # The one kind of error after which AutoGen tries the next entry of its list.
            raise openai.APIError(str(error), request=None, body=None) from error  # type: ignore[arg-type]
        run.over.wait(turn.seconds)
        return response_of(turn, params["model"])

    def message_retrieval(self, response: Any) -> list[Any]:
        return [choice.message for choice in response.choices]

    def cost(self, response: Any) -> float:
        return 0.0

    @staticmethod
    def get_usage(response: Any) -> dict[str, Any]:
        usage = response.usage
        counts = (0, 0) if usage is None else (usage.prompt_tokens, usage.completion_tokens)
        names = ("prompt_tokens", "completion_tokens", "total_tokens", "cost", "model")
        return dict(zip(names, (*counts, sum(counts), 0.0, response.model), strict=True))


class OpenAIResponsesClient(ScriptedClient):
    """Takes the cap as the client of that name."""

    cap_parameter = "max_output_tokens"


class OllamaClient(ScriptedClient):
    """Takes the cap as the client of that name."""

    cap_parameter = "num_predict"


MIXED: list[type[ScriptedClient]] = [ScriptedClient, OpenAIResponsesClient, OllamaClient]


class Message(dict[str, Any]):
    """What AutoGen takes for an answer with tool calls: a model that can dump itself."""

    def model_dump(self) -> dict[str, Any]:
        return dict(self)


def response_of(turn: Turn, model: str) -> Any:
    message: Any = turn.text
    if turn.tools:
        calls = [
            {
                "id": use.call_id,
                "type": "function",
                "function": {"name": use.tool, "arguments": json.dumps(dict(use.arguments))},
            }
            for use in turn.tools
        ]
        message = Message(role="assistant", content=turn.text or None, tool_calls=calls)
    usage = None
    if turn.usage is not None:
        usage = SimpleNamespace(prompt_tokens=turn.usage[0], completion_tokens=turn.usage[1])
    choices = [SimpleNamespace(message=message)]
    return SimpleNamespace(id=uuid4().hex, choices=choices, usage=usage, model=model, cost=0.0)


class Run:
    """A script, how it is driven, and whether the program has stopped to wait for it."""

    def __init__(self, script: ModelScript, ask: Drive) -> None:
        self.script, self.ask, self.over = script, ask, threading.Event()

    def __deepcopy__(self, memo: object) -> Run:
        return self

    @property
    def clients(self) -> list[tuple[str, type[ScriptedClient]]]:
        """Of each entry of the config list."""
        if self.ask.mixed:
            return list(zip(self.ask.models, MIXED, strict=True))
        return [(self.script.model, ScriptedClient)] * (self.ask.retries + 1)

    def config(self) -> dict[str, Any]:
        more: dict[str, Any] = {} if self.script.cap is None else {"max_tokens": self.script.cap}
        more |= {} if self.ask.schema is None else {"response_format": self.ask.schema}
        entries = [
            {"model": model, "model_client_cls": kind.__name__, "api_key": "none", **more}
            for model, kind in self.clients
        ]
        spare = [dict(entries[0])] if self.ask.fallback else []
        return {"config_list": [*entries, *spare], "cache_seed": None}

    def activate(self, agent: ConversableAgent) -> None:
        for _, kind in self.clients:
            agent.register_model_client(model_client_cls=kind, run=self)
        if self.ask.fallback:
            agent.register_model_client(model_client_cls=ScriptedClient, run=Run(self.ask.fallback, self.ask))


class ClassicHarness:
    """`register_governor` on an assistant and on the proxy that runs its tools."""

    framework = "Classic AutoGen"
    modes = ("sync", "async", "batch")
    lacks: ClassVar = {
        "stream": "a chat answers in whole messages; what a provider streams is put together inside AutoGen's client",
        "astream": "a chat answers in whole messages; what a provider streams is put together inside AutoGen's client",
        "pickling": "an agent of classic AutoGen holds locks and closures of its own and cannot be pickled",
        "cancelled_at_once": "AutoGen makes the call in a thread that asyncio cannot stop; it is settled when it ends",
        "tool_errors": "AutoGen catches what a function raises, and hands on only its words",
    }

    proofs: ClassVar = {
        "stream": lambda: not any("stream" in name for name in dir(ModelClient)),
        "pickling": lambda: fails(pickle.dumps, ConversableAgent("assistant", llm_config=False)),
    }

    def run(self, aegis: Any, script: ModelScript, ask: Drive) -> RunEnd:
        run = Run(script, ask)
        governed: dict[str, Any] = {
            "costs": ask.costs, "locks": ask.locks, "models": ask.models, "approval_seconds": ask.approval_seconds,
            "logic_density": ask.density,
        }  # fmt: skip
        assistant = ConversableAgent("assistant", system_message="Help.", llm_config=run.config(), **QUIET)
        user = ConversableAgent("user", llm_config=False, is_termination_msg=ends, **QUIET)
        for name in script.tools:
            register_tool(assistant, user, name, script)
        run.activate(assistant)
        register_governor(assistant, aegis, **governed)
        register_governor(user, aegis, **governed)
        if ask.copied:
            assistant = copy.deepcopy(assistant)
        if ask.nested:
            outer = ConversableAgent("outer", llm_config=False, **QUIET)
            outer.register_nested_chats(
                [{"recipient": assistant, "summary_method": "last_msg", "max_turns": 1}], trigger=user
            )
            register_governor(outer, aegis, **governed)
            assistant = outer
        end = caught(lambda: drive(user, assistant, run))
        if ask.schema is None or end.text is None:
            return end
        return RunEnd(end.text, end.observations, parsed=ask.schema.model_validate_json(end.text))


QUIET: dict[str, Any] = {"human_input_mode": "NEVER", "code_execution_config": False}


def register_tool(caller: ConversableAgent, executor: ConversableAgent, name: str, script: ModelScript) -> None:
    """Give the caller a tool and its executor the function."""

    def function(amount: int = 0) -> str:
        return script.use(name, {"amount": amount})

    function.__name__ = name
    caller.register_for_llm(name=name, description=f"The tool {name}.")(function)
    executor.register_for_execution(name=name)(lambda **arguments: script.use(name, arguments))


def ends(message: dict[str, Any]) -> bool:
    return not message.get("tool_calls")


def drive(user: ConversableAgent, assistant: ConversableAgent, run: Run) -> RunEnd:
    """One chat, by the entry point asked for."""

    def chat(**more: Any) -> Any:
        return user.initiate_chat(assistant, message=run.script.user, silent=True, max_turns=40, **more)

    async def achat() -> Any:
        chatting = user.a_initiate_chat(assistant, message=run.script.user, silent=True, max_turns=40)
        try:
            return await carry_out(chatting, run.ask.cancel)
        except TimeoutError:
            asyncio.get_running_loop().call_later(0.2, run.over.set)
            raise

    if run.ask.mode == "batch":
        one = {"recipient": assistant, "message": run.script.user, "silent": True, "max_turns": 40}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Repetitive recipients")
            return outcome_of(user.initiate_chats([dict(one) for _ in range(run.ask.batch)])[0])
    if run.ask.cached:
        with tempfile.TemporaryDirectory() as folder, Cache.disk(cache_seed=1, cache_path_root=folder) as cache:
            chat(cache=cache)
            return outcome_of(chat(cache=cache))
    return outcome_of(asyncio.run(achat()) if run.ask.mode == "async" else chat())


def fails(work: Callable[..., Any], *given: Any) -> bool:
    try:
        work(*given)
    except Exception:
        return True
    return False


def outcome_of(result: Any) -> RunEnd:
    told = [each["content"] for message in result.chat_history for each in message.get("tool_responses", ())]
    return RunEnd(result.chat_history[-1]["content"], told)


def caught(work: Callable[[], RunEnd]) -> RunEnd:
    try:
        return work()
    except (Exception, asyncio.CancelledError) as error:
        return RunEnd(error=error)

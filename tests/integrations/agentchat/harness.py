"""agentchat's side of the contract: an `AssistantAgent` on a scripted model client, alone and in a team."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import pickle
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, ClassVar

from aegis_autogen.agentchat import GovernedChatCompletionClient, govern_tools
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.messages import ModelClientStreamingChunkEvent, StructuredMessage, ToolCallExecutionEvent
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core import FunctionCall
from autogen_core.models import ChatCompletionClient, CreateResult, ModelFamily, RequestUsage
from autogen_ext.models.cache import ChatCompletionCache

from aegis_core.testing import Drive, ModelScript, RunEnd, Turn, carry_out

_PICKLED: dict[int, Any] = {}
"""Scripts cannot be pickled; what is tested is the client around them."""


class ScriptedClient(ChatCompletionClient):
    """A model on the script. Streams word by word, the result last."""

    cap_argument = "max_tokens"

    def __init__(self, script: ModelScript, model: str | None = None) -> None:
        self.script, self.model = script, model or script.model

    def __deepcopy__(self, memo: object) -> ScriptedClient:
        return self

    def __reduce__(self) -> Any:
        _PICKLED[id(self)] = self
        return _pickled, (id(self),)

    async def create(self, messages: Any, *, extra_create_args: Any = None, **more: Any) -> CreateResult:
        turn = self._answer(extra_create_args)
        await asyncio.sleep(turn.seconds)
        return result_of(turn)

    async def create_stream(
        self, messages: Any, *, extra_create_args: Any = None, **more: Any
    ) -> AsyncGenerator[str | CreateResult, None]:
        turn = self._answer(extra_create_args)
        await asyncio.sleep(turn.seconds)
        for position, word in enumerate(turn.text.split(" ")[: turn.breaks_after]):
            yield word if position == 0 else " " + word
        if turn.error is not None:
            raise turn.error
        yield result_of(turn)

    def _answer(self, extra: Any) -> Turn:
        sent = extra or {}
        assert set(sent) <= {self.cap_argument, "n"}, f"{self.model} does not know {set(sent)}"
        return self.script.answer(model=self.model, cap=sent.get(self.cap_argument))

    async def close(self) -> None: ...

    def actual_usage(self) -> RequestUsage:
        return RequestUsage(0, 0)

    total_usage = actual_usage

    def count_tokens(self, messages: Any, **more: Any) -> int:
        return 0

    remaining_tokens = count_tokens

    @property
    def capabilities(self) -> Any:
        return self.model_info

    @property
    def model_info(self) -> Any:
        return {
            "vision": False, "function_calling": True, "json_output": False, "structured_output": True,
            "family": ModelFamily.UNKNOWN,
        }  # fmt: skip


def behind(script: ModelScript, ask: Drive) -> dict[str, ChatCompletionClient]:
    """The clients among which Aegis may choose; where they are mixed, as of several providers."""
    kinds = {"BaseOpenAIChatCompletionClient": "max_completion_tokens", "OllamaChatCompletionClient": "num_predict"}
    others = [type(name, (ScriptedClient,), {"cap_argument": argument}) for name, argument in kinds.items()]
    made = [ScriptedClient, *others] if ask.mixed else [ScriptedClient] * len(ask.models)
    return {name: kind(script, name) for kind, name in zip(made, ask.models, strict=True)}


def _pickled(key: int) -> Any:
    return _PICKLED[key]


def result_of(turn: Turn) -> CreateResult:
    calls = [FunctionCall(use.call_id, json.dumps(dict(use.arguments)), use.tool) for use in turn.tools]
    usage = RequestUsage(*(turn.usage or (0, 0)))
    return CreateResult(
        finish_reason="function_calls" if calls else "stop", content=calls or turn.text, usage=usage, cached=False
    )


def tools_of(script: ModelScript) -> list[Callable[..., Any]]:
    """Functions with the signatures of the script's tools, which AutoGen reads."""

    def made(name: str) -> Callable[..., Any]:
        async def run(**arguments: Any) -> str:
            return await asyncio.to_thread(script.use, name, arguments)

        run.__name__, run.__doc__ = name, f"The tool {name}."
        run.__signature__ = inspect.signature(script.tools[name], eval_str=True)  # type: ignore[attr-defined]
        run.__annotations__ = inspect.get_annotations(script.tools[name], eval_str=True)
        return run

    return [made(name) for name in script.tools]


class AgentHarness:
    """`GovernedChatCompletionClient` and `govern_tools` in an `AssistantAgent`."""

    framework = "agentchat"
    modes = ("async", "astream")
    lacks: ClassVar = {
        "sync": "agentchat is asynchronous throughout",
        "stream": "agentchat is asynchronous throughout",
        "batch": "an agent of agentchat takes one task at a time",
        "retries": "agentchat has none; those of a provider's library happen within one call",
        "fallbacks": "agentchat names no client that stands in for another one; a fail-over is the program's own",
    }

    proofs: ClassVar = {
        "sync": lambda: inspect.iscoroutinefunction(AssistantAgent.run),
        "stream": lambda: inspect.isasyncgenfunction(AssistantAgent.run_stream),
        "batch": lambda: not any("batch" in name for name in dir(AssistantAgent)),
        "retries": lambda: not any("retr" in name for name in inspect.signature(AssistantAgent.__init__).parameters),
    }

    def run(self, aegis: Any, script: ModelScript, ask: Drive) -> RunEnd:
        return caught(lambda: asyncio.run(carry_out(self.body(aegis, script, ask), ask.cancel)))

    async def body(self, aegis: Any, script: ModelScript, ask: Drive) -> RunEnd:
        agent = self.agent(aegis, script, ask)
        runner = self.runner(agent, ask)
        if ask.cached:
            await runner.run(task=script.user)
            runner = self.runner(AssistantAgent("assistant", agent._model_client), ask)
        if ask.mode != "astream":
            return outcome_of((await runner.run(task=script.user)).messages)
        words: list[str] = []
        event: Any = None
        async with aclosing(runner.run_stream(task=script.user)) as stream:
            async for event in stream:
                if isinstance(event, ModelClientStreamingChunkEvent):
                    words.append(event.content)
                    if len(words) == ask.take:
                        return RunEnd("".join(words))
        return outcome_of(event.messages)

    def runner(self, agent: AssistantAgent, ask: Drive) -> Any:
        return team_of(team_of(agent, ask), ask) if ask.nested else agent

    def agent(self, aegis: Any, script: ModelScript, ask: Drive) -> AssistantAgent:
        inner: Any = ScriptedClient(script)
        if ask.cached:
            inner = ChatCompletionCache(inner)
        client: Any = GovernedChatCompletionClient(
            inner,
            aegis,
            model=script.model,
            models=behind(script, ask),
            max_output_tokens=script.cap or 4_096,
            logic_density=ask.density,
            approval_seconds=ask.approval_seconds,
            thread=ask.thread,
        )
        if ask.copied:
            client = copy.deepcopy(client)
        if ask.pickled:
            client = pickle.loads(pickle.dumps(client))
        tools: Any = govern_tools(
            tools_of(script),
            aegis,
            costs=ask.costs,
            locks=ask.locks,
            approval_seconds=ask.approval_seconds,
            thread=ask.thread,
        )
        return AssistantAgent(
            "assistant", client, tools=tools, model_client_stream=ask.mode == "astream", max_tool_iterations=40,
            output_content_type=ask.schema,
        )  # fmt: skip


def outcome_of(messages: Any) -> RunEnd:
    told = [each.content for event in messages if isinstance(event, ToolCallExecutionEvent) for each in event.content]
    last = messages[-1].content
    return RunEnd(last, told) if isinstance(last, str) else RunEnd(observations=told, parsed=last)


def caught(work: Callable[[], RunEnd]) -> RunEnd:
    try:
        return work()
    except (Exception, asyncio.CancelledError) as error:
        return RunEnd(error=error)


class TeamHarness(AgentHarness):
    """The same agent as the member of a team, out of which every error comes as a `RuntimeError`."""

    framework = "An agentchat team"

    def runner(self, agent: AssistantAgent, ask: Drive) -> Any:
        return team_of(team_of(agent, ask), ask) if ask.nested else team_of(agent, ask)


def team_of(member: Any, ask: Drive) -> RoundRobinGroupChat:
    """Ends after the task and one answer."""
    shapes: Any = None if ask.schema is None else [StructuredMessage[ask.schema]]
    return RoundRobinGroupChat([member], termination_condition=MaxMessageTermination(2), custom_message_types=shapes)

"""LangChain's side of the contract: a chat model and tools on a script, driven by every entry point."""

from __future__ import annotations

import asyncio
import copy
import pickle
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar

from aegis_langchain import AegisCallbackHandler, AegisMiddleware, GovernedChatModel
from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware, ModelRetryMiddleware
from langchain.agents.structured_output import ProviderStrategy
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.output_parsers import PydanticOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command
from pydantic import PrivateAttr

from aegis_core.client.sync_approvals import SyncApprovals
from aegis_core.protocol.denial import AegisDenied
from aegis_core.testing import Drive, ModelScript, RunEnd, ToolUse, Turn, carry_out

_providers: dict[int, ScriptedChat] = {}


def _provider(key: int) -> ScriptedChat:
    return _providers[key]


class ScriptedChat(BaseChatModel):
    """The script's model. Streams its words one by one, the usage last."""

    model_name: str
    max_tokens: int | None = None
    cap_keyword: ClassVar = "max_tokens"
    _script: ModelScript = PrivateAttr()

    def __init__(self, script: ModelScript, **values: Any) -> None:
        super().__init__(**{"model_name": script.model, "max_tokens": script.cap, **values})
        self._script = script

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_model_name": self.model_name, "ls_max_tokens": kwargs.get("max_tokens", self.max_tokens)}

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Any:
        return self.bind(response_format=schema) | PydanticOutputParser(pydantic_object=schema)

    def __deepcopy__(self, memo: Any = None) -> ScriptedChat:
        return self  # its script is the provider, of which there is one

    def __reduce__(self) -> Any:
        _providers[id(self)] = self
        return (_provider, (id(self),))

    def _answer(self, kwargs: Any) -> Turn:
        others = {name for name in kwargs if name.startswith(("max_", "num_"))} - {self.cap_keyword}
        assert not others, f"{self.model_name} does not know {others}"
        return self._script.answer(model=self.model_name, cap=kwargs.get(self.cap_keyword, self.max_tokens))

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        turn = self._answer(kwargs)
        time.sleep(turn.seconds)
        return ChatResult(generations=[ChatGeneration(message=message_of(turn))])

    async def _agenerate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        turn = self._answer(kwargs)
        await asyncio.sleep(turn.seconds)
        return ChatResult(generations=[ChatGeneration(message=message_of(turn))])

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        turn = self._answer(kwargs)
        for chunk in chunks_of(turn):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk
        if turn.error is not None:
            raise turn.error

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        turn = self._answer(kwargs)
        await asyncio.sleep(turn.seconds)
        for chunk in chunks_of(turn):
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk
        if turn.error is not None:
            raise turn.error


def behind(script: ModelScript, ask: Drive, **values: Any) -> list[ScriptedChat]:
    """The models among which Aegis may choose, or the script's; where they are mixed, as of several providers."""
    kinds = {"BaseChatOpenAI": "max_completion_tokens", "ChatGoogleGenerativeAI": "max_output_tokens"}
    others = [type(name, (ScriptedChat,), {"cap_keyword": keyword}) for name, keyword in kinds.items()]
    made = [ScriptedChat, *others] if ask.mixed else [ScriptedChat] * len(ask.models)
    return [kind(script, model_name=name, **values) for kind, name in zip(made, ask.models, strict=True)] or [
        ScriptedChat(script, **values)
    ]


def usage_of(turn: Turn) -> Any:
    if turn.usage is None:
        return None
    return {"input_tokens": turn.usage[0], "output_tokens": turn.usage[1], "total_tokens": sum(turn.usage)}


def message_of(turn: Turn) -> AIMessage:
    calls = [{"name": use.tool, "args": dict(use.arguments), "id": use.call_id} for use in turn.tools]
    return AIMessage(turn.text, tool_calls=calls, usage_metadata=usage_of(turn))


def chunks_of(turn: Turn) -> Iterator[ChatGenerationChunk]:
    words = turn.text.split(" ")
    for position, word in enumerate(words[: turn.breaks_after]):
        yield ChatGenerationChunk(message=AIMessageChunk(word if position == 0 else " " + word))
    if turn.error is None:
        yield ChatGenerationChunk(message=AIMessageChunk("", usage_metadata=usage_of(turn)))


def tools_of(script: ModelScript) -> list[BaseTool]:
    def made(name: str) -> BaseTool:
        def run(**arguments: Any) -> str:
            return script.use(name, arguments)

        schema = {"type": "object", "properties": {"amount": {"type": "integer"}}}
        return StructuredTool(name=name, description=f"The tool {name}.", args_schema=schema, func=run)

    return [made(name) for name in script.tools]


class Hearing(BaseCallbackHandler):
    """A handler that notes what it hears, and answers what it was given."""

    raise_error = True

    def __init__(self, answer: Any = None) -> None:
        self.heard: list[str] = []
        self._answer = answer

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> Any:
        self.heard.append("start")
        return self._answer

    def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
        self.heard.append("end")

    def on_llm_error(self, *args: Any, **kwargs: Any) -> None:
        self.heard.append("error")

    def on_tool_start(self, *args: Any, **kwargs: Any) -> Any:
        _mark.set("set")
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


_mark: ContextVar[str | None] = ContextVar("mark", default=None)


def heard(*, cancelled: bool = False) -> tuple[str | None, list[str]]:
    """What a model answers when a callback hands out another one, and what the callback hears."""
    hearing = Hearing(ScriptedChat(ModelScript(Turn("another's"))))
    script = ModelScript(Turn("its own", seconds=30 if cancelled else 0))
    model = ScriptedChat(script)
    config: Any = {"callbacks": [hearing]}
    if not cancelled:
        return model.invoke("Who are you?", config).text, hearing.heard

    async def body() -> None:
        with suppress(TimeoutError):
            await carry_out(model.ainvoke("Who are you?", config), script.reached)

    asyncio.run(body())
    return None, hearing.heard


def refuses_by_raising() -> bool:
    """Whether what a callback raises for a tool reaches the caller, although the tool turns errors into text."""
    tool = StructuredTool.from_function(lambda: "ran", name="tool", description="A tool.", handle_tool_error=True)
    try:
        tool.invoke({}, {"callbacks": [Hearing(ToolException("refused"))]})
    except ToolException:
        return True
    return False


async def fence_in_context() -> bool:
    """Whether what a callback sets in its context reaches the tool of an asynchronous run."""

    async def work() -> str:
        return str(_mark.get())

    _mark.set(None)
    tool = StructuredTool.from_function(coroutine=work, name="tool", description="A tool.")
    return await tool.ainvoke({}, {"callbacks": [Hearing()]}) == "set"


def runs_no_tool() -> bool:
    """Whether a model that asks for a tool only says so."""
    script = ModelScript(Turn(tools=(ToolUse("pay", {}, "a"),)), tools={"pay": lambda: "paid"})
    answer = ScriptedChat(script).bind_tools(tools_of(script)).invoke("Pay.")
    return bool(answer.tool_calls) and not script.uses


class CallbackHarness:
    """`AegisCallbackHandler` in the config of a bare model, or of `create_agent` where the script has tools."""

    framework = "LangChain's callback"
    modes = ("sync", "async", "stream", "astream", "batch")
    lacks: ClassVar = {
        "routing": "a callback cannot exchange the model; use AegisMiddleware or GovernedChatModel",
        "caps": "what a callback says of a call changes nothing in it; use AegisMiddleware or GovernedChatModel",
        "tool_denial_as_text": "LangChain raises what a callback raises; use AegisMiddleware for a ToolMessage",
        "cancelled_at_once": "LangChain tells no callback of a cancelled call; its grant ends at its deadline",
        "async_fence": "LangChain calls a plain callback of an asynchronous run in a thread whose context it drops",
    }
    proofs: ClassVar = {
        "routing": lambda: heard()[0] == "its own",
        "tool_denial_as_text": refuses_by_raising,
        "cancelled_at_once": lambda: heard(cancelled=True)[1] == ["start"],
        "async_fence": lambda: not asyncio.run(fence_in_context()),
    }

    def run(self, aegis: Any, script: ModelScript, ask: Drive) -> RunEnd:
        handler: Any = AegisCallbackHandler(
            aegis, costs=ask.costs, locks=ask.locks, approval_seconds=ask.approval_seconds
        )
        if ask.copied:
            handler = copy.deepcopy(handler)
        if ask.pickled:
            handler = pickle.loads(pickle.dumps(handler))
        model = ScriptedChat(script, cache=InMemoryCache() if ask.cached else None)
        config = {
            "callbacks": [handler],
            "configurable": {"thread_id": ask.thread},
            "metadata": {"thread_id": ask.thread},
        }
        if script.tools:
            return drive_agent(create_agent(model, tools_of(script)), script, ask, config)
        target: Any = model if ask.schema is None else model.with_structured_output(ask.schema)
        if ask.retries:
            target = model.with_retry(stop_after_attempt=ask.retries + 1, wait_exponential_jitter=False)
        if ask.fallback:
            target = target.with_fallbacks([ScriptedChat(ask.fallback)])
        if ask.nested:
            target = RunnableLambda(target.invoke)
        return drive(target, script, ask, config)


class MiddlewareHarness:
    """`AegisMiddleware` in `create_agent`; what pauses is resumed when the operator has decided."""

    framework = "LangChain's middleware"
    modes = ("sync", "async", "stream", "astream", "batch")
    lacks: ClassVar = {"abandoned_at_once": "asyncio finalises an abandoned stream a moment later"}
    proofs: ClassVar = {}

    def run(self, aegis: Any, script: ModelScript, ask: Drive) -> RunEnd:
        middleware: Any = AegisMiddleware(
            aegis, models=behind(script, ask) if ask.models else None, costs=ask.costs, locks=ask.locks,
            approval_seconds=ask.approval_seconds, logic_density=ask.density,
        )  # fmt: skip
        if ask.copied:
            middleware = copy.deepcopy(middleware)
        if ask.pickled:
            middleware = pickle.loads(pickle.dumps(middleware))
        retry = ModelRetryMiddleware(
            max_retries=ask.retries,
            retry_on=lambda error: not isinstance(error, AegisDenied),
            on_failure="error",
            initial_delay=0.01,
        )
        agent: Any = create_agent(
            ScriptedChat(script, cache=InMemoryCache() if ask.cached else None),
            tools_of(script),
            middleware=[
                *([retry] if ask.retries else []),
                middleware,
                *([ModelFallbackMiddleware(ScriptedChat(ask.fallback))] if ask.fallback else []),
            ],
            response_format=None if ask.schema is None else ProviderStrategy(ask.schema),
            checkpointer=InMemorySaver() if script.tools else None,
        )
        if ask.nested:
            inner = agent
            graph: Any = StateGraph(MessagesState)
            graph.add_node("inner", inner)
            graph.add_edge(START, "inner")
            agent = graph.compile()
        config = {"configurable": {"thread_id": ask.thread}}
        return drive_agent(agent, script, ask, config, aegis)


def wait_for_operator(aegis: Any, interrupts: Any) -> Any:
    """Wait until every approval that a run was interrupted for is decided; answers the value to resume with."""
    approvals = SyncApprovals(aegis._portal, aegis.inner.connection)
    resumes: dict[str, Any] = {}
    for each in interrupts:
        for asked in each.value["aegis"]:
            while approvals.get(asked["approval_id"], wait=1).status == "open":
                pass
        resumes[each.id] = {"decisions": [{"type": "approve"}] * len(each.value["action_requests"])}
    return Command(resume=resumes)


class ChatModelHarness:
    """`GovernedChatModel` as a bare model, or as the model of `create_agent` where the script has tools."""

    framework = "LangChain's governed model"
    modes = ("sync", "async", "stream", "astream", "batch")
    lacks: ClassVar = {
        "tools": "a model runs no tools; use AegisMiddleware",
        "approvals": "a model runs no tools; use AegisMiddleware",
        "locks": "a model runs no tools; use AegisMiddleware",
        "async_fence": "a model runs no tools; use AegisMiddleware",
        "tool_denial_as_text": "a model runs no tools; use AegisMiddleware",
        "abandoned_at_once": "asyncio finalises an abandoned stream a moment later",
    }
    proofs: ClassVar = {"tools": runs_no_tool}

    def run(self, aegis: Any, script: ModelScript, ask: Drive) -> RunEnd:
        cache = InMemoryCache() if ask.cached else None
        model: Any = GovernedChatModel(
            aegis=aegis, models=behind(script, ask), cache=cache, approval_seconds=ask.approval_seconds,
            logic_density=ask.density,
        )  # fmt: skip
        if ask.copied:
            model = copy.deepcopy(model)
        if ask.pickled:
            model = pickle.loads(pickle.dumps(model))
        config = {"metadata": {"thread_id": ask.thread}}
        if script.tools:
            return drive_agent(create_agent(model, tools_of(script)), script, ask, config)
        target = model if ask.schema is None else model.with_structured_output(ask.schema)
        if ask.retries:
            target = model.with_retry(stop_after_attempt=ask.retries + 1, wait_exponential_jitter=False)
        if ask.fallback:
            target = target.with_fallbacks([ScriptedChat(ask.fallback)])
        if ask.nested:
            target = RunnableLambda(target.invoke)
        return drive(target, script, ask, config)


def drive(target: Any, script: ModelScript, ask: Drive, config: Any) -> RunEnd:
    """Call a runnable that answers a message, by the entry point asked for."""

    def body() -> str:
        if ask.cached:
            target.invoke(script.user, config)
        if ask.mode == "batch":
            return target.batch([script.user] * ask.batch, config)[0].text
        if ask.mode == "stream":
            stream = target.stream(script.user, config)
            words = [chunk.text for chunk, _ in zip(stream, range(ask.take or 10_000), strict=False)]
            stream.close()
            return "".join(words)
        return target.invoke(script.user, config).text

    async def abody() -> str:
        if ask.mode == "astream":
            words: list[str] = []
            async with aclosing(target.astream(script.user, config)) as stream:
                async for chunk in stream:
                    words.append(chunk.text)
                    if len(words) == ask.take:
                        break
            return "".join(words)
        return (await target.ainvoke(script.user, config)).text

    def parsed() -> RunEnd:
        invoked = target.ainvoke(script.user, config) if is_async(ask) else None
        return RunEnd(parsed=asyncio.run(invoked) if invoked else target.invoke(script.user, config))

    if ask.schema is not None:
        return caught(parsed)
    return caught(lambda: RunEnd(asyncio.run(carry_out(abody(), ask.cancel)) if is_async(ask) else body()))


def drive_agent(agent: Any, script: ModelScript, ask: Drive, config: Any, aegis: Any = None) -> RunEnd:
    """Run an agent of `create_agent`, or another graph of messages, resuming it as often as it pauses."""
    run = AgentRun(agent, ask, config, aegis)
    start = {"messages": [HumanMessage(script.user)]}

    def whole() -> RunEnd:
        state = asyncio.run(carry_out(run.abody(start), ask.cancel)) if is_async(ask) else run.body(start)
        messages = state["messages"]
        observations = [each.text for each in messages if isinstance(each, ToolMessage)]
        return RunEnd(messages[-1].text, observations, parsed=state.get("structured_response"))

    return caught(whole)


@dataclass
class AgentRun:
    """One run of a graph by the entry point that was asked for."""

    agent: Any
    ask: Drive
    config: Any
    aegis: Any

    async def abody(self, start: Any) -> Any:
        state = await self.astep(start)
        while interrupts := state.get("__interrupt__"):
            state = await self.astep(await asyncio.to_thread(wait_for_operator, self.aegis, interrupts))
        return state

    def body(self, start: Any) -> Any:
        if self.ask.cached:
            self.step(start)
        state = self.step(start)
        while interrupts := state.get("__interrupt__"):
            state = self.step(wait_for_operator(self.aegis, interrupts))
        return state

    async def astep(self, given: Any) -> Any:
        if self.ask.mode != "astream":
            return await self.agent.ainvoke(given, self.config)
        if self.ask.take:
            async with aclosing(self.agent.astream(given, self.config, stream_mode="messages")) as stream:
                return {"messages": [chunk async for chunk, _ in taken(stream, self.ask.take)]}
        whole = [part async for part in self.agent.astream(given, self.config, stream_mode=["values", "messages"])]
        return [state for kind, state in whole if kind == "values"][-1]

    def step(self, given: Any) -> Any:
        if self.ask.mode == "batch":
            threads = [self.config | {"configurable": {"thread_id": f"{number}"}} for number in range(self.ask.batch)]
            return self.agent.batch([given] * self.ask.batch, threads)[0]
        if self.ask.mode != "stream":
            return self.agent.invoke(given, self.config)
        if self.ask.take:
            with closing(self.agent.stream(given, self.config, stream_mode="messages")) as stream:
                return {"messages": [chunk for (chunk, _), _ in zip(stream, range(self.ask.take), strict=False)]}
        whole = list(self.agent.stream(given, self.config, stream_mode=["values", "messages"]))
        return [state for kind, state in whole if kind == "values"][-1]


async def taken(stream: Any, most: int) -> AsyncIterator[Any]:
    count = 0
    async for part in stream:
        yield part
        count += 1
        if count == most:
            return


def is_async(ask: Drive) -> bool:
    return ask.mode in {"async", "astream"}


def caught(work: Callable[[], RunEnd]) -> RunEnd:
    try:
        return work()
    except (Exception, asyncio.CancelledError) as error:
        return RunEnd(error=error)

"""What an adapter adds to one call of a model: the same agent with Aegis and without, turn by turn in one run.

Usage: python benchmarks/adapters.py [--calls 200] [--rounds 7] [--only langchain] [--json]

The governor is in the process, its server an embedded one. The model answers at once, so nothing but the frameworks'
own work is left, and that is taken away: a row is the p50 of the governed agent minus the p50 of the ungoverned one,
the median of the rounds. Each governed call is two decisions, to reserve and to settle; the rows without a framework
are these alone. Rows "over idle" compare with an agent that has the framework's own middleware or node in the same
place, doing nothing. Beside it stands redis-py's PING of the same server, measured in the same rounds. Rows with an
``a`` run in the governor's own event loop, the others in plain code, from where each decision crosses into the
governor's thread.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

os.environ["CREWAI_DISABLE_TELEMETRY"] = os.environ["OTEL_SDK_DISABLED"] = "true"
os.environ["CREWAI_DISABLE_TRACKING"] = "true"
os.environ["CREWAI_TRACING_ENABLED"] = "false"
os.environ.setdefault("CREWAI_STORAGE_DIR", tempfile.mkdtemp(prefix="aegis-benchmark-"))

import redis.asyncio as redis

from aegis_core.adapting import CallGovernor, ModelCall
from aegis_core.connect import connect, connect_sync
from aegis_core.store.embedded import join_sync
from aegis_core.testing import private_settings

MODEL, CAP, TEXT = "gpt-4o-mini", 200, "Umbrellas."
SYSTEM = "You help a shop in Bern to choose what it sells, from the weather of the coming week. " * 12
QUESTION = "What should I sell in Bern?"
USAGE = {"input_tokens": 300, "output_tokens": 4}


class Row(NamedTuple):
    """The same agent twice: each is called once for one call of its model. `reset` forgets what it remembers."""

    name: str
    plain: Callable[[], Any]
    governed: Callable[[], Any]
    reset: Callable[[], Any] | None = None


def bare_rows(aegis: Any) -> Iterator[Row]:
    """No framework: what all adapters stand on."""
    calls, call, long = CallGovernor(aegis, framework="custom"), described(), described(100)
    yield Row("no framework", lambda: TEXT, lambda: calls.begin(call).settle(**USAGE) and TEXT)
    yield Row("no framework, 100 messages", lambda: TEXT, lambda: calls.begin(long).settle(**USAGE) and TEXT)


def bare_arows(aegis: Any) -> Iterator[Row]:
    """The same, awaited."""
    calls, call = CallGovernor(aegis, framework="custom"), described()

    async def plain() -> str:
        return TEXT

    async def governed() -> str:
        held = await calls.abegin(call)
        await held.asettle(**USAGE)
        return TEXT

    yield Row("no framework, a", plain, governed)


def described(messages: int = 2) -> ModelCall:
    """The call that every agent here makes, or one of a longer conversation, of a kilobyte a message."""
    asked = [{"role": "system", "content": SYSTEM}] * (messages - 1) + [{"role": "user", "content": QUESTION}]
    return ModelCall(asked, model=MODEL, max_output_tokens=CAP)


def langchain_rows(aegis: Any) -> Iterator[Row]:
    """The three places in LangChain."""
    from aegis_langchain import AegisCallbackHandler, AegisMiddleware, GovernedChatModel
    from langchain.agents import create_agent
    from langchain.agents.middleware import AgentMiddleware

    class Idle(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            return handler(request)

    plain, config = langchain_model(), {"callbacks": [AegisCallbackHandler(aegis)]}
    model = GovernedChatModel(aegis=aegis, models=plain)
    bare = create_agent(plain, [], system_prompt=SYSTEM)
    idle = create_agent(plain, [], system_prompt=SYSTEM, middleware=[Idle()])
    behind = create_agent(plain, [], system_prompt=SYSTEM, middleware=[AegisMiddleware(aegis)])
    said: Any = {"messages": [("user", QUESTION)]}
    asked: Any = [("system", SYSTEM), ("user", QUESTION)]
    yield Row("langchain callback", lambda: plain.invoke(asked), lambda: plain.invoke(asked, config))
    yield Row("langchain governed model", lambda: plain.invoke(asked), lambda: model.invoke(asked))
    yield Row("langchain middleware", lambda: bare.invoke(said), lambda: behind.invoke(said))
    yield Row("langchain middleware, over idle", lambda: idle.invoke(said), lambda: behind.invoke(said))


def langchain_arows(aegis: Any) -> Iterator[Row]:
    """The same, awaited."""
    from aegis_langchain import GovernedChatModel

    plain = langchain_model()
    model = GovernedChatModel(aegis=aegis, models=plain)
    asked: Any = [("system", SYSTEM), ("user", QUESTION)]
    yield Row("langchain governed model, a", lambda: plain.ainvoke(asked), lambda: model.ainvoke(asked))


def langchain_model() -> Any:
    """A chat model that answers at once."""
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGeneration, ChatResult

    class Instant(BaseChatModel):
        model_name: str = MODEL

        @property
        def _llm_type(self) -> str:
            return "instant"

        def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
            return {"ls_model_name": MODEL, "ls_max_tokens": CAP}

        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            return self

        def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
            usage: Any = {"input_tokens": 300, "output_tokens": 4, "total_tokens": 304}
            return ChatResult(generations=[ChatGeneration(message=AIMessage(TEXT, usage_metadata=usage))])

        async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
            return self._generate(*args, **kwargs)

    return Instant()


def langgraph_rows(aegis: Any) -> Iterator[Row]:
    """A graph with a checkpointer: the approval node stands where others have an edge, or a node that does nothing."""
    from aegis_langchain import GovernedChatModel
    from aegis_langgraph import GovernedToolNode, approval_node
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import END, START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode, tools_condition
    from langgraph.types import Command

    def search(query: str) -> str:
        """Search."""
        return query

    def graph(model: Any, tools: Any, gate: Any = None) -> Any:
        built: Any = StateGraph(MessagesState)
        built.add_node("agent", lambda state: {"messages": [model.invoke(state["messages"])]})
        built.add_node("tools", tools)
        built.add_edge(START, "agent")
        built.add_edge("tools", "agent")
        if gate is None:
            built.add_conditional_edges("agent", tools_condition)
        else:
            built.add_node("approve", gate)
            built.add_edge("agent", "approve")
        return built.compile(checkpointer=InMemorySaver())

    plain = langchain_model()
    model = GovernedChatModel(aegis=aegis, models=plain)
    bare = graph(plain, ToolNode([search]))
    idle = graph(plain, ToolNode([search]), lambda _: Command(goto=END))
    nodes = graph(model, GovernedToolNode([search], aegis), approval_node(aegis))
    said: Any = {"messages": [("system", SYSTEM), ("user", QUESTION)]}
    turn = iter(range(10**9))

    def thread() -> Any:
        return {"configurable": {"thread_id": str(next(turn))}}

    yield Row("langgraph nodes", lambda: bare.invoke(said, thread()), lambda: nodes.invoke(said, thread()))
    yield Row("langgraph nodes, over idle", lambda: idle.invoke(said, thread()), lambda: nodes.invoke(said, thread()))


def crewai_rows(aegis: Any) -> Iterator[Row]:
    """The model alone, and a whole crew of one agent."""
    from aegis_crewai import GovernedLLM, govern_crew
    from crewai import Agent, Crew, Task
    from crewai.llms.base_llm import BaseLLM

    class Instant(BaseLLM):
        def call(self, *args: Any, **kwargs: Any) -> str:
            self._track_token_usage_internal({"prompt_tokens": 300, "completion_tokens": 4})
            return TEXT

        async def acall(self, *args: Any, **kwargs: Any) -> str:
            return self.call()

        def get_input_tokens_count(self, *args: Any, **kwargs: Any) -> int:
            return 300

    def crew() -> Any:
        model = Instant(model=MODEL, max_tokens=CAP)
        agent = Agent(role="Helper", goal="Help", backstory=SYSTEM, llm=model, verbose=False)
        task = Task(description=QUESTION, expected_output="A word", agent=agent)
        return Crew(agents=[agent], tasks=[task], verbose=False)

    plain = Instant(model=MODEL, max_tokens=CAP)
    model = GovernedLLM(aegis=aegis, models=Instant(model=MODEL, max_tokens=CAP))
    asked = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
    yield Row("crewai GovernedLLM", lambda: plain.call(asked), lambda: model.call(asked))
    bare, governed = crew(), crew()
    govern_crew(governed, aegis)
    yield Row("crewai govern_crew", bare.kickoff, governed.kickoff)


def autogen_rows(aegis: Any) -> Iterator[Row]:
    """Classic AutoGen: one reply of an assistant."""
    from aegis_autogen import register_governor
    from autogen import ConversableAgent

    class Instant:
        def __init__(self, config: Any) -> None: ...

        def create(self, params: Any) -> Any:
            usage = SimpleNamespace(prompt_tokens=300, completion_tokens=4)
            choice = SimpleNamespace(message=SimpleNamespace(content=TEXT))
            return SimpleNamespace(choices=[choice], usage=usage, model=MODEL, cost=0.0, id="1")

        def message_retrieval(self, response: Any) -> Any:
            return [choice.message.content for choice in response.choices]

        def cost(self, response: Any) -> float:
            return 0.0

        @staticmethod
        def get_usage(response: Any) -> Any:
            names = ("prompt_tokens", "completion_tokens", "total_tokens", "cost", "model")
            return dict(zip(names, (300, 4, 304, 0.0, MODEL), strict=True))

    def agent() -> Any:
        entry = {"model": MODEL, "model_client_cls": "Instant", "max_tokens": CAP, "api_key": "none"}
        settings: Any = {"config_list": [entry], "cache_seed": None}
        made = ConversableAgent(
            "assistant",
            system_message=SYSTEM,
            llm_config=settings,
            human_input_mode="NEVER",
            max_consecutive_auto_reply=10**9,
            code_execution_config=False,
        )
        made.register_model_client(model_client_cls=Instant)
        return made

    bare, governed = agent(), agent()
    register_governor(governed, aegis)
    asked = [{"role": "user", "content": QUESTION}]
    yield Row("autogen classic", lambda: bare.generate_reply(asked), lambda: governed.generate_reply(asked))


def agentchat_arows(aegis: Any) -> Iterator[Row]:
    """One task of an `AssistantAgent`, which forgets it after."""
    from aegis_autogen.agentchat import GovernedChatCompletionClient
    from autogen_agentchat.agents import AssistantAgent
    from autogen_core import CancellationToken
    from autogen_core.models import CreateResult, RequestUsage
    from autogen_ext.models.replay import ReplayChatCompletionClient

    class Instant(ReplayChatCompletionClient):
        async def create(self, *args: Any, **kwargs: Any) -> CreateResult:
            return CreateResult(finish_reason="stop", content=TEXT, usage=RequestUsage(300, 4), cached=False)

    def agent(client: Any) -> Any:
        return AssistantAgent("assistant", client, system_message=SYSTEM)

    bare = agent(Instant([]))
    governed = agent(GovernedChatCompletionClient(Instant([]), aegis, model=MODEL, max_output_tokens=CAP))

    async def reset() -> None:
        for each in (bare, governed):
            await each.on_reset(CancellationToken())

    yield Row("agentchat client, a", lambda: bare.run(task=QUESTION), lambda: governed.run(task=QUESTION), reset)


ROWS = (bare_rows, langchain_rows, langgraph_rows, crewai_rows, autogen_rows)
AROWS = (bare_arows, langchain_arows, agentchat_arows)


def turn_by_turn(row: Row, calls: int) -> float:
    """Seconds that the governed agent takes longer, p50 against p50."""
    plain: list[float] = []
    governed: list[float] = []
    for _ in range(calls):
        for work, found in ((row.plain, plain), (row.governed, governed)):
            start = time.perf_counter()
            answer = work()
            found.append(time.perf_counter() - start)
            assert TEXT in str(answer), answer
    return statistics.median(governed) - statistics.median(plain)


async def aturn_by_turn(row: Row, calls: int) -> float:
    """The same for what is awaited."""
    plain: list[float] = []
    governed: list[float] = []
    for _ in range(calls):
        for work, found in ((row.plain, plain), (row.governed, governed)):
            start = time.perf_counter()
            answer = await work()
            found.append(time.perf_counter() - start)
            assert TEXT in str(answer), answer
            if row.reset is not None:
                await row.reset()
    return statistics.median(governed) - statistics.median(plain)


async def pings(client: Any, calls: int) -> float:
    """Seconds of one PING of redis-py, p50."""
    found: list[float] = []
    for _ in range(calls):
        start = time.perf_counter()
        await client.ping()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def run(calls: int, rounds: int, only: str) -> dict[str, dict[str, float]]:
    """All rows in every round; answers medians in milliseconds, and over the PING of the same round."""
    handle = join_sync(None, throwaway=True)
    settings = private_settings(url=handle.url, agent_day_usd="1000000", tenant_day_usd="8000000")
    with asyncio.Runner() as runner, connect_sync(settings=settings) as governor:
        connection, client = connect(settings=settings), redis.Redis.from_url(handle.url)
        aegis = governor.handshake("shopkeeper")
        aaegis = runner.run(runner.run(connection.__aenter__()).handshake("shopkeeper-async"))
        rows = [row for rows_of in ROWS for row in rows_of(aegis) if only in row.name]
        arows = [row for rows_of in AROWS for row in rows_of(aaegis) if only in row.name]
        found: dict[str, list[tuple[float, float]]] = {row.name: [] for row in (*rows, *arows)}
        for number in range(rounds + 1):
            count = calls if number else max(10, calls // 10)  # the first round warms up
            for row in (*rows, *arows):
                gc.collect()
                ping = runner.run(pings(client, count))
                added = runner.run(aturn_by_turn(row, count)) if row in arows else turn_by_turn(row, count)
                if number:
                    found[row.name].append((added * 1000, added / ping))
        runner.run(client.aclose())
        runner.run(connection.__aexit__(None, None, None))
    handle.leave_sync()
    return {
        name: {"added_ms": statistics.median(ms for ms, _ in pairs), "pings": statistics.median(n for _, n in pairs)}
        for name, pairs in found.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=200, help="of each of the two agents, in each round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the frameworks' own
        found = run(options.calls, options.rounds, options.only)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for name, row in found.items():
        print(f"{name:32s} adds {row['added_ms']:5.2f} ms to a call, {row['pings']:5.1f} PINGs (wanted <= 1 ms)")


if __name__ == "__main__":
    main()

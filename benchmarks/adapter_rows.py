"""The agents that `adapters.py` measures: with Aegis and without, on their frameworks' own clients of OpenAI."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

os.environ["CREWAI_DISABLE_TELEMETRY"] = os.environ["OTEL_SDK_DISABLED"] = "true"
os.environ["CREWAI_DISABLE_TRACKING"] = "true"
os.environ["CREWAI_TRACING_ENABLED"] = "false"
os.environ.setdefault("CREWAI_STORAGE_DIR", tempfile.mkdtemp(prefix="aegis-benchmark-"))

MODEL, CAP = "gpt-4o-mini", 200
SYSTEM = "You help a shop in Bern to choose what it sells, from the weather of the coming week. " * 12
QUESTION = "What should I sell in Bern?"
ASKED = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]


class Row(NamedTuple):
    """The same agent twice: each is called once for one call of its model. `reset` forgets what it remembers."""

    name: str
    bare: Callable[[], Any]
    governed: Callable[[], Any]
    reset: Callable[[], Any] | None = None


def sdk_rows(aegis: Any, url: str) -> Iterator[Row]:
    """No framework: OpenAI's SDK between the two decisions that all adapters stand on."""
    from openai import OpenAI

    from aegis_core.adapting import CallGovernor, ModelCall

    client, calls = OpenAI(base_url=url, api_key="none", max_retries=0), CallGovernor(aegis, framework="custom")

    def row(name: str, messages: list[Any]) -> Row:
        def bare() -> Any:
            return client.chat.completions.create(model=MODEL, max_tokens=CAP, messages=messages)

        def governed() -> Any:
            held = calls.begin(ModelCall(messages, model=MODEL, max_output_tokens=CAP))
            said = bare()
            held.settle(input_tokens=said.usage.prompt_tokens, output_tokens=said.usage.completion_tokens)
            return said

        return Row(name, bare, governed)

    yield row("openai SDK", ASKED)
    yield row("openai SDK, 100 messages", ASKED[:1] * 99 + ASKED[1:])


def sdk_arows(aegis: Any, url: str) -> Iterator[Row]:
    """The same, awaited."""
    from openai import AsyncOpenAI

    from aegis_core.adapting import CallGovernor, ModelCall

    client, calls = AsyncOpenAI(base_url=url, api_key="none", max_retries=0), CallGovernor(aegis, framework="custom")

    async def bare() -> Any:
        return await client.chat.completions.create(model=MODEL, max_tokens=CAP, messages=ASKED)

    async def governed() -> Any:
        held = await calls.abegin(ModelCall(ASKED, model=MODEL, max_output_tokens=CAP))
        said = await bare()
        await held.asettle(input_tokens=said.usage.prompt_tokens, output_tokens=said.usage.completion_tokens)
        return said

    yield Row("openai SDK, a", bare, governed)


def langchain_rows(aegis: Any, url: str) -> Iterator[Row]:
    """The three places in LangChain."""
    from aegis_langchain import AegisCallbackHandler, AegisMiddleware, GovernedChatModel
    from langchain.agents import create_agent
    from langchain.agents.middleware import AgentMiddleware

    class Idle(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            return handler(request)

    plain, config = _langchain_model(url), {"callbacks": [AegisCallbackHandler(aegis)]}
    model = GovernedChatModel(aegis=aegis, models=plain)
    bare = create_agent(plain, [], system_prompt=SYSTEM)
    idle = create_agent(plain, [], system_prompt=SYSTEM, middleware=[Idle()])
    behind = create_agent(plain, [], system_prompt=SYSTEM, middleware=[AegisMiddleware(aegis)])
    said: Any = {"messages": [("user", QUESTION)]}
    yield Row("langchain callback", lambda: plain.invoke(ASKED), lambda: plain.invoke(ASKED, config))
    yield Row("langchain governed model", lambda: plain.invoke(ASKED), lambda: model.invoke(ASKED))
    yield Row("langchain middleware", lambda: bare.invoke(said), lambda: behind.invoke(said))
    yield Row("langchain middleware, over idle", lambda: idle.invoke(said), lambda: behind.invoke(said))


def langchain_arows(aegis: Any, url: str) -> Iterator[Row]:
    """The same, awaited."""
    from aegis_langchain import GovernedChatModel

    plain = _langchain_model(url)
    model = GovernedChatModel(aegis=aegis, models=plain)
    yield Row("langchain governed model, a", lambda: plain.ainvoke(ASKED), lambda: model.ainvoke(ASKED))


def _langchain_model(url: str) -> Any:
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    return ChatOpenAI(model=MODEL, base_url=url, api_key=SecretStr("none"), max_tokens=CAP, max_retries=0)


def langgraph_rows(aegis: Any, url: str) -> Iterator[Row]:
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

    plain = _langchain_model(url)
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


def crewai_rows(aegis: Any, url: str) -> Iterator[Row]:
    """The model alone, and a whole crew of one agent."""
    from aegis_crewai import GovernedLLM, govern_crew
    from crewai import LLM, Agent, Crew, Task

    def llm() -> Any:
        return LLM(model=f"openai/{MODEL}", base_url=url, api_key="none", max_tokens=CAP)

    def crew() -> Any:
        agent = Agent(role="Helper", goal="Help", backstory=SYSTEM, llm=llm(), verbose=False)
        task = Task(description=QUESTION, expected_output="A word", agent=agent)
        return Crew(agents=[agent], tasks=[task], verbose=False)

    plain, model = llm(), GovernedLLM(aegis=aegis, models=llm())
    # It writes what it makes of the messages into them.
    yield Row("crewai GovernedLLM", lambda: plain.call([*ASKED]), lambda: model.call([*ASKED]))
    bare, governed = crew(), crew()
    govern_crew(governed, aegis)
    yield Row("crewai govern_crew", bare.kickoff, governed.kickoff)


def autogen_rows(aegis: Any, url: str) -> Iterator[Row]:
    """Classic AutoGen: one reply of an assistant."""
    from aegis_autogen import register_governor
    from autogen import ConversableAgent

    def agent() -> Any:
        entry = {"model": MODEL, "base_url": url, "api_key": "none", "max_tokens": CAP}
        settings: Any = {"config_list": [entry], "cache_seed": None}
        return ConversableAgent(
            "assistant", system_message=SYSTEM, llm_config=settings, human_input_mode="NEVER",
            max_consecutive_auto_reply=10**9, code_execution_config=False,
        )  # fmt: skip

    bare, governed = agent(), agent()
    register_governor(governed, aegis)
    asked = ASKED[1:]
    yield Row("autogen classic", lambda: bare.generate_reply(asked), lambda: governed.generate_reply(asked))


def agentchat_arows(aegis: Any, url: str) -> Iterator[Row]:
    """One task of an `AssistantAgent`, which forgets it after."""
    from aegis_autogen.agentchat import GovernedChatCompletionClient
    from autogen_agentchat.agents import AssistantAgent
    from autogen_core import CancellationToken
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    def client() -> Any:
        return OpenAIChatCompletionClient(model=MODEL, base_url=url, api_key="none", max_tokens=CAP, max_retries=0)

    bare = AssistantAgent("assistant", client(), system_message=SYSTEM)
    governed = AssistantAgent("assistant", GovernedChatCompletionClient(client(), aegis), system_message=SYSTEM)

    async def reset() -> None:
        for each in (bare, governed):
            await each.on_reset(CancellationToken())

    yield Row("agentchat client, a", lambda: bare.run(task=QUESTION), lambda: governed.run(task=QUESTION), reset)


ROWS = (sdk_rows, langchain_rows, langgraph_rows, crewai_rows, autogen_rows)
AROWS = (sdk_arows, langchain_arows, agentchat_arows)

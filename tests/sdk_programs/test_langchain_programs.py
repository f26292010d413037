"""LangChain: chains, agents, streams and batches, whose every call is paid for at what was billed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypedDict

import pytest
from aegis_langchain import AegisCallbackHandler, AegisMiddleware, GovernedChatModel
from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableParallel, RunnablePassthrough
from langchain_core.tools import tool
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI
from loopback import Providers
from loopback.answering import Asked, Said, obedient
from pydantic import BaseModel, Field

from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.protocol.denial import AegisDenied

Settled = Callable[..., None]


class Ticket(BaseModel):
    """A complaint of a customer."""

    product: str = Field(description="What it is about")
    urgent: bool = Field(description="Whether it cannot wait")


@tool
def stock(product: str) -> str:
    """How many of a product are left."""
    return f"7 of {product} are left."


def test_retrieval_then_an_answer(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    shop = [Document("The mill grinds coffee."), Document("The kettle whistles.")]
    store = InMemoryVectorStore.from_documents(shop, DeterministicFakeEmbedding(size=8))
    prompt = ChatPromptTemplate.from_template("By {context}, answer: {question}")
    model = GovernedChatModel(aegis=aegis, models=ChatOpenAI(model="gpt-4.1-mini"))
    chain: Any = (
        RunnableParallel(context=store.as_retriever(), question=RunnablePassthrough())
        | prompt
        | model
        | StrOutputParser()
    )
    assert chain.invoke("What does the mill do?")
    assert asyncio.run(chain.ainvoke("And the kettle?"))
    assert "grinds coffee" in str(at.requests[0])
    settled()


def test_structured_answers_in_a_chain(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "Read complaints."), ("user", "{text}")])
    for inner in (
        ChatOpenAI(model="gpt-4.1-mini"),
        ChatAnthropic(model="claude-haiku-4-5"),
        ChatGoogleGenerativeAI(model="gemini-2.5-flash"),
    ):
        chain = prompt | GovernedChatModel(aegis=aegis, models=inner).with_structured_output(Ticket)
        found = [chain.invoke({"text": "My 'mill' burns!"}), *chain.batch([{"text": "The 'mill' is loud."}] * 3)]
        assert [each.product for each in found] == ["mill"] * 4
    assert len(at.bills) == 12
    settled()


def test_an_agent_that_answers_in_a_shape(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    def reply(asked: Asked) -> Said:
        return obedient(asked) if asked.answered or not asked.tools else Said(calls=(("stock", {"product": "mill"}),))

    at.reply = reply
    agent: Any = create_agent(
        ChatOpenAI(model="gpt-4.1-mini"), [stock], response_format=Ticket,
        middleware=[AegisMiddleware(aegis, costs={"stock": "0.002"})],
    )  # fmt: skip
    state = agent.invoke({"messages": [("user", "Is the 'mill' there?")]})
    assert state["structured_response"].product == "mill"
    settled("0.002")


def test_models_that_think(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    at.reply = lambda _: Said("Forty-two.", sent=120, made=3, thoughts=900)
    for model, options in (
        ("o3-mini", {"reasoning_effort": "low"}),
        ("gpt-5-mini", {"max_completion_tokens": 1_500}),
        ("gpt-5.1", {"use_responses_api": True, "reasoning": {"effort": "medium"}}),
    ):
        governed = GovernedChatModel(aegis=aegis, models=ChatOpenAI(model=model, **options))
        assert governed.invoke("What is six times seven?").text == "Forty-two."
        assert "".join(each.text for each in governed.stream("And again?")) == "Forty-two."
    thinking = ChatAnthropic(
        model="claude-sonnet-4-5", max_tokens=9_000, thinking={"type": "enabled", "budget_tokens": 6_000}
    )
    GovernedChatModel(aegis=aegis, models=thinking).invoke("What is six times seven?")
    assert at.requests[-1]["max_tokens"] > 6_000, "a cap below the thoughts is an error of the provider"
    settled()


def test_claude_with_a_cache(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    at.reply = lambda asked: Said("Noted.", sent=5_000, written=4_800 if "first" in asked.text else 0,
                                  cached=0 if "first" in asked.text else 4_800)  # fmt: skip
    terms = {"type": "text", "text": "The terms of sale. " * 50, "cache_control": {"type": "ephemeral"}}
    model = GovernedChatModel(aegis=aegis, models=ChatAnthropic(model="claude-sonnet-4-5"))
    for question in ("The first question?", "The second?", "The third?"):
        model.invoke([("system", [terms]), ("user", question)])  # type: ignore[list-item]
    assert all(body["system"][0]["cache_control"] for body in at.requests)
    settled()


def test_gemini_in_an_agent_and_as_a_stream(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    inner = ChatGoogleGenerativeAI(model="gemini-2.5-flash", thinking_budget=200, max_output_tokens=700)
    agent: Any = create_agent(inner, [stock], middleware=[AegisMiddleware(aegis, costs={"stock": "0.001"})])
    state = agent.invoke({"messages": [("user", "Look into the stock of 'mills'.")]})
    assert "7 of mills" in str(at.requests[-1])
    assert state["messages"][-1].text
    model = GovernedChatModel(aegis=aegis, models=inner)
    assert "".join(each.text for each in model.stream("Say hello.")) == "Hello there, all is well."
    assert {bill.cap for bill in at.bills} == {700}
    settled("0.001")


def test_a_batch_stops_where_the_money_does(
    at: Providers, governor: SyncGovernor, aegis: SyncGovernedAgent, settled: Settled
) -> None:
    at.reply = lambda _: Said("A summary of it.", sent=40, made=12)
    governor.set_budget("agent", aegis.agent_id, "day", "0.0002")
    model = GovernedChatModel(aegis=aegis, models=ChatOpenAI(model="gpt-4o-mini", max_tokens=60))
    texts = [f"Summarise letter {number}." for number in range(30)]
    found = model.batch(texts, {"max_concurrency": 4}, return_exceptions=True)
    found += asyncio.run(model.abatch(texts, return_exceptions=True))
    answers = [each for each in found if not isinstance(each, Exception)]
    assert {type(each) for each in found if isinstance(each, Exception)} == {AegisDenied}
    assert len(answers) == len(at.bills) > 5
    assert at.usd <= 0.0002
    settled()


@pytest.mark.parametrize("way", ["model", "callback"])
def test_events_of_a_stream(at: Providers, aegis: SyncGovernedAgent, settled: Settled, way: str) -> None:
    counts: Any = {"stream_usage": True} if way == "callback" else {}  # a governed model asks for it itself
    inner = ChatOpenAI(model="gpt-4o-mini", max_tokens=80, **counts)
    model: Any = GovernedChatModel(aegis=aegis, models=inner) if way == "model" else inner
    config: Any = {} if way == "model" else {"callbacks": [AegisCallbackHandler(aegis)]}
    chain = ChatPromptTemplate.from_template("Greet {name}.") | model | StrOutputParser()

    async def listen() -> list[str]:
        events = chain.astream_events({"name": "Ada"}, config, version="v2")
        return [each["data"]["chunk"].text async for each in events if each["event"] == "on_chat_model_stream"]

    assert "".join(asyncio.run(listen())) == "Hello there, all is well."
    settled()


def test_models_of_three_providers_by_difficulty(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    models = [
        ChatGoogleGenerativeAI(model="gemini-2.5-flash-lite"),
        ChatOpenAI(model="gpt-5-mini"),
        ChatAnthropic(model="claude-sonnet-4-5", max_tokens=2_000),
    ]
    hard = {"easy": 1, "middling": 5, "hard": 9, "very hard": 10}

    def density(call: Any) -> int:
        return hard[call.messages[-1]["content"].partition(":")[0]]

    model = GovernedChatModel(aegis=aegis, models=models, logic_density=density)
    agent: Any = create_agent(model, [stock], middleware=[AegisMiddleware(aegis)])
    for word in hard:
        agent.invoke({"messages": [("user", f"{word}: say hello.")]})
    assert at.models == ["gemini-2.5-flash-lite", "gpt-5-mini", "claude-sonnet-4-5", "claude-sonnet-4-5"]
    settled()


def test_a_conversation_kept_at_the_provider(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    at.reply = lambda asked: Said("Yes.", sent=9_000 if asked.body.get("previous_response_id") else 60)
    model = GovernedChatModel(
        aegis=aegis, models=ChatOpenAI(model="gpt-4.1-mini", use_responses_api=True, max_tokens=300)
    )
    first = model.invoke("Remember the number 7.")
    model.invoke("Which number?", previous_response_id=first.response_metadata["id"])
    assert at.requests[1]["previous_response_id"] == "resp_0"
    settled()


class Parts(TypedDict):
    left: str
    right: str


def test_parallel_branches_and_tools(at: Providers, aegis: SyncGovernedAgent, settled: Settled) -> None:
    model = GovernedChatModel(aegis=aegis, models=ChatOpenAI(model="gpt-4o-mini"))
    both: Any = RunnableParallel(left=model | StrOutputParser(), right=model | StrOutputParser())
    found: Parts = both.invoke("Say it twice.")
    assert found["left"] == found["right"]

    def reply(asked: Asked) -> Said:
        calls = tuple(("stock", {"product": each}) for each in ("mill", "kettle", "cup", "spoon"))
        return Said("Enough of all.") if asked.answered else Said(calls=calls)

    at.reply = reply
    agent: Any = create_agent(
        ChatOpenAI(model="gpt-4o-mini"), [stock], middleware=[AegisMiddleware(aegis, costs={"stock": "0.001"})]
    )
    state = asyncio.run(agent.ainvoke({"messages": [("user", "What is left?")]}))
    assert sum(each.type == "tool" for each in state["messages"]) == 4
    settled("0.004")

"""One call of a real SDK through each adapter: whole, and as a stream. Frameworks load with the first call."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from typing import Any

from .billing import QUESTION

PATIENCE = 0.4
"""Seconds after which a client gives a call up."""

TEMPERATURE = 0.25


def governed_model(url: str, aegis: Any, repeats: int, schema: Any = None) -> None:
    from aegis_langchain import GovernedChatModel
    from langchain_openai import ChatOpenAI

    inner = ChatOpenAI(
        model="gpt-4o-mini",
        base_url=url,
        api_key="none",
        timeout=PATIENCE,
        max_tokens=64,
        max_retries=repeats,
        temperature=TEMPERATURE,
    )
    bound: Any = {} if schema is None else {"response_format": schema}
    GovernedChatModel(aegis=aegis, models=inner).invoke(QUESTION, **bound)


def callback(url: str, aegis: Any, repeats: int, schema: Any = None) -> None:
    from aegis_langchain import AegisCallbackHandler
    from langchain_openai import ChatOpenAI

    inner: Any = ChatOpenAI(
        model="gpt-4o-mini",
        base_url=url,
        api_key="none",
        timeout=PATIENCE,
        max_tokens=64,
        max_retries=repeats,
        temperature=TEMPERATURE,
    )
    inner = inner if schema is None else inner.bind(response_format=schema)
    inner.invoke(QUESTION, {"callbacks": [AegisCallbackHandler(aegis)]})


def crew(url: str, aegis: Any, repeats: int, schema: Any = None) -> None:
    from aegis_crewai import GovernedLLM
    from crewai import LLM

    inner = LLM(
        model="openai/gpt-4o-mini",
        base_url=url,
        api_key="none",
        timeout=PATIENCE,
        max_tokens=64,
        max_retries=repeats,
        temperature=TEMPERATURE,
    )
    GovernedLLM(aegis=aegis, models=inner).call(QUESTION, response_model=schema)


def agentchat(url: str, aegis: Any, repeats: int, schema: Any = None) -> None:
    from aegis_autogen.agentchat import GovernedChatCompletionClient
    from autogen_core.models import UserMessage
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    async def ask() -> None:
        inner = OpenAIChatCompletionClient(
            model="gpt-4o-mini",
            base_url=url,
            api_key="none",
            timeout=PATIENCE,
            max_retries=repeats,
            temperature=TEMPERATURE,
        )
        client = GovernedChatCompletionClient(inner, aegis, max_output_tokens=64)
        await client.create([UserMessage(content=QUESTION, source="user")], json_output=schema)
        await client.close()

    asyncio.run(ask())


def classic(url: str, aegis: Any, repeats: int, schema: Any = None) -> None:
    from aegis_autogen import register_governor
    from autogen import ConversableAgent

    entry = {"model": "gpt-4o-mini", "base_url": url, "api_key": "none", "timeout": PATIENCE, "max_tokens": 64}
    entry |= {"max_retries": repeats, "temperature": TEMPERATURE} | (
        {} if schema is None else {"response_format": schema}
    )
    agent = ConversableAgent("a", llm_config={"config_list": [entry], "cache_seed": None}, human_input_mode="NEVER")
    register_governor(agent, aegis)
    agent.generate_reply([{"role": "user", "content": QUESTION}])


def streamed_governed_model(url: str, aegis: Any, **options: Any) -> None:
    from aegis_langchain import GovernedChatModel
    from langchain_openai import ChatOpenAI

    inner = ChatOpenAI(model="gpt-4o-mini", base_url=url, api_key="none", max_tokens=64, max_retries=0, **options)
    list(GovernedChatModel(aegis=aegis, models=inner).stream(QUESTION))


def streamed_governed_model_async(url: str, aegis: Any, **options: Any) -> None:
    from aegis_langchain import GovernedChatModel
    from langchain_openai import ChatOpenAI

    async def read() -> None:
        inner = ChatOpenAI(model="gpt-4o-mini", base_url=url, api_key="none", max_tokens=64, max_retries=0, **options)
        async for _ in GovernedChatModel(aegis=aegis, models=inner).astream(QUESTION):
            pass

    asyncio.run(read())


def streamed_callback(url: str, aegis: Any, **options: Any) -> None:
    from aegis_langchain import AegisCallbackHandler
    from langchain_openai import ChatOpenAI

    inner = ChatOpenAI(model="gpt-4o-mini", base_url=url, api_key="none", max_tokens=64, max_retries=0, **options)
    list(inner.stream(QUESTION, {"callbacks": [AegisCallbackHandler(aegis)]}))


def streamed_crew(url: str, aegis: Any) -> None:
    from aegis_crewai import GovernedLLM
    from crewai import LLM

    inner = LLM(model="openai/gpt-4o-mini", base_url=url, api_key="none", max_tokens=64, max_retries=0, stream=True)
    GovernedLLM(aegis=aegis, models=inner).call(QUESTION)


def streamed_agentchat(url: str, aegis: Any, **options: Any) -> None:
    from aegis_autogen.agentchat import GovernedChatCompletionClient
    from autogen_core.models import UserMessage
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    async def read() -> None:
        inner = OpenAIChatCompletionClient(model="gpt-4o-mini", base_url=url, api_key="none", max_retries=0, **options)
        client = GovernedChatCompletionClient(inner, aegis, max_output_tokens=64)
        async for _ in client.create_stream([UserMessage(content=QUESTION, source="user")]):
            pass
        await client.close()

    asyncio.run(read())


def streamed_classic(url: str, aegis: Any) -> None:
    from aegis_autogen import register_governor
    from autogen import ConversableAgent

    entry = {"model": "gpt-4o-mini", "base_url": url, "api_key": "none", "max_tokens": 64, "stream": True}
    agent = ConversableAgent("a", llm_config={"config_list": [entry], "cache_seed": None}, human_input_mode="NEVER")
    register_governor(agent, aegis)
    agent.generate_reply([{"role": "user", "content": QUESTION}])


WHOLE: dict[str, Callable[[str, Any, int, Any], None]] = {
    each.__name__: each for each in (governed_model, callback, crew, agentchat, classic)
}
"""By adapter: a call of gpt-4o-mini at an address, as an agent, with so many repeats of the SDK, for a schema."""

STREAMS: dict[str, Callable[..., None]] = {
    each.__name__.removeprefix("streamed_"): each
    for each in (
        streamed_governed_model, streamed_governed_model_async, streamed_callback, streamed_crew, streamed_agentchat,
        streamed_classic,
    )
}  # fmt: skip
"""By adapter: a stream of gpt-4o-mini at an address, as an agent, with options of the framework's model."""


def quietly(call: Callable[..., None], *arguments: Any, **options: Any) -> None:
    """Make it without the frameworks' own warnings, some of which come when they are imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call(*arguments, **options)

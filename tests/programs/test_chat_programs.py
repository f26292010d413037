"""Programs on AutoGen as users write them, classic and agentchat: OpenAI's own clients, and a provider on loopback."""

from __future__ import annotations

from typing import Any

import pytest
from aegis_autogen import register_governor
from aegis_autogen.agentchat import GovernedChatCompletionClient, govern_tools
from autogen import ConversableAgent
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination, TextMentionTermination
from autogen_agentchat.teams import SelectorGroupChat, Swarm
from autogen_ext.models.openai import OpenAIChatCompletionClient
from paid_model import MODEL, Provider, Said, check_books, last_of, provider, results

from aegis_core import AegisDenied
from aegis_core.client.sync import SyncGovernor


def client(serves: Provider, aegis: Any) -> GovernedChatCompletionClient:
    return GovernedChatCompletionClient(
        OpenAIChatCompletionClient(model=MODEL, base_url=serves.url, api_key="none", max_tokens=200, max_retries=0),
        aegis,
    )


async def test_a_swarm(governor: SyncGovernor) -> None:
    """Triage hands over to the one who refunds, whose tool costs half a dollar, and who hands back."""

    def reply(messages: list[dict[str, Any]], body: dict[str, Any]) -> Said:
        names = {each["function"]["name"] for each in body.get("tools", ())}
        if "refund" not in names:
            done = any("refunded 7" in str(each.get("content")) for each in messages)
            return Said("All is well. TERMINATE") if done else Said(calls=(("transfer_to_refunds", {}),))
        if results(messages) and "refunded 7" in results(messages)[-1]:
            return Said(calls=(("transfer_to_triage", {}),))
        return Said(calls=(("refund", {"euros": 7}),))

    async def refund(euros: int) -> str:
        """Refund so many euros."""
        return f"refunded {euros}"

    with provider(reply) as serves:
        triage, refunds = governor.handshake("triage"), governor.handshake("refunds")
        first = AssistantAgent("triage", client(serves, triage), handoffs=["refunds"], system_message="Triage.")
        tools: Any = govern_tools([refund], refunds, costs={"refund": "0.50"})
        second = AssistantAgent("refunds", client(serves, refunds), tools=tools, handoffs=["triage"])
        ends = TextMentionTermination("TERMINATE") | MaxMessageTermination(20)
        ended = await Swarm([first, second], termination_condition=ends).run(task="I want my 7 euros back.")
        assert str(ended.messages[-1].to_text()).startswith("All is well.")
        assert governor.budget("refunds").budgets[0].spent_usd > 0.5
        check_books(governor, serves, "0.50")


async def test_a_selector(governor: SyncGovernor) -> None:
    """A model chooses who speaks; its calls are asked for like any other."""

    def reply(messages: list[dict[str, Any]], _: dict[str, Any]) -> Said:
        text = " ".join(str(each.get("content")) for each in messages)
        if "select the next role" in text.lower():
            return Said("poet" if "ROMEO" not in text else "critic")
        return Said("It is fine. TERMINATE" if "You judge." in text else "ROMEO, a poem.")

    with provider(reply) as serves:
        poet = AssistantAgent("poet", client(serves, governor.handshake("poet")), system_message="You write.")
        critic = AssistantAgent("critic", client(serves, governor.handshake("critic")), system_message="You judge.")
        chooser = client(serves, governor.handshake("chooser"))
        team = SelectorGroupChat(
            [poet, critic],
            chooser,
            termination_condition=TextMentionTermination("TERMINATE") | MaxMessageTermination(10),
            selector_prompt="Select the next role from {participants}.\n{roles}\n{history}\nAnswer with its name only.",
        )
        ended = await team.run(task="A poem, and a word on it.")
        assert [each.source for each in ended.messages] == ["user", "poet", "critic"]
        assert governor.budget("chooser").budgets[0].spent_usd > 0
        check_books(governor, serves)


def test_nested_chats(governor: SyncGovernor) -> None:
    """A writer asks two others before it answers, each in a chat of its own."""

    def reply(messages: list[dict[str, Any]], _: dict[str, Any]) -> Said:
        system = last_of(messages, "system")
        return Said(f"The {system} is fine.") if system in {"facts", "style"} else Said("Here is the text.")

    with provider(reply) as serves:
        entry = {"model": MODEL, "base_url": serves.url, "api_key": "none", "max_tokens": 200}
        config = {"config_list": [entry], "cache_seed": None}
        quiet: dict[str, Any] = {"human_input_mode": "NEVER", "code_execution_config": False}

        def agent(name: str, prompt: str) -> ConversableAgent:
            made = ConversableAgent(name, system_message=prompt, llm_config=config, **quiet)
            register_governor(made, governor.handshake(name))
            return made

        user = ConversableAgent("user", llm_config=False, **quiet)
        writer, facts, style = agent("writer", "write"), agent("facts", "facts"), agent("style", "style")
        nested = [
            {"recipient": each, "summary_method": "last_msg", "max_turns": 1, "message": "Look at it."}
            for each in (facts, style)
        ]
        writer.register_nested_chats(nested, trigger=user)
        chat = user.initiate_chat(writer, message="A text on Chur.", max_turns=1)
        assert chat.summary == "The style is fine."
        assert len(serves.requests) == 2
        check_books(governor, serves)


@pytest.mark.deep
async def test_a_selector_that_is_refused_ends_the_team(governor: SyncGovernor) -> None:
    """Nobody speaks when nobody may be chosen."""

    def reply(messages: list[dict[str, Any]], _: dict[str, Any]) -> Said:
        return Said("poet")

    with provider(reply) as serves:
        poet = AssistantAgent("poet", client(serves, governor.handshake("poet")))
        critic = AssistantAgent("critic", client(serves, governor.handshake("critic")))
        chooser = governor.handshake("chooser")
        governor.set_budget("agent", "chooser", "day", "0.000001")
        team = SelectorGroupChat(
            [poet, critic], client(serves, chooser), termination_condition=MaxMessageTermination(5)
        )
        with pytest.raises(AegisDenied, match="it costs up to"):
            await team.run(task="A poem.")
        assert serves.requests == []
        check_books(governor, serves)

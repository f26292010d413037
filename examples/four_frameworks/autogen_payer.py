"""Classic AutoGen: an assistant that asks for the tool and a proxy that runs it, both registered."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace as Said
from typing import Annotated, Any, cast

from aegis_autogen import register_governor
from autogen import ConversableAgent, register_function
from payer import CAP, COSTS, MODEL, TASK, Payer


class ScriptedClient:
    """In your program: leave ``model_client_cls`` out of the configuration, and AutoGen calls OpenAI."""

    def __init__(self, _config: dict[str, Any], payer: Payer) -> None:
        self._payer = payer

    def create(self, params: dict[str, Any]) -> Any:
        """One answer, in the shape of OpenAI's client."""
        answer = self._payer.answer([message.get("content") or "" for message in params["messages"]])
        message: Any = answer.text
        if answer.invoice is not None:
            function = {"name": "pay", "arguments": json.dumps({"invoice": answer.invoice})}
            calls = [{"id": answer.call_id, "type": "function", "function": function}]
            message = Message(role="assistant", content=None, tool_calls=calls)
        usage = Said(prompt_tokens=answer.input_tokens, completion_tokens=answer.output_tokens)
        return Said(choices=[Said(message=message)], usage=usage, model=MODEL, cost=0.0, id=answer.call_id)

    def message_retrieval(self, response: Any) -> list[Any]:
        """The message of each choice."""
        return [choice.message for choice in response.choices]

    def cost(self, response: Any) -> Any: ...  # the response says it
    def get_usage(self, response: Any) -> Any: ...


class Message(dict[str, Any]):
    """What AutoGen takes for an answer with tool calls."""

    def model_dump(self) -> dict[str, Any]:
        """Itself."""
        return dict(self)


def is_last(message: dict[str, Any]) -> bool:
    """Whether the chat ends with this message."""
    return not message.get("tool_calls")


def build(payer: Payer) -> Callable[[], str]:
    """The two agents, ready to chat."""

    def pay(invoice: Annotated[int, "its number"]) -> str:
        return payer.pay(invoice)

    entry = {"model": MODEL, "model_client_cls": "ScriptedClient", "max_tokens": CAP, "api_key": "none"}
    config: Any = {"config_list": [entry], "cache_seed": None}
    quiet: Any = {"human_input_mode": "NEVER", "code_execution_config": False}
    assistant = ConversableAgent("assistant", llm_config=config, **quiet)
    proxy = ConversableAgent("proxy", llm_config=False, is_termination_msg=is_last, **quiet)
    register_function(pay, caller=assistant, executor=proxy, name="pay", description="Pay an invoice.")
    assistant.register_model_client(cast("Any", ScriptedClient), payer=payer)
    for each in (assistant, proxy):
        register_governor(each, payer.aegis, costs=COSTS)
    return lambda: proxy.initiate_chat(assistant, message=TASK, silent=True, max_turns=200).chat_history[-1]["content"]

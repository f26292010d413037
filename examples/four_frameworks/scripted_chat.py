"""The scripted model as LangChain and LangGraph take it."""

from __future__ import annotations

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from payer import CAP, MODEL, Payer
from pydantic import PrivateAttr


class ScriptedChat(BaseChatModel):
    """In your program: ``init_chat_model("openai:gpt-4o-mini")``."""

    model_name: str = MODEL
    max_tokens: int = CAP
    _payer: Payer = PrivateAttr()

    def __init__(self, payer: Payer) -> None:
        super().__init__()
        self._payer = payer

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, *_: Any, **__: Any) -> Any:
        """It knows its tool."""
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        answer = self._payer.answer([message.text for message in messages])
        calls = [] if answer.invoice is None else [
            {"name": "pay", "args": {"invoice": answer.invoice}, "id": answer.call_id}
        ]  # fmt: skip
        usage: Any = {
            "input_tokens": answer.input_tokens, "output_tokens": answer.output_tokens,
            "total_tokens": answer.input_tokens + answer.output_tokens,
        }  # fmt: skip
        message = AIMessage(answer.text, tool_calls=calls, usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=message)])

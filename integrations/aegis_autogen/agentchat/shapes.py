"""AutoGen's messages, tools and answers in the shapes that the core reads."""

from __future__ import annotations

from collections.abc import Sequence

from autogen_core import FunctionCall
from autogen_core.models import (
    AssistantMessage,
    CreateResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    SystemMessage,
)
from autogen_core.tools import Tool, ToolSchema

from aegis_core.adapting import ReceivedText


def shaped_messages(messages: Sequence[LLMMessage]) -> list[dict[str, object]]:
    """A message for each; the results of several tools are several."""
    return [shaped for message in messages for shaped in _shaped(message)]


def shaped_tools(tools: Sequence[Tool | ToolSchema]) -> list[dict[str, object]]:
    """Tool definitions."""
    return [{"type": "function", "function": tool if isinstance(tool, dict) else tool.schema} for tool in tools]


def received_text(result: CreateResult) -> ReceivedText:
    """The text of an answer, thoughts and calls of tools included."""
    received = ReceivedText()
    received.text(result.thought)
    for piece in [result.content] if isinstance(result.content, str) else result.content:
        received.text(*([piece] if isinstance(piece, str) else [piece.name, piece.arguments]))
    return received


def _shaped(message: LLMMessage) -> list[dict[str, object]]:
    if isinstance(message, SystemMessage):
        return [{"role": "system", "content": message.content}]
    if isinstance(message, FunctionExecutionResultMessage):
        return [{"role": "tool", "tool_call_id": each.call_id, "content": each.content} for each in message.content]
    if isinstance(message, AssistantMessage):
        if isinstance(message.content, str):
            return [{"role": "assistant", "content": message.content}]
        calls = [_shaped_call(call) for call in message.content]
        return [{"role": "assistant", "content": message.thought, "tool_calls": calls}]
    parts = [message.content] if isinstance(message.content, str) else message.content
    return [{"role": "user", "content": [_part(part) for part in parts]}]


def _shaped_call(call: FunctionCall) -> dict[str, object]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _part(part: object) -> dict[str, object]:
    return {"type": "text", "text": part} if isinstance(part, str) else {"type": "image_url"}

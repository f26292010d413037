"""LangGraph's states, messages and configs as the core reads them, and its refusals as messages."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.messages import ToolCall as AskedCall
from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel

from aegis_core.adapting import Clearance, ToolCall, hash_arguments
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import InvalidRequestError

_CONTEXT = "tool_call_with_context"


@dataclasses.dataclass
class Pending:
    """The tool calls of the last AI message that have no answer yet.

    Attributes:
        state: the state of the graph.
        messages: its messages.
        message: the AI message.
        calls: its unanswered calls, or the one that this node was sent.
    """

    state: Any
    messages: list[AnyMessage]
    message: AIMessage
    calls: list[AskedCall]

    def with_calls(self, calls: list[AskedCall], key: str) -> Any:
        """The state as if the AI message had asked for these calls only."""
        place = self.messages.index(self.message)
        message = self.message.model_copy(update={"tool_calls": calls})
        messages = [*self.messages[:place], message, *self.messages[place + 1 :]]
        state: Any = self.state
        if isinstance(state, list):
            return messages
        if isinstance(state, BaseModel):
            return state.model_copy(update={key: messages})
        if dataclasses.is_dataclass(state) and not isinstance(state, type):
            return dataclasses.replace(state, **{key: messages})
        return {**cast("Mapping[str, Any]", state), key: messages}


def pending_of(given: Any, key: str) -> Pending | None:
    """Read a node's input: a state, messages, or what `approval_node` sends. None: no call waits for an answer.

    Raises:
        InvalidRequestError: there are no messages to read.
    """
    fields: Mapping[str, Any] | None = cast("Mapping[str, Any]", given) if isinstance(given, Mapping) else None
    only: AskedCall | None = None
    if fields is not None and fields.get("__type") == _CONTEXT:
        only, given = fields["tool_call"], fields["state"]
        fields = cast("Mapping[str, Any]", given) if isinstance(given, Mapping) else None
    if isinstance(given, list):
        messages = list(cast("list[Any]", given))
    else:
        kept: Any = fields.get(key) if fields is not None else getattr(cast("Any", given), key, None)
        messages: list[Any] = list(kept or [])
    if not all(hasattr(each, "type") for each in messages) or not messages:
        raise InvalidRequestError(
            f"state: holds no messages under {key!r}; give messages_key= its name, and send calls by approval_node.",
            field="state",
            problem="holds no messages",
        )
    place = next((n for n in range(len(messages) - 1, -1, -1) if isinstance(messages[n], AIMessage)), None)
    if place is None:
        return None
    message = messages[place]
    answered = {each.tool_call_id for each in messages[place + 1 :] if isinstance(each, ToolMessage)}
    calls: list[AskedCall] = (
        [only] if only is not None else [call for call in message.tool_calls if call["id"] not in answered]
    )
    return Pending(given, messages, message, calls) if calls else None


def sent(pending: Pending, call: AskedCall) -> dict[str, Any]:
    """What a tool node is sent for one call; LangGraph's own `ToolNode` understands it too."""
    return {"__type": _CONTEXT, "tool_call": {**call, "type": "tool_call"}, "state": pending.state}


def described(pending: Pending, call: AskedCall, config: RunnableConfig) -> ToolCall:
    """A call as the core knows it, the same in every process: by thread, AI message, id and arguments."""
    thread = (config.get("configurable") or {}).get("thread_id")
    message = pending.message.id
    return ToolCall(
        call["name"],
        call["args"],
        call_id=call["id"] if message else None,
        message_id=message,
        thread=None if thread is None else str(thread),
    )


def key_of(call: AskedCall) -> str:
    """Tells the calls of one AI message apart."""
    return f"{call['id']} {hash_arguments(call['args'])}"


def cleared(call: AskedCall, clearance: Clearance) -> AskedCall:
    """The call with the arguments that a person may have edited."""
    if clearance.call.arguments is call["args"]:
        return call
    return {**call, "args": clearance.call.arguments}


def can_pause(config: RunnableConfig) -> bool:
    """Whether the graph has a checkpointer, so that an interrupt can be resumed and a node may be run again."""
    return (config.get("configurable") or {}).get("__pregel_checkpointer") not in {None, False}


def told(call: AskedCall, clearance: Clearance, denial: AegisDenied | None) -> ToolMessage:
    """The message for a call that is not run now: why, or the stored result."""
    failed = denial is not None or clearance.failed
    return ToolMessage(
        content=denial.message if denial is not None else clearance.result,
        name=call["name"],
        tool_call_id=call["id"] or "",
        status="error" if failed else "success",
    )

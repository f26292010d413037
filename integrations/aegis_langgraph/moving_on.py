"""Whether a thread has gone on without the answer to a question, which then nobody needs any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.messages import ToolCall as AskedCall
from langgraph.types import StateSnapshot

from aegis_core.adapting import ToolCall
from aegis_core.protocol.approvals import Approval
from aegis_langgraph.graph_threads import GraphThreads
from aegis_langgraph.pauses import asks, checkpoint_of

_MOST_CHECKPOINTS = 20
_ATTEMPTS = 4


async def has_moved_on(threads: GraphThreads, thread: str, state: StateSnapshot, approval: Approval) -> bool:
    """Whether the thread can no longer take the answer: it was given a new input, or carried on from an earlier place.

    False where that is not certain: the thread may be about to pause for it, or belong to another graph.
    """
    if asks(state, approval.approval_id):
        return False
    if (over := _is_answered(state, thread, approval)) is not None:
        return over
    if state.tasks and not state.interrupts:
        return False
    here = checkpoint_of(state)
    older = await threads.history(thread, _MOST_CHECKPOINTS)
    return any(asks(each, approval.approval_id) for each in older if checkpoint_of(each) != here)


def _is_answered(state: StateSnapshot, thread: str, approval: Approval) -> bool | None:
    """Whether what follows the call in the thread's messages leaves it no place; None: the call is not among them."""
    for messages in _conversations(state.values):
        for place, message in enumerate(messages):
            call = _call_of(message, thread, approval) if isinstance(message, AIMessage) else None
            if call is not None:
                return any(_takes_its_place(each, call) for each in messages[place + 1 :])
    return None


def _takes_its_place(later: object, call: AskedCall) -> bool:
    """A node of ours asks about the calls of the last AI message that have no answer."""
    return isinstance(later, AIMessage) or (isinstance(later, ToolMessage) and later.tool_call_id == call["id"])


def _conversations(values: object) -> Iterator[Sequence[object]]:
    kept = cast("Mapping[str, object]", values).values() if isinstance(values, Mapping) else (values,)
    for each in kept:
        if isinstance(each, list):
            yield cast("list[object]", each)


def _call_of(message: AIMessage, thread: str, approval: Approval) -> AskedCall | None:
    """The call of a message that the approval is about."""
    for call in message.tool_calls:
        named = (
            ToolCall(
                call["name"], call["args"], call_id=call["id"], message_id=message.id, thread=thread, attempt=attempt
            )
            for attempt in range(_ATTEMPTS)
        )
        if any(each.identity(approval.tenant) == approval.request_id for each in named):
            return call
    return None

"""The approval node: it stands before the tool node, judges all pending calls at once, and interrupts once."""

from __future__ import annotations

from typing import Any, Unpack

from langchain_core.messages import ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.constants import END
from langgraph.types import Command, Send, interrupt

from aegis_core.adapting import CallGovernor, CallWishes, ToolBatch, ToolReview
from aegis_core.adapting.call_governor import Costs
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import ConfigurationError
from aegis_langgraph.shapes import Pending, can_pause, cleared, described, pending_of, sent, told


def approval_node(
    aegis: object,
    *,
    tools: str = "tools",
    model: str = "agent",
    end: str = END,
    costs: Costs | None = None,
    messages_key: str = "messages",
    **wishes: Unpack[CallWishes],
) -> Runnable[Any, Any]:
    """A node between the model and the tools. It chooses where to go, so draw an edge to it and none from it.

    Calls that Aegis grants are sent to the tools, each by itself. For those that need a person the graph interrupts
    once, with a ``HITLRequest``; it goes on when an operator of Aegis has decided, by `ApprovalResumer` or any
    ``Command(resume=HITLResponse)``. Refused calls are answered with a ``ToolMessage``.

    Args:
        aegis: an agent of Aegis: `SyncGovernor.handshake`, or `Governor.handshake` for async code.
        tools: the name of the node that runs tools.
        model: the name of the node that calls the model, where every call was refused.
        end: where to go when the model asked for no tool.
        costs: dollars a tool call costs: a mapping by name, or a function of name and arguments. The same as those of
            `GovernedToolNode`.
        messages_key: where the state keeps its messages.
        **wishes: ``priority``, ``logic_density``, ``task_type``: a value, or a function of the call, the same as those
            of `GovernedToolNode`; see `CallWishes`.

    Raises:
        ConfigurationError: `aegis` is not an agent of Aegis; or, when it runs, the graph has no checkpointer.
    """
    review = ToolReview(CallGovernor(aegis, framework="langgraph", costs=costs, **wishes))
    return _ApprovalNode(review, tools=tools, model=model, end=end, key=messages_key)


class _ApprovalNode(Runnable[Any, Any]):
    def __init__(self, review: ToolReview, *, tools: str, model: str, end: str, key: str) -> None:
        self._review, self._tools, self._model, self._end, self._key = review, tools, model, end, key

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Command[Any]:  # noqa: A002 - LangChain's name
        config = _checked(config)
        pending = self._pending_of(input)
        if pending is None:
            return Command(goto=self._end)
        batch = self._review.open([described(pending, call, config) for call in pending.calls], durable=True)
        while (question := batch.question) is not None:
            batch.answer(interrupt(question))
        denials = {
            place: self._review.refusal(each) for place, each in enumerate(batch.clearances) if each.state == "refused"
        }
        return self._onward(pending, batch, denials)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Command[Any]:  # noqa: A002
        config = _checked(config)
        pending = self._pending_of(input)
        if pending is None:
            return Command(goto=self._end)
        batch = await self._review.aopen([described(pending, call, config) for call in pending.calls], durable=True)
        while (question := batch.question) is not None:
            await batch.aanswer(interrupt(question))
        denials = {
            place: await self._review.arefusal(each)
            for place, each in enumerate(batch.clearances)
            if each.state == "refused"
        }
        return self._onward(pending, batch, denials)

    def _pending_of(self, given: Any) -> Pending | None:
        pending = pending_of(given, self._key)
        for call in pending.calls if pending else ():
            self._review.calls.names.warn_of(call["name"])
        return pending

    def _onward(self, pending: Pending, batch: ToolBatch, denials: dict[int, AegisDenied]) -> Command[Any]:
        if final := next((denial for denial in denials.values() if denial.final), None):
            batch.drop(approved=True)
            raise final
        answers: list[ToolMessage] = []
        passed: list[Send] = []
        for place, (call, clearance) in enumerate(zip(pending.calls, batch.clearances, strict=True)):
            if clearance.state == "granted":
                passed.append(Send(self._tools, sent(pending, cleared(call, clearance))))
            else:
                answers.append(told(call, clearance, denials.get(place)))
        update = {self._key: answers} if answers else None
        return Command(update=update, goto=passed or self._model)


def _checked(config: RunnableConfig | None) -> RunnableConfig:
    if config is None or not can_pause(config):
        raise ConfigurationError(
            "approval_node needs a graph with a checkpointer, or nobody could resume it: "
            "builder.compile(checkpointer=…), and a thread_id in the config."
        )
    return config

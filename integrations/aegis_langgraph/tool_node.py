"""The tool node: every call is paid for, refused in one sentence, and run at most once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from langchain_core.messages import ToolCall as AskedCall
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.errors import GraphBubbleUp
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command, interrupt

from aegis_core.adapting import CallGovernor, Clearance, Locks, ToolBatch, ToolReview, tool_list
from aegis_core.adapting.call_governor import Costs
from aegis_core.adapting.wishes import Told
from aegis_core.client.sync import SyncFlow
from aegis_core.protocol.denial import AegisDenied
from aegis_langgraph.shapes import Pending, can_pause, cleared, described, key_of, pending_of, told

_Told = ToolMessage | Command[Any]

_CLEARED = "__aegis_cleared"
"""Where a call of the node hands its clearances to the calls of the tools, which run in threads of their own."""


class GovernedToolNode(ToolNode):
    """Runs the tool calls of the last AI message, as LangGraph's `ToolNode` does, each held, run once and settled.

    It goes wherever one of these goes, as into ``create_react_agent(model, GovernedToolNode(…))``.

    With a checkpointer the execution journal is kept: what was finished is replayed when the node runs again, and what
    was started and never finished asks a person. A call that needs a person interrupts before any tool runs.

    Args:
        tools: tools, or functions.
        aegis: an agent of Aegis: `SyncGovernor.handshake`, or `Governor.handshake` for async code.
        workflow: a workflow of `SyncGovernor.workflow`, joined once by the agent ``langgraph`` for all of a graph.
        costs: dollars a tool call costs: a mapping by name, or a function of name and arguments.
        locks: the lock a tool holds while it runs: ``{"pay": "wallet_main"}``, with a `ToolLock` or a function of the
            arguments in place of the name; or a function of name and arguments.
        messages_key: where the state keeps its messages.
        approval_seconds: how long a call waits for a human where the graph cannot pause.
        priority: 1 to 10, or a function of the call; this and the next two are what rules match.
        logic_density: how hard the work is, 1 to 10; or a function of the call.
        task_type: the kind of task, or a function of the call.
        **options: further arguments of `ToolNode`, such as ``handle_tool_errors``.

    Raises:
        ConfigurationError: `aegis` is not an agent of Aegis, `tools` are no tools, or a name in `costs` or `locks` is
            none of theirs.
    """

    def __init__(
        self,
        tools: Sequence[BaseTool | Callable[..., Any]],
        aegis: object = None,
        *,
        workflow: SyncFlow | None = None,
        costs: Costs | None = None,
        locks: Locks | None = None,
        messages_key: str = "messages",
        approval_seconds: float = 600,
        priority: Told[int] | None = None,
        logic_density: Told[int] | None = None,
        task_type: Told[str] | None = None,
        **options: Any,
    ) -> None:
        tools = tool_list("GovernedToolNode", tools, _is_tool, "tools of LangChain, or functions")
        calls = CallGovernor(
            aegis if workflow is None else workflow, framework="langgraph", costs=costs, locks=locks,
            priority=priority, logic_density=logic_density, task_type=task_type,
        )  # fmt: skip
        self._review = ToolReview(calls, approval_seconds)
        self._key = messages_key
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            tools, messages_key=messages_key, wrap_tool_call=self._run, awrap_tool_call=self._arun, **options
        )
        calls.names.check(self.tools_by_name)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - LangChain's name
        """Judge all calls, ask once for those that need a person, run those that may."""
        config = config or {}
        pending = pending_of(input, self._key)
        if pending is None:
            return self._answer(input, [])
        durable = _is_durable(pending, config)
        batch = self._review.open([described(pending, call, config) for call in pending.calls], durable=durable)
        while durable and (question := batch.question) is not None:
            batch.answer(interrupt(question))
        if not durable:
            batch.clearances = [self._review.wait(each) for each in batch.clearances]
        denials = {n: self._review.refusal(each) for n, each in enumerate(batch.clearances) if _is_refused(each)}
        answers, passed = self._sorted(pending, batch, denials)
        result = super().invoke(*self._given(pending, batch, passed, config), **kwargs) if passed else None
        return self._answer(pending.state, answers, result, pending)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """As `invoke`."""
        config = config or {}
        pending = pending_of(input, self._key)
        if pending is None:
            return self._answer(input, [])
        durable = _is_durable(pending, config)
        batch = await self._review.aopen([described(pending, call, config) for call in pending.calls], durable=durable)
        while durable and (question := batch.question) is not None:
            await batch.aanswer(interrupt(question))
        if not durable:
            batch.clearances = [await self._review.await_(each) for each in batch.clearances]
        denials = {n: await self._review.arefusal(each) for n, each in enumerate(batch.clearances) if _is_refused(each)}
        answers, passed = self._sorted(pending, batch, denials)
        result = await super().ainvoke(*self._given(pending, batch, passed, config), **kwargs) if passed else None
        return self._answer(pending.state, answers, result, pending)

    def _sorted(
        self, pending: Pending, batch: ToolBatch, denials: dict[int, AegisDenied]
    ) -> tuple[list[ToolMessage], list[AskedCall]]:
        """What is answered without running, and what runs."""
        if final := next((denial for denial in denials.values() if denial.final), None):
            batch.drop(approved=True)
            raise final
        answers: list[ToolMessage] = []
        passed: list[AskedCall] = []
        for place, (call, clearance) in enumerate(zip(pending.calls, batch.clearances, strict=True)):
            if clearance.state == "granted":
                passed.append(cleared(call, clearance))
            else:
                answers.append(told(call, clearance, denials.get(place)))
        return answers, passed

    def _given(
        self, pending: Pending, batch: ToolBatch, passed: list[AskedCall], config: RunnableConfig
    ) -> tuple[Any, RunnableConfig]:
        granted = [each for each in batch.clearances if each.state == "granted"]
        handed = {key_of(call): each for call, each in zip(passed, granted, strict=True)}
        configurable = {**(config.get("configurable") or {}), _CLEARED: handed}
        return pending.with_calls(passed, self._key), cast("RunnableConfig", {**config, "configurable": configurable})

    def _answer(
        self, state: Any, answers: list[ToolMessage], result: Any = None, pending: Pending | None = None
    ) -> Any:
        """The node's output: messages in the order of the calls, and commands where tools answered some."""
        if isinstance(result, list) and not all(isinstance(each, ToolMessage) for each in cast("list[Any]", result)):
            return [*cast("list[Any]", result), *([{self._key: answers}] if answers else [])]
        ran: list[ToolMessage] = (
            cast("Any", result) if isinstance(result, list) else result[self._key] if result else []
        )
        places = {call["id"]: place for place, call in enumerate(pending.calls)} if pending else {}
        messages = sorted([*ran, *answers], key=lambda each: places.get(each.tool_call_id, 0))
        return messages if isinstance(state, list) else {self._key: messages}

    def _run(self, request: ToolCallRequest, execute: Callable[[ToolCallRequest], _Told]) -> _Told:
        clearance, durable = _handed(request)
        work = self._review.begin(clearance, journal=durable)
        if isinstance(work, Clearance):
            return told(request.tool_call, work, None if work.state == "done" else self._review.refusal(work))
        try:
            with work.held.inside():
                result = execute(request)
        except GraphBubbleUp:
            work.pause()
            raise
        except Exception as error:
            work.fail(str(error))
            raise
        except BaseException:
            work.held.abandon(consumed=True)
            raise
        _ = work.fail(_record(result)) if _failed(result) else work.finish(_record(result))
        return result

    async def _arun(self, request: ToolCallRequest, execute: Callable[[ToolCallRequest], Awaitable[_Told]]) -> _Told:
        clearance, durable = _handed(request)
        work = await self._review.abegin(clearance, journal=durable)
        if isinstance(work, Clearance):
            return told(request.tool_call, work, None if work.state == "done" else await self._review.arefusal(work))
        try:
            with work.held.inside():
                result = await execute(request)
        except GraphBubbleUp:
            await work.apause()
            raise
        except Exception as error:
            await work.afail(str(error))
            raise
        except BaseException:
            work.held.abandon(consumed=True)
            raise
        _ = await (work.afail(_record(result)) if _failed(result) else work.afinish(_record(result)))
        return result


def _is_tool(value: object) -> bool:
    return isinstance(value, BaseTool) or (callable(value) and not isinstance(value, type))


def _is_durable(pending: Pending, config: RunnableConfig) -> bool:
    return can_pause(config) and pending.message.id is not None


def _is_refused(clearance: Clearance) -> bool:
    return clearance.state not in {"granted", "done"}


def _handed(request: ToolCallRequest) -> tuple[Clearance, bool]:
    config = cast("RunnableConfig", cast("Any", request).runtime.config)
    clearance = (config.get("configurable") or {})[_CLEARED][key_of(request.tool_call)]
    return clearance, can_pause(config) and clearance.call.call_id is not None


def _failed(result: _Told) -> bool:
    return isinstance(result, ToolMessage) and result.status == "error"


def _record(result: _Told) -> Any:
    """What the journal keeps of a result; a command's update is not kept."""
    return result.content if isinstance(result, ToolMessage) else "It ran; what it changed in the state is not kept."

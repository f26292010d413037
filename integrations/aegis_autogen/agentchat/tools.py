"""Tools and workbenches that ask Aegis before they run, each call by itself, also when several run at once.

A refusal reaches the model as the tool's failed answer. Never is more than an `Exception` raised: AutoGen would wait
for that tool for ever.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, Unpack, cast, overload

from autogen_core import CancellationToken
from autogen_core.tools import (
    BaseTool,
    FunctionTool,
    StreamTool,
    TextResultContent,
    ToolResult,
    ToolSchema,
    Workbench,
)
from pydantic import BaseModel

from aegis_autogen.agentchat.asking import HandOff, WaitInTool
from aegis_core.adapting import CallGovernor, CallWishes, Locks, tool_list
from aegis_core.adapting.call_governor import Costs
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import ConfigurationError

AnyTool = BaseTool[Any, Any] | Callable[..., object]


class ToolTerms(CallWishes, total=False):
    """What `govern_tools` is told beside the tools and their agent."""

    costs: Costs | None
    locks: Locks | None
    approval_seconds: float
    hand_off: str | None
    thread: str | None


@overload
def govern_tools(tools: Workbench, aegis: object, **terms: Unpack[ToolTerms]) -> Workbench: ...
@overload
def govern_tools(tools: Sequence[AnyTool], aegis: object, **terms: Unpack[ToolTerms]) -> list[BaseTool[Any, Any]]: ...
def govern_tools(
    tools: Workbench | Sequence[AnyTool],
    aegis: object,
    *,
    costs: Costs | None = None,
    locks: Locks | None = None,
    approval_seconds: float = 600,
    hand_off: str | None = None,
    thread: str | None = None,
    **wishes: Unpack[CallWishes],
) -> Workbench | list[BaseTool[Any, Any]]:
    """Tools, functions or a workbench, for an agent's ``tools=`` or ``workbench=``, with Aegis in front of each call.

    Args:
        tools: what the agent may call.
        aegis: an agent of Aegis: `Governor.handshake`, or `SyncGovernor.handshake`.
        costs: dollars a tool call costs: a mapping by name, or a function of name and arguments.
        locks: the lock a tool holds while it runs: ``{"pay": "wallet_main"}``, with a `ToolLock` or a function of the
            arguments in place of the name; or a function of name and arguments.
        approval_seconds: how long a call waits in the tool for a human; 0: it is refused.
        hand_off: do not wait: tell the model to hand the conversation to this target, such as ``user``. With a
            `HandoffTermination` the team ends and its state can be saved; a process that loads it after the decision
            lets the model call the tool again.
        thread: names the conversation, the same in every process that carries it on; needed for `hand_off`.
        **wishes: ``priority``, ``logic_density``, ``task_type``: a value, or a function of the call; see `CallWishes`.

    Raises:
        ConfigurationError: `aegis` is no agent of Aegis, `hand_off` has no `thread`, `tools` are no tools, or a name in
            `costs` or `locks` is none of theirs. Of a workbench that is a warning, when it lists its tools.
    """
    if not isinstance(tools, Workbench):
        tools = tool_list("govern_tools", tools, _is_tool, "tools of AutoGen, functions, or a workbench")
    calls = CallGovernor(
        aegis, framework="autogen", costs=costs, locks=locks, approval_seconds=approval_seconds, **wishes
    )
    if hand_off is not None and thread is None:
        raise ConfigurationError("hand_off= needs thread=, which names the conversation in whichever process goes on.")
    asking = WaitInTool(calls, thread) if hand_off is None else HandOff(calls, thread, hand_off)
    if isinstance(tools, Workbench):
        return GovernedWorkbench(tools, asking)
    governed = [_governed(tool, asking) for tool in tools]
    calls.names.check([tool.name for tool in governed])
    return governed


class GovernedTool(BaseTool[Any, Any]):
    """A tool that asks first, with the name, schema, state and answers of the one inside."""

    def __init__(self, inner: BaseTool[Any, Any], asking: WaitInTool) -> None:
        super().__init__(inner.args_type(), inner.return_type(), inner.name, inner.description)
        self._inner, self._asking = inner, asking

    @property
    def schema(self) -> ToolSchema:
        """Of the tool inside."""
        return self._inner.schema

    def return_value_as_string(self, value: object) -> str:
        """As the tool inside says it; a question that waits for a human is plain text."""
        return value if isinstance(value, str) else self._inner.return_value_as_string(value)

    async def run(self, args: BaseModel, cancellation_token: CancellationToken) -> object:
        """Ask and run."""
        return await self.run_json(args.model_dump(), cancellation_token)

    async def run_json(
        self, args: Mapping[str, object], cancellation_token: CancellationToken, call_id: str | None = None
    ) -> object:
        """Ask and run."""

        async def work() -> object:
            return await self._inner.run_json(args, cancellation_token, call_id=call_id)

        return await self._asking.run(self.name, args, call_id, cancellation_token, work)

    def state_type(self) -> type[BaseModel] | None:
        """Of the tool inside."""
        return self._inner.state_type()

    async def save_state_json(self) -> Mapping[str, object]:
        """Of the tool inside."""
        return await self._inner.save_state_json()

    async def load_state_json(self, state: Mapping[str, object]) -> None:
        """Of the tool inside."""
        await self._inner.load_state_json(state)


class GovernedStreamTool(GovernedTool):
    """The same for a tool that tells what it does while it does it, such as a team of agents."""

    async def run_json_stream(
        self, args: Mapping[str, object], cancellation_token: CancellationToken, call_id: str | None = None
    ) -> AsyncGenerator[object, None]:
        """Ask and run."""
        inner = self._inner
        assert isinstance(inner, StreamTool)
        async with self._asking.holding(self.name, args, call_id, cancellation_token) as pending:
            if pending is not None:
                yield pending
                return
            async for part in inner.run_json_stream(args, cancellation_token, call_id=call_id):
                yield part


class GovernedWorkbench(Workbench):
    """A workbench, such as that of an MCP server, whose calls ask first."""

    def __init__(self, inner: Workbench, asking: WaitInTool) -> None:
        self._inner, self._asking = inner, asking

    async def list_tools(self) -> list[ToolSchema]:
        """Of the workbench inside."""
        listed = await self._inner.list_tools()
        self._asking.calls.names.warn([each["name"] for each in listed])
        return listed

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, object] | None = None,
        cancellation_token: CancellationToken | None = None,
        call_id: str | None = None,
    ) -> ToolResult:
        """Ask and run; a refusal is a failed result."""
        given = arguments or {}

        async def work() -> ToolResult:
            result = await self._inner.call_tool(name, given, cancellation_token, call_id)
            if result.is_error:
                raise _FailedError(result)
            return result

        try:
            done = await self._asking.run(name, given, call_id, cancellation_token, work)
        except _FailedError as failed:
            return failed.result
        except AegisDenied as denied:
            return ToolResult(name=name, result=[TextResultContent(content=str(denied))], is_error=True)
        if isinstance(done, ToolResult):
            return done
        return ToolResult(name=name, result=[TextResultContent(content=str(done))])

    async def start(self) -> None:
        """Start the workbench inside."""
        await self._inner.start()

    async def stop(self) -> None:
        """Stop the workbench inside."""
        await self._inner.stop()

    async def reset(self) -> None:
        """Reset the workbench inside."""
        await self._inner.reset()

    async def save_state(self) -> Mapping[str, object]:
        """Of the workbench inside."""
        return await self._inner.save_state()

    async def load_state(self, state: Mapping[str, object]) -> None:
        """Of the workbench inside."""
        await self._inner.load_state(state)


class _FailedError(Exception):
    """A workbench said that its tool failed, so it costs nothing."""

    def __init__(self, result: ToolResult) -> None:
        self.result = result


def _is_tool(value: object) -> bool:
    return isinstance(value, BaseTool) or (callable(value) and not isinstance(value, type))


def _governed(tool: AnyTool, asking: WaitInTool) -> BaseTool[Any, Any]:
    if isinstance(tool, GovernedTool):
        return tool
    inner = cast("BaseTool[Any, Any]", tool)
    if not isinstance(tool, BaseTool):
        inner = _in_context(FunctionTool(tool, description=tool.__doc__ or ""))
    elif isinstance(tool, FunctionTool):
        inner = _in_context(tool)
    return GovernedStreamTool(inner, asking) if isinstance(tool, StreamTool) else GovernedTool(inner, asking)


def _in_context(tool: FunctionTool) -> FunctionTool:
    """A plain function still runs in a thread, but in one that knows the lock: AutoGen's own drops the context."""
    function: object = tool._func  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - there is no other way to it
    if inspect.iscoroutinefunction(function):
        return tool

    async def run(**arguments: object) -> object:
        return await asyncio.to_thread(function, **arguments)

    made = copy.copy(tool)
    made._func = run  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001
    return made

"""Tools that ask Aegis before they run: `govern_tools` wraps them, and the wrapper keeps what CrewAI knows of them.

A refusal is a `ToolFailure`, CrewAI's own way to say that a tool did not do it: the model reads the sentence and goes
on. CrewAI gives a tool no id of its call, so each execution is a call of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import update_wrapper
from typing import Any, Unpack, cast

from crewai.hooks import ToolCallHookContext, get_after_tool_call_hooks, register_after_tool_call_hook
from crewai.tools import BaseTool
from crewai.tools.base_tool import Tool
from crewai.tools.tool_failure import ToolFailure
from pydantic import PrivateAttr

from aegis_core.adapting import CallGovernor, CallWishes, Locks, Reservation, ToolCall, tool_list
from aegis_core.adapting.call_governor import Costs
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import AegisError
from aegis_crewai.denials import CallRefused, stopping

_KEPT = (
    "name",
    "description",
    "env_vars",
    "args_schema",
    "result_schema",
    "result_as_answer",
    "max_usage_count",
    "tool_failure_policy",
    "current_usage_count",
)


def govern_tools(
    tools: Sequence[object],
    aegis: object,
    *,
    costs: Costs | None = None,
    locks: Locks | None = None,
    approval_seconds: float = 600,
    **wishes: Unpack[CallWishes],
) -> list[BaseTool]:
    """Wrap tools so that each execution is asked for, paid for, and refused by itself.

    Where a rule asks a human, the tool's thread waits for the answer, at most `approval_seconds`; CrewAI has no durable
    pause there. Unanswered, the call is refused.

    Args:
        tools: tools of CrewAI, or what an `Agent` takes as tools. One that is governed already stays as it is.
        aegis: an agent of Aegis: `SyncGovernor.handshake`, or `Governor.handshake` for async code.
        costs: dollars a call costs: ``{"search": "0.01"}``, or a function of name and arguments.
        locks: the lock a tool holds while it runs: ``{"pay": "wallet_main"}``, with a `ToolLock` or a function of the
            arguments in place of the name; or a function of name and arguments.
        approval_seconds: how long a call waits for a human; 0: it is refused.
        **wishes: ``priority``, ``logic_density``, ``task_type``: a value, or a function of the call; see `CallWishes`.

    Raises:
        ConfigurationError: `aegis` is not an agent of Aegis, `tools` are no tools, or a name in `costs` or `locks` is
            none of theirs.
    """
    tools = tool_list("govern_tools", tools, _is_tool, "tools of CrewAI, or what an agent takes as tools")
    if isinstance(aegis, CallGovernor):
        calls = aegis
    else:
        calls = CallGovernor(
            aegis, framework="crewai", costs=costs, locks=locks, approval_seconds=approval_seconds, **wishes
        )
        calls.names.check([tool.name for tool in tools])
    return [tool if isinstance(tool, GovernedTool) else GovernedTool(_tool(tool), calls) for tool in tools]


class RefusedTool(ToolFailure):
    """What the model reads where Aegis refused a tool, and what CrewAI records among the task's failures."""

    _error: AegisError = PrivateAttr()

    @classmethod
    def of(cls, error: AegisError) -> RefusedTool:
        """The refusal that an error of Aegis means. A final one ends the run after the tool."""
        refusal = cls(message=error.message, code=error.code)
        refusal._error = stopping(error)
        if refusal.final and _end_the_run not in get_after_tool_call_hooks():
            register_after_tool_call_hook(_end_the_run)
        return refusal

    @property
    def error(self) -> AegisError:
        """The `CallRefused`, or the `CallStopped` where nothing was decided."""
        return self._error

    @property
    def final(self) -> bool:
        """Whether this very call was refused so often that the run ends."""
        return isinstance(self._error, AegisDenied) and self._error.final

    def as_agent_message(self) -> str:
        """The sentence for the model, with the stable code."""
        return f"{self.message} [{self.code}]"


class GovernedTool(BaseTool):
    """A tool behind Aegis. The tool's own counter of uses is the one that counts."""

    _inner: BaseTool = PrivateAttr()
    _calls: CallGovernor = PrivateAttr()

    def __init__(self, inner: BaseTool, calls: CallGovernor) -> None:
        kept = {name: getattr(inner, name) for name in _KEPT}
        super().__init__(**kept)
        self._inner, self._calls = inner, calls
        self.cache_function = _UnlessRefused(inner.cache_function)

    @property
    def inner(self) -> BaseTool:
        """The tool itself."""
        return self._inner

    def format_output_for_agent(self, raw_result: object) -> str:
        """As the tool itself does."""
        failed = isinstance(raw_result, ToolFailure)
        return raw_result.as_agent_message() if failed else self._inner.format_output_for_agent(raw_result)

    def reset_usage_count(self) -> None:
        """Also the tool's own."""
        self._inner.reset_usage_count()
        super().reset_usage_count()

    def _run(self, *args: object, **kwargs: object) -> object:
        try:
            held = self._calls.begin(self._described(args, kwargs))
        except AegisError as error:
            return RefusedTool.of(error)
        try:
            with held.inside():
                result = self._inner._run(*args, **kwargs)  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001
        except BaseException:
            held.release()
            raise
        if inspect.iscoroutine(result):
            return self._awaited(result, held)
        _ = held.release() if isinstance(result, ToolFailure) else held.settle()
        return result

    async def _arun(self, *args: object, **kwargs: object) -> object:
        try:
            held = await self._calls.abegin(self._described(args, kwargs))
        except AegisError as error:
            return RefusedTool.of(error)
        return await self._awaited(self._inner._arun(*args, **kwargs), held)  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001

    async def _awaited(self, work: Awaitable[object], held: Reservation) -> object:
        try:
            with held.inside():
                result = await work
        except Exception:
            await held.arelease()
            raise
        except BaseException:  # cancelled: what it did, nobody knows
            held.abandon(consumed=True)
            raise
        _ = await (held.arelease() if isinstance(result, ToolFailure) else held.asettle())
        return result

    def _described(self, args: tuple[object, ...], kwargs: dict[str, object]) -> ToolCall:
        return ToolCall(self.name, {**kwargs, "args": list(args)} if args else kwargs)

    def _claim_usage(self) -> ToolFailure | None:
        failure = self._inner._claim_usage()  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001
        self.current_usage_count = self._inner.current_usage_count
        return failure

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "current_usage_count":
            self._inner.current_usage_count = value


def _is_tool(value: object) -> bool:
    return isinstance(value, BaseTool) or all(hasattr(value, name) for name in ("name", "func", "description"))


def _tool(tool: object) -> BaseTool:
    """What CrewAI itself makes of a value among an agent's tools."""
    return tool if isinstance(tool, BaseTool) else Tool.from_langchain(tool)


class _UnlessRefused:
    """A tool's own word on caching, but never of a refusal: the next ruling may be another."""

    def __init__(self, own: Callable[..., object]) -> None:
        self._own = own
        update_wrapper(self, own)

    def __call__(self, arguments: object = None, result: object = None) -> object:
        return not isinstance(result, RefusedTool) and self._own(arguments, result)


def _end_the_run(context: ToolCallHookContext) -> None:
    """After a tool's third identical refusal: only from a hook does CrewAI let a tool end the run."""
    refusal = context.raw_tool_result
    if isinstance(refusal, RefusedTool) and refusal.final:
        raise cast("CallRefused", refusal.error)

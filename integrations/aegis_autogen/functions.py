"""Tools and code that a governed agent of classic AutoGen executes, put through Aegis on the agent itself.

`execute_function` and its twin are what AutoGen offers for this: every way to a tool leads through them.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, cast

from autogen import ConversableAgent
from autogen.coding.base import CodeResult

from aegis_autogen.registration import Registration, registration_of
from aegis_core.adapting import ToolCall, single_keys
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import AegisError

_FUNCTIONS = ("execute_function", "a_execute_function")
_STOPPED = "_aegis_stopped"
_loop: ContextVar[asyncio.AbstractEventLoop | None] = ContextVar("aegis_autogen_loop", default=None)
"""The loop of the chat. A plain chat has none, and runs a coroutine tool in one out of which no error comes whole."""


def wrap(agent: Any) -> None:
    """Put the wraps on an agent, where they are not yet."""
    for name, ours in _WRAPS.items():
        found = getattr(agent, name, None)
        if callable(found) and not (isinstance(found, functools.partial) and found.func is ours):
            setattr(agent, name, functools.partial(ours, found))
    executor = getattr(agent, "_code_executor", None)
    if executor is not None and not isinstance(executor, _GovernedExecutor):
        agent._code_executor = _GovernedExecutor(executor, agent)  # noqa: SLF001 - AutoGen has no other place for it


def restore(agent: Any) -> None:
    """Undo `wrap`."""
    for name in _WRAPS:
        agent.__dict__.pop(name, None)
    executor = getattr(agent, "_code_executor", None)
    if isinstance(executor, _GovernedExecutor):
        agent._code_executor = executor.inner  # noqa: SLF001


def raise_stopped(agent: object) -> None:
    """End the chat where an error could not be raised in its place. Also notes in which loop the chat runs."""
    _loop.set(_running())
    stopped: AegisError | None = agent.__dict__.pop(_STOPPED, None)
    if stopped is not None:
        raise stopped


def tool_names(agent: Any) -> set[str]:
    """The tools that an agent executes or calls now, `execute_code` among them; empty where it has no functions."""
    config: Any = getattr(agent, "llm_config", None) or {}
    offered = [each.get("function", each) for each in (config.get("tools") or config.get("functions") or ())]
    names = {*agent.function_map, *(each["name"] for each in offered)}
    return names and {*names, "execute_code"}


def group_tool_executor() -> object:
    """The agent of `autogen` 0.14's group patterns that executes everybody's tools; `pyautogen` 0.2 has none."""
    try:
        from autogen.agentchat.group.group_tool_executor import GroupToolExecutor
    except ImportError:
        return None
    return GroupToolExecutor


def around_group_tools(original: Callable[..., object]) -> Callable[..., object]:
    """Tools that the group's executor takes over from governed agents stay governed, by the first of them."""

    def register_agents_functions(self: object, agents: Any, *args: object, **kwargs: object) -> None:
        original(self, agents, *args, **kwargs)
        registration = next(filter(None, map(registration_of, agents)), None)
        if registration is not None:
            registration.put_on(self)
            wrap(self)

    return register_agents_functions


class _GovernedExecutor:
    """A code executor that asks first."""

    def __init__(self, inner: Any, agent: object) -> None:
        self.inner, self._agent = inner, agent

    def execute_code_blocks(self, code_blocks: Any) -> object:
        call = _code_call([(block.language, block.code) for block in code_blocks])
        return _governed(self._agent, call, lambda: self.inner.execute_code_blocks(code_blocks), _refused_result)

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") or name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)


def _execute_function(inner: Any, func_call: dict[str, object], *args: object, **kwargs: object) -> object:
    agent = inner.__self__
    registration = _asked(agent, func_call)
    if registration is None:
        return inner(func_call, *args, **kwargs)
    try:
        held = registration.calls.begin(_tool_call(agent, func_call))
    except AegisDenied as denied:
        if denied.final:
            raise
        return _told(func_call, denied)
    try:
        with held.inside():
            done = inner(func_call, *args, **kwargs)
    except BaseException:
        held.settle()
        raise
    _ = held.settle() if done[0] else held.release()
    return done


async def _a_execute_function(inner: Any, func_call: dict[str, object], *args: object, **kwargs: object) -> object:
    agent = inner.__self__
    registration = _asked(agent, func_call)
    if registration is None:
        return await inner(func_call, *args, **kwargs)
    try:
        held = await registration.calls.abegin(_tool_call(agent, func_call))
    except AegisError as error:
        if isinstance(error, AegisDenied) and not error.final:
            return _told(func_call, error)
        if _loop.get() is _running():
            raise
        setattr(agent, _STOPPED, error)
        return _told(func_call, error)
    try:
        with held.inside():
            done = await inner(func_call, *args, **kwargs)
    except BaseException:
        held.abandon(consumed=True)
        raise
    _ = await held.asettle() if done[0] else await held.arelease()
    return done


def _execute_code_blocks(inner: Any, code_blocks: object) -> object:
    call = _code_call(code_blocks)
    return _governed(inner.__self__, call, lambda: inner(code_blocks), lambda told: (1, told))


_WRAPS: dict[str, Callable[..., object]] = {
    "execute_function": _execute_function,
    "a_execute_function": _a_execute_function,
    "execute_code_blocks": _execute_code_blocks,
}


def _asked(agent: Any, func_call: dict[str, object]) -> Registration | None:
    """Whom to ask. Nobody for a function that does not exist or arguments that are no JSON: AutoGen runs nothing then,
    and tells the model so itself; an agent that overrides how functions run may do otherwise, and is asked for."""
    if _own(agent) and (func_call.get("name", "") not in agent.function_map or _arguments(agent, func_call) is None):
        return None
    return registration_of(agent)


def _own(agent: object) -> bool:
    return all(getattr(agent.__class__, name) is getattr(ConversableAgent, name) for name in _FUNCTIONS)


def _arguments(
    agent: Any, func_call: dict[str, object], pairs: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None = None
) -> dict[str, object] | None:
    """As AutoGen reads them."""
    text = func_call.get("arguments", "{}")
    try:
        found = json.loads(agent._format_json_str(text), object_pairs_hook=pairs)  # noqa: SLF001 - judged as it is executed
    except (json.JSONDecodeError, TypeError):
        return None
    return cast("dict[str, object]", found) if isinstance(found, dict) else None


def _tool_call(agent: object, func_call: dict[str, Any]) -> ToolCall:
    arguments = _arguments(agent, func_call, single_keys)
    return ToolCall(func_call.get("name", ""), func_call.get("arguments") if arguments is None else arguments)


def _code_call(blocks: Any) -> ToolCall:
    return ToolCall("execute_code", {"code": "\n".join(f"{language}: {code}" for language, code, *_ in blocks)})


def _governed(agent: object, call: ToolCall, work: Callable[[], object], refused: Callable[[str], object]) -> object:
    registration = registration_of(agent)
    if registration is None:
        return work()
    try:
        held = registration.calls.begin(call)
    except AegisDenied as denied:
        if denied.final:
            raise
        return refused(denied.message)
    try:
        with held.inside():
            done = work()
    except BaseException:
        held.settle()
        raise
    held.settle()
    return done


def _refused_result(told: str) -> CodeResult:
    return CodeResult(exit_code=1, output=told)


def _told(func_call: dict[str, object], error: AegisError) -> tuple[bool, dict[str, object]]:
    """The refusal as the tool's answer."""
    return False, {"name": func_call.get("name", ""), "role": "function", "content": error.message}


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None

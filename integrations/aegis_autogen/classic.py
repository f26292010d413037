"""Classic AutoGen, `autogen` 0.14 and `pyautogen` 0.2: one call puts an agent under its governor.

Three things enforce it. Every call of a model passes `OpenAIWrapper.create`, wrapped once for the process
(`aegis_autogen.clients`): only there speaker selection is seen. Tools and code pass wraps on the agent itself
(`aegis_autogen.functions`). A reply hook at the first position puts both on again before each reply, because AutoGen
rebuilds an agent's client whenever a function is registered, and ends a run that was refused for good.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Unpack
from weakref import WeakValueDictionary

from autogen import Agent, ConversableAgent, GroupChatManager

from aegis_autogen import clients, functions
from aegis_autogen.registration import Registration, registration_of
from aegis_core.adapting import CallGovernor, CallWishes, Locks, warn_outside
from aegis_core.adapting.call_governor import Costs
from aegis_core.client.sync import SyncFlow
from aegis_core.protocol.errors import ConfigurationError

_governed: WeakValueDictionary[int, ConversableAgent] = WeakValueDictionary()


def register_governor(
    conversable: ConversableAgent,
    aegis: object,
    *,
    models: Sequence[str] = (),
    costs: Costs | None = None,
    locks: Locks | None = None,
    max_output_tokens: int = 4_096,
    approval_seconds: float = 600,
    intent: str | None = None,
    **wishes: Unpack[CallWishes],
) -> None:
    """Let Aegis decide on every model call, tool call and code execution of an agent, in sync and async chats.

    A refused model call raises `AegisDenied` out of the chat. A refused tool is told to the model as the tool's
    answer; the third identical refusal raises. Registering again replaces what was said before.

    Args:
        conversable: any `ConversableAgent`: the assistant, the proxy that executes its tools, the manager of a group
            chat, whose governor then also decides on speaker selection.
        aegis: an agent of Aegis: `SyncGovernor.handshake`, or `Governor.handshake` for async chats.
        models: names among which Aegis chooses. A name of the agent's ``config_list`` is called by that entry's
            client, any other by the client whose turn it is.
        costs: dollars a tool call costs: a mapping by name, or a function of name and arguments. Executed code is the
            tool ``execute_code``.
        locks: the lock a tool holds while it runs: ``{"pay": "wallet_main"}``, with a `ToolLock` or a function of the
            arguments in place of the name; or a function of name and arguments.
        max_output_tokens: the cap on an answer; it is sent with each call.
        intent: what the model calls are for. Rules read this, and nothing of the prompts.
        approval_seconds: how long a call waits for a human, blocking the chat; 0: it is refused.
        **wishes: ``priority``, ``logic_density``, ``task_type``: a value, or a function of the call; see `CallWishes`.

    Raises:
        ConfigurationError: `aegis` is no agent of Aegis, or `conversable` none of AutoGen.
    """
    if not isinstance(conversable, ConversableAgent):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            f"register_governor takes an agent of AutoGen and then one of Aegis; the first is a "
            f"{type(conversable).__name__}, not a ConversableAgent.",
            code="not_an_agent",
        )
    calls = CallGovernor(
        aegis,
        framework="autogen",
        costs=costs,
        locks=locks,
        max_output_tokens=max_output_tokens,
        approval_seconds=approval_seconds,
        intent=intent,
        **wishes,
    )
    _warn_untested()
    clients.install()
    Registration(calls, (models,) if isinstance(models, str) else tuple(models)).put_on(conversable)
    _govern(conversable)
    agent: Any = conversable
    if not any(entry["reply_func"] is _gate for entry in agent._reply_func_list):  # noqa: SLF001
        agent.register_reply([Agent, None], _gate, position=0)
    _governed[id(conversable)] = conversable


def govern_group_chat(manager: GroupChatManager, workflow: SyncFlow, **terms: Any) -> None:
    """Govern a group chat as one: its manager and each of its agents join a workflow by their names.

    Args:
        manager: of the group chat.
        workflow: one of `SyncGovernor.workflow`.
        **terms: as for `register_governor`, for all of them.

    Raises:
        AuthError: the plan lets agents of other names join.
    """
    for each in (manager, *manager.groupchat.agents):
        if isinstance(each, ConversableAgent):
            name = re.sub(r"[^\w.:@/-]+", "-", each.name).strip("-")[:128] or "agent"
            register_governor(each, workflow.member(name, "autogen"), **terms)


def unregister_governor(conversable: ConversableAgent) -> None:
    """Take an agent's governor away."""
    Registration.take_off(conversable)
    functions.restore(conversable)
    clients.mark(getattr(conversable, "client", None), None)
    agent: Any = conversable
    replies = agent._reply_func_list  # noqa: SLF001 - AutoGen registers and replaces, and removes nothing
    replies[:] = [entry for entry in replies if entry["reply_func"] is not _gate]
    _governed.pop(id(conversable), None)


def uninstall() -> None:
    """Undo all of it: every registered agent is on its own again, and AutoGen's classes are as they were."""
    for conversable in list(_governed.values()):
        unregister_governor(conversable)
    clients.uninstall()


def _gate(recipient: ConversableAgent, **_: object) -> tuple[bool, object]:
    """The reply hook. A plain function: AutoGen skips coroutines in plain chats."""
    registration = registration_of(recipient)
    if registration is None:
        return False, None
    _govern(recipient)
    if tools := functions.tool_names(recipient):  # all that were registered before the chat
        registration.calls.names.warn(tools)
    functions.raise_stopped(recipient)
    return False, None


def _govern(conversable: ConversableAgent) -> None:
    clients.mark(getattr(conversable, "client", None), registration_of(conversable))
    functions.wrap(conversable)


def _warn_untested() -> None:
    """Both distributions, and others, ship the module `autogen`; the one that is installed is looked at."""
    try:
        version("autogen")
        warn_outside("autogen", "0.14.1", "0.15")
    except PackageNotFoundError:
        warn_outside("pyautogen", "0.2.35", "0.3")

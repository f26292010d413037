"""Every call of a model in classic AutoGen passes `OpenAIWrapper.create`; here it is asked for and settled.

The wrap is on the class because agents that AutoGen makes for itself, such as the one that selects the next speaker,
carry no hook of anybody. A call belongs to the agent that AutoGen names with it, else to the agent whose client it is:
a client made during speaker selection is the group chat manager's. Inside, each real request passes a gate on the
provider's client, so that a fail-over asks again and an answer from AutoGen's cache costs nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from autogen import GroupChat, OpenAIWrapper
from autogen.oai.client import PlaceHolderClient

from aegis_autogen import functions
from aegis_autogen.registration import Registration, registration_of
from aegis_autogen.requests import make
from aegis_core.protocol.process import new_lock

_lock = new_lock()
_wraps: list[tuple[object, str, object, object]] = []
_calling: ContextVar[tuple[Registration, object] | None] = ContextVar("aegis_autogen_calling", default=None)
_selecting: ContextVar[Registration | None] = ContextVar("aegis_autogen_selecting", default=None)


class ClientGate:
    """Stands before a provider's client in an `OpenAIWrapper`; outside a governed call it passes everything on."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def create(self, params: dict[str, object]) -> object:
        """Ask, call, settle."""
        calling = _calling.get()
        if calling is None:
            return self.inner.create(params)
        registration, wrapper = calling
        return make(registration, params, functools.partial(_client_of, wrapper, self.inner))

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") or name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)


def mark(client: object | None, registration: Registration | None) -> None:
    """Say whose calls an `OpenAIWrapper` makes when AutoGen names nobody."""
    if client is not None and registration is not None:
        registration.put_on(client)
    elif client is not None:
        Registration.take_off(client)


def install() -> None:
    """Wrap AutoGen's classes, once."""
    with _lock:
        if _wraps:
            return
        _wrap(OpenAIWrapper, "create", _around_create)
        _wrap(OpenAIWrapper, "__init__", _around_init)
        _wrap(GroupChat, "select_speaker", _around_selection)
        _wrap(GroupChat, "a_select_speaker", _around_aselection)
        if (executor := functions.group_tool_executor()) is not None:
            _wrap(executor, "register_agents_functions", functions.around_group_tools)


def uninstall() -> None:
    """Put AutoGen's own functions back. Where somebody else wrapped ours since, ours stays and passes everything on."""
    with _lock:
        for owner, name, original, ours in _wraps:
            if owner.__dict__.get(name) is ours:
                setattr(owner, name, original)
        _wraps.clear()


def _wrap(owner: object, name: str, around: Callable[[Callable[..., object]], Callable[..., object]]) -> None:
    original: Callable[..., object] = owner.__dict__[name]
    ours: object = functools.wraps(original)(around(original))
    setattr(owner, name, ours)
    _wraps.append((owner, name, original, ours))


def _around_create(original: Callable[..., object]) -> Callable[..., object]:
    def create(self: Any, **config: object) -> object:
        registration = (registration_of(config.get("agent")) or registration_of(self)) if _wraps else None
        if registration is not None:
            # Clients are registered late, so the gates are looked after before each call.
            self._clients[:] = [_gated(client) for client in self._clients]
        token = _calling.set(None if registration is None else (registration, self))
        try:
            return original(self, **config)
        finally:
            _calling.reset(token)

    return create


def _around_init(original: Callable[..., object]) -> Callable[..., object]:
    def init(self: object, *args: object, **kwargs: object) -> None:
        original(self, *args, **kwargs)
        mark(self, _selecting.get())

    return init


def _around_selection(original: Callable[..., object]) -> Callable[..., object]:
    def select_speaker(self: object, last_speaker: object, selector: object) -> object:
        token = _selecting.set(_selector(self, selector))
        try:
            return original(self, last_speaker, selector)
        finally:
            _selecting.reset(token)

    return select_speaker


def _around_aselection(original: Callable[..., Any]) -> Callable[..., object]:
    async def a_select_speaker(self: object, last_speaker: object, selector: object) -> object:
        token = _selecting.set(_selector(self, selector))
        try:
            return await original(self, last_speaker, selector)
        finally:
            _selecting.reset(token)

    return a_select_speaker


def _selector(group: Any, manager: object) -> Registration | None:
    """The manager's registration; that of the first governed member where the manager has none."""
    return next(filter(None, map(registration_of, (manager, *group.agents))), None)


def _gated(client: object) -> object:
    return client if isinstance(client, ClientGate | PlaceHolderClient) else ClientGate(client)


def _client_of(wrapper: Any, mine: object, model: str) -> object:
    """The client that serves a model: the one whose turn it is, unless only other entries of the list name it."""
    entries = zip(wrapper._clients, wrapper._config_list, strict=True)  # noqa: SLF001
    naming = [
        client.inner if isinstance(client, ClientGate) else client
        for client, config in entries
        if config.get("model") == model
    ]
    return mine if not naming or any(each is mine for each in naming) else naming[0]

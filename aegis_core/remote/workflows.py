"""Workflows over HTTP. Nothing is decided here; the server judges members beside everything else."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel

from aegis_core.protocol.messages import SessionOpened
from aegis_core.protocol.workflows import (
    InviteRequest,
    JoinRequest,
    JoinToken,
    Workflow,
    WorkflowChange,
    WorkflowRequest,
)
from aegis_core.remote.calls import Call, segment


class _Enter(Protocol):
    """Opens a session of an agent by a message to a path, and keeps its token."""

    def __call__(self, path: str, agent_id: str, message: BaseModel) -> Awaitable[SessionOpened]: ...


@dataclass(slots=True)
class _Page:
    workflows: tuple[Workflow, ...]


class RemoteWorkflows:
    """As `Workflows`, behind ``aegis serve``. `by` and `agent_id` are ignored where a credential says them."""

    def __init__(self, call: Call, enter: _Enter, token: str | None) -> None:
        self._call, self._enter, self._token = call, enter, token

    async def open(self, message: WorkflowRequest, *, token: str | None = None) -> Workflow:
        """As `Workflows.open`."""
        again = message.request_id is not None  # without one, a second try would ask people twice
        return await self._call("POST", "/workflows", Workflow, body=message, token=token or self._token, retry=again)

    async def get(self, workflow_id: str, *, wait: float = 0, token: str | None = None) -> Workflow:
        """As `Workflows.get`."""
        path, until = f"/workflows/{segment(workflow_id)}", time.monotonic() + wait
        while True:
            left = max(0.0, until - time.monotonic())
            found: Workflow = await self._call("GET", path, Workflow, token=token or self._token, wait=left, retry=True)
            if found.state != "pending" or left <= 0:
                return found

    async def list(self, *, after: str | None = None, limit: int = 100) -> tuple[Workflow, ...]:
        """As `Workflows.list`."""
        query = {"limit": limit} if after is None else {"limit": limit, "after": after}
        return (await self._call("GET", "/workflows", _Page, query=query, token=self._token, retry=True)).workflows

    async def invite(
        self, workflow_id: str, message: InviteRequest, *, agent_id: str | None = None, token: str | None = None,
        by: str = "operator",  # noqa: ARG002 - the credential says it
    ) -> JoinToken:  # fmt: skip
        """As `Workflows.invite`."""
        path = f"/workflows/{segment(workflow_id)}/invite"
        if token is None and agent_id is not None:
            message = message.model_copy(update={"agent_id": agent_id})
        return await self._call("POST", path, JoinToken, body=message, token=token or self._token)

    async def join(self, message: JoinRequest) -> SessionOpened:
        """As `Workflows.join`."""
        workflow = message.join_token.removeprefix("aegis_join_").partition("_")[0]
        return await self._enter(f"/workflows/{segment(f'wf_{workflow}')}/join", message.agent_id, message)

    async def change(self, workflow_id: str, message: WorkflowChange, *, by: str) -> Workflow:  # noqa: ARG002
        """As `Workflows.change`."""
        path = f"/workflows/{segment(workflow_id)}"
        return await self._call("PATCH", path, Workflow, body=message, token=self._token, retry=True)

    async def end(
        self,
        workflow_id: str,
        *,
        agent_id: str | None = None,  # noqa: ARG002 - the token says it
        token: str | None = None,
        by: str = "operator",  # noqa: ARG002
    ) -> Workflow:
        """As `Workflows.end`."""
        path = f"/workflows/{segment(workflow_id)}"
        return await self._call("DELETE", path, Workflow, token=token or self._token, retry=True)

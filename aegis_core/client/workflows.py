"""Workflows as programs hold them: one plan that people approve once, and the agents that act under it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, cast

from aegis_core.client.connection import Connection
from aegis_core.client.ports import WorkflowsPort
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import AegisError
from aegis_core.protocol.messages import Framework, SessionOpened, Verdict
from aegis_core.protocol.money import UsdLike
from aegis_core.protocol.parsing import parse
from aegis_core.protocol.spans import seconds_of
from aegis_core.protocol.workflows import InviteRequest, JoinRequest, Step, Workflow, WorkflowRequest

if TYPE_CHECKING:
    from aegis_core.client.agent import GovernedAgent, Governor

Span = str | float | timedelta
"""``"2h"``, seconds, or a ``timedelta``."""
_LONGEST_WAIT = 604_800.0
"""Seconds: longer than any approval may stay open, whose own deadline ends the wait."""


class Flow:
    """A workflow that this program opened, approved by people.

    Attributes:
        opener: the agent that opened it, in whose name it is governed.
        workflow: as it was approved; `report` reads it again.
    """

    def __init__(self, governor: Governor, opener: GovernedAgent, workflow: Workflow) -> None:
        self._governor, self.opener, self.workflow = governor, opener, workflow

    @property
    def workflow_id(self) -> str:
        """Its name for operators: ``aegis workflows show wf_…``."""
        return self.workflow.workflow_id

    async def join(
        self, agent_id: str, *, framework: Framework = "custom", capabilities: Sequence[str] = (),
        max_priority: int = 5, session_budget_usd: UsdLike | None = None,
    ) -> GovernedAgent:  # fmt: skip
        """Open a session of an agent under the plan. What it may do is no more than plan, opener and profile allow.

        Raises:
            ConflictError: the workflow ended, or as many joined as may.
            AuthError: the agent may not join, or is blocked.
        """
        token = await self.invite(seconds=60, agents=agent_id)
        return await self._governor.join(
            token, agent_id, framework=framework, capabilities=capabilities, max_priority=max_priority,
            session_budget_usd=session_budget_usd,
        )  # fmt: skip

    async def invite(self, *, uses: int = 1, seconds: Span = 600, agents: str | None = None) -> str:
        """Make a join token for another process, framework or language: a secret, shown once.

        Args:
            uses: how many sessions it lets in.
            seconds: for how long.
            agents: only this agent, or (``payer-*``) those of such names.
        """
        wish = parse(InviteRequest, uses=uses, seconds=seconds_of(seconds, "seconds"), agents=agents)
        made = await self._port.invite(self.workflow_id, wish, agent_id=self.opener.agent_id, token=self._token)
        return made.join_token

    async def report(self) -> Workflow:
        """What was planned, what is used, and what was asked beside the plan."""
        return await self._port.get(self.workflow_id, token=self._token)

    async def end(self) -> Workflow:
        """End it for every member at once; open grants may still be settled. Again is harmless."""
        return await self._port.end(self.workflow_id, agent_id=self.opener.agent_id, token=self._token)

    @property
    def _token(self) -> str:
        return self.opener.session.session_token

    @property
    def _port(self) -> WorkflowsPort:
        return self._governor.port.workflows


class WorkflowBlock:
    """``async with`` around a workflow: people are asked about its plan, and it ends with the block."""

    def __init__(
        self, governor: Governor, fields: dict[str, object], opener: GovernedAgent | str | None, wait: float
    ) -> None:
        self._governor, self._fields, self._opener, self._wait = governor, fields, opener, wait
        self._flow: Flow | None = None

    async def __aenter__(self) -> Flow:
        opener = self._opener
        if opener is None or isinstance(opener, str):
            name = opener or re.sub(r"[^\w.:@/-]+", "-", str(self._fields["name"])).strip("-")[:128] or "workflow"
            allowed = cast("tuple[str, ...]", self._fields["capabilities"] or ())
            opener = await self._governor.handshake(name, capabilities=allowed, max_priority=10)
        whose = opener.session
        wish = parse(WorkflowRequest, agent_id=opener.agent_id, session_id=whose.session_id, **self._fields)
        port = self._governor.port.workflows
        opened = await port.open(wish, token=whose.session_token)
        flow = Flow(self._governor, opener, opened)
        try:
            if opened.state == "pending":
                opened = await port.get(opened.workflow_id, wait=self._wait, token=whose.session_token)
        except BaseException:
            await asyncio.shield(_end_quietly(flow))  # nobody waits for it any more
            raise
        if opened.state != "live":
            if opened.state == "pending":
                await flow.end()
            raise _denial(opener.agent_id, opened)
        flow.workflow = opened
        self._flow = flow
        return flow

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        flow = self._flow
        assert flow is not None  # it was entered
        if error is None:
            await flow.end()
        else:
            await asyncio.shield(_end_quietly(flow))  # the error of the block is what its caller must hear


async def _end_quietly(flow: Flow) -> None:
    with suppress(AegisError):
        await flow.end()


def _denial(agent: str, found: Workflow) -> AegisDenied:
    said = {
        "rejected": ("declined", f"{found.ended_by or 'an operator'} rejected its plan"),
        "timed_out": ("approval_timed_out", "nobody approved its plan in time"),
        "withdrawn": ("withdrawn", "its plan was withdrawn"),
    }  # fmt: skip
    code, why = said.get(found.ended or "", ("approval_needed", "its plan was not approved in time"))
    message = f"Aegis refused: the workflow {found.plan.name} did not begin: {why}."
    return AegisDenied(message, verdict=Verdict("REJECTED", agent, message, code, Decimal(0), found.workflow_id, 0))


class Joining:
    """What a connected governor offers for workflows."""

    connection: Connection

    if TYPE_CHECKING:

        async def rejoin(self, session: SessionOpened) -> GovernedAgent: ...

    def workflow(
        self, name: str, *, budget_usd: UsdLike, plan: Sequence[Step], until: Span = "1h",
        opener: GovernedAgent | str | None = None, may_join: Sequence[str] = (), most_members: int = 64,
        capabilities: Sequence[str] | None = None, max_priority: int = 10, wait: float = _LONGEST_WAIT,
        request_id: str | None = None,
    ) -> WorkflowBlock:  # fmt: skip
        """A plan for several agents, to be approved once, as ``async with governor.workflow(…) as flow``.

        Members' requests that a step covers are granted without asking; what exceeds the plan asks a person.

        Args:
            name: what it is for, in a few words; operators see it.
            budget_usd: the most that all steps together may cost.
            plan: the steps.
            until: how long it may live, from its approval on: ``"2h"``, seconds or a ``timedelta``.
            opener: the agent that opens it, or its name; default: an agent called as the workflow is.
            may_join: names of agents, or their beginning and ``*``; default: whoever holds a join token.
            most_members: how many sessions may join.
            capabilities: all that members may have, beside their own profiles; default: as the opener's session.
            max_priority: the highest priority of members.
            wait: seconds to wait for the approval; after them the question is withdrawn.
            request_id: with the same one, a program that was restarted finds its workflow again.

        Raises (on entering):
            AegisDenied: people rejected the plan, or did not answer in time.
            ConflictError: the rules deny a step, or the same plan was refused before.
            InvalidRequestError: a step or amount that cannot be accepted, or a plan above every budget.
        """
        fields: dict[str, object] = {
            "name": name, "budget_usd": budget_usd, "plan": tuple(plan), "seconds": seconds_of(until, "until"),
            "may_join": tuple(may_join), "most_members": most_members, "max_priority": max_priority,
            "capabilities": None if capabilities is None else tuple(capabilities), "request_id": request_id,
        }  # fmt: skip
        return WorkflowBlock(self, fields, opener, wait)  # pyright: ignore[reportArgumentType] - it is a governor's part

    async def join(
        self, join_token: str, agent_id: str, *, framework: Framework = "custom", capabilities: Sequence[str] = (),
        max_priority: int = 5, session_budget_usd: UsdLike | None = None,
    ) -> GovernedAgent:  # fmt: skip
        """Join a workflow by a token that its opener made, perhaps in another process.

        Raises:
            AuthError: the token is wrong, used up or expired, or lets other agents in; or the agent is blocked.
            ConflictError: people are still asked about the workflow, it ended, or as many joined as may.
        """
        message = parse(
            JoinRequest, join_token=join_token, agent_id=agent_id, agent_framework=framework,
            capabilities=tuple(capabilities), max_priority=max_priority, session_budget_usd=session_budget_usd,
        )  # fmt: skip
        return await self.rejoin(await self.connection.port.workflows.join(message))

    @property
    def workflows(self) -> WorkflowsPort:
        """All workflows of the tenant (operators)."""
        return self.connection.port.workflows

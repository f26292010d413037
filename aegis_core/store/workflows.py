"""Workflows: typed calls of their scripts, as in `ledger`."""

from __future__ import annotations

from typing import Any, NamedTuple

from aegis_core.store.flow_records import Workflow
from aegis_core.store.ledger import Ledger
from aegis_core.store.packing import decode, unpack
from aegis_core.store.workflow_verbs import (
    EndWorkflow,
    InviteWorkflow,
    NarrowWorkflow,
    OpenWorkflow,
    ReadWorkflows,
)


class FoundMember(NamedTuple):
    """A session that joined."""

    agent: str
    session: str
    framework: str
    joined: int


class FoundWorkflow(NamedTuple):
    """A workflow by its id, with its members where they were read."""

    id: str
    flow: Workflow
    members: tuple[FoundMember, ...]


class WorkflowStore:
    """The scripts about workflows of one tenant."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._scripts = ledger, ledger.store.scripts
        self.tenant, self.pepper = ledger.tenant, ledger.store.pepper

    async def open(self, order: OpenWorkflow) -> tuple[str, Workflow | None]:
        """Ask about a plan. Answers ``OK`` and the workflow, or what must be read again: see `Ledger.authorize`."""
        answer = await self._ledger.call(self._scripts.open_workflow, order)
        if answer[0] != b"OK":
            return answer[0].decode(), None
        return "OK", decode(Workflow, unpack(answer[1]))

    async def invite(self, order: InviteWorkflow) -> int:
        """Put a join token into a workflow; answers when it expires (ms)."""
        return int((await self._ledger.call(self._scripts.invite_workflow, order))[1])

    async def end(self, order: EndWorkflow) -> Workflow:
        """End a workflow; what its members have open is cleared away before this answers."""
        answer = await self._ledger.call(self._scripts.end_workflow, order)
        flow = decode(Workflow, unpack(answer[1]))
        if flow.open or flow.joined:
            while await self._ledger.sweep():
                pass
        return flow

    async def narrow(self, order: NarrowWorkflow) -> Workflow:
        """Make a plan smaller."""
        return decode(Workflow, unpack((await self._ledger.call(self._scripts.narrow_workflow, order))[1]))

    async def read(self, one: str | None, before: str | None, most: int) -> tuple[list[FoundWorkflow], bool]:
        """One workflow with its members, or a page of all; and whether there may be more."""
        answer = await self._ledger.call(self._scripts.read_workflows, ReadWorkflows(one, before, most))
        rows, more = unpack(answer[1])
        return [_found(row) for row in rows], bool(more)


def _found(row: Any) -> FoundWorkflow:
    key, flow, members = row
    return FoundWorkflow(key, decode(Workflow, flow), tuple(FoundMember._make(each) for each in members))

"""Approvals and workflows for plain code: the bridge of `sync` for what operators do."""

from __future__ import annotations

from typing import cast

from aegis_core.client.connection import Connection
from aegis_core.client.portal import Bridged, Portal
from aegis_core.client.ports import ApprovalsPort, WorkflowsPort


class SyncApprovals(Bridged[ApprovalsPort]):
    """`ApprovalsPort` for plain code."""

    def __init__(self, portal: Portal, connection: Connection) -> None:
        super().__init__(portal, cast("ApprovalsPort", _Present(connection, "approvals")))

    get = Bridged.method(ApprovalsPort.get, Portal.run)
    list = Bridged.method(ApprovalsPort.list, Portal.run)
    decide = Bridged.method(ApprovalsPort.decide, Portal.run)
    approve_ahead = Bridged.method(ApprovalsPort.approve_ahead, Portal.run)
    envelopes = Bridged.method(ApprovalsPort.envelopes, Portal.run)
    revoke = Bridged.method(ApprovalsPort.revoke, Portal.run)
    limits = Bridged.method(ApprovalsPort.limits, Portal.run)
    set_limit = Bridged.method(ApprovalsPort.set_limit, Portal.run)


class SyncWorkflows(Bridged[WorkflowsPort]):
    """`WorkflowsPort` for plain code."""

    def __init__(self, portal: Portal, connection: Connection) -> None:
        super().__init__(portal, cast("WorkflowsPort", _Present(connection, "workflows")))

    open = Bridged.method(WorkflowsPort.open, Portal.run)
    get = Bridged.method(WorkflowsPort.get, Portal.run)
    list = Bridged.method(WorkflowsPort.list, Portal.run)
    invite = Bridged.method(WorkflowsPort.invite, Portal.run)
    join = Bridged.method(WorkflowsPort.join, Portal.run)
    change = Bridged.method(WorkflowsPort.change, Portal.run)
    end = Bridged.method(WorkflowsPort.end, Portal.run)


class _Present:
    """A part of a connection as it is when it is used: a forked child has another one than its parent."""

    def __init__(self, connection: Connection, part: str) -> None:
        self._connection, self._part = connection, part

    def __getattr__(self, name: str) -> object:
        return getattr(getattr(self._connection.port, self._part), name)

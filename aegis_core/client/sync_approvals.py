"""Approvals for plain code: the bridge of `sync` for what operators do."""

from __future__ import annotations

from aegis_core.client.portal import Bridged, Portal
from aegis_core.client.ports import ApprovalsPort


class SyncApprovals(Bridged[ApprovalsPort]):
    """`ApprovalsPort` for plain code."""

    get = Bridged.method(ApprovalsPort.get, Portal.run)
    list = Bridged.method(ApprovalsPort.list, Portal.run)
    decide = Bridged.method(ApprovalsPort.decide, Portal.run)
    approve_ahead = Bridged.method(ApprovalsPort.approve_ahead, Portal.run)
    envelopes = Bridged.method(ApprovalsPort.envelopes, Portal.run)
    revoke = Bridged.method(ApprovalsPort.revoke, Portal.run)
    limits = Bridged.method(ApprovalsPort.limits, Portal.run)
    set_limit = Bridged.method(ApprovalsPort.set_limit, Portal.run)

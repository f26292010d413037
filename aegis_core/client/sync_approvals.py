"""Approvals for plain code: the bridge of `sync` for what operators do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

from aegis_core.client.ports import ApprovalsPort
from aegis_core.protocol.approvals import Approval, ApprovalEdit, Decision, Envelope, EnvelopeRequest, Listing


class SyncApprovals:
    """`ApprovalsPort` for plain code."""

    def __init__(self, run: Callable[[Coroutine[Any, Any, Any]], Any], inner: ApprovalsPort) -> None:
        self._run, self._inner = run, inner

    def get(self, approval_id: str, *, wait: float = 0) -> Approval:
        """As `HITLManager.get`."""
        return self._run(self._inner.get(approval_id, wait=wait))

    def list(
        self, listing: Listing = "open", *, agent_id: str | None = None, after: str | None = None, limit: int = 100
    ) -> tuple[Approval, ...]:
        """As `HITLManager.list`."""
        return self._run(self._inner.list(listing, agent_id=agent_id, after=after, limit=limit))

    def decide(
        self, approval_id: str, decision: Decision, *, by: str, reason: str = "", edit: ApprovalEdit | None = None,
        content: str | None = None,
    ) -> Approval:  # fmt: skip
        """As `HITLManager.decide`."""
        return self._run(self._inner.decide(approval_id, decision, by=by, reason=reason, edit=edit, content=content))

    def approve_ahead(self, envelope: EnvelopeRequest, *, by: str) -> Envelope:
        """As `HITLManager.approve_ahead`."""
        return self._run(self._inner.approve_ahead(envelope, by=by))

    def envelopes(self) -> tuple[Envelope, ...]:
        """As `HITLManager.envelopes`."""
        return self._run(self._inner.envelopes())

    def revoke(self, envelope_id: str, *, by: str) -> Envelope:
        """As `HITLManager.revoke`."""
        return self._run(self._inner.revoke(envelope_id, by=by))

    def limits(self) -> dict[str, Decimal]:
        """As `HITLManager.limits`."""
        return self._run(self._inner.limits())

    def set_limit(self, operator: str, usd: object | None, *, by: str) -> None:
        """As `HITLManager.set_limit`."""
        self._run(self._inner.set_limit(operator, usd, by=by))

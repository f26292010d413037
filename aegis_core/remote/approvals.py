"""Approvals over HTTP: the operators' side of `RemoteGovernor`. The server reads from the credential who decides."""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import quote

from aegis_core.protocol.approvals import (
    Approval,
    ApprovalEdit,
    Decision,
    DecisionRequest,
    Envelope,
    EnvelopeRequest,
    Listing,
    OperatorLimit,
)
from aegis_core.protocol.parsing import parse
from aegis_core.remote.calls import OperatorCall

_ONE_WAIT, _EARLY = 30.0, 0.05
"""Seconds that one call waits at most, and by which it comes earlier when there is news."""


@dataclass(slots=True)
class _Page:
    approvals: tuple[Approval, ...]


@dataclass(slots=True)
class _Envelopes:
    envelopes: tuple[Envelope, ...]


@dataclass(slots=True)
class _Limits:
    limits: dict[str, Decimal]


@dataclass(slots=True)
class _Done:
    status: str


class RemoteApprovals:
    """As `HITLManager`. `by` is ignored: the server takes it from the credential.

    Args:
        call: sends one request with the operator's credential.
    """

    def __init__(self, call: OperatorCall) -> None:
        self._call = call

    async def get(self, approval_id: str, *, wait: float = 0) -> Approval:
        """As `HITLManager.get`."""
        path, until = f"/approvals/{segment(approval_id)}", time.monotonic() + wait
        before: Approval | None = None
        while True:
            begun = time.monotonic()
            longest = min(_ONE_WAIT, max(0.0, until - begun))
            approval: Approval = await self._call("GET", path, Approval, wait=longest)
            early = time.monotonic() - begun < longest - _EARLY  # the server tells by it that something is new
            news = early or (before is not None and approval != before)
            if approval.status != "open" or news or time.monotonic() >= until:
                return approval
            before = approval

    async def list(
        self, listing: Listing = "open", *, agent_id: str | None = None, after: str | None = None, limit: int = 100
    ) -> tuple[Approval, ...]:
        """As `HITLManager.list`."""
        query: dict[str, str | int] = {"status": listing, "limit": limit}
        query |= {name: value for name, value in (("agent_id", agent_id), ("after", after)) if value is not None}
        page: _Page = await self._call("GET", "/approvals", _Page, query=query)
        return page.approvals

    async def decide(
        self,
        approval_id: str,
        decision: Decision,
        *,
        by: str,  # noqa: ARG002
        reason: str = "",
        edit: ApprovalEdit | None = None,
        content: str | None = None,
    ) -> Approval:
        """As `HITLManager.decide`."""
        body = parse(DecisionRequest, decision=decision, reason=reason, edit=edit, content=content)
        return await self._call("POST", f"/approvals/{segment(approval_id)}/decision", Approval, body=body)

    async def approve_ahead(self, envelope: EnvelopeRequest, *, by: str) -> Envelope:  # noqa: ARG002
        """As `HITLManager.approve_ahead`. It is not sent twice, because twice it would be two envelopes."""
        return await self._call("POST", "/envelopes", Envelope, body=envelope, retry=False)

    async def envelopes(self) -> tuple[Envelope, ...]:
        """As `HITLManager.envelopes`."""
        held: _Envelopes = await self._call("GET", "/envelopes", _Envelopes)
        return held.envelopes

    async def revoke(self, envelope_id: str, *, by: str) -> Envelope:  # noqa: ARG002
        """As `HITLManager.revoke`."""
        return await self._call("DELETE", f"/envelopes/{segment(envelope_id)}", Envelope, retry=False)

    async def limits(self) -> dict[str, Decimal]:
        """As `HITLManager.limits`."""
        held: _Limits = await self._call("GET", "/operator-limits", _Limits)
        return held.limits

    async def set_limit(self, operator: str, usd: object | None, *, by: str) -> None:  # noqa: ARG002
        """As `HITLManager.set_limit`."""
        body = parse(OperatorLimit, approve_up_to_usd=usd)
        await self._call("PUT", f"/operator-limits/{segment(operator)}", _Done, body=body)


def segment(text: str) -> str:
    """A path segment; clients fold dots away unless they are escaped."""
    return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")

"""Proposals of Kaizen over HTTP."""

from __future__ import annotations

from aegis_core.protocol.proposals import PolicyProposal, PolicyProposals, ProposalAct
from aegis_core.remote.calls import Call, segment


class RemoteProposals:
    """The same as `TenantProposals`."""

    def __init__(self, call: Call, token: str | None) -> None:
        self._call, self._token = call, token

    async def all(self) -> PolicyProposals:
        """As `TenantProposals.all`."""
        return await self._call("GET", "/kaizen/proposals", PolicyProposals, token=self._token, retry=True)

    async def one(self, name: str) -> PolicyProposal:
        """As `TenantProposals.one`."""
        path = f"/kaizen/proposals/{segment(name)}"
        return await self._call("GET", path, PolicyProposal, token=self._token, retry=True)

    async def act(self, name: str, wish: ProposalAct, *, author: str = "operator") -> PolicyProposal:  # noqa: ARG002
        """As `TenantProposals.act`; the server takes the author from the credential."""
        path = f"/kaizen/proposals/{segment(name)}"
        return await self._call("POST", path, PolicyProposal, body=wish, token=self._token, retry=True)

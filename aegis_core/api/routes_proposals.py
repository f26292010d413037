"""Proposals of Kaizen: looked at, decided on, and taken back by persons."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from aegis_core.api.routing import ACTING, PREFIX, READING, GuardedRoute, Writer, auth_of, overseen, read
from aegis_core.api.schemas import body, security
from aegis_core.protocol.proposals import PolicyProposal, PolicyProposals, ProposalAct

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute)
_all, _one = map(Writer, (PolicyProposals, PolicyProposal))

ProposalId = Annotated[str, Path(pattern=r"^p-[0-9a-f]{8}$", description="Its id.")]


@router.get(
    "/kaizen/proposals", tags=["Operators"], summary="Proposed changes of the policy",
    response_model=PolicyProposals, responses=READING, openapi_extra=security(),
)  # fmt: skip
async def proposals(request: Request) -> Response:
    """All that are kept, the newest first, with their backtests and how canaries stand."""
    return _all(await (await overseen(request)).proposals.all())


@router.get(
    "/kaizen/proposals/{proposal_id}", tags=["Operators"], summary="One proposal",
    response_model=PolicyProposal, responses=READING, openapi_extra=security(),
)  # fmt: skip
async def proposal(request: Request, proposal_id: ProposalId) -> Response:
    """Its rules, evidence, backtest and canary."""
    return _one(await (await overseen(request)).proposals.one(proposal_id))


@router.post(
    "/kaizen/proposals/{proposal_id}", tags=["Operators"], summary="Approve, reject, put off or take back",
    response_model=PolicyProposal, responses=ACTING, openapi_extra=body(ProposalAct, operator=True),
)  # fmt: skip
async def act(request: Request, proposal_id: ProposalId) -> Response:
    """Approving answers the question that persons were asked, and begins to try the change. It takes a person who may
    publish such a policy. The same again changes nothing."""
    caller = await auth_of(request).operator(request)
    wish = await read(request, ProposalAct)
    governor = caller.context.governor
    return _one(await governor.proposals.act(proposal_id, wish, author=caller.name, credential=caller.proof))

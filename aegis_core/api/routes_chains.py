"""Transactions of chains: judged, sent and followed. The server reads the bytes, and asks the nodes of its operator."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from aegis_core.api.logs import AGENT, GRANT
from aegis_core.api.routing import ACTING, PREFIX, READING, GuardedRoute, Writer, auth_of, read
from aegis_core.api.schemas import GrantId, Wait, body, security
from aegis_core.protocol.chains import ChainStatuses, QuoteTransaction, TransactionPreview
from aegis_core.protocol.messages import Verdict
from aegis_core.protocol.transactions import SendTransaction, TransactionOrder, TransactionReport

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute)

_verdict, _report = Writer(Verdict), Writer(TransactionReport)
_chains, _preview = Writer(ChainStatuses), Writer(TransactionPreview)


@router.get(
    "/chains", tags=["Chains"], summary="Gas on the chains that are set up, as decisions go by it",
    response_model=ChainStatuses, responses=READING, openapi_extra=security(),
)  # fmt: skip
async def list_chains(request: Request) -> Response:
    """Of each the price, how old it is, how many nodes stand behind it, and dollars for a coin. No node is asked."""
    caller, _ = await auth_of(request).reader(request)
    return _chains(ChainStatuses(await caller.context.governor.transactions.status()))


@router.post(
    "/transactions/quote", tags=["Chains"], summary="What a signed transaction can cost, and would do",
    response_model=TransactionPreview, responses=ACTING, openapi_extra=body(QuoteTransaction),
)  # fmt: skip
async def quote_transaction(request: Request) -> Response:
    """It is run on the newest block. Nothing is reserved, and nothing sent."""
    caller = await auth_of(request).asker(request)
    message = await read(request, QuoteTransaction)
    return _preview(await caller.context.governor.transactions.preview(message, token=caller.token))


@router.post(
    "/transactions", tags=["Chains"], summary="Ask to send a signed transaction",
    response_model=Verdict, responses=ACTING, openapi_extra=body(TransactionOrder),
)  # fmt: skip
async def open_transaction(request: Request, wait: Wait = 0) -> Response:
    """The most that it can take is reserved, and its wallet locked, in one step. With `wait`, waits for an approval."""
    caller = await auth_of(request).asker(request)
    message = await read(request, TransactionOrder)
    request.scope[AGENT] = message.agent_id
    verdict = await caller.context.governor.transactions.open(message, token=caller.token, wait=wait)
    request.scope[GRANT] = verdict.grant_id
    return _verdict(verdict)


@router.post(
    "/transactions/{grant_id}/send", tags=["Chains"], summary="Send what a grant was given for",
    response_model=TransactionReport, responses=ACTING, openapi_extra=body(SendTransaction),
)  # fmt: skip
async def send_transaction(request: Request, grant_id: GrantId) -> Response:
    """Done once a node accepted it; the same again is a harmless repeat. Its chain says what it cost."""
    caller = await auth_of(request).asker(request)
    message = await read(request, SendTransaction)
    request.scope[AGENT] = message.agent_id
    message = message.model_copy(update={"grant_id": grant_id})
    return _report(await caller.context.governor.transactions.send(message, token=caller.token))


@router.get(
    "/transactions/{grant_id}", tags=["Chains"], summary="How a transaction stands",
    response_model=TransactionReport, responses=READING, openapi_extra=security(),
)  # fmt: skip
async def look_at_transaction(request: Request, grant_id: GrantId, wait: Wait = 0) -> Response:
    """With `wait`, answers as soon as it is final and settled."""
    caller, agent = await auth_of(request).reader(request)
    return _report(await caller.context.governor.transactions.report(grant_id, agent, wait=wait))

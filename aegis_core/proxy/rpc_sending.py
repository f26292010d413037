"""Signed bytes that came to the proxy, judged, reserved and sent: the same for every chain and every way of asking."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from aegis_core.chains.book import Chain
from aegis_core.chains.other import OtherChain
from aegis_core.chains.sent import SentTransaction
from aegis_core.chains.transaction import decode
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.proxy_keys import ProxyKey
from aegis_core.protocol.errors import AegisError, ChainError, NotFoundError
from aegis_core.protocol.messages import ReleaseRequest, Verdict
from aegis_core.protocol.parsing import parse
from aegis_core.protocol.transactions import SendTransaction, TransactionOrder
from aegis_core.proxy.identity import Identity

_WAIT = 60.0
"""Seconds to wait for the wallet, which another transaction may hold; a person is not waited for."""


class NotSentError(Exception):
    """Nothing was sent, or nobody knows whether it was. The text says why, `facts` which rule and request."""

    def __init__(self, message: str, facts: dict[str, Any]) -> None:
        super().__init__(message)
        self.facts = facts


def sent_by(chain: Chain, raw: bytes) -> tuple[tuple[str, ...], str]:
    """Whose money signed bytes may be about, and how nodes name them. Raises `InvalidRequestError`."""
    if isinstance(chain, OtherChain):
        return chain.wallets_of(raw), chain.name_of(SentTransaction("", "", 0, 0, 0, raw=raw))
    transaction = decode(raw)
    return (transaction.sender,), transaction.hash or ""


async def govern(
    governor: ResourceGovernor, identity: Identity, key: ProxyKey, chain: Chain, raw: bytes, wallets: tuple[str, ...]
) -> None:
    """Judge, reserve and send; done once a node accepted it, also where that was before.

    Args:
        governor, identity, key: who decides, and who asks.
        chain: what the bytes are for.
        raw: the signed bytes.
        wallets: whose they may be; the first that is the agent's counts.

    Raises:
        NotSentError: it was refused, by a rule or by every node.
        AegisError: it cannot be read, or nothing could be decided.
    """
    for place, wallet in enumerate(wallets, start=1):
        if await _governed(governor, identity, key, chain, raw, wallet, last=place == len(wallets)):
            return


async def _governed(
    governor: ResourceGovernor, identity: Identity, key: ProxyKey, chain: Chain, raw: bytes, wallet: str, *, last: bool
) -> bool:
    """Whether it is of this wallet; of the last one it always is."""
    transactions, text = governor.transactions, "0x" + raw.hex()
    caller = await identity.caller(key, b"")
    order = parse(
        TransactionOrder, agent_id=caller.session.agent_id, session_id=caller.session.session_id,
        chain=chain.profile.id, wallet=wallet, transaction=text,
        task_intent=f"Send a transaction on {chain.profile.name} through the RPC proxy",
    )  # fmt: skip
    try:
        verdict = await transactions.open(order, token=caller.session.session_token, wait=_WAIT)
    except NotFoundError:  # its session had ended
        caller = await identity.opened(key, b"")
        order = order.model_copy(update={"session_id": caller.session.session_id})
        verdict = await transactions.open(order, token=caller.session.session_token, wait=_WAIT)
    agent, token = caller.session.agent_id, caller.session.session_token
    if verdict.code == "foreign_wallet" and not last:
        return False
    if not verdict.granted:
        await _refuse(governor, verdict, agent, token)
        return True
    grant = verdict.grant_id or ""
    # A client that signs a nonce again means to replace what has it.
    message = SendTransaction(agent_id=agent, grant_id=grant, transaction=text, replaces=True)
    try:
        await transactions.send(message, token=token)
    except NotFoundError:
        pass  # the same bytes were sent before, and are settled
    except ChainError as error:
        await _release(governor, grant, agent, token)
        raise NotSentError(error.message, {"reason": error.facts.get("reason"), "grant_id": grant}) from None
    except AegisError:
        await _release(governor, grant, agent, token)
        raise
    return True


async def _refuse(governor: ResourceGovernor, verdict: Verdict, agent: str, token: str) -> None:
    """Say why it is not sent; nothing, where the same bytes were sent before."""
    if verdict.status == "GRANTED":
        return
    if verdict.grant_id and verdict.state in {"live", "pending"}:
        await _release(governor, verdict.grant_id, agent, token)
    facts = {"code": verdict.code, "rule": verdict.rule, "request": verdict.request_id}
    raise NotSentError(f"Aegis refused: {verdict.reason}", facts)


async def _release(governor: ResourceGovernor, grant: str, agent: str, token: str) -> None:
    """Give back what was not sent; where it may have been, that is refused, and its chain says what it cost."""
    with suppress(AegisError):
        await governor.release(grant, ReleaseRequest(agent_id=agent), token=token)

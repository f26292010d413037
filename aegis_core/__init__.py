"""Aegis: the governor between human intent and what AI agents do.

An agent asks before it spends, and Aegis answers GRANTED, PENDING or REJECTED in one atomic step::

    async with aegis_core.connect() as governor:
        agent = await governor.handshake("crew-researcher-01", session_budget_usd="2.50")
        async with agent.permit("Summarise the proposals", estimated_cost_usd="0.035") as grant:
            answer = call_a_model(grant.model)
            grant.settle(cost_usd="0.031")
"""

from aegis_core.client.agent import GovernedAgent, Governor
from aegis_core.client.grants import Grant
from aegis_core.connect import connect, connect_sync
from aegis_core.errors import (
    AegisDenied,
    AegisError,
    AnswerLostError,
    AuthError,
    ChainError,
    ChannelError,
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    LeaseLostError,
    LockLostError,
    LockPreemptedError,
    LockTimeoutError,
    NotFoundError,
    PolicyError,
    StaleError,
    StateLostError,
    StoreError,
    UnknownModelError,
)
from aegis_core.protocol.keywords import LockFields, RequestFields, SettleFields
from aegis_core.protocol.messages import PermissionRequest, Receipt, Usage, Verdict
from aegis_core.protocol.usage import Allowance
from aegis_core.protocol.workflows import Step
from aegis_core.settings import Settings

__all__ = [
    "AegisDenied",
    "AegisError",
    "Allowance",
    "AnswerLostError",
    "AuthError",
    "ChainError",
    "ChannelError",
    "ConfigurationError",
    "ConflictError",
    "GovernedAgent",
    "Governor",
    "Grant",
    "InvalidRequestError",
    "LeaseLostError",
    "LockFields",
    "LockLostError",
    "LockPreemptedError",
    "LockTimeoutError",
    "NotFoundError",
    "PermissionRequest",
    "PolicyError",
    "Receipt",
    "RequestFields",
    "Settings",
    "SettleFields",
    "StaleError",
    "StateLostError",
    "Step",
    "StoreError",
    "UnknownModelError",
    "Usage",
    "Verdict",
    "connect",
    "connect_sync",
]

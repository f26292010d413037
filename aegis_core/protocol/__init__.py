"""The words that travel between a program and its governor: messages, errors, money and identifiers.

The messages can be imported from here; the rest by its module.
"""

from aegis_core.protocol.events import Event
from aegis_core.protocol.messages import (
    BYTES_PER_TOKEN,
    AgentSummary,
    BudgetChange,
    BudgetLine,
    BudgetReport,
    BudgetState,
    ExtendRequest,
    Framework,
    GrantState,
    Handshake,
    HeldLock,
    PermissionRequest,
    Receipt,
    ReleaseRequest,
    Requirements,
    ResourceType,
    Routing,
    Scope,
    SessionOpened,
    SettleRequest,
    Status,
    Usage,
    Verdict,
)

__all__ = [
    "BYTES_PER_TOKEN",
    "AgentSummary",
    "BudgetChange",
    "BudgetLine",
    "BudgetReport",
    "BudgetState",
    "Event",
    "ExtendRequest",
    "Framework",
    "GrantState",
    "Handshake",
    "HeldLock",
    "PermissionRequest",
    "Receipt",
    "ReleaseRequest",
    "Requirements",
    "ResourceType",
    "Routing",
    "Scope",
    "SessionOpened",
    "SettleRequest",
    "Status",
    "Usage",
    "Verdict",
]

"""What the operator's side knows about an agent: the half of a judgement that does not come from the request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """An agent as its registration describes it.

    Attributes:
        agent_id: who asks, as registered.
        framework: where it runs.
        capabilities: what its operator allows it.
        max_priority: the highest priority that its operator lets it claim.
        labels: the operator's own marks, such as a team or an environment.
        wallets: the accounts of chains that it may use, with their chain or on all.
        member: its session belongs to a workflow.
    """

    agent_id: str
    framework: str = "custom"
    capabilities: frozenset[str] = frozenset()
    max_priority: int = 10
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    wallets: tuple[str, ...] = ()
    member: bool = False

    def may_use(self, wallet: str) -> bool:
        """Whether an account (CAIP-10, lower case) is one of its own."""
        return wallet in self.wallets or wallet.rpartition(":")[2] in self.wallets

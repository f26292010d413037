"""What an operator's rules say about a request: pure, without I/O, in microseconds."""

from aegis_core.policy.engine import Explanation, Policy, compile_policy
from aegis_core.policy.facts import AgentFacts
from aegis_core.policy.loading import default_policy, load_policy
from aegis_core.policy.ruling import CostLimit, Effect, Ruling

__all__ = [
    "AgentFacts",
    "CostLimit",
    "Effect",
    "Explanation",
    "Policy",
    "Ruling",
    "compile_policy",
    "default_policy",
    "load_policy",
]

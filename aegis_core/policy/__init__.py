"""What an operator's rules say about a request: pure, without I/O, in microseconds."""

from aegis_core.policy.engine import Policy, compile_policy
from aegis_core.policy.explain import Explanation
from aegis_core.policy.facts import AgentFacts
from aegis_core.policy.loading import default_policy, load_policy
from aegis_core.policy.ruling import CostLimit, Counter, Effect, Objection, Observed, RuleEffect, Ruling

__all__ = [
    "AgentFacts",
    "CostLimit",
    "Counter",
    "Effect",
    "Explanation",
    "Objection",
    "Observed",
    "Policy",
    "RuleEffect",
    "Ruling",
    "compile_policy",
    "default_policy",
    "load_policy",
]

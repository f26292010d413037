"""A change of a policy: rules that are put into it under their names, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from aegis_core.policy.engine import Policy, compile_policy
from aegis_core.policy.weakening import weakened

Rules = Sequence[Mapping[str, Any]]


class Changed(NamedTuple):
    """The policy with the change in it, and who may decide: an owner, where less would be asked of persons."""

    policy: Policy
    role: str


def apply(parent: Policy, rules: Rules) -> Changed:
    """Put rules into a policy; one of the same name is replaced.

    Raises:
        PolicyError: it would be no policy.
    """
    document = json.loads(parent.document)
    put = {str(rule["name"]): dict(rule) for rule in rules}
    kept = [put.pop(rule["name"], rule) for rule in document["rules"]]
    policy = compile_policy(document | {"rules": [*kept, *put.values()]})
    return Changed(policy, "owner" if weakened(parent, policy, every=True) else "operator")


def observer_of(name: str) -> str:
    """The name of the rule that only watches what the rule of a name would do."""
    return f"{name}-observed"


def observing(parent: Policy, rules: Rules) -> Policy:
    """The policy with rules beside its own that watch what the change would do. Raises as `apply`."""
    return apply(parent, [{**rule, "name": observer_of(rule["name"]), "mode": "observe"} for rule in rules]).policy


def spelt(rules: Rules) -> str:
    """A change as it is stored; the same for equal ones."""
    return json.dumps(list(rules), sort_keys=True, separators=(",", ":"))


def name_of(change: str, parent_digest: str) -> str:
    """The id of the proposal of a change to a policy."""
    return "p-" + sha256(f"{change}\0{parent_digest}".encode()).hexdigest()[:8]

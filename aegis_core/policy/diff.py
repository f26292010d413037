"""What differs between two policies. The order of rules changes no effect, so it is no difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from aegis_core.policy.engine import Policy, plain_rule


@dataclass(frozen=True, slots=True)
class Change:
    """One rule that was added, removed or changed.

    Attributes:
        fields: of a changed rule: each field that differs, before and after; None where it is absent.
    """

    kind: Literal["added", "removed", "changed"]
    rule: str
    type: str
    effect: str
    fields: dict[str, tuple[Any, Any]]


def compare(before: Policy, after: Policy) -> list[Change]:
    """The changes that lead from one policy to another: removed, changed, added."""
    old = {rule.name: (rule, plain_rule(rule)) for rule in before.rules}
    new = {rule.name: (rule, plain_rule(rule)) for rule in after.rules}
    changes = [
        Change("removed", name, rule.type, rule.effect, {}) for name, (rule, _) in old.items() if name not in new
    ]
    for name, (rule, fields) in new.items():
        if name not in old:
            continue
        was = old[name][1]
        names = sorted(was.keys() | fields.keys())
        if differing := {key: (was.get(key), fields.get(key)) for key in names if was.get(key) != fields.get(key)}:
            changes.append(Change("changed", name, rule.type, rule.effect, differing))
    changes += [Change("added", name, rule.type, rule.effect, {}) for name, (rule, _) in new.items() if name not in old]
    return changes

"""Whether a policy asks less of persons than the one before: what only an owner may put in force."""

from __future__ import annotations

from aegis_core.policy.asking import DEFAULT, AskingTerms
from aegis_core.policy.engine import Policy, plain_rule
from aegis_core.policy.rules import Rule

_FREE = frozenset({"asking", "effect", "reason", "limit_usd"})
"""Fields that are compared by what they mean, or that mean nothing for who decides."""


def weakened(before: Policy, after: Policy, *, every: bool = False) -> dict[str, str]:
    """The rules that would ask less of persons, each with what would be less.

    A rule that says who, or how many, must approve must stay: under its name, about the same requests, on terms that
    are at least as strict. Rules that are added take nothing away, because the strictest terms of all hold.

    Args:
        before: the policy in force.
        after: the one to be put in force.
        every: look at all rules that ask or deny, not only at those that say who must approve.
    """
    new = {rule.name: rule for rule in after.rules}
    found: dict[str, str] = {}
    for rule in before.rules:
        binds = rule.enabled and not rule.observed and rule.effect in {"escalate", "deny"}
        restricts = rule.effect == "escalate" and rule.asking is not None and rule.asking.restricts
        if binds and (every or restricts) and (less := _less(rule, new.get(rule.name), restricts=restricts)):
            found[rule.name] = less
    return found


def _less(old: Rule, new: Rule | None, *, restricts: bool) -> str:
    if new is None:
        return "it would be gone"
    if not new.enabled or new.observed:
        return "it would no longer be enforced"
    if new.effect not in {old.effect, "deny"}:
        return f"its effect would be {new.effect}"
    if restricts and new.effect == "deny":  # the next policy could leave such a rule out
        return "its effect would be deny, and who must approve would be forgotten; add a rule beside it that denies"
    was, now = plain_rule(old), plain_rule(new)
    if other := sorted(name for name in (was.keys() | now.keys()) - _FREE if was.get(name) != now.get(name)):
        return f"it would be about other requests ({', '.join(other)})"
    limits = getattr(old, "limit_usd", None), getattr(new, "limit_usd", None)
    if limits[0] is not None and (limits[1] is None or limits[1] > limits[0]):
        return "its limit_usd would be higher"
    return "" if new.effect == "deny" else _easier(old.asking or DEFAULT, new.asking or DEFAULT)


def _easier(old: AskingTerms, new: AskingTerms) -> str:
    """Which of the terms would be easier to meet; empty for none."""
    if new.quorum < old.quorum:
        return f"its quorum would be {new.quorum} instead of {old.quorum}"
    if old.named is not None and not set(new.named or ("*",)) <= set(old.named):
        return "others could approve it (approvers)"
    if old.approver_role is not None and new.approver_role != old.approver_role:
        return "its approver_role would be another"
    counts = {group.role: group.quorum for group in new.groups or ()}
    if any(counts.get(group.role, 0) < group.quorum for group in old.groups or ()):
        return "its groups would be fewer"
    if new.on_timeout == "approve" and old.on_timeout == "reject":
        return "silence would approve it"
    if (
        new.on_timeout == "approve"
        and new.timeout_seconds != old.timeout_seconds
        and (old.timeout_seconds is None or new.timeout_seconds is None or new.timeout_seconds < old.timeout_seconds)
    ):
        return "silence would approve it sooner (timeout_seconds)"
    return ""

"""What Kaizen asks persons: whether a change of the policy may be carried out. No rule can leave that out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aegis_core.policy.asking import Asker, AskingTerms
from aegis_core.policy.ruling import Ruling
from aegis_core.protocol.messages import PermissionRequest

POLICY_TOOL = "policy.apply"
RULE = "kaizen-change"
_SECONDS = 7 * 86_400.0


def asked_by_kaizen(
    request: PermissionRequest, ruling: Ruling, askers: Sequence[Asker]
) -> tuple[Ruling, tuple[Asker, ...]]:
    """The ruling and who asks, with the question to those who may publish such a policy added. A denial stays one."""
    if request.tool != POLICY_TOOL or ruling.effect == "deny":
        return ruling, tuple(askers)
    role = "owner" if request.metadata.get("role") == "owner" else "operator"
    own = Asker(RULE, -1, False, AskingTerms(timeout_seconds=_SECONDS, approver_role=role))
    reason = ruling.reason if ruling.effect == "escalate" else "a change of the policy is proposed"
    rule = ruling.rule if ruling.effect == "escalate" else RULE
    return replace(ruling, effect="escalate", rule=rule, reason=reason), (*askers, own)

"""Whose wallets a transaction spends from: those of its agent's profile, and one at a time."""

from __future__ import annotations

from aegis_core.arbiter.arbiter import Appraisal
from aegis_core.policy.facts import AgentFacts
from aegis_core.protocol.messages import PermissionRequest
from aegis_core.protocol.transactions import transaction_of


def of_own_wallet(request: PermissionRequest, wallets: AgentFacts, appraisal: Appraisal) -> Appraisal:
    """Nothing, for a transaction of an account that is not among the agent's."""
    shown = transaction_of(request)
    if shown is None:
        return appraisal
    note = None
    if not wallets.may_use(shown.wallet):
        note = f"{shown.wallet} is not among the wallets of this agent's profile"
    elif others := [each for each in shown.cosigners if wallets.may_use(each)]:  # only one is looked at
        note = f"{others[0]} signs it as well; a transaction may spend from one wallet of an agent only"
    return appraisal if note is None else appraisal._replace(candidates=(), code="foreign_wallet", note=note)

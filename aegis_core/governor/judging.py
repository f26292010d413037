"""What the rules that hold for a session say of one request, before the script decides."""

from __future__ import annotations

from aegis_core.arbiter.arbiter import Appraisal, Arbiter
from aegis_core.governor.outcomes import Outcomes
from aegis_core.governor.own_questions import asked_by_kaizen
from aegis_core.governor.own_wallets import of_own_wallet
from aegis_core.governor.requests import Rules, unasked
from aegis_core.governor.rulebook import Rulebook
from aegis_core.policy.facts import AgentFacts
from aegis_core.protocol.ids import RequestIds
from aegis_core.protocol.kaizen import OWN_AGENT
from aegis_core.protocol.messages import PermissionRequest


class Judging:
    """Judges by the copies of one governor."""

    def __init__(self, rules: Rulebook, arbiter: Arbiter, outcomes: Outcomes, ids: RequestIds) -> None:
        self._rules, self._arbiter, self._outcomes, self._ids = rules, arbiter, outcomes, ids

    def rules(self, request: PermissionRequest, session: str, facts: AgentFacts, appraisal: Appraisal) -> Rules:
        """The ruling, the models that it leaves, and the versions by which the script sees that they are in force."""
        version, policy, trial = self._rules.held(session)
        now = self._ids.now()
        ruling = policy.evaluate(request, facts, now)
        if ruling.models:
            appraisal = self._arbiter.appraise(request, ruling.models, self._outcomes.evidence)
        appraisal = of_own_wallet(request, facts, unasked(request, ruling, appraisal))
        top = max([candidate.nanos for candidate in appraisal.candidates], default=0)
        askers = policy.askers(request, facts, now) if ruling.may_ask(top) else ()
        if request.agent_id == OWN_AGENT:
            ruling, askers = asked_by_kaizen(request, ruling, askers)
        basis = self._rules.basis(policy, self._arbiter.prices.version)
        return Rules(
            version, self._rules.profiles_version, ruling, appraisal, askers, basis, facts.member, trial
        )  # fmt: skip

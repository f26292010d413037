"""Questions judged again: by the policy in force, when that is newer than the one that asked, and when they are edited.

A person's word never outlives a rule that denies. Only what was stored of the question is judged, secrets masked.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from aegis_core.arbiter.arbiter import Arbiter
from aegis_core.governor.budgets import at_ms
from aegis_core.governor.plans import rule_plan
from aegis_core.governor.requests import limits_of
from aegis_core.governor.rulebook import Rulebook
from aegis_core.policy.facts import AgentFacts
from aegis_core.policy.ruling import Ruling
from aegis_core.protocol.approvals import ApprovalEdit
from aegis_core.protocol.errors import ConflictError, StaleError
from aegis_core.protocol.messages import PermissionRequest
from aegis_core.protocol.money import to_usd
from aegis_core.protocol.parsing import parse
from aegis_core.protocol.transactions import TransactionRequest
from aegis_core.store.arguments import Ruled
from aegis_core.store.flow_records import PlanRow
from aegis_core.store.ledger import Ledger
from aegis_core.store.records import Question, Record


class Judgement(NamedTuple):
    """What the policy of a version says of a question: its request, and who asks."""

    version: int
    request: PermissionRequest
    facts: AgentFacts
    ruling: Ruling
    effect: str
    reason: str


class Rejudge:
    """Judges questions again, and lets an agent claim what was approved only as the rules in force allow."""

    def __init__(self, ledger: Ledger, rules: Rulebook, arbiter: Arbiter) -> None:
        self._ledger, self._rules, self._arbiter = ledger, rules, arbiter

    async def look(self, key: str, *, claims: bool = False) -> tuple[Record, int]:
        """The record as it stands, and the server's time in ms. Its agent `claims` by looking what was approved.

        Raises:
            NotFoundError: there is no such record.
            StaleError: the policy changes faster than it can be read.
        """
        record, now = await self._ledger.look(key, claims=claims)
        return await self.claimed(key, record, at_ms(now)) if record.asked else record, now

    async def claimed(self, key: str, record: Record, now: datetime) -> Record:
        """A record that its agent claimed; newer rules are asked first, where that is to be done. Raises as `look`."""
        for _ in range(4):
            question = record.question
            if question is None or not question.unjudged:
                return record
            record = await self._ledger.claim(key, await self.ruled(record, question.unjudged, now))
        raise StaleError("The policy changes faster than it can be read; nothing was granted.", reason="stale")

    async def ruled(self, record: Record, version: int | None, now: datetime) -> Ruled:
        """What the policy says of a question, the one of this `version`, or with None the one that is in force."""
        if version != self._rules.held(record.session).version:
            await self._rules.reload_policy()
        judged = await self.judge(record, None, now)
        rule, reason = judged.ruling.rule or False, judged.reason or False
        held = self._rules.held(record.session)
        return Ruled(judged.version, judged.effect, rule, reason, limits_of(judged.ruling), held.trial)

    async def judge(self, record: Record, edit: ApprovalEdit | None, now: datetime) -> Judgement:
        """Judge a question as it was stored, with what an operator changes of it, by the policy that is held here."""
        question = record.question
        assert question is not None  # who calls has seen it
        if record.plan_step < 0:
            return await self._judge_plan(record, question, now)
        request = _request_of(record, question.trace, edit)
        _, facts = await self._rules.facts_of(record.agent, record.session)
        version, policy, _ = self._rules.held(record.session)
        ruling = policy.evaluate(request, facts, now)
        effect, reason = "deny" if ruling.effect == "deny" else "allow", ruling.reason
        if ruling.models and record.model:
            allowed = self._arbiter.appraise(request, ruling.models).candidates
            if record.model not in {candidate.model for candidate in allowed}:
                effect, reason = "deny", f"the model {record.model} may not be used for it"
        return Judgement(version, request, facts, ruling, effect, reason)

    async def _judge_plan(self, record: Record, question: Question, now: datetime) -> Judgement:
        """The same for a plan, each step for itself."""
        _, facts = await self._rules.facts_of(record.agent, record.session)
        (version, policy, _), said = self._rules.held(record.session), question.trace
        steps = [PlanRow._make(row) for row in said["workflow"]["steps"]]
        ruling = rule_plan(policy, facts, str(said["intent"]), steps, now)
        request = parse(
            PermissionRequest, agent_id=record.agent, task_intent=said["intent"], resource_type="compute"
        )  # fmt: skip
        if ruling.denied is None:
            return Judgement(version, request, facts, Ruling("allow", None, ""), "allow", "")
        number, rule, reason = ruling.denied
        why = f"step {number}: {reason or rule}"
        return Judgement(version, request, facts, Ruling("deny", rule, why), "deny", why)


def _request_of(record: Record, said: dict[str, object], edit: ApprovalEdit | None) -> PermissionRequest:
    if "intent" not in said:
        raise ConflictError(
            "What its agent wrote was removed, so newer rules cannot judge it, and it cannot be edited; reject it.",
            code="words_gone",
        )
    fields = {name: said[name] for name in said if name not in {"intent", "metadata", "evidence"}}
    asked: dict[str, object] = {
        "agent_id": record.agent, "task_intent": said["intent"], "metadata": said.get("metadata") or {},
        "estimated_cost_usd": to_usd(record.amount),
    }  # fmt: skip
    changes = edit.model_dump(exclude_none=True) if edit else {}
    kind = TransactionRequest if "transaction" in said else PermissionRequest
    return parse(kind, **(asked | fields | changes))

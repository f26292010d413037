"""HITLManager: requests that wait for a person. Everything is decided in one script; nothing waits in memory only."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from decimal import Decimal
from typing import Literal, get_args

from aegis_core.governor.approval_words import PREFIX, approval_of, envelope_of, no_approval
from aegis_core.governor.budgets import at_ms, checked
from aegis_core.governor.notifier import Notifier
from aegis_core.governor.rejudging import Rejudge
from aegis_core.governor.requests import content_of, deciders_of, edited_trace, limits_of, shown_arguments
from aegis_core.governor.rulebook import Rulebook
from aegis_core.governor.verdicts import grant_key
from aegis_core.policy.text import spaced, words
from aegis_core.protocol.approvals import (
    Approval,
    ApprovalEdit,
    Decision,
    DecisionRequest,
    Envelope,
    EnvelopeRequest,
    Listing,
)
from aegis_core.protocol.errors import (
    AuthError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    StaleError,
    StoreError,
)
from aegis_core.protocol.money import to_nanos, to_usd
from aegis_core.protocol.parsing import parse
from aegis_core.store.approvals import ApprovalStore
from aegis_core.store.arguments import Edit, Ruled, TermsRow
from aegis_core.store.records import Question, Record
from aegis_core.store.records import StoredEnvelope as EnvelopeRow
from aegis_core.store.states import PENDING
from aegis_core.store.verbs import Decide


class HITLManager:
    """The operators' side of approvals, on Redis. Its holder is trusted to say who decides (`by`)."""

    def __init__(self, store: ApprovalStore, notifier: Notifier, rules: Rulebook, again: Rejudge) -> None:
        self.tenant = store.tenant
        self._store, self._notifier, self._rules, self._again = store, notifier, rules, again

    async def get(self, approval_id: str, *, wait: float = 0, claims: bool = False) -> Approval:
        """One approval as it stands. The first look after its deadline finds it timed out.

        Args:
            approval_id: the ``escalation_id`` of a verdict.
            wait: seconds to wait for news (a vote, or the end) while it is open.
            claims: its own agent looks, and may use what was approved from now on.

        Raises:
            NotFoundError: no such approval, or one that ended long ago.
        """
        key = grant_key(approval_id)
        if wait <= 0:
            return await self._whole((await self._look(key, claims=claims))[0], key)
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        async with self._notifier.waiting_for(key) as bell:
            seen: Question | None = None
            while True:
                bell.clear()
                record, question, now = await self._look(key, claims=claims)
                left = until - loop.time()
                news = question._replace(told=False)  # that a channel showed it is none
                if record.state != PENDING or left <= 0 or (seen is not None and news != seen):
                    return await self._whole(record, key)
                seen = news
                await bell.wait(min(left, (record.deadline - now) / 1000 + 0.005))

    async def _whole(self, record: Record, key: str) -> Approval:
        """With the arguments that it shows, where some are kept."""
        approval = approval_of(record, key, self.tenant)
        if record.question is not None and record.question.shown:
            asked, edited = await self._store.shown(key)
            original = approval.original
            same = original is None or original.arguments_hash == approval.arguments_hash
            approval.arguments = edited or (asked if same else "")
            if original is not None:
                original.arguments = asked
        return approval

    async def _look(self, key: str, *, claims: bool = False) -> tuple[Record, Question, int]:
        try:
            record, now = await self._again.look(key, claims=claims)
        except NotFoundError as error:
            raise no_approval() if error.facts.get("kind") == "grant" else error from None
        if record.question is None:
            raise no_approval()
        return record, record.question, now

    async def list(
        self, listing: Listing = "open", *, agent_id: str | None = None, after: str | None = None, limit: int = 100
    ) -> tuple[Approval, ...]:
        """Open approvals, the oldest first; or ended ones, the newest first.

        Args:
            listing: ``open``, ``ended``, or how they ended.
            agent_id: only this agent's.
            after: the last approval of the page before.
            limit: the most of a page.

        Raises:
            NotFoundError: `after` is no approval, or was forgotten.
            InvalidRequestError: there is no such listing, or `limit` is below 1.
        """
        if listing not in (known := get_args(Listing)):  # else nothing would be found, and nobody would wonder
            problem = f"must be one of {', '.join(known)}"
            raise InvalidRequestError(f"status: {problem}", field="status", problem=problem)
        if limit < 1:
            raise InvalidRequestError("limit: must be at least 1", field="limit", problem="must be at least 1")
        cursor: tuple[str, str] | None = None
        ended = listing != "open"
        if after is not None:
            record, question, _ = await self._look(grant_key(after))
            cursor = (str(question.at if ended else record.created), grant_key(after))
        agent = None if agent_id is None else checked(agent_id, "agent_id")
        how = None if listing in {"open", "ended"} else listing
        rows = await self._store.list(ended=ended, how=how, agent=agent, after=cursor, most=limit)
        return tuple(approval_of(record, key, self.tenant) for key, record in rows)

    async def decide(
        self, approval_id: str, decision: Decision, *, by: str, reason: str = "", edit: ApprovalEdit | None = None,
        content: str | None = None, credential: str | None = None,
    ) -> Approval:  # fmt: skip
        """Say yes or no. The same word of the same person again is a harmless repeat.

        Args:
            approval_id: the ``escalation_id`` of a verdict.
            decision: ``approve`` or ``reject``. With a quorum, one rejection is enough, and approvals are counted.
            by: who decides: a person's name, or one of the person's credentials, such as ``telegram:123``.
            reason: told to the agent, and to anyone who asks later.
            edit: approve another amount or other arguments; the policy judges the changed request first.
            content: `Approval.content` as it was looked at. An approval does not count for what was edited since.
            credential: with which a person of this name said so; it stands in the vote and its event.

        Raises:
            NotFoundError: no such approval.
            ConflictError: it was decided otherwise, edited since, timed out, or its agent is blocked; or the edit is
                refused, or the whole by a policy that is newer than the question.
            AuthError: its rule asks others, the amount is above the person's limit, or the person may not decide.
        """
        message = parse(DecisionRequest, decision=decision, reason=reason, edit=edit, content=content)
        key, who = grant_key(approval_id), checked(by, "by")
        try:
            return await self._decide(key, who, message, credential)
        except (AuthError, ConflictError, NotFoundError) as error:
            await self.trace_refusal(who, f"{error.code} {PREFIX}{key}")
            raise

    async def _decide(self, key: str, who: str, message: DecisionRequest, credential: str | None) -> Approval:
        ruled: Ruled | Literal[False] = False
        for _ in range(4):
            changed = await self._edited(key, message.edit) if message.edit else False
            why, seen = message.reason or False, message.content or False
            order = Decide(key, who, message.decision, why, seen, changed, ruled, credential or False)
            if (record := await self._store.decide(order)) is not None:
                return approval_of(record, key, self.tenant)
            record, _, now = await self._look(key)
            ruled = await self._again.ruled(record, None, at_ms(now))
        raise StaleError("The policy changes faster than it can be read; nothing was decided.", reason="stale")

    async def trace_refusal(self, who: str, problem: str, *, of: Literal["operator", "stranger"] = "operator") -> None:
        """Put a word that did not count into the events, where they can be written: once an hour for each problem."""
        with suppress(StoreError):  # the refusal itself is what the caller must hear
            await self._store.trace_refusal("decision" if of == "operator" else "decision_door", who, problem)

    async def _edited(self, key: str, edit: ApprovalEdit) -> Edit:
        """The changed request under the policy in force, as ``decide.lua`` reads it."""
        record, question, now = await self._look(key)
        judged = await self._again.judge(record, edit, at_ms(now))
        request, policy = judged.request, self._rules.held(record.session).policy
        if edit.estimated_cost_usd is None:
            amount, bound = record.amount, max(record.amount, record.strict)
        else:
            amount = bound = to_nanos(edit.estimated_cost_usd)
        terms = [
            TermsRow(asker.terms.quorum, asker.terms.on_timeout == "approve", *deciders_of(asker.terms))
            for asker in policy.askers(request, judged.facts, at_ms(now))
            if not asker.counted and bound > asker.above_nanos
        ]
        shown = await asyncio.to_thread(
            shown_arguments, edit.arguments_json, request.arguments_hash, self._store.pepper
        )
        return Edit(
            judged.version, judged.effect, judged.reason, limits_of(judged.ruling), amount, bound,
            edited_trace(request, question.trace), content_of(request, request.arguments_hash), terms, shown or False,
        )  # fmt: skip

    async def approve_ahead(self, envelope: EnvelopeRequest, *, by: str) -> Envelope:
        """Approve in advance what falls within an envelope. What exceeds it asks again.

        Raises:
            ConflictError: too many envelopes are in force.
        """
        phrase = None if envelope.phrase is None else spaced(words(envelope.phrase))
        if phrase is not None and not phrase.strip():
            raise InvalidRequestError("phrase: holds no word", field="phrase", problem="holds no word")
        made = EnvelopeRow(
            id="ev_" + secrets.token_hex(8), agent=envelope.agent_id or False, session=envelope.session_id or False,
            tool=envelope.tool or False, rule=envelope.rule or False, phrase=phrase or False,
            resource=envelope.resource_type or False, limit=to_nanos(envelope.limit_usd), used=0, uses=0,
            author=checked(by, "by"), made=0, expires=int(envelope.seconds * 1000), reason=envelope.reason,
        )  # fmt: skip
        return envelope_of(await self._store.put_envelope(made, None, by))

    async def envelopes(self) -> tuple[Envelope, ...]:
        """What is approved in advance now."""
        return tuple(map(envelope_of, (await self._store.standing())[0]))

    async def revoke(self, envelope_id: str, *, by: str) -> Envelope:
        """End an envelope at once; what it granted stays granted.

        Raises:
            NotFoundError: it is not in force.
        """
        return envelope_of(await self._store.put_envelope(None, envelope_id, checked(by, "by")))

    async def limits(self) -> dict[str, Decimal]:
        """Up to how much operators may approve; who is not named, may approve anything."""
        ceilings = (await self._store.standing())[1]
        return {name: to_usd(nanos) for name, nanos in sorted(ceilings.items())}

    async def set_limit(self, operator: str, usd: object | None, *, by: str) -> None:
        """Set up to how much one operator may approve, from the next decision on; None lifts the limit."""
        nanos = None if usd is None else to_nanos(usd, "approve_up_to_usd")
        await self._store.set_ceiling(checked(operator, "operator"), nanos, checked(by, "by"))

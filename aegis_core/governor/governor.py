"""ResourceGovernor: one request becomes one atomic decision on Redis. Nothing is decided outside the script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial

from aegis_core.arbiter.arbiter import Arbiter
from aegis_core.governor import budgets
from aegis_core.governor.approvals import HITLManager
from aegis_core.governor.budget_views import BudgetViews
from aegis_core.governor.credentials import (
    OWN_PROCESS,
    Entrance,
    caller_in,
    caller_of,
    hash_secret,
    new_session,
    of_tenant,
)
from aegis_core.governor.event_reader import EventReader, EventViews
from aegis_core.governor.joining import joining
from aegis_core.governor.journal import Journal
from aegis_core.governor.judging import Judging
from aegis_core.governor.kaizen_days import KaizenReader, TenantKaizen
from aegis_core.governor.lock_wait import pause_of
from aegis_core.governor.locks import StateLockManager
from aegis_core.governor.notifier import Notifier
from aegis_core.governor.observing import ActivityReader, TenantObservation
from aegis_core.governor.operators import Operator
from aegis_core.governor.optimizer import Optimizer
from aegis_core.governor.outcomes import Outcomes
from aegis_core.governor.pacing import in_turn
from aegis_core.governor.proposals import TenantProposals
from aegis_core.governor.rejudging import Rejudge
from aegis_core.governor.requests import PreparedRequest
from aegis_core.governor.rulebook import Rulebook, replaced_meanwhile
from aegis_core.governor.settlements import failure_facts, settlement_of
from aegis_core.governor.tenant import TenantStore
from aegis_core.governor.transactions import Transactions
from aegis_core.governor.usage import UsageViews
from aegis_core.governor.verdicts import grant_key, receipt_of, session_of, summary_of, verdict_of
from aegis_core.governor.withdrawals import Withdrawals
from aegis_core.governor.workflows import Joining, Workflows
from aegis_core.policy.engine import Policy
from aegis_core.protocol.canonical import record_id
from aegis_core.protocol.errors import InvalidRequestError, StaleError
from aegis_core.protocol.ids import RequestIds, born_at
from aegis_core.protocol.masking import LONG
from aegis_core.protocol.messages import (
    LOCK_TYPES,
    AgentSummary,
    BudgetState,
    ExtendRequest,
    Handshake,
    PermissionRequest,
    Receipt,
    ReleaseRequest,
    SessionOpened,
    SettleRequest,
    Verdict,
)
from aegis_core.protocol.money import to_nanos
from aegis_core.protocol.parsing import parse
from aegis_core.protocol.profiles import Profile
from aegis_core.store.approvals import ApprovalStore
from aegis_core.store.layout import SESSIONS_KEPT
from aegis_core.store.ledger import Ledger, SessionProof
from aegis_core.store.operators import OperatorStore
from aegis_core.store.verbs import Act, OpenSession, Settle
from aegis_core.store.workflows import WorkflowStore

Over = Callable[[Policy, Policy], None]
"""Compares the policy in force with the one that shall take its place."""


class ResourceGovernor(BudgetViews, EventViews, UsageViews):
    """Decides for one tenant on one store. Made by `aegis_core.connect`."""

    def __init__(
        self, ledger: Ledger, arbiter: Arbiter, policy: tuple[int, Policy], server_ms: int, *, forecast: bool = False
    ) -> None:
        self.tenant, self.tenant_store = ledger.tenant, TenantStore(ledger)
        self._ledger, self._arbiter, self._ids = ledger, arbiter, RequestIds(server_ms)
        self._registry, self.reader = OperatorStore(ledger), EventReader(ledger)
        self.activity_reader, self.observation = ActivityReader(ledger), TenantObservation(ledger)
        self.kaizen_reader, self.kaizen = KaizenReader(ledger), TenantKaizen(ledger, lambda: arbiter.prices)
        self.experiments = self.kaizen.experiments
        self._rules, self.operator = Rulebook(ledger, self._registry, policy), Operator(self._registry)
        self.outcomes = Outcomes(self._registry, arbiter.tier_of)
        self._judging = Judging(self._rules, arbiter, self.outcomes, self._ids)
        self._warm, self._forecast, self.journal = False, forecast, Journal(ledger)
        self._notifier = Notifier(ledger.store, ledger.tenant)
        ledger.inbox = self._notifier.address
        self.locks, self._again = StateLockManager(ledger, self._notifier), Rejudge(ledger, self._rules, arbiter)
        self.transactions, self._withdrawals = Transactions(ledger, self.request_permission), Withdrawals(ledger)
        self.workflows = Workflows(WorkflowStore(ledger), self._notifier, self._rules, self.handshake)
        self.optimizer = Optimizer(self, ledger)
        self.proposals, self.kaizen.optimizer = TenantProposals(self.optimizer), self.optimizer
        self._approvals = HITLManager(ApprovalStore(ledger), self._notifier, self._rules, self._again)

    def beside(self, ledger: Ledger, policy: tuple[int, Policy], server_ms: int) -> ResourceGovernor:
        """A governor of another tenant, with the same models and prices."""
        other = ResourceGovernor(ledger, self._arbiter, policy, server_ms, forecast=self._forecast)
        other._warm, other.experiments.cap = self._warm, self.experiments.cap
        return other

    @property
    def approvals(self) -> HITLManager:
        """Requests that wait for a person."""
        return self._approvals

    @property
    def arbiter(self) -> Arbiter:
        """What chooses and prices models."""
        return self._arbiter

    async def handshake(
        self, message: Handshake, *, entry: Entrance = OWN_PROCESS, joining: Joining | None = None
    ) -> SessionOpened:
        """Register the agent on first sight and open a session for it, within the operator's profile.

        Args:
            message: who the agent says it is; it only narrows what the profile allows.
            entry: through which door it came, and what it showed there.
            joining: the workflow that it joins, with a token that lets it.

        Raises:
            AuthError: the agent is blocked, or has an open session that the caller showed no token of.
            StoreError: Redis could not be asked; the agent is not registered.
        """
        if not self._warm:  # the price list takes 0.2 s to load, which must not stall the first request
            await asyncio.to_thread(self._arbiter.warm)
            self._warm = True
        entry.check(message.agent_id)
        sid, token = entry.session or new_session()
        token = of_tenant(token, self.tenant)
        limit = message.session_budget_usd
        capabilities = f",{','.join(message.capabilities)},"
        owner = caller_of(entry.token, self._ledger.store.pepper)
        order = OpenSession(
            agent=message.agent_id, framework=message.agent_framework, capabilities=capabilities,
            priority=message.max_priority, session_limit=None if limit is None else to_nanos(limit), sid=sid,
            token=hash_secret(token, self._ledger.store.pepper), is_local=entry.trusted, owned_sid=owner.session,
            owned_token=owner.token, guarded=entry.guarded, most_sessions=SESSIONS_KEPT,
            credential=entry.credential, flow_id=joining and joining.workflow, flow_token=joining and joining.token,
        )  # fmt: skip
        found = await self._ledger.handshake(order)
        if found.outdated:
            await self._rules.apply_profile(message.agent_id)
            found = await self._ledger.handshake(order)  # the same session id and token: the same session
        return session_of(message, found, sid, token, self.tenant)

    async def request_permission(
        self,
        request: PermissionRequest,
        *,
        token: str | None = None,
        wait: float = 0,
        http_request_id: str | None = None,
        watch: bytes | None = None,
        joins: tuple[str, int] | None = None,
    ) -> Verdict:
        """Decide. A refusal is an answer, not an error.

        Args:
            request: what the agent wants.
            token: the session token; absent only where the caller is trusted or keyless.
            wait: seconds to wait for the answer when the verdict is PENDING.
            http_request_id: what the log of a server calls the HTTP request that it came with; its event names it.
            watch: the transaction that a grant is for, packed.
            joins: see `joining`. The verdict may then be that of another request, whose id it names.

        Raises:
            NotFoundError: the agent or its session is unknown.
            ConflictError: the request id was used for another request.
            InvalidRequestError: the cost can neither be read nor estimated, or the model has no price.
            StoreError: Redis could not be asked; nothing was decided.
            AnswerLostError: it was asked, and did not answer in time; the error names the request id to ask with again.
        """
        caller = caller_in(request.session_id, token, self._ledger.store.pepper)
        given = request.request_id
        request_id, born = (self._ids.new(), 0) if given is None else (given, born_at(given))
        if self.outcomes.stale:
            await self.outcomes.refresh()
        asked = PreparedRequest.of(request, request_id, born, self._ledger.store.pepper, http_request_id, watch)
        appraisal, key = self._arbiter.appraise(request, (), self.outcomes.evidence), asked.key
        if request.resource_type in LOCK_TYPES:
            await self._notifier.open()  # a hand-over and a notice to go are heard from the start
        for _ in range(4):
            sid, facts = await self._rules.facts_of(request.agent_id, caller.session)
            rules = self._judging.rules(request, sid, facts, appraisal)
            proof, latest, inbox = SessionProof(sid, caller.token), caller.session is None, self._ledger.inbox()
            making = partial(asked.order, proof, rules, latest=latest, forecast=self._forecast, inbox=inbox)
            # To mask arguments for a person may take longer than others should wait for.
            shows = (rules.askers or rules.member) and len(request.arguments_json or "") > LONG
            order = await in_turn(making) if shows else making()
            word, found = await self._withdrawals.authorize(joining(order, joins, rules.appraisal.candidates))
            if word == "JOINED":
                return verdict_of(found, record_id(found.agent, found.request), found.changed)
            if word in {"NEW", "OLD"}:
                if word == "OLD":
                    found = await self._again.claimed(key, found, self._ids.now())
                verdict = verdict_of(found, key, found.created if word == "NEW" else found.changed)
                if wait > 0 and verdict.status == "PENDING":
                    verdict = await self.wait_for(key, wait)
                self._arbiter.say_caps(verdict, request, rules.appraisal, found.model, found.strict or found.amount)
                return verdict
            await self._rules.reload(word, found.decode() if word == "OPENER" else request.agent_id)
        raise StaleError(
            "The rules change faster than they can be read; no decision was made. Try again.", reason="stale"
        )

    async def wait_for(self, grant_id: str, seconds: float, *, claims: bool = True) -> Verdict:
        """The verdict of a grant once it is no longer PENDING, or as it stands after `seconds`.

        Its agent `claims` by it what was approved; anybody else only looks.
        """
        key = grant_key(grant_id)
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        async with self._notifier.waiting_for(key) as bell:
            while True:
                bell.clear()
                record, now = await self._again.look(key, claims=claims)
                left = until - loop.time()
                if not record.waits or left <= 0:
                    return verdict_of(record, key, now)
                pause = min(left, pause_of(record, now))
                del record  # it is heavier than all the rest of a wait
                await bell.wait(pause)

    async def settle(self, grant_id: str, message: SettleRequest, *, token: str | None = None) -> Receipt:
        """Report what a grant really cost; the difference returns to, or is charged to, every budget it was held in.

        Raises:
            NotFoundError: no such grant.
            ConflictError: it is closed otherwise. AuthError: it is somebody else's.
        """
        said = settlement_of(message, self._arbiter.prices)
        return await self._close(self._closing("settle", grant_id, message.agent_id, token)._replace(**said._asdict()))

    async def release(self, grant_id: str, message: ReleaseRequest, *, token: str | None = None) -> Receipt:
        """Give a grant back unused, or take a PENDING request back. Raises as `settle` does."""
        order = self._closing("release", grant_id, message.agent_id, token)
        return await self._close(order._replace(by=message.by, facts=failure_facts(message)))

    async def extend(self, grant_id: str, message: ExtendRequest, *, token: str | None = None) -> Receipt:
        """Move a live grant's deadline, up to the tenant's cap. Raises as `settle` does."""
        more = int(message.seconds * 1000)
        return await self._close(self._closing("extend", grant_id, message.agent_id, token)._replace(more=more))

    def _closing(self, act: Act, grant_id: str, agent: str | None, token: str | None) -> Settle:
        caller = caller_of(token, self._ledger.store.pepper)
        return Settle(
            id=grant_key(grant_id), agent=agent, sid=caller.session, token=caller.token, act=act, cost=0, digest=None,
            more=0, outcome=None, answered=None,
        )  # fmt: skip

    async def _close(self, order: Settle) -> Receipt:
        done = await self._ledger.settle(order)
        if (question := done[0].question) and question.unjudged:
            await self._again.look(order.id, claims=True)
            done = await self._ledger.settle(order)
        return receipt_of(done[0], order.id, repeated=done[1], late=done[2])

    async def set_budget(
        self, scope: str, name: str, window: str, limit_usd: object, *, author: str = "operator"
    ) -> BudgetState:
        """Set one limit, for operators. What is spent and reserved stays.

        Raises:
            InvalidRequestError: a scope, window, name or amount that is not understood; no limit was changed.
            NotFoundError: the agent or session is unknown.
        """
        if scope == "model":
            name = self._arbiter.prices.canonical(budgets.checked(name, "name"))
        elif scope == "tenant" and name not in {"", "-", "tenant", self.tenant}:
            raise InvalidRequestError(
                f"name: this is the tenant {self.tenant}; give its name or -", field="name", problem="is another tenant"
            )
        owner = budgets.owner_of(scope, name)
        named = budgets.checked(name, "name") if owner in "as" else None
        kind, limit = budgets.kind_of(window), to_nanos(limit_usd, "limit_usd")
        agent, session = (named, None) if owner == "a" else (None, named)
        row = await self._ledger.set_budget(owner, agent, session, kind, limit, author)
        return budgets.state_of(row, agent, session)

    async def label_agent(self, agent_id: str, labels: dict[str, str], *, author: str = "operator") -> None:
        """Replace an agent's labels, for operators; label budgets apply from the next request.

        Raises:
            NotFoundError: the agent never shook hands.
        """
        await self._ledger.read_session(budgets.checked(agent_id, "agent_id"), None)  # it must exist
        profile = (await self.operator.profiles()).of(agent_id)
        changed = profile.model_dump(exclude_unset=True) | {"match": agent_id, "labels": labels}
        await self.operator.set_profile(parse(Profile, **changed), author=author)

    async def agents(self, *, after: str | None = None, limit: int = 100) -> tuple[AgentSummary, ...]:
        """A page of registered agents, by name."""
        profile_of = (await self.operator.profiles()).of
        return tuple(summary_of(row, profile_of(row[0]).labels) for row in await self._ledger.list_agents(after, limit))

    async def publish_policy(
        self, policy: Policy, *, author: str, over: Over | None = None, expected: int | None = None
    ) -> int:
        """Put a policy in force at the very next request everywhere; answers its version. What is tried ends.

        Args:
            policy: the whole of it.
            author: who publishes.
            over: sees the policy in force first, and raises where this one must not take its place.
            expected: the version that it was made from; nothing but that is replaced.

        Raises:
            ConflictError: another version than the expected one is in force; it stays.
        """
        for _ in range(4):
            present = expected
            if over is not None:
                present, compared = await self.operator.policy_version()
                over(compared, policy)
            if expected is not None and present != expected:
                break
            version = await self._ledger.publish_policy(policy.document, policy.digest, author, present)
            if version is not None:
                self._rules.policy_version, self._rules.policy = version, policy
                return version
            if expected is not None:
                break
        else:
            raise StaleError("The policy changes faster than it can be compared; nothing changed.", reason="stale")
        raise replaced_meanwhile(expected, (await self.operator.policy_version())[0])

    async def clock(self) -> datetime:
        """The server's time, by which everything is decided."""
        return budgets.at_ms(await self._ledger.now())

    def policy_summary(self) -> str:
        """One line on the policy in force."""
        return f"version {self._rules.policy_version} with {len(self._rules.policy.rules)} rules"

    async def aclose(self) -> None:
        """Stop listening; open grants stay open."""
        await self._withdrawals.aclose()
        await self._notifier.aclose()

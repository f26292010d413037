"""Workflows on Redis: a plan that people approve once, and the sessions of several agents under it.

What a member may do is judged in the script of the decision, beside everything else; nothing is decided here.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from hashlib import blake2b
from typing import NamedTuple, Protocol

from aegis_core.governor.budgets import at_ms, checked
from aegis_core.governor.credentials import OWN_PROCESS, Entrance, caller_in, caller_of, hash_secret, of_tenant
from aegis_core.governor.notifier import Notifier
from aegis_core.governor.plans import content_of_plan, plan_of, rule_plan, steps_of, trace_of
from aegis_core.governor.rulebook import Rulebook
from aegis_core.protocol import workflows as words
from aegis_core.protocol.canonical import record_id
from aegis_core.protocol.errors import AuthError, ConflictError, InvalidRequestError, NotFoundError, StaleError
from aegis_core.protocol.masking import mask_text
from aegis_core.protocol.messages import Handshake, SessionOpened
from aegis_core.protocol.money import to_nanos, to_usd
from aegis_core.protocol.parsing import parse
from aegis_core.store.flow_records import JoinToken, PlanRow, Workflow
from aegis_core.store.packing import decode, row_list
from aegis_core.store.records import StoredVote
from aegis_core.store.workflow_verbs import EndWorkflow, InviteWorkflow, NarrowWorkflow, OpenWorkflow
from aegis_core.store.workflows import FoundMember, WorkflowStore

_JOIN = re.compile(r"aegis_join_(?P<id>[0-9a-f]{32})_[A-Za-z0-9_-]{43}_[\w.:@/%-]{1,1536}", re.ASCII)


class Joining(NamedTuple):
    """The workflow that a session joins, and the hash of a join token."""

    workflow: str
    token: str


class Enter(Protocol):
    """How a session is opened: `ResourceGovernor.handshake`."""

    async def __call__(self, message: Handshake, *, entry: Entrance, joining: Joining) -> SessionOpened: ...


class Workflows:
    """The workflows of one tenant. Its holder is trusted to say who acts (`by`), as that of approvals is."""

    def __init__(self, store: WorkflowStore, notifier: Notifier, rules: Rulebook, enter: Enter) -> None:
        self._store, self._notifier, self._rules, self._enter = store, notifier, rules, enter

    async def open(self, message: words.WorkflowRequest, *, token: str | None = None) -> words.Workflow:
        """Ask people about a plan; it is in force once they approved it. The same `request_id` again asks nobody anew.

        Args:
            message: the plan, and who opens it.
            token: the opener's session token; absent only where the caller is trusted or keyless.

        Raises:
            ConflictError: the rules deny a step, people refused the same plan, or the agent has as many questions or
                grants open as it may.
            InvalidRequestError: the plan is above every budget of its opener.
            AuthError: the agent is blocked, or a member of another workflow.
        """
        caller = caller_in(message.session_id, token, self._store.pepper)
        request_id = message.request_id or secrets.token_hex(16)
        key, named = record_id(message.agent_id, request_id), caller.session
        plan = message.model_dump_json(exclude={"session_id", "request_id"})
        digest = blake2b(plan.encode(), digest_size=16).hexdigest()
        for _ in range(4):
            sid, facts = await self._rules.facts_of(message.agent_id, named)
            flow = _flow_of(message)
            ruling = rule_plan(self._rules.policy, facts, flow.name, steps_of(flow), None)
            if ruling.denied is not None:
                await self._rules.reload_policy()  # perhaps it was an older policy that denied it
                ruling = rule_plan(self._rules.policy, facts, flow.name, steps_of(flow), None)
            if ruling.denied is not None:
                number, rule, reason = ruling.denied
                raise ConflictError(
                    f"The rules deny step {number} of the plan: {reason or rule}. Nobody was asked.",
                    code="plan_denied", step=number, rule=rule,
                )  # fmt: skip
            content = content_of_plan(flow)
            order = OpenWorkflow(
                key, message.agent_id, sid, caller.token, request_id, digest, self._rules.policy_version,
                self._rules.profiles_version, flow, ruling.terms, ruling.span, ruling.remind, trace_of(key, flow),
                content,
            )  # fmt: skip
            try:
                word, opened = await self._store.open(order)
            except NotFoundError as error:
                if named is not None or error.facts.get("kind") != "session":
                    raise
                word, opened = "SESSION", None  # the agent has a newer one
            if opened is not None:
                return workflow_of(key, opened, self._store.tenant)
            await self._rules.reload(word, message.agent_id)
        raise StaleError("The rules change faster than they can be read; nobody was asked. Try again.", reason="stale")

    async def get(self, workflow_id: str, *, wait: float = 0, token: str | None = None) -> words.Workflow:
        """A workflow as it stands, with its members.

        Args:
            workflow_id: the workflow.
            wait: seconds to wait while people are asked about its plan.
            token: with a session token, only its opener's and its members' own are shown.

        Raises:
            NotFoundError: there is none; one that ended is forgotten after 7 days.
            AuthError: it is none of the session's.
        """
        caller = caller_of(token, self._store.pepper)
        key, loop = workflow_key(workflow_id), asyncio.get_running_loop()
        until = loop.time() + wait
        async with self._notifier.waiting_for(key) as bell:
            while True:
                bell.clear()
                found, _ = await self._store.read(key, None, 1)
                if not found:
                    raise _no_workflow()
                flow, left = found[0].flow, until - loop.time()
                if caller.session not in {None, flow.session, *(each.session for each in found[0].members)}:
                    raise AuthError("This is the workflow of other agents.", code="not_yours")
                if flow.state != "pending" or left <= 0:
                    return workflow_of(key, flow, self._store.tenant, found[0].members)
                await bell.wait(min(left, 1.0))

    async def list(self, *, after: str | None = None, limit: int = 100) -> tuple[words.Workflow, ...]:
        """Workflows, the newest first, those that ended within 7 days included; it goes on after one of them."""
        if limit < 1:
            raise InvalidRequestError("limit: must be at least 1", field="limit", problem="must be at least 1")
        before = None
        if after is not None:
            found, _ = await self._store.read(workflow_key(after), None, 1)
            if not found:
                raise _no_workflow()
            before = str(found[0].flow.made)
        page, _ = await self._store.read(None, before, limit)
        return tuple(workflow_of(each.id, each.flow, self._store.tenant) for each in page)

    async def invite(
        self, workflow_id: str, message: words.InviteRequest, *, agent_id: str | None = None, token: str | None = None,
        by: str = "operator",
    ) -> words.JoinToken:  # fmt: skip
        """Make a join token, as the opener `agent_id` or as an operator; who holds it may join from the approval on.

        Raises:
            NotFoundError: there is no such workflow. AuthError: another agent opened it.
            ConflictError: it ended, or there are 64 join tokens in force.
        """
        key, caller = workflow_key(workflow_id), caller_of(token, self._store.pepper)
        secret = of_tenant(f"aegis_join_{key}_{secrets.token_urlsafe(32)}", self._store.tenant)
        join = JoinToken(
            hash_secret(secret, self._store.pepper), message.uses, int(message.seconds * 1000), message.agents or False
        )
        author = agent_id or checked(by, "by")
        expires = await self._store.invite(InviteWorkflow(key, agent_id, caller.session, caller.token, join, author))
        return words.JoinToken(secret, "wf_" + key, message.uses, at_ms(expires))

    async def join(self, message: words.JoinRequest, *, entry: Entrance = OWN_PROCESS) -> SessionOpened:
        """Open a session under a workflow's plan, within what its opener and the agent's own profile allow.

        Raises:
            AuthError: the token is wrong, used up or expired, the agent may not join, or is blocked.
            ConflictError: people are still asked about the workflow, it ended, or as many joined as may.
        """
        match = _JOIN.fullmatch(message.join_token)
        if match is None:
            raise AuthError("This is no join token of a workflow of this tenant.", code="bad_join_token")
        said = message.model_dump(exclude={"join_token"})
        joining = Joining(match["id"], hash_secret(message.join_token, self._store.pepper))
        opened = await self._enter(parse(Handshake, **said), entry=entry, joining=joining)
        opened.workflow_id = "wf_" + joining.workflow
        return opened

    async def change(self, workflow_id: str, message: words.WorkflowChange, *, by: str) -> words.Workflow:
        """Make a plan smaller, before or after it was approved; what is used stays used.

        Raises:
            ConflictError: it was edited since, it ended, or the change would make something larger.
            AuthError: this person may not decide about it.
        """
        key = workflow_key(workflow_id)
        found, _ = await self._store.read(key, None, 1)
        if not found:
            raise _no_workflow()
        flow = found[0].flow
        steps = steps_of(flow)
        for each in message.steps:
            if each.number > len(steps):
                problem = f"there is no step {each.number}"
                raise InvalidRequestError(f"steps: {problem}", field="steps", problem=problem)
            step = steps[each.number - 1]
            times = step.times if each.times is None else each.times
            upto = step.upto if each.upto_usd is None else to_nanos(each.upto_usd, "upto_usd")
            if each.times == 0 and step.times is False:
                times, upto = False, 0
            steps[each.number - 1] = step._replace(times=times, upto=upto)
        changed = flow._replace(
            steps=row_list(PlanRow, steps),
            budget=flow.budget if message.budget_usd is None else to_nanos(message.budget_usd, "budget_usd"),
            span=flow.span if message.seconds is None else int(message.seconds * 1000),
        )
        flat = [value for step in steps for value in (step.times, step.upto)]
        order = NarrowWorkflow(
            key, message.content, changed.budget, changed.span, flat, trace_of(key, changed), content_of_plan(changed),
            checked(by, "by"),
        )  # fmt: skip
        return workflow_of(key, await self._store.narrow(order), self._store.tenant)

    async def end(
        self, workflow_id: str, *, agent_id: str | None = None, token: str | None = None, by: str = "operator"
    ) -> words.Workflow:
        """End a workflow for every member at once, as its opener `agent_id` or as an operator. Again is harmless.

        Open grants may still be settled; questions are withdrawn, and locks given back.

        Raises:
            NotFoundError: there is no such workflow. AuthError: another agent opened it.
        """
        key, caller = workflow_key(workflow_id), caller_of(token, self._store.pepper)
        order = EndWorkflow(key, agent_id, caller.session, caller.token, agent_id or checked(by, "by"))
        await self._store.end(order)
        return await self.get(workflow_id)


def _flow_of(message: words.WorkflowRequest) -> Workflow:
    """A plan as it is stored; the script puts in whose it is and when."""
    steps = [
        PlanRow(each.tool or False, each.resource_type or False, each.times or False, to_nanos(each.upto_usd), 0, 0)
        for each in message.plan
    ]
    capabilities = None if message.capabilities is None else f",{','.join(message.capabilities)},"
    return Workflow(
        state="pending", name=mask_text(message.name), opener=message.agent_id, session="",
        capabilities=False if capabilities is None else capabilities, priority=message.max_priority,
        budget=to_nanos(message.budget_usd), span=int(message.seconds * 1000), expires=0,
        steps=row_list(PlanRow, steps), agents=list(message.may_join), most=message.most_members, joined=0, used=0,
        beside=0, waiting=0, asked=0, open=0, joins=[], votes=[], made=0, approved=0, ended=0, how=False, by=False,
        content="",
    )  # fmt: skip


def workflow_key(workflow_id: str) -> str:
    """The id inside ``wf_…``; anything else names nothing."""
    key = workflow_id.removeprefix("wf_")
    return key if len(key) == 32 and key.isalnum() else "none"


def workflow_of(key: str, flow: Workflow, tenant: str, members: tuple[FoundMember, ...] = ()) -> words.Workflow:
    """A stored workflow in words."""
    votes = [decode(StoredVote, vote) for vote in flow.votes]
    live = flow.state != "pending" and flow.approved > 0
    return words.Workflow(
        workflow_id="wf_" + key, approval_id="ap_" + key, tenant=tenant, state=flow.state, opener=flow.opener,
        plan=plan_of(key, flow), used_usd=to_usd(flow.used), beside_usd=to_usd(flow.beside),
        waiting_usd=to_usd(flow.waiting), asked=flow.asked,
        open=flow.open, joined=flow.joined, made_at=at_ms(flow.made), content=flow.content,
        approved_at=at_ms(flow.approved) if live else None, approved_by=tuple(vote.operator for vote in votes),
        expires_at=at_ms(flow.expires) if live else None, ended_at=at_ms(flow.ended) if flow.ended else None,
        ended=flow.how or None, ended_by=flow.by or None,  # pyright: ignore[reportArgumentType]
        members=tuple(
            words.Member(each.agent, each.session, each.framework, at_ms(each.joined)) for each in members
        ),
    )  # fmt: skip


def _no_workflow() -> NotFoundError:
    return NotFoundError("There is no such workflow; one that ended is forgotten after 7 days.", kind="workflow")

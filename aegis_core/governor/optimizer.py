"""The optimizer: takes each proposal one step further, from a change on paper to one that is kept or taken back.

proposed → tested → asked → canary → kept or rolled_back; declined where it ends before that. Each step is written in
one piece with what it does to the policy, from one revision of the proposal to the next. So an engine that is killed
has either taken it or not, and of two engines one takes it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from aegis_core.governor.canary_watch import CanaryWatch, watched_for
from aegis_core.governor.own_questions import POLICY_TOOL
from aegis_core.governor.proposal_making import Draft, OptimizerTerms, ceilings, eliminations, substitutes
from aegis_core.governor.proposal_sources import asked_lately, policy_at
from aegis_core.kaizen.optimizer.changes import apply, name_of, observer_of, observing, spelt
from aegis_core.kaizen.optimizer.recorded import Recorded
from aegis_core.policy.cohorts import below_of
from aegis_core.policy.engine import Policy
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.approvals import Decision
from aegis_core.protocol.arguments import bound_arguments
from aegis_core.protocol.errors import ConflictError, InvalidRequestError, NotFoundError, PolicyError
from aegis_core.protocol.kaizen import OWN_AGENT, KaizenQuery
from aegis_core.protocol.messages import Handshake, PermissionRequest, ReleaseRequest
from aegis_core.protocol.parsing import parse
from aegis_core.protocol.proposals import Backtest
from aegis_core.store import layout
from aegis_core.store.proposal_records import StoredProposal
from aegis_core.store.proposal_verbs import PutProposal
from aegis_core.store.proposals import ProposalStore

if TYPE_CHECKING:
    from aegis_core.governor.governor import ResourceGovernor
    from aegis_core.store.ledger import Ledger

WHOEVER = "operator"
"""How whoever holds the operator secret is called; what an owner may do."""
STAGES = (10, 25, 50)
"""Percent of the sessions that have a change, stage by stage. The last takes twice as long: most is learnt in it."""
MOST_REFUSED = 0.01
"""A change that would refuse more of what was granted is declined."""
VALID_MS, LATER_MS = 30 * 86_400_000, 7 * 86_400_000

Backtester = Callable[[Sequence[Recorded], Policy, Policy], Awaitable[Backtest]]
"""Puts recorded requests to two policies. It starts a server, so the door that starts the engine hands it in."""


class Step(NamedTuple):
    """What becomes of a proposal: its fields that change, the act, the event's kind, and the policy that is tried."""

    changes: Mapping[str, Any]
    told: str | None = None
    act: Any = None
    tried: Policy | None = None
    percent: int = 0


class Optimizer:
    """The engine of one tenant."""

    def __init__(self, governor: ResourceGovernor, ledger: Ledger) -> None:
        self._governor, self._ledger = governor, ledger
        self.store = ProposalStore(ledger)
        self.terms = OptimizerTerms()
        self.backtest: Backtester | None = None
        self._watch = CanaryWatch(governor.kaizen.page)
        self._drafted: object = None
        self._parent: tuple[int, Policy] | None = None

    async def look(self) -> int:
        """Propose what there is to propose, and take every step that can be taken; answers how many were."""
        await self._propose()
        return sum([await self.advance(name) for name, stored in (await self.store.all())[::-1] if not stored.ended])

    async def advance(self, name: str) -> int:
        """Take a proposal as far as it goes now; answers how many steps that were."""
        taken = 0
        while (stored := await self.store.one(name)) is not None and not stored.ended:
            try:
                step = await self._step(name, stored)
                if step is None or not await self.put(name, stored, step):
                    break
            except ConflictError as error:
                if error.code == "canary_runs":
                    break
                if error.code != "policy_changed":
                    raise
                continue  # it is seen now, too
            taken += 1
            if step.act == "begin" and stored.approval:
                await self._give_back(stored.approval)
            if step.told is None:
                break
        return taken

    async def put(self, name: str, stored: StoredProposal, step: Step, *, author: str = OWN_AGENT) -> bool:
        """Write a step; whether this call did it.

        Raises:
            ConflictError: the policy is another one by now, or another change is tried.
        """
        after = stored._replace(**step.changes)
        told = None
        if step.told:
            tally = json.loads(after.tally or "{}")
            n = tally.get("changed", 0)
            told = [step.told, after.state, float(tally.get("log_e", 0.0)), n, after.why]
        order = PutProposal(
            name, stored.revision, list(after), step.act, step.tried and step.tried.document,
            step.tried and step.tried.digest, below_of(step.percent), told, author, layout.POLICIES_KEPT,
        )  # fmt: skip
        return (await self.store.put(order)).done

    async def _step(self, name: str, stored: StoredProposal) -> Step | None:
        now = await self._ledger.now()
        version, document = await self._ledger.read_policy()
        if stored.state == "canary":
            return await self._watched(name, stored, version, now)
        parent = await self._compiled(version, document)
        if version != stored.parent or parent.digest != stored.parent_digest:
            return await self._declined(
                stored, f"version {version} of the policy is in force instead of {stored.parent}"
            )
        if lapsed := await self._lapsed(stored, now):
            return await self._declined(stored, lapsed)
        changed = apply(parent, json.loads(stored.change))
        match stored.state:
            case "proposed":
                return await self._tested(parent, changed.policy)
            case "observed":
                return await self._observed(stored, now)
            case "tested" if stored.kind == "tighten" and not stored.tally:
                return await self._observe(stored, parent, now)
            case "tested":
                if stored.kind in self.terms.auto:
                    return await self._begun(stored, changed.policy, now, "of itself, as its owner allows")
                return await self._asked(name, stored, changed.role)
            case "later":
                return Step({"state": "tested", "why": ""}, "tested") if now >= stored.changed + LATER_MS else None
            case _:
                return await self._answered(stored, changed.policy, now)

    async def _tested(self, parent: Policy, changed: Policy) -> Step | None:
        if self.backtest is None:
            return None
        try:
            found = await self.backtest(await self.asked(), parent, changed)
        except (InvalidRequestError, NotFoundError) as error:  # a model that has no price any more, for example
            return _ended(f"it cannot be tested: {error.message}")
        test = json.dumps(asdict(found))
        if found.granted and found.refused > MOST_REFUSED * found.granted:
            why = f"it would refuse {found.refused} of {found.granted} requests that were granted"
            return Step({"state": "declined", "ended": True, "test": test, "why": why}, "declined")
        return Step({"state": "tested", "test": test, "why": ""}, "tested")

    async def _observe(self, stored: StoredProposal, parent: Policy, now: int) -> Step:
        """Before something is refused, its rules only watch, in all sessions."""
        tried = observing(parent, json.loads(stored.change))
        last = await self._governor.kaizen.newest()
        said = {"state": "observed", "stage_at": now, "cursor": last, "why": "its rules watch, and refuse nothing"}
        return Step(said, "tested", "begin", tried, 100)

    async def _observed(self, stored: StoredProposal, now: int) -> Step | None:
        if now < stored.stage_at + self.terms.stage_ms // 2:
            return None
        names = {observer_of(rule["name"]) for rule in json.loads(stored.change)}
        granted, stopped = await watched_for(self._governor.kaizen.page, stored, names)
        tally = json.dumps({"observed": [granted, stopped]})
        if granted and stopped > MOST_REFUSED * granted:
            why = f"observed: it would have stopped {stopped} of {granted} requests that were granted"
            return Step({"state": "declined", "ended": True, "tally": tally, "why": why}, "declined", "stop")
        return Step({"state": "tested", "tally": tally, "why": ""}, "tested", "stop")

    async def _asked(self, name: str, stored: StoredProposal, role: str) -> Step:
        """Ask persons. The same question again, after an answer that was lost, finds the one that there is."""
        test: dict[str, Any] = json.loads(stored.test)
        arguments: dict[str, Any] = {
            "proposal": name, "parent": stored.parent, "parent_digest": stored.parent_digest, "digest": stored.digest,
            "rules": json.loads(stored.change), "evidence": json.loads(stored.evidence),
            "backtest": {key: test[key] for key in ("requests", "granted", "refused", "differing")},
            "observed": json.loads(stored.tally)["observed"] if stored.tally else [],
        }  # fmt: skip
        hashed, said = bound_arguments(arguments)
        request = parse(
            PermissionRequest, agent_id=OWN_AGENT, session_id=await self._own_session(), task_intent=stored.title,
            resource_type="compute", estimated_cost_usd=0, tool=POLICY_TOOL, arguments_hash=hashed,
            arguments_json=said, request_id=f"{name}-{stored.revision}", metadata={"role": role},
        )  # fmt: skip
        verdict = await self._governor.request_permission(request)
        if verdict.escalation_id is None:  # where rules only observe, nobody is asked, and nothing is changed
            if verdict.grant_id is not None:
                await self._governor.release(verdict.grant_id, ReleaseRequest())
            return Step(
                {"state": "later", "why": f"nobody could be asked: {verdict.reason or verdict.code}"}, "declined"
            )
        return Step({"state": "asked", "approval": verdict.escalation_id, "why": ""}, "asked")

    async def _own_session(self) -> str:
        """A new one, as it asks seldom, and a session ends when it is idle."""
        hello = Handshake(agent_id=OWN_AGENT, agent_framework="custom")
        return (await self._governor.handshake(hello)).session_id

    async def _answered(self, stored: StoredProposal, changed: Policy, now: int) -> Step | None:
        try:
            approval = await self._governor.approvals.get(stored.approval)
        except NotFoundError:
            return Step({"state": "later", "approval": "", "why": "its question is forgotten"}, "declined")
        if approval.status == "open":
            return None
        by = approval.decided_by or ""
        if approval.status != "approved" or not by:
            why = f"{approval.status} {approval.decision_reason}".strip()
            return Step({"state": "declined", "ended": True, "by": by, "why": why}, "declined")
        if approval.original is not None:
            why = f"{by} approved something else than what was proposed; publish that instead"
            return Step({"state": "declined", "ended": True, "by": by, "why": why}, "declined")
        return await self._begun(stored, changed, now, f"approved by {by}", by)

    async def _begun(self, stored: StoredProposal, changed: Policy, now: int, why: str, by: str = OWN_AGENT) -> Step:
        if changed.digest != stored.digest:
            return _ended("it makes another policy than was tested")
        tally = json.dumps({"stages": [[now, STAGES[0]]]})
        last = await self._governor.kaizen.newest()
        said = {
            "state": "canary", "share": STAGES[0], "stage_at": now, "begun_at": now, "cursor": last, "tally": tally,
            "why": why, "by": by,
        }  # fmt: skip
        return Step(said, "canary", "begin", changed, STAGES[0])

    async def _watched(self, name: str, stored: StoredProposal, version: int, now: int) -> Step | None:
        """One look at a canary: harm takes it back at once; without data nobody knows, so that does, too."""
        seen = await self._watch.look(name, stored, now, self.terms.stage_ms // 2)
        tally = json.dumps(seen.tally)
        ended = {"state": "rolled_back", "ended": True, "tally": tally}
        if version != stored.parent:
            return Step(
                ended | {"why": f"version {version} of the policy was published meanwhile"}, "rolled_back", "stop"
            )
        if seen.harm:
            return Step(ended | {"why": seen.harm}, "rolled_back", "stop")
        if now < stored.stage_at + self.terms.stage_ms // (1 if stored.share == STAGES[-1] else 2):
            return Step({"tally": tally}) if tally != stored.tally else None
        if not seen.fresh:
            why = f"no session with it went on at {stored.share} %, so nobody knows what it does"
            return Step(ended | {"why": why}, "rolled_back", "stop")
        following = next((each for each in STAGES if each > stored.share), None)
        if following is None:
            why = "no harm was seen" + ("" if seen.certified else "; not certified, because there were few sessions")
            kept = {"state": "kept", "ended": True, "share": 100, "tally": tally, "why": why}
            return Step(kept, "kept", "keep")
        seen.tally["stages"].append([now, following])
        seen.tally["before"] = seen.tally["changed"]
        said = {"share": following, "stage_at": now, "tally": json.dumps(seen.tally)}
        return Step(said, "canary", "widen", None, following)

    async def _lapsed(self, stored: StoredProposal, now: int) -> str:
        if now >= stored.until:
            return "its evidence is older than 30 days"
        if stored.kind == "substitute":
            said = json.loads(stored.evidence)
            certified = (await self._governor.experiments.certified()).get((said["task_type"], said["present"]))
            if certified is None or certified.model != said["candidate"]:
                return f"{said['candidate']} is no longer certified for {said['task_type']}"
        return ""

    async def _declined(self, stored: StoredProposal, why: str) -> Step:
        await self.withdraw(stored)
        return _ended(why)

    async def withdraw(self, stored: StoredProposal) -> None:
        """Take an open question back; one that is answered stays as it is."""
        if stored.state == "asked":
            await self._give_back(stored.approval)

    async def _give_back(self, approval: str) -> None:
        """What is approved is held, at no cost, until it is given back or its time is over."""
        with suppress(ConflictError, NotFoundError):
            await self._governor.release("gr_" + approval.removeprefix("ap_"), ReleaseRequest())

    async def decide(self, approval: str, word: Decision, by: str, reason: str, credential: str | None) -> None:
        """A person's word on the open question. Raises as `HITLManager.decide` does."""
        nobody = not await self._governor.operator.people.list()
        who = WHOEVER if nobody and credential is None else by  # then whoever gets here may do everything
        await self._governor.approvals.decide(approval, word, by=who, reason=reason, credential=credential)

    async def asked(self) -> tuple[Recorded, ...]:
        """What was asked lately, as far as events are kept, in its order."""
        return await asked_lately(self._governor.kaizen.back)

    async def _compiled(self, version: int, document: str) -> Policy:
        """The policy in force. To compile a long one takes longer than decisions should wait for."""
        if self._parent is None or self._parent[0] != version:
            policy = await asyncio.to_thread(load_policy, document, f"policy version {version}")
            self._parent = version, policy
        return self._parent[1]

    async def _propose(self) -> None:
        try:
            report = await self._governor.kaizen_report(KaizenQuery())
        except NotFoundError:
            report = None
        certified = await self._governor.experiments.certified()
        version, document = await self._ledger.read_policy()
        seen = (report and report.day, version, sorted(certified), self.terms)
        if seen == self._drafted:
            return
        parent = await self._compiled(version, document)
        drafts = [*substitutes(certified), *(eliminations(report) if report else [])]
        if self.terms.bounds:
            asked = await self.asked()
            before = await policy_at(self._governor.operator, await self._ledger.now() - LATER_MS)
            drafts += await asyncio.to_thread(ceilings, parent, asked, self.terms, before)
        for draft in drafts:
            await self.propose(draft, version, parent)
        self._drafted = seen

    async def propose(self, draft: Draft, version: int, parent: Policy) -> str | None:
        """Propose a change; its id, or None: it changes nothing, or was said never to be proposed again."""
        change = spelt(draft.rules)
        name = name_of(change, parent.digest)
        try:
            changed = apply(parent, draft.rules).policy
        except PolicyError:
            return None
        names = {rule["name"] for rule in draft.rules}
        for known, stored in await self.store.all():
            never = stored.change == change and stored.why.startswith("never")
            same = not stored.ended and names & {rule["name"] for rule in json.loads(stored.change)}
            if known == name or never or (same and stored.parent == version):
                return None
        if changed.digest == parent.digest:
            return None
        now = await self._ledger.now()
        fresh = StoredProposal(
            0, "proposed", False, draft.kind, draft.title, draft.finding, change, version, parent.digest,
            changed.digest, json.dumps(dict(draft.evidence)), now + VALID_MS,
        )  # fmt: skip
        await self.put(name, fresh, Step({}))
        return name


def _ended(why: str) -> Step:
    return Step({"state": "declined", "ended": True, "why": why}, "declined")

"""How a call is asked for: the decision, the wait for a person while the client waits, and the words of a refusal.

A client whose call waits for a person is held without a byte as long as clients wait, then told that it waits. What was
approved meanwhile belongs to its session: the next call of the same model that costs no more takes it, once. No hash of
a body can bind it, because clients change their bodies from try to try.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

from aegis_core.adapting.calls import ModelCall
from aegis_core.adapting.denials import denied
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.proxy_keys import ProxyKey
from aegis_core.metering.allowed import AllowedRates, allowance_of
from aegis_core.protocol.errors import AuthError, NotFoundError
from aegis_core.protocol.keywords import CallEvidence, RequestFields
from aegis_core.protocol.messages import PermissionRequest, ReleaseRequest, Requirements, Verdict
from aegis_core.protocol.money import format_usd, to_nanos
from aegis_core.protocol.parsing import parse
from aegis_core.proxy.exchange import Exchange
from aegis_core.proxy.identity import Caller, Identity
from aegis_core.proxy.replies import LONGEST_RETRY_AFTER, Client, Reply, refused, reply
from aegis_core.proxy.rerouting import served_by
from aegis_core.proxy.settling import Held, Settler
from aegis_core.proxy.sizing import Sized

HOLD_SECONDS = 50.0
"""How long a client waits for a person; proxies on the way close a connection that is silent for a minute."""
DECLINED_SECONDS = 60.0
"""For how long a session that a person refused is told so without being asked about again."""
APPROVAL_NEEDED = "approval_needed"
"""The code of the answer that a call waits for a person."""
_MOST_WAITING = 4_096
_INTENT = "Model call"

_T = TypeVar("_T")


def _no_evidence() -> CallEvidence:
    return {}


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it is asked for.

    Attributes:
        key: who calls.
        session: the client's own name for its session.
        client: how it is answered.
        model: as the client names it.
        sized: its size.
        digest: by which the same call is known again.
        facts: references that observers see.
        models: those of which the recommended one answers, instead of the one that is named; none: that one does.
        tools: whether it must be able to call tools.
        task_type: what it is, where its client says so.
        trace: where it stands in a trace (W3C), where its client says so.
        went: which attempt of which request it is, as far as that is known.
    """

    key: ProxyKey
    session: bytes
    client: Client
    model: str
    sized: Sized
    digest: str
    facts: dict[str, str]
    models: tuple[str, ...] = ()
    tools: bool = False
    trace: str | None = None
    task_type: str | None = None
    went: CallEvidence = field(default_factory=_no_evidence)

    def fields(self) -> RequestFields:
        """What the governor is told of it."""
        found = self.sized.fields()
        if self.models:
            del found["model"]
            found["requirements"] = Requirements(tools=self.tools, models=self.models, or_strongest=True)
        if not found.get("prompt_hash"):  # its parts are not looked at
            found["prompt_hash"] = self.digest
        if self.trace is not None:
            found["traceparent"] = self.trace
        if self.task_type is not None:
            found["task_type"] = self.task_type
        return found


class _Waiting(NamedTuple):
    """A question of a session that its client was told of."""

    verdict: Verdict
    nanos: int


class Asking:
    """Asks the governor for calls."""

    def __init__(self, governor: ResourceGovernor, identity: Identity, settler: Settler) -> None:
        self._governor, self._identity, self._settler = governor, identity, settler
        self._waiting: OrderedDict[tuple[str, bytes, str], _Waiting] = OrderedDict()
        self._declined: OrderedDict[tuple[str, bytes, str], tuple[float, Reply]] = OrderedDict()

    async def ask(self, call: Call, exchange: Exchange) -> Held | Reply | None:
        """Ask for a call: what is held for it, or why it is not made. None: its client left meanwhile.

        Raises:
            AegisError: nothing was decided.
        """
        place = (call.key.key_id, call.session, call.model)
        until, told = self._declined.get(place, (0.0, None))
        if told is not None and exchange.loop.time() < until:
            return told
        before = self._waiting.pop(place, None)
        if before is not None and self._cap_within(self._sized(call, before.verdict), before.nanos) is not None:
            found = await self._decided(place, call, before, exchange)
            if found is not _ASK_ANEW:
                return found
        verdict = await self._verdict(call)
        if call.models and verdict.code == "no_model":  # none of them serves it, so the one that was named does
            call = replace(call, models=())
            verdict = await self._verdict(call)
        if verdict.granted:
            return self._settler.hold(verdict, self._sized(call, verdict), call.went)
        if verdict.status != "PENDING":
            return refusal_of(call, verdict)
        waiting = _Waiting(verdict, to_nanos(verdict.reserved_usd))
        found = await self._decided(place, call, waiting, exchange)
        return refusal_of(call, replace(verdict, status="REJECTED")) if found is _ASK_ANEW else found

    async def at_once(self, call: Call) -> Held | None:
        """What is held for a call that no person is asked about; None: it is refused, or one would be.

        Raises:
            AegisError: nothing was decided.
        """
        verdict = await self._verdict(call)
        if verdict.granted:
            return self._settler.hold(verdict, call.sized, call.went)
        if verdict.status == "PENDING":
            message = ReleaseRequest(agent_id=call.key.terms.agent_id, by="caller")
            await self._governor.release(verdict.grant_id or "", message)
        return None

    def decline(self, call: Call, made: Reply, now: float) -> None:
        """Answer further calls of this session and model like this for a minute, without asking."""
        self._declined[call.key.key_id, call.session, call.model] = (now + DECLINED_SECONDS, made)
        if len(self._declined) > _MOST_WAITING:
            self._declined.popitem(last=False)

    def _sized(self, call: Call, verdict: Verdict) -> Sized:
        """The size of a call with the model that was chosen for it."""
        prices, chosen = self._governor.arbiter.prices, verdict.recommended_model
        if not call.models or not chosen or prices.canonical(chosen) == prices.canonical(call.sized.bound.model):
            return call.sized
        return served_by(call.sized, chosen)

    async def _verdict(self, call: Call) -> Verdict:
        """The decision, in a session that is opened again where it had ended."""
        caller = await self._identity.caller(call.key, call.session)
        try:
            return await self._request(call, caller)
        except (AuthError, NotFoundError) as error:
            if error.code not in {"bad_token", "not_found"}:
                raise
        return await self._request(call, await self._identity.opened(call.key, call.session))

    async def _request(self, call: Call, caller: Caller) -> Verdict:
        session = caller.session
        fields: RequestFields = {
            **call.fields(), "resource_type": "llm_tokens", "priority": min(5, session.max_priority),
            "metadata": {**call.facts},
        }  # fmt: skip
        message = parse(
            PermissionRequest, agent_id=session.agent_id, session_id=session.session_id, task_intent=_INTENT, **fields
        )
        return await self._governor.request_permission(message, token=session.session_token)

    async def _decided(
        self, place: tuple[str, bytes, str], call: Call, waiting: _Waiting, exchange: Exchange
    ) -> Held | Reply | None:
        """What a person says of a question, while the client is there."""
        grant = waiting.verdict.grant_id or ""
        try:
            verdict = await _unless_left(self._governor.wait_for(grant, HOLD_SECONDS), exchange)
        except BaseException:
            self._keep(place, waiting)
            raise
        if verdict is None:
            message = ReleaseRequest(agent_id=call.key.terms.agent_id, by="caller")
            await self._governor.release(grant, message)
            return None
        if verdict.granted:
            return await self._approved(call, waiting, verdict)
        if verdict.status == "PENDING":
            self._keep(place, waiting)
            return _still_waiting(call, verdict)
        if verdict.state != "declined":
            return _ASK_ANEW
        made = refusal_of(call, verdict)
        self.decline(call, made, exchange.loop.time())
        return made

    async def _approved(self, call: Call, waiting: _Waiting, verdict: Verdict) -> Held | Reply:
        """Take over what was approved, for which the call may have to be cut: the operator may have lowered it."""
        sized = self._sized(call, waiting.verdict)
        cap = self._cap_within(sized, to_nanos(verdict.reserved_usd))
        if cap is None:
            await self._governor.release(verdict.grant_id or "", ReleaseRequest(agent_id=verdict.agent_id))
            text = f"Aegis refused this call of {call.model}: it costs more than what was approved."
            return refused(call.client, "not_approved", text)
        own = waiting.verdict.max_output_tokens
        cut = min(cap, own // sized.answers) if own and sized.cap else cap
        total = cut * sized.answers if sized.cap and cut != sized.cap else None
        return self._settler.hold(replace(verdict, max_output_tokens=total), sized, call.went)

    def _cap_within(self, sized: Sized, nanos: int) -> int | None:
        """The longest answer with which a call costs at most so much; 0 where it has none; None: there is none."""
        caps = [sized.cap or 0]
        while sized.least is not None and caps[-1] > sized.least:
            caps.append(max(sized.least, caps[-1] * 3 // 4))
        more = (sized.bound.output_tokens or 0) - caps[0] * sized.answers
        rates = AllowedRates(self._governor.arbiter.prices, sized.bound.model, allowance_of(sized.bound))
        costs = rates.bounds(sized.bound.input_tokens, [cap * sized.answers + more for cap in caps])
        return next((cap for cap, cost in zip(caps, costs, strict=True) if cost <= nanos), None)

    def _keep(self, place: tuple[str, bytes, str], waiting: _Waiting) -> None:
        self._waiting[place] = waiting
        if len(self._waiting) > _MOST_WAITING:
            self._waiting.popitem(last=False)


_ASK_ANEW: Any = object()
"""The question is over without an answer."""


async def _unless_left(work: Coroutine[Any, Any, _T], exchange: Exchange) -> _T | None:
    """Carry work out until the client leaves, which ends it; None then."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(exchange.left())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        return None
    finally:
        working.cancel()
        leaving.cancel()


def refusal_of(call: Call, verdict: Verdict) -> Reply:
    """The answer for a verdict that is no grant: reason, what is left, until when."""
    error = denied(ModelCall((), model=call.model, max_output_tokens=call.sized.asked), verdict)
    facts = {
        name.replace("_", "-"): str(value) for name in ("asked_usd", "left_usd") if (value := error.facts.get(name))
    }
    wait = verdict.retry_after_seconds
    if wait and wait <= LONGEST_RETRY_AFTER and error.code != "budget_exceeded":
        return reply(call.client, 429, error.code, error.message, facts=facts, retry_after=wait, again=True)
    return refused(call.client, error.code, error.message, **facts)


def _still_waiting(call: Call, verdict: Verdict) -> Reply:
    asked = format_usd(to_nanos(verdict.reserved_usd))
    text = (
        f"Aegis asks a person about this call of {call.model}, which may cost up to {asked}: {verdict.escalation_id}. "
        "Once it is approved (`aegis approvals`), send the message again: the next call of this session goes through."
    )
    return refused(call.client, APPROVAL_NEEDED, text, approval=verdict.escalation_id or "")

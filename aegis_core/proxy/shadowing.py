"""A cheaper model is asked what an upstream has answered: afterwards, and off the path of the answer.

Only whole answers that went on are shadowed, streams when they have ended, of calls whose client says what type of task
they are, and never with a client's own credential. What is asked in the shadow passes the same forwarder, as a client
whose answer nobody reads.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any, cast

from aegis_core.client.agent import GovernedAgent, Governor
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.kaizen.experiments.judges import Answer, Exact, JsonMatch, Judge, Task, ToolCallMatch
from aegis_core.kaizen.experiments.shadow import Answered, Arm, Asked, NotAskedError, Shadow
from aegis_core.protocol.canonical import digest
from aegis_core.protocol.errors import AegisError, ConfigurationError
from aegis_core.protocol.fields import identifier
from aegis_core.protocol.kaizen import OWN_AGENT
from aegis_core.protocol.masking import mask_text
from aegis_core.protocol.messages import Handshake, PermissionRequest, ReleaseRequest, SessionOpened, Verdict
from aegis_core.protocol.parsing import parse
from aegis_core.proxy.answers import answer_in
from aegis_core.proxy.asking import Call
from aegis_core.proxy.exchange import Exchange, Message
from aegis_core.proxy.forwarding import Forwarder, Ready
from aegis_core.proxy.request_body import RequestBody
from aegis_core.proxy.routes import Route
from aegis_core.proxy.settling import Held

TASK_TYPE = b"x-aegis-task-type"
"""The header by which a client says what type of task a call is."""
_OK, _TOO_MANY = 200, 429
_SERVED = frozenset({"chat", "responses", "messages", "generate"})
_DIGITS = re.compile(r"[0-9]+")
_AGREEING = {"exact-agreement": Exact, "json-agreement": JsonMatch, "tool-call-agreement": ToolCallMatch}

_log = logging.getLogger("aegis.kaizen")


Reserve = Callable[[Call], Awaitable[Verdict]]
"""Asks for the money of a call."""
Again = Callable[[Call, Reserve], Awaitable[Ready]]
"""Makes a call ready to be sent again, to another model: sized, granted as `Reserve` says, and written for it."""


def task_type_of(exchange: Exchange) -> str | None:
    """What type of task a call is, as its client says; None: it does not, or not in a word that may be one."""
    said = exchange.header(TASK_TYPE).decode("latin-1")
    try:
        return identifier(said) if said else None
    except ValueError:
        return None


def judge_named(name: str) -> Judge:
    """The judge that ``AEGIS_SHADOW_JUDGE`` names: that sees whether answers are alike, or ``package.module:judge``.

    Raises:
        ConfigurationError: there is none, or it is no judge.
    """
    if name in _AGREEING:
        return _AGREEING[name](agreement=True)
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"AEGIS_SHADOW_JUDGE={name}: {error}; give package.module:judge or one of {', '.join(_AGREEING)}."
        ) from None
    if not all(hasattr(found, each) for each in ("name", "version", "score")):
        raise ConfigurationError(f"AEGIS_SHADOW_JUDGE={name}: this is no judge; a Verifier is one.")
    return cast("Judge", found)


class OwnTrials:
    """The experiments of a tenant, and the money and session for them; as `ShadowPort` has it."""

    def __init__(self, governor: ResourceGovernor) -> None:
        self._governor, of = governor, governor.experiments
        self.running, self.open_pair, self.score, self.see = of.running, of.open_pair, of.score, of.see
        self.session: SessionOpened | None = None

    async def renew_limit(self) -> bool:
        """Set the day limit of Aegis's own agent to what it may spend now; its session is opened anew with that."""
        self.session = await self._governor.handshake(Handshake(agent_id=OWN_AGENT))
        await self._governor.label_agent(OWN_AGENT, {"purpose": OWN_AGENT}, author=OWN_AGENT)
        usd = await self._governor.experiments.affordable()
        await self._governor.set_budget("agent", OWN_AGENT, "day", usd, author=OWN_AGENT)
        return usd > 0


class ProxyShadow:
    """The shadow of the calls of one proxy."""

    def __init__(self, governor: ResourceGovernor, forwarder: Forwarder, judge: Judge) -> None:
        self._governor, self._forwarder = governor, forwarder
        self._trials = OwnTrials(governor)
        self.shadow = Shadow(self._trials, judge)
        self._offers = set[asyncio.Task[None]]()

    def listens(self, exchange: Exchange, route: Route, call: Call, held: Held, *, own_credential: bool) -> bool:
        """Whether a call may be shadowed; then its answer is kept until it is whole."""
        if call.task_type is None or own_credential or held.verdict.escalation_id or route.api not in _SERVED:
            return False
        exchange.listen()
        return True

    def after(self, exchange: Exchange, route: Route, call: Call, held: Held, body: RequestBody, again: Again) -> None:
        """Take a call that was answered; nobody waits for what follows."""
        if exchange.heard is None or exchange.status != _OK or call.task_type is None:
            return  # too long to be kept, or no answer
        heard = bytes(exchange.heard)
        task = asyncio.get_running_loop().create_task(self._offer(heard, route, call, held, body, again))
        self._offers.add(task)
        task.add_done_callback(self._offers.discard)

    async def drain(self) -> None:
        """Wait until nothing is on its way."""
        while self._offers:
            await asyncio.wait(self._offers)
        await self.shadow.drain()

    async def aclose(self) -> None:
        """Give up what is on its way."""
        for task in self._offers:
            task.cancel()
        await self.shadow.aclose()

    async def _offer(self, heard: bytes, route: Route, call: Call, held: Held, body: RequestBody, again: Again) -> None:
        model = held.sized.bound.model
        answer = await asyncio.to_thread(answer_in, heard, model)
        if answer is None or await asyncio.to_thread(_holds_secret, body.raw):
            return

        async def ask(arm: Arm) -> Asked:
            return await self._ask(arm, route, call, again)

        values = body.values
        prompt = values.get("messages") or values.get("input") or values.get("contents")
        task = Task(held.verdict.request_id, call.task_type or "", prompt, payer=self._payer)
        agent = call.key.terms.agent_id
        self.shadow.offer(Answered(task, answer, model, agent, ask, template_in(values)))

    def _payer(self) -> GovernedAgent | None:
        session = self._trials.session
        return None if session is None else GovernedAgent(Governor(self._governor).connection, session)

    async def _ask(self, arm: Arm, route: Route, call: Call, again: Again) -> Asked:
        """Ask a candidate at the same upstream."""
        session = self._trials.session
        if session is None or not call.key.terms.allows(arm.candidate):
            raise NotAskedError
        facts = {**call.facts, "shadow_of": call.model}
        other = replace(call, model=arm.candidate, models=(), facts=facts, went={})
        try:
            made = await again(other, partial(self._reserve, arm, session))
        except AegisError as error:
            raise NotAskedError from error
        exchange = Exchange(_silent(route), _never, _unread)
        exchange.listen()
        try:
            await self._forwarder.call(exchange, made)
        finally:
            exchange.close()
        if exchange.status != _OK or exchange.heard is None:
            return Asked(Answer(arm.candidate, failed=True), rate_limited=exchange.status == _TOO_MANY)
        answer = await asyncio.to_thread(answer_in, bytes(exchange.heard), arm.candidate)
        return Asked(answer or Answer(arm.candidate, failed=True))  # its stream broke off

    async def _reserve(self, arm: Arm, session: SessionOpened, call: Call) -> Verdict:
        """Money of Aegis's own agent for a call.

        Raises:
            NotAskedError: it is refused, or a person would be asked. AegisError: nothing was decided.
        """
        fields: dict[str, Any] = {
            **call.fields(), "resource_type": "llm_tokens", "priority": 1, "metadata": {**call.facts},
            "experiment_arm": arm.experiment, "propensity": arm.propensity, "agent_id": OWN_AGENT,
            "session_id": session.session_id, "task_intent": "Shadow trial",
        }  # fmt: skip
        message = parse(PermissionRequest, **fields)
        verdict = await self._governor.request_permission(message, token=session.session_token)
        if not verdict.granted:
            if verdict.status == "PENDING":
                await self._governor.release(verdict.grant_id or "", ReleaseRequest(agent_id=OWN_AGENT, by="caller"))
            raise NotAskedError
        return verdict


def template_in(values: Any) -> str:
    """A hash of what does not change from request to request; see `adapting.shadowing.template_of`."""
    said: Any = values.get("messages") or values.get("input") or ()
    fixed: list[Any] = [each for each in said if isinstance(each, Mapping) and _role(each) in {"system", "developer"}]
    more = [values.get(name) for name in ("system", "instructions", "systemInstruction", "tools")]
    return digest(_DIGITS.sub("0", json.dumps([fixed, more], sort_keys=True, default=str)))


def _role(message: Any) -> Any:
    return message.get("role")


def _holds_secret(raw: bytes) -> bool:
    said = raw.decode("utf-8", "replace")
    return mask_text(said) != said


def _silent(route: Route) -> Message:
    return {
        "method": "POST", "path": route.target.decode("latin-1"), "raw_path": route.target, "query_string": b"",
        "headers": [], "client": None,
    }  # fmt: skip


async def _never() -> Message:
    await asyncio.Event().wait()
    return {"type": "http.disconnect"}


async def _unread(_: Message) -> None:
    pass

"""A cheaper model is asked what an upstream has answered: afterwards, and off the path of the answer.

Only whole answers that went on are shadowed, of calls whose client says what type of task they are, and never with a
client's own credential. What is asked in the shadow passes the same forwarder, as a client whose answer nobody reads.
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
from aegis_core.proxy.asking import Call
from aegis_core.proxy.exchange import Exchange, Message
from aegis_core.proxy.forwarding import Forwarder, Ready
from aegis_core.proxy.request_body import RequestBody
from aegis_core.proxy.routes import Route
from aegis_core.proxy.settling import Held

TASK_TYPE = b"x-aegis-task-type"
"""The header by which a client says what type of task a call is."""
_OK, _TOO_MANY = 200, 429
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
        self.running, self.open_pair, self.score = of.running, of.open_pair, of.score
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

    def records(self, exchange: Exchange, call: Call, held: Held, body: RequestBody, *, own_credential: bool) -> bool:
        """Whether a call may be shadowed; then its answer is kept until it is whole."""
        if call.task_type is None or own_credential or body.values.get("stream") or held.verdict.escalation_id:
            return False
        if exchange.record is None:
            exchange.record = []
        return True

    def after(self, exchange: Exchange, route: Route, call: Call, held: Held, body: RequestBody, again: Again) -> None:
        """Take a call that was answered; nobody waits for what follows."""
        if exchange.record is None or exchange.status != _OK or call.task_type is None:
            return  # too long to be kept, or no answer
        record = list(exchange.record)
        task = asyncio.get_running_loop().create_task(self._offer(record, route, call, held, body, again))
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

    async def _offer(
        self, record: list[Message], route: Route, call: Call, held: Held, body: RequestBody, again: Again
    ) -> None:
        secret = await asyncio.to_thread(_holds_secret, body.raw)
        if secret or not _serves(route):
            return
        model = held.sized.bound.model
        answer = await asyncio.to_thread(answer_in, record, model)

        async def ask(arm: Arm) -> Asked:
            return await self._ask(arm, route, call, again)

        values = body.values
        prompt = values.get("messages") or values.get("input") or values.get("contents")
        task = Task(held.verdict.request_id, call.task_type or "", prompt)
        agent = call.key.terms.agent_id
        self.shadow.offer(Answered(task, answer, model, agent, ask, template_in(values)))

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
        silent, said = _silent(route), list[Message]()
        exchange = Exchange(silent, _never, _collect(said))
        try:
            await self._forwarder.call(exchange, made)
        finally:
            exchange.close()
        if exchange.status != _OK:
            return Asked(Answer(arm.candidate, failed=True), rate_limited=exchange.status == _TOO_MANY)
        return Asked(await asyncio.to_thread(answer_in, said, arm.candidate))

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


def answer_in(record: list[Message], model: str) -> Answer:
    """What a judge reads of a whole answer of any of the APIs. What is no such answer has failed."""
    try:
        body: Any = json.loads(b"".join(message.get("body", b"") for message in record))
        if "choices" in body:
            message = body["choices"][0]["message"]
            used = [each["function"] for each in message.get("tool_calls") or ()]
            calls = [(each["name"], each["arguments"]) for each in used]
            return Answer(model, message.get("content") or "", tuple(calls), failed=bool(message.get("refusal")))
        if "output" in body:
            return _of_items(model, body["output"])
        if "candidates" in body:
            parts = body["candidates"][0]["content"].get("parts", ())
            calls = [(each["functionCall"]["name"], json.dumps(each["functionCall"].get("args", {}))) for each in parts
                     if "functionCall" in each]  # fmt: skip
            return Answer(model, "".join(each.get("text", "") for each in parts), tuple(calls))
        parts = body["content"]
        calls = [(each["name"], json.dumps(each["input"])) for each in parts if each["type"] == "tool_use"]
        text = "".join(each["text"] for each in parts if each["type"] == "text")
        return Answer(model, text, tuple(calls), failed=body.get("stop_reason") == "refusal")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return Answer(model, failed=True)


def _of_items(model: str, items: Any) -> Answer:
    calls = [(each["name"], each["arguments"]) for each in items if each["type"] == "function_call"]
    parts = [part for each in items if each["type"] == "message" for part in each["content"]]
    refused = any(part["type"] == "refusal" for part in parts)
    return Answer(model, "".join(part.get("text", "") for part in parts), tuple(calls), failed=refused)


def template_in(values: Any) -> str:
    """A hash of what does not change from request to request; see `adapting.shadowing.template_of`."""
    said: Any = values.get("messages") or values.get("input") or ()
    fixed: list[Any] = [each for each in said if isinstance(each, Mapping) and _role(each) in {"system", "developer"}]
    more = [values.get(name) for name in ("system", "instructions", "systemInstruction", "tools")]
    return digest(_DIGITS.sub("0", json.dumps([fixed, more], sort_keys=True, default=str)))


def _role(message: Any) -> Any:
    return message.get("role")


def _serves(route: Route) -> bool:
    return route.api in {"chat", "responses", "messages", "generate"} and not route.streams


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


def _collect(said: list[Message]) -> Any:
    async def send(message: Message) -> None:
        said.append(dict(message))

    return send

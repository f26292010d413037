"""A tenant that holds every kind of record, made by real calls on a virtual clock; and how each of them ends.

What happens is told as plain values, so that the end of restored data can be compared with the end of fresh data.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any

from aegis_core.connect import open_governor
from aegis_core.governor import governor as governors
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.approvals import ApprovalEdit, EnvelopeRequest
from aegis_core.protocol.errors import AegisError
from aegis_core.protocol.journal import JournalRequest
from aegis_core.protocol.locks import ReleaseLock, RenewLock
from aegis_core.protocol.messages import (
    BudgetState,
    ExtendRequest,
    Handshake,
    PermissionRequest,
    ReleaseRequest,
    SettleRequest,
    Usage,
    Verdict,
)
from aegis_core.protocol.profiles import Profile
from aegis_core.store.call_evidence import Evidence
from aegis_core.store.channels import ChannelStore
from aegis_core.store.ledger import SessionProof
from aegis_core.store.lock_records import Lien
from aegis_core.store.locks import LockClaim, LockStore
from aegis_core.store.operators import OperatorStore
from aegis_core.store.schema import KINDS, ShownNotice
from aegis_core.store.store import Store, open_store
from aegis_core.testing import FakeClock, private_settings

TENANT = "grown"
START = datetime(2026, 3, 29, 12, tzinfo=UTC)
_LEFT_OUT = {"expires_in_seconds", "extra"} | {name for kind in KINDS for name in kind.fields._field_defaults}
"""By the caller's own clock; and what old data lacks."""
NOBODY = "~nobody"  # whoever hears of locks: as in a cluster, where nobody can see that a process is gone

_RULES: list[dict[str, Any]] = [
    {"name": "pace", "type": "rate_limit", "limit": 40, "window": "1h"},
    {"name": "again", "type": "repeat_limit", "times": 9, "window": "10m"},
    {"name": "flow", "type": "spend_rate", "limit_usd": "90", "window": "1d", "effect": "deny"},
    {"name": "two", "type": "sensitive_intent", "tools": ["pay"], "asking": {"quorum": 2, "timeout_seconds": 3000}},
    {"name": "one", "type": "sensitive_intent", "tools": ["send"], "asking": {"remind_seconds": 60}},
    {"name": "quiet", "type": "sensitive_intent", "tools": ["note"],
     "asking": {"on_timeout": "approve", "timeout_seconds": 600}},
]  # fmt: skip


@asynccontextmanager
async def own_server() -> AsyncIterator[Store]:
    """A store of virtual time on a server that nobody else uses."""
    store = await open_store(private_settings(pepper="x" * 32), throwaway=True, virtual_time=True)
    try:
        yield store
    finally:
        await store.aclose()


@asynccontextmanager
async def opened(store: Store, now: datetime = START) -> AsyncIterator[tuple[World, FakeClock]]:
    """The tenant on a store of virtual time, with numbered sessions."""
    clock = FakeClock(store)
    await clock.set(now)
    settings = private_settings(
        tenant=TENANT, timezone="Europe/Zurich", agent_day_usd=60, tenant_day_usd=200, idempotency_seconds=7200
    )  # fmt: skip
    port = await open_governor(store, settings)
    original, world = governors.new_session, World(port, store, clock)
    governors.new_session = world.numbered
    try:
        yield world, clock
    finally:
        governors.new_session = original
        await port.aclose()


class World:
    """The calls, and what came of each."""

    def __init__(self, port: ResourceGovernor, store: Store, clock: FakeClock) -> None:
        self.port, self.store, self.clock = port, store, clock
        self.ledger = port._ledger
        self.ledger.inbox = lambda: NOBODY
        self.book = LockStore(self.ledger)
        self.told: list[Any] = []
        self.sessions = 0

    def numbered(self) -> tuple[str, str]:
        """A session that chance does not name."""
        sid = f"s{self.sessions:024x}"
        self.sessions += 1
        return sid, f"aegis_st_{sid}_{'t' * 43}"

    def tell(self, what: str, answer: Any) -> Any:
        """Note an answer as plain values; ids that are drawn by chance, as what they are."""
        plain = json.dumps(_plain(answer), sort_keys=True, default=str)
        plain = re.sub(r"\b(ev_)[0-9a-f]{16}|\b(k)[0-9a-f]{16}\b", r"\1\2#", plain)
        plain = re.sub(r', "tool": "look"|"tool": "look", ', "", plain)  # which the data of earlier versions do not say
        self.told.append([what, json.loads(plain)])
        return answer

    async def ask(self, agent: str, name: str, **fields: Any) -> Verdict:
        fields = fields if "resource_type" in fields else {"tool": "look", **fields}  # without, it meets rules on tools
        request = PermissionRequest(
            **{
                "agent_id": agent, "task_intent": f"Do {name}", "resource_type": "api_call", "request_id": name,
                "estimated_cost_usd": "1", **fields,
            }
        )  # fmt: skip
        return self.tell(name, await self.port.request_permission(request))

    async def use_model(self, name: str, *, outcome: float) -> None:
        """Call a model, and say how well it did."""
        await self.ask(
            "ann", name, resource_type="llm_tokens", model="gpt-4o-mini", prompt_bytes=4_000, max_output_tokens=500,
            task_type="sum", estimated_cost_usd=None,
        )  # fmt: skip
        usage = Usage(model="gpt-4o-mini", input_tokens=900, output_tokens=100)
        await self.port.settle(_id("ann", name), SettleRequest(usage=usage, outcome=outcome))

    async def lock(self, agent: str, name: str, number: int, *within: Lien, ttl: int = 600_000) -> None:
        claim = LockClaim(agent, (name,), f"lk_{number:032x}", 5, ttl, None, 1, "exclusive", None, 2_000, within)
        self.tell(f"lock {number}", await self.book.acquire(claim, SessionProof(), NOBODY, queue=True))


async def build(world: World) -> None:
    """Every kind of record, each in some state from which it can go on."""
    port = world.port
    policy = load_policy(json.dumps({"schema": 1, "rules": _RULES}))
    await port.publish_policy(policy, author="ada")
    for agent in ("ann", "bob"):
        await port.handshake(Handshake(agent_id=agent, max_priority=9, session_budget_usd=50))
    await port.operator.set_profile(
        Profile(match="ann", budgets={"rolling:24h": 50}, labels={"team": "red"}), author="ada"
    )  # fmt: skip
    for scope, name, window in (
        ("label", "team=red", "day"), ("resource", "api_call", "rolling:24h"), ("model", "gpt-4o-mini", "month"),
    ):  # fmt: skip
        await port.set_budget(scope, name, window, 150, author="ada")
    await port.operator.create_key("agent", name="door", author="ada")
    await port.approvals.set_limit("cyd", 70, by="ada")
    await port.approvals.approve_ahead(
        EnvelopeRequest(agent_id="ann", tool="send", rule="one", phrase="small", limit_usd=20), by="ada"
    )
    for name in ("open", "to settle", "to release", "to extend", "to expire", "late"):
        await world.ask("ann", name.replace(" ", "-"))
    await world.ask("ann", "settled")
    await port.settle(_grant(world), SettleRequest(cost_usd="0.5"))
    await world.ask("ann", "released")
    await port.release(_grant(world), ReleaseRequest())
    await world.ask("bob", "refused", estimated_cost_usd="55")
    await world.ask("ann", "ahead", tool="send", task_intent="A small thing")
    for name, tool in (
        ("voted", "pay"), ("edited", "pay"), ("to-approve", "send"), ("to-reject", "send"), ("to-withdraw", "send"),
        ("silent", "note"), ("unanswered", "send"),
    ):  # fmt: skip
        await world.ask("bob", name, tool=tool, arguments_hash=name)
    await port.approvals.decide(_question("bob", "voted"), "approve", by="ada")
    await world.ask("bob", "turned-down", tool="send", arguments_hash="x")
    await port.approvals.decide(_question("bob", "turned-down"), "reject", by="ada", reason="no")
    await world.ask("ann", "wallet", resource_type="wallet_lock", target_resource="purse", lock_ttl_seconds=300)
    await world.ask("bob", "wallet-too", resource_type="wallet_lock", target_resource="purse", lock_ttl_seconds=300)
    await world.lock("ann", "a", 1)
    await world.lock("bob", "b", 2)
    await world.lock("bob", "a", 3, Lien("b", f"lk_{2:032x}"))  # b's lease waits for a
    await world.lock("bob", "c", 4)
    await world.use_model("first", outcome=1)
    for act in ("start", "refuse"):
        await port.journal.write(
            JournalRequest(agent_id="ann", act=act, key="call", runner="r1"), token=_token("ann")
        )  # fmt: skip
    channel = ChannelStore(world.ledger, "desk")
    await channel.hold(30)
    await channel.keep(_question("bob", "unanswered"), ShownNotice("7", "asked", 5, 6))
    await channel.leave()
    await channel.refuse("eve", "approve")
    await OperatorStore(world.ledger).note_prices("p1")


async def drive(world: World) -> AsyncIterator[None]:
    """All of it to its end, with moments between in which to look at what is stored."""
    port, clock, tell = world.port, world.clock, world.tell
    tell("settle", await port.settle(_id("ann", "to-settle"), SettleRequest(cost_usd="0.25")))
    tell("repeated", await port.settle(_id("ann", "settled"), SettleRequest(cost_usd="0.5")))
    tell("overrun", await port.settle(_id("ann", "late"), SettleRequest(cost_usd="3")))
    tell("release", await port.release(_id("ann", "to-release"), ReleaseRequest()))
    tell("extend", await port.extend(_id("ann", "to-extend"), ExtendRequest(seconds=1_200)))
    await world.ask("ann", "ahead", tool="send", task_intent="A small thing")  # a repeat
    await world.use_model("second", outcome=0)
    await world.ask("bob", "new", estimated_cost_usd="0.5")
    await world.ask("ann", "ahead-again", tool="send", task_intent="A small thing", estimated_cost_usd="2")
    tell("ahead", await port.settle(_id("ann", "ahead"), SettleRequest(cost_usd="0.75")))
    for name, by in (("voted", "bea"), ("to-approve", "ada")):
        tell(name, await port.approvals.decide(_question("bob", name), "approve", by=by))
    tell("rejected", await port.approvals.decide(_question("bob", "to-reject"), "reject", by="cyd"))
    edit = ApprovalEdit(estimated_cost_usd="2")
    tell("edit", await port.approvals.decide(_question("bob", "edited"), "approve", by="ada", edit=edit))
    tell("withdraw", await port.release(_id("bob", "to-withdraw"), ReleaseRequest()))
    await world.ask("bob", "asked-again", tool="send", arguments_hash="x", task_intent="Do turned-down")
    await world.ask("bob", "voted", tool="pay", arguments_hash="voted")  # claims what was approved
    tell("locks", await port.locks.overview())
    renew = RenewLock(agent_id="bob", lock_token=f"lk_{4:032x}", ttl_seconds=300)
    tell("renew", await port.locks.renew("c", renew))
    await world.lock("bob", "a", 3, Lien("b", f"lk_{2:032x}"))  # still waits
    channel = ChannelStore(world.ledger, "desk")
    await channel.hold(30)
    await channel.keep(_question("bob", "unanswered"), ShownNotice("7", "reminded", 5, 0))
    for key in await port.operator.keys():
        await port.operator.revoke_key(key.key_id, author="ada")
    yield
    tell("unlock", await port.locks.release(ReleaseLock(agent_id="ann", resource="a", lock_token=f"lk_{1:032x}")))
    await world.lock("bob", "a", 3, Lien("b", f"lk_{2:032x}"))  # handed over
    tell("wallet", await port.settle(_id("ann", "wallet"), SettleRequest(cost_usd="1")))
    await world.ask("bob", "wallet-too", resource_type="wallet_lock", target_resource="purse", lock_ttl_seconds=300)
    tell("forced", await port.locks.force_release("c", author="ada"))
    for act, result in (("look", None), ("finish", "done"), ("look", None)):
        message = JournalRequest(agent_id="ann", act=act, key="call", runner="r1", result=result)
        tell(act, await port.journal.write(message, token=_token("ann")))
    tell("notices", await ChannelStore(world.ledger, "desk").notices())
    await _operators(world)
    yield
    await clock.advance(minutes=12)  # silence approves
    tell("silent", await port.approvals.get(_question("bob", "silent"), claims=True))
    await clock.advance(minutes=50)  # the rest is overdue
    tell("late", await port.settle(_id("ann", "to-expire"), SettleRequest(cost_usd="0.1")))
    tell("unanswered", await port.approvals.list("ended"))
    await _operators(world)
    await clock.advance(hours=30)
    world.sessions = 50
    await port.handshake(Handshake(agent_id="bob"))
    await world.ask("bob", "tomorrow")
    tell("end", await port.release(_id("bob", "tomorrow"), ReleaseRequest()))
    await clock.advance(days=220)  # the clocks have changed
    for agent in ("ann", "bob"):
        tell(agent, _sorted((await port.budget(agent)).budgets))
    tell("shared", _sorted(await port.shared_budgets()))
    for each in await port.events(limit=1_000):
        tell(each.kind, (each.at, each.agent_id, _first_facts(each.facts)))
    yield


_LATER = {
    "policy_digest", "profiles_version", "price_version", "credential", "rules", "stopped_by", "answered_by", "usage",
    "outcome", "labels", *Evidence._fields,
}  # fmt: skip
"""Facts that the first version of the schema did not keep."""


def _first_facts(facts: Any) -> Any:
    """Those that the first version of the schema kept."""
    kept = {name: fact for name, fact in facts.items() if name not in _LATER | {"task_type"}}
    if "request" in kept:  # which said the type of its task always
        kept["request"] = {name: fact for name, fact in kept["request"].items() if name not in _LATER}
    return kept


async def _operators(world: World) -> None:
    port, tell = world.port, world.tell
    tell("open", await port.approvals.list())
    tell("envelopes", [await port.approvals.envelopes(), await port.approvals.limits()])
    tell("keys", [(key.name, key.role) for key in await port.operator.keys()])
    tell("profiles", await port.operator.profiles())
    tell("agents", await port.agents())
    tell("history", [version.version for version in await port.operator.policy_history()])
    tell("outcomes", await port.outcomes.export())
    tell("usage", await port.usage([date(2026, 3, 29)]))
    tell("ann", _sorted((await port.budget("ann")).budgets))


def _sorted(budgets: Iterable[BudgetState]) -> list[BudgetState]:
    return sorted(budgets, key=lambda budget: (budget.scope, budget.name, budget.window))


def _id(agent: str, name: str) -> str:
    from aegis_core.protocol.canonical import record_id

    return "gr_" + record_id(agent, name)


def _question(agent: str, name: str) -> str:
    return "ap_" + _id(agent, name)[3:]


def _grant(world: World) -> str:
    return world.told[-1][1]["grant_id"]


def _token(agent: str) -> str:
    sid = f"s{('ann', 'bob').index(agent):024x}"
    return f"aegis_st_{sid}_{'t' * 43}_{TENANT}"


def _plain(answer: Any) -> Any:
    if isinstance(answer, AegisError):
        return {"error": answer.code}
    if isinstance(answer, list | tuple) and not hasattr(answer, "_asdict"):
        return [_plain(each) for each in answer]
    if isinstance(answer, dict):
        return {str(name): _plain(value) for name, value in answer.items() if name not in _LEFT_OUT}
    if hasattr(answer, "model_dump"):
        return answer.model_dump(mode="json")
    if hasattr(answer, "_asdict"):
        return _plain(answer._asdict())
    if hasattr(answer, "__dataclass_fields__"):
        return _plain(asdict(answer))
    return answer

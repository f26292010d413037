"""The state machine: the governor on a real server does what the model does, step by step, in two tenants at once.

After every step the keyspace is walked: what is reserved is what open grants hold, open records have no expiry and
ended ones have, each act left exactly its events, and the tenant that was not addressed is untouched to the byte.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import unquote
from uuid import uuid4

import msgpack
import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aegis_core import governor
from aegis_core.arbiter.arbiter import Arbiter
from aegis_core.arbiter.catalog import load_catalog
from aegis_core.arbiter.prices import Prices
from aegis_core.connect import open_governor
from aegis_core.errors import AegisError, StoreError
from aegis_core.governor import ResourceGovernor
from aegis_core.policy.engine import compile_policy
from aegis_core.policy.loading import default_policy
from aegis_core.protocol import (
    ExtendRequest,
    Handshake,
    PermissionRequest,
    ReleaseRequest,
    SettleRequest,
    Verdict,
)
from aegis_core.store import layout
from aegis_core.store.store import Store, open_store
from aegis_core.testing import private_settings

from .model import CELLS, Ask, Budget, Candidate, Record, Refused, Timings, World, end_of

USD = 1_000_000_000
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000

TIMINGS = Timings(
    grant=600 * SECOND, grant_max=HOUR, approval=900 * SECOND, keep=HOUR, idle=40 * DAY, most_open=6,
    agent_day=10 * USD, tenant_day=25 * USD,
)  # fmt: skip
TRANSIENT = 60 * SECOND

STARTS = [
    ("Europe/Zurich", "2026-03-28T22:50"), ("Europe/Zurich", "2026-10-24T21:55"),
    ("America/New_York", "2026-03-08T04:40"), ("America/New_York", "2026-11-01T03:00"),
    ("Australia/Lord_Howe", "2026-04-04T12:50"), ("Australia/Lord_Howe", "2026-10-03T13:20"),
    ("Asia/Kathmandu", "2026-12-31T18:00"), ("America/St_Johns", "2026-03-08T03:00"),
    ("America/St_Johns", "2028-02-29T03:20"), ("Africa/Cairo", "2026-04-23T21:30"), ("UTC", "2027-02-28T23:50"),
]  # fmt: skip
WINDOWS: dict[str, str | int] = {
    "hour": "h", "day": "d", "week": "w", "month": "m", "total": "t",
    "rolling:2h": 2 * HOUR, "rolling:1d": DAY, "rolling:90m": 90 * MINUTE,
}  # fmt: skip
SCOPES = {"a": "agent", "s": "session", "t": "tenant", "m": "model", "k": "resource", "l": "label"}
OWNERS = [
    "a", "a", "s", "s", "t", "t", "k:llm_tokens", "k:api_call", "m:gpt-4o", "m:gpt-4.1-nano", "m:gemini-2.5-flash-lite",
    "l:team=red", "l:team=blue", "l:project=x",
]  # fmt: skip
LABELS = [{}, {"team": "red"}, {"team": "blue"}, {"team": "red", "project": "x"}]
AGENTS = ["ann", "bob"]
MODELS = [None, None, None, "gpt-4o", "gpt-4.1-nano", "gemini-2.5-flash-lite"]
COSTS = [
    0, 1, USD // 2, USD, USD, 2 * USD + 1, 2_499_999_999, 3 * USD, 4 * USD, 5 * USD, 5 * USD + 1, 8 * USD, 26 * USD,
]  # fmt: skip
LIMITS = [0, 1, USD, 2 * USD, 5 * USD + 1, 10 * USD, 12 * USD, 40 * USD, 2_000_000 * USD]
STEPS = [
    1, SECOND, 59 * SECOND, 4 * MINUTE, 10 * MINUTE, 29 * MINUTE, 37 * MINUTE + 11, HOUR, 3 * HOUR + 7 * MINUTE,
    11 * HOUR, 90 * MINUTE, 2 * HOUR, DAY, DAY, DAY + HOUR, 6 * DAY, 27 * DAY, 75 * DAY, -1_500,
]  # fmt: skip
SCENES: list[list[tuple[str, str, int]]] = [
    [], [],
    [("a", "day", 900 * USD), ("t", "day", 900 * USD)],
    [("m:gpt-4.1-nano", "day", USD), ("m:gemini-2.5-flash-lite", "rolling:2h", 3 * USD)],
    [("t", "day", 40 * USD), ("t", "rolling:1d", 6 * USD), ("a", "hour", 5 * USD)],
    [("l:team=red", "week", 6 * USD), ("k:llm_tokens", "rolling:90m", 4 * USD), ("s", "day", 4 * USD)],
    [("a", "day", 40 * USD), ("a", "rolling:2h", 5 * USD + 1), ("m:gpt-4.1-nano", "total", 3 * USD)],
    [("a", "day", 40 * USD), ("t", "day", 900 * USD), ("a", "month", 12 * USD), ("k:api_call", "week", 5 * USD + 1)],
]
"""Limits at the start, so that each scope and window is the tightest somewhere."""
POLICIES = [(5 * USD, 1 << 60), (2 * USD, 9 * USD), (6 * USD, 7 * USD)]

costs, pick = st.sampled_from(COSTS), st.integers(0, 63)
side = st.sampled_from([False, False, False, True])
sometimes = precondition(lambda self: self.count % 3 == 0)
rarely = precondition(lambda self: self.count % 5 == 0)
granted = precondition(lambda self: any(record.key for one in self.sides for record in one.world.records.values()))
agents = st.sampled_from(AGENTS)
bearers = st.sampled_from(["", "", "", "own", "other"])


class Bench:
    """One server, connection and event loop, kept across examples."""

    def __init__(self, url: str) -> None:
        self.runner = asyncio.Runner()
        self.settings = private_settings(url=url)
        self.store: Store = self.runner.run(open_store(self.settings, virtual_time=True))
        self.plain = redis.Redis(unix_socket_path=unquote(url.removeprefix("unix://")), protocol=2)
        catalog = load_catalog(None)
        self.arbiter = Arbiter(catalog, Prices(catalog))

        self.sessions = 0
        self._new_session, governor.new_session = governor.new_session, self._numbered_session

    def _numbered_session(self) -> tuple[str, str]:
        """Sessions end in the order of their names when they end together, so chance must not choose the names."""
        self.sessions += 1
        sid = f"s{self.sessions:024x}"
        return sid, f"aegis_st_{sid}_{self.sessions:043}"

    def close(self) -> None:
        governor.new_session = self._new_session
        self.plain.close()
        self.runner.run(self.store.aclose())
        self.runner.close()

    def run(self, doing: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(doing)


class Side:
    """A tenant: its model, its governor, and what the harness remembers of both."""

    def __init__(self, bench: Bench, zone: str, now: int) -> None:
        self.bench, self.zone = bench, zone
        self.name = f"m-{uuid4().hex[:12]}"
        self.world = World(zone, TIMINGS, now)
        self.tokens: dict[str, str] = {}
        self.asked: dict[tuple[str, str], dict[str, Any]] = {}
        self.asks: dict[tuple[str, str], Ask] = {}
        self.policies: dict[tuple[str, str], int] = {}
        self.admitted: Record | None = None
        self.last_event = "-"
        self.image: dict[bytes, Any] = {}
        settings = private_settings(
            url=bench.settings.url, tenant=self.name, timezone=zone, grant_seconds=600, max_grant_seconds=3600,
            approval_seconds=900, idempotency_seconds=3600, session_idle_seconds=40 * 86_400, max_open_grants=6,
            agent_day_usd=10, tenant_day_usd=25,
        )  # fmt: skip
        self.governor: ResourceGovernor = bench.run(open_governor(bench.store, settings))
        self.governor._arbiter = bench.arbiter
        self.world.events.append(("tenant_opened",))

    def attempt(self, doing: Coroutine[Any, Any, Any], expected: Any) -> Any:
        """Run a call beside its model. A refusal by either must be a refusal by both, with the same code."""
        try:
            wanted: Any = expected()
        except Refused as refusal:
            wanted = refusal
        try:
            got = self.bench.run(doing)
        except StoreError as error:
            assert error.code == "stale", error
            got = error
            if error.facts.get("reason") == "script":
                raise
        except AegisError as error:
            got = error
        if isinstance(wanted, Refused) or isinstance(got, AegisError):
            assert isinstance(got, AegisError), f"went through, not {wanted.args[0]}: {got}"
            assert isinstance(wanted, Refused), f"{got.code}: {got}"
            assert got.code == wanted.args[0]
            return None, None
        return got, wanted

    def bearer(self, kind: str, agent: str, number: int) -> str | None:
        """A session whose token the call carries."""
        if not kind:
            return None
        known = sorted(self.tokens, key=list(self.tokens).index)
        whose = [sid for sid in known if (self.owner[sid] == agent) == (kind == "own")]
        return whose[number % len(whose)] if whose else None

    @property
    def owner(self) -> dict[str, str]:
        return {sid: self.owners[sid] for sid in self.tokens}

    owners: dict[str, str]


class BudgetMachine(RuleBasedStateMachine):
    """Two tenants with the same agent names on one clock. `bench` is set by `machine_on`."""

    bench: ClassVar[Bench]
    examples: ClassVar[int]
    steps: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        type(self).examples += 1
        self.sides: list[Side] = []
        self.count = 0

    # --- the beginning and the end

    @initialize(
        first=st.sampled_from(STARTS), second=st.sampled_from(STARTS), shift=st.integers(0, 7_200_000),
        labels=st.sampled_from(LABELS),
        scene=st.sampled_from(SCENES),
    )  # fmt: skip
    def begin(
        self, first: tuple[str, str], second: tuple[str, str], shift: int, labels: dict[str, str],
        scene: list[tuple[str, str, int]],
    ) -> None:  # fmt: skip
        self.now = int(datetime.fromisoformat(first[1]).replace(tzinfo=UTC).timestamp()) * 1000 + shift
        self._set_clock()
        self.bench.sessions = 0
        for zone in (first[0], second[0]):
            one = Side(self.bench, zone, self.now)
            one.owners = {}
            self.sides.append(one)
        for one in self.sides:
            for agent in AGENTS:
                self._handshake(one, agent, 5, (), None)
        self._label(self.sides[0], AGENTS[0], labels)
        for owner, window, limit in scene:
            self._set_limit(self.sides[0], owner, AGENTS[0], 0, window, limit)

    def teardown(self) -> None:
        for one in self.sides:
            self.bench.run(one.governor.aclose())
            if keys := self.bench.plain.keys(f"ae:{{{one.name}}}:*"):
                self.bench.plain.delete(*keys)

    def _set_clock(self) -> None:
        self.bench.plain.set(layout.CLOCK_KEY, self.now)
        for one in self.sides:
            one.world.now = self.now

    def _one(self, which: bool) -> Side:
        self.count += 1
        type(self).steps += 1
        return self.sides[which]

    # --- time

    @rule(by=st.sampled_from(STEPS))
    def wait(self, by: int) -> None:
        self.now += by
        self._set_clock()

    @rule(which=side, early=st.sampled_from([0, 0, 1]))
    def wait_for_a_deadline(self, which: bool, early: int) -> None:
        deadlines = [r.deadline for r in self.sides[which].world.records.values() if r.open and r.deadline > self.now]
        if deadlines:
            self.now = min(deadlines) - early
            self._set_clock()

    @rule(which=side, kind=st.sampled_from(["h", "d", "d", "w", "m", DAY, 2 * HOUR]), off=st.sampled_from([-1, 0, 0, 1]))
    def wait_for_a_window(self, which: bool, kind: str | int, off: int) -> None:
        self.now = end_of(kind, self.now, self.sides[which].world.zone) + off
        self._set_clock()

    # --- administration

    @sometimes
    @rule(
        which=side, agent=agents, priority=st.sampled_from([3, 5, 8]), web=st.booleans(),
        limit=st.sampled_from([None, None, *LIMITS[:6]]),
    )  # fmt: skip
    def handshake(self, which: bool, agent: str, priority: int, web: bool, limit: int | None) -> None:
        one = self._one(which)
        if len(one.tokens) < 40:
            self._handshake(one, agent, priority, ("web",) if web else (), limit)

    def _handshake(self, one: Side, agent: str, priority: int, abilities: tuple[str, ...], limit: int | None) -> None:
        money = None if limit is None else Decimal(limit).scaleb(-9)
        message = Handshake(agent_id=agent, max_priority=priority, capabilities=abilities, session_budget_usd=money)
        opened = self.bench.run(one.governor.handshake(message))
        one.tokens[opened.session_id], one.owners[opened.session_id] = opened.session_token, agent
        one.world.handshake(agent, opened.session_id, priority, abilities, limit)
        budgets = one.world.budgets_of(agent)
        assert {(line.scope, line.window): (_nanos(line.limit_usd), _nanos(line.remaining_usd)) for line in opened.budgets} == {
            (SCOPES[o], _window(k)): (b.limit, max(0, b.limit - b.used)) for (o, k), b in budgets.items() if o in "ast"
        }

    @sometimes
    @rule(which=side, owner=st.sampled_from(OWNERS), agent=agents, number=pick, window=st.sampled_from(sorted(WINDOWS)),
          limit=st.sampled_from(LIMITS))  # fmt: skip
    def set_limit(self, which: bool, owner: str, agent: str, number: int, window: str, limit: int) -> None:
        self._set_limit(self._one(which), owner, agent, number, window, limit)

    def _set_limit(self, one: Side, owner: str, agent: str, number: int, window: str, limit: int) -> None:
        session = sorted(one.tokens, key=list(one.tokens).index)[number % len(one.tokens)] if owner == "s" else None
        name = {"a": agent, "s": session, "t": "tenant"}.get(owner) or owner[2:]
        got, budget = one.attempt(
            one.governor.set_budget(SCOPES[owner[0]], name, window, Decimal(limit).scaleb(-9)),
            lambda: one.world.set_limit(owner, agent if owner == "a" else None, session, WINDOWS[window], limit),
        )
        if got is not None:
            self._same_state(one, got, budget)

    @rarely
    @rule(which=side, agent=agents, labels=st.sampled_from(LABELS))
    def label(self, which: bool, agent: str, labels: dict[str, str]) -> None:
        self._label(self._one(which), agent, labels)

    def _label(self, one: Side, agent: str, labels: dict[str, str]) -> None:
        self.bench.run(one.governor.label_agent(agent, labels, author="test"))
        one.world.label(agent, sorted(f"{key}={value}" for key, value in labels.items()))

    @rarely
    @rule(which=side, policy=st.sampled_from(POLICIES))
    def publish(self, which: bool, policy: tuple[int, int]) -> None:
        """Through another process's governor, so that this one learns of it from a control answer."""
        one = self._one(which)
        document = default_policy().document
        if policy != POLICIES[0]:
            document = _policy(*policy)
        compiled = compile_policy(msgpack.unpackb(msgpack.packb(_json(document))))
        self.bench.run(one.governor._ledger.publish_policy(compiled.document, compiled.digest, "test"))
        one.world.publish(*policy)

    # --- decisions

    @rule(which=side, agent=agents, cost=st.sampled_from(COSTS[:10]), model=st.sampled_from(MODELS), density=st.sampled_from([1, 1, 5]))
    def ask(self, which: bool, agent: str, cost: int, model: str | None, density: int) -> None:
        one = self._one(which)
        fields = {
            "agent_id": agent, "task_intent": "Summarise it", "resource_type": "llm_tokens" if cost % 3 else "api_call",
            "estimated_cost_usd": Decimal(cost).scaleb(-9), "logic_density": density, "request_id": f"q{self.count}",
        }  # fmt: skip
        self._ask(one, {**fields, "model": model} if cost % 3 else fields, None, 0)

    ask_more = ask_often = ask_and_ask = ask  # rules are drawn evenly, and most of what happens are requests

    @rule(
        which=side, agent=agents, cost=costs, priority=st.sampled_from([5, 5, 5, 3, 6, 9]),
        resource=st.sampled_from(["llm_tokens", "llm_tokens", "llm_tokens", "api_call", "compute", "wallet_lock"]),
        intent=st.sampled_from(["Summarise it"] * 5 + ["Drop database x"]),
        confidence=st.sampled_from([None, None, None, 0.9, 0.5]),
        model=st.sampled_from(MODELS),
        density=st.sampled_from([1, 1, 5]), sized=st.sampled_from([False, False, True]),
        capability=st.sampled_from([None, None, None, "web"]), session=st.sampled_from([None, None, "own", "other"]),
        number=pick, bearer=bearers, age=st.sampled_from([None, None, None, 0, -HOUR, HOUR, HOUR + 1]),
    )  # fmt: skip
    def ask_oddly(self, which: bool, agent: str, session: str | None, number: int, bearer: str, age: int | None, **how: Any) -> None:
        one = self._one(which)
        fields: dict[str, Any] = {
            "agent_id": agent, "task_intent": how["intent"], "resource_type": how["resource"], "priority": how["priority"],
            "estimated_cost_usd": Decimal(how["cost"]).scaleb(-9), "logic_density": how["density"],
            "confidence": how["confidence"], "capability": how["capability"],
        }  # fmt: skip
        if how["resource"] == "llm_tokens":
            fields["model"] = how["model"]
            if how["sized"]:
                fields |= {"prompt_bytes": 4_000_000, "max_output_tokens": 30_000}
        sid = one.bearer(session or "", agent, number)
        token = one.bearer(bearer, agent, number)
        if sid is not None and token is not None:
            sid = token
        born = 0 if age is None else self.now - age
        request_id = f"q{self.count}" if age is None else _uuid7(born, self.count)
        self._ask(one, {**fields, "session_id": sid, "request_id": request_id}, token, born)

    def _ask(self, one: Side, fields: dict[str, Any], bearer: str | None, born: int) -> None:
        request = PermissionRequest(**fields)
        ask = self._as_ask(request, born)
        key = (request.agent_id, str(request.request_id))
        token = None if bearer is None else one.tokens[bearer]

        def expected() -> tuple[Record, bool]:
            record, new = one.world.request(ask, bearer)
            if new:
                one.asked[key], one.asks[key], one.policies[key] = fields, ask, one.world.policy
            return record, new

        # The model names records as the store does, because equal deadlines are swept in the order of names.
        got, found = one.attempt(one.governor.request_permission(request, token=token), expected)
        if got is not None:
            record, new = found
            if got.grant_id is not None:
                record.key = got.grant_id.removeprefix("gr_")
            self._same_verdict(got, record, one.policies[key])
            one.admitted = record if new and record.open else None

    def _as_ask(self, request: PermissionRequest, born: int) -> Ask:
        appraisal = self.bench.arbiter.appraise(request)
        candidates = tuple(
            Candidate(appraisal.recommended if request.model else c.model, c.model, c.nanos) for c in appraisal.candidates
        )
        code = None if candidates else "no_model"
        if request.resource_type == "wallet_lock":
            code = "locks_unavailable"
        shaky = request.confidence is not None and request.confidence < 0.7
        effect = "deny" if request.task_intent.startswith("Drop") else "escalate" if shaky else "allow"
        content = request.model_dump(exclude={"agent_id", "session_id", "request_id"})
        return Ask(
            request.agent_id, str(request.request_id), tuple(map(repr, content.items())), request.session_id,
            request.priority, request.resource_type, candidates or (Candidate(None, None, 0),), effect, code, born,
            request.capability,
        )  # fmt: skip

    @granted
    @rule(which=side, number=pick, change=st.sampled_from([None, None, "estimated_cost_usd", "priority", "task_intent"]), bearer=bearers)
    def ask_again(self, which: bool, number: int, change: str | None, bearer: str) -> None:
        one = self._one(which)
        if not one.asked:
            return
        key = list(one.asked)[number % len(one.asked)]
        fields = dict(one.asked[key])
        if change is not None:
            other = {"estimated_cost_usd": Decimal("0.25"), "priority": 4, "task_intent": "Summarise that"}
            fields[change] = other[change]
        token = one.bearer(bearer, key[0], number)
        if token is not None:
            fields["session_id"] = token
        self._ask(one, fields, token, one.asks[key].born)

    # --- what becomes of grants

    def _grant(self, one: Side, number: int, *, open_first: bool = True) -> Record | None:
        known = [record for record in one.world.records.values() if record.key]
        if open_first and number % 4:
            known = [record for record in known if record.open] or known
        return known[number % len(known)] if known else None

    @granted
    @rule(which=side, number=pick, cost=st.sampled_from(["same", "same", *COSTS]), bearer=bearers, named=st.sampled_from([True, True, False]))
    def settle(self, which: bool, number: int, cost: int | str, bearer: str, named: bool) -> None:
        one = self._one(which)
        record = self._grant(one, number)
        if record is not None:
            self._settle(one, record, record.amount if isinstance(cost, str) else cost, number, bearer, named)

    @granted
    @rule(which=side, number=pick, other=st.booleans())
    def settle_again(self, which: bool, number: int, other: bool) -> None:
        one = self._one(which)
        ended = [record for record in one.world.records.values() if record.key and not record.open]
        if ended:
            record = ended[number % len(ended)]
            known = record.settled if isinstance(record.settled, int) else record.amount
            self._settle(one, record, known + 7 if other else known, number, "", True)

    def _settle(self, one: Side, record: Record, cost: int, number: int, bearer: str, named: bool) -> None:
        agent = record.ask.agent if named else None
        carried = one.bearer(bearer, record.ask.agent, number)
        message = SettleRequest(agent_id=agent, cost_usd=Decimal(cost).scaleb(-9))
        got, found = one.attempt(
            one.governor.settle(f"gr_{record.key}", message, token=carried and one.tokens[carried]),
            lambda: one.world.settle(record, cost, agent, carried),
        )
        if got is not None:
            assert (got.repeated, got.late) == found
            self._same_receipt(got, record)

    @granted
    @rule(which=side, number=pick, bearer=bearers, mine=st.sampled_from([True, True, True, False]))
    def release(self, which: bool, number: int, bearer: str, mine: bool) -> None:
        one = self._one(which)
        record = self._grant(one, number)
        if record is None:
            return
        agent = record.ask.agent if mine else next(name for name in AGENTS if name != record.ask.agent)
        carried = one.bearer(bearer, record.ask.agent, number)
        got, repeated = one.attempt(
            one.governor.release(f"gr_{record.key}", ReleaseRequest(agent_id=agent), token=carried and one.tokens[carried]),
            lambda: one.world.release(record, agent, carried),
        )
        if got is not None:
            assert got.repeated == repeated
            self._same_receipt(got, record)

    @granted
    @rule(which=side, number=pick, seconds=st.sampled_from([1, 600, 1_200, 7_200]), bearer=bearers)
    def extend(self, which: bool, number: int, seconds: int, bearer: str) -> None:
        one = self._one(which)
        record = self._grant(one, number)
        if record is None:
            return
        carried = one.bearer(bearer, record.ask.agent, number)
        message = ExtendRequest(agent_id=record.ask.agent, seconds=seconds)
        got, repeated = one.attempt(
            one.governor.extend(f"gr_{record.key}", message, token=carried and one.tokens[carried]),
            lambda: one.world.extend(record, seconds * 1000, record.ask.agent, carried),
        )
        if got is not None:
            assert got.repeated == repeated
            self._same_receipt(got, record)

    @granted
    @rule(which=side, number=pick)
    def look(self, which: bool, number: int) -> None:
        one = self._one(which)
        record = self._grant(one, number, open_first=False)
        if record is not None:
            one.world.look(record)
            got = self.bench.run(one.governor.wait_for(f"gr_{record.key}", 0))
            self._same_verdict(got, record, one.policies[record.ask.agent, record.ask.request])

    @rarely
    @rule(which=side, number=pick)
    def grants_of_the_other_tenant_are_unknown(self, which: bool, number: int) -> None:
        one = self._one(which)
        theirs = self._grant(self.sides[not which], number)
        if theirs is not None and theirs.key not in {record.key for record in one.world.records.values()}:
            got, _ = one.attempt(
                one.governor.settle(f"gr_{theirs.key}", SettleRequest(cost_usd=Decimal(1))), lambda: self._refuse("not_found")
            )
            assert got is None

    def _refuse(self, code: str) -> None:
        raise Refused(code)

    @sometimes
    @rule(which=side, most=st.sampled_from([1, 3, 200]))
    def sweep(self, which: bool, most: int) -> None:
        one = self._one(which)
        assert self.bench.run(one.governor._ledger.sweep(most)) == one.world.sweep(most)

    @sometimes
    @rule(which=side, agent=st.sampled_from([*AGENTS, None]))
    def read_budgets(self, which: bool, agent: str | None) -> None:
        one = self._one(which)
        one.world.sweep()
        if agent is None:
            states = self.bench.run(one.governor.shared_budgets())
        else:
            states = self.bench.run(one.governor.budget(agent)).budgets
        budgets = one.world.budgets_of(agent)
        assert {(state.scope, _key(state.scope, state.name), state.window) for state in states} == {
            (SCOPES[owner[0]], owner[2:], _window(kind)) for owner, kind in budgets
        }
        for state in states:
            letter = next(letter for letter, scope in SCOPES.items() if scope == state.scope)
            owner = letter if letter in "ast" else f"{letter}:{state.name}"
            self._same_state(one, state, budgets[owner, WINDOWS[state.window]])

    # --- comparisons

    def _same_verdict(self, got: Verdict, record: Record, policy: int) -> None:
        code = record.code
        if record.escalated:
            code = {"pending": "approval_needed", "timed_out": "approval_timed_out", "released": "withdrawn"}[record.state]
        refused = record.state == "rejected"
        assert (got.status, got.code, got.state) == (record.status, code, record.state)
        assert _nanos(got.reserved_usd) == (0 if refused else record.amount)
        assert got.recommended_model == record.recommended
        assert got.policy_version == policy
        assert (got.grant_id is None) == refused
        assert {(line.scope, _key(line.scope, line.name), line.window): (_nanos(line.limit_usd), _nanos(line.remaining_usd))
                for line in got.budgets} == {
            (SCOPES[owner[0]], owner[2:], _window(kind)): (limit, max(0, left))
            for (owner, kind), (limit, left) in record.lines.items()
        }  # fmt: skip
        assert _nanos(got.remaining_budget_usd) == max(0, record.lines["a", "d"][1])
        assert got.retry_after_seconds == (max(0, record.retry - record.created) / 1000 if record.retry else None)
        assert (_ms(got.expires_at) if got.expires_at else None) == (record.deadline if record.open else None)

    def _same_receipt(self, got: Any, record: Record) -> None:
        assert got.state == record.state
        assert (_nanos(got.reserved_usd), _nanos(got.charged_usd)) == (record.amount, record.charged)
        assert got.charged_usd + got.returned_usd == (0 if record.open else got.reserved_usd + got.overrun_usd)
        assert (_ms(got.expires_at) if got.expires_at else None) == (record.deadline if record.open else None)

    def _same_state(self, one: Side, got: Any, budget: Budget) -> None:
        spent, reserved = budget.total(budget.spent), budget.total(budget.reserved)
        assert (_nanos(got.limit_usd), _nanos(got.spent_usd), _nanos(got.reserved_usd)) == (budget.limit, spent, reserved)
        assert _nanos(got.remaining_usd) == max(0, budget.limit - budget.used)
        assert (_ms(got.resets_at) if got.resets_at else 0) == end_of(budget.kind, self.now, one.world.zone)

    # --- the walk

    @invariant()
    def every_key_is_in_order(self) -> None:
        for one in self.sides:
            names = self.bench.plain.keys(f"ae:{{{one.name}}}:*")
            image = self._image(one, names)
            if one.world.events or image != one.image:
                self._check_events(one)
                self._check_keys(one, image)
            one.image = image
            one.admitted = None

    def _image(self, one: Side, names: list[bytes]) -> dict[bytes, Any]:
        reader = self.bench.plain.pipeline(transaction=False)
        prefix = len(f"ae:{{{one.name}}}:")
        short = sorted(name[prefix:] for name in names)
        for name in short:
            full = layout.key(one.name, name.decode())
            kind = name[:2]
            if kind in {b"d", b"ag", b"as"}:
                reader.zrange(full, 0, -1, withscores=True)
            elif kind in {b"u:"}:
                reader.hgetall(full)
            elif kind == b"bs":
                reader.smembers(full)
            elif name == b"e":
                reader.xlen(full)
            else:
                reader.get(full)
            reader.pttl(full)
        answers = reader.execute()
        return {name: (answers[2 * i], answers[2 * i + 1] > -1) for i, name in enumerate(short)} | {
            b"ttl": {name: answers[2 * i + 1] for i, name in enumerate(short) if name[:1] in b"ru"}
            if one.world.events
            else one.image.get(b"ttl")
        }

    def _check_events(self, one: Side) -> None:
        entries: Any = self.bench.plain.xrange(layout.key(one.name, "e"), one.last_event, "+")
        told = [_event(fields) for _, fields in entries]
        expected, one.world.events = one.world.events, []
        assert told == expected
        if entries:
            one.last_event = f"({entries[-1][0].decode()}"

    def _check_keys(self, one: Side, image: dict[bytes, Any]) -> None:
        world = one.world
        ttl = image[b"ttl"] or {}
        purses: dict[tuple[str, str | None], list[Any]] = {}
        open_records: dict[bytes, Any] = {}
        bill: dict[tuple[int, str], int] = {}
        open_counts: dict[str, int] = {}
        ended = set()
        for name, entry in image.items():
            if name == b"ttl":
                continue
            value, expires = entry
            head, _, tail = name.decode().partition(":")
            assert expires == (head == "u" or (head == "r" and _field("RECORD", value, "STATE") not in {"G", "P"})), name
            if head == "r":
                record = _record(value)
                if record["STATE"] in {"G", "P"}:
                    open_records[tail.encode()] = record
                else:
                    transient = record["CODE"] in {"budget_exceeded", "too_many_open_grants"}
                    assert ttl.get(name, 1) <= (TRANSIENT if transient else TIMINGS.keep), name
                    ended.add((record["AGENT"], record["REQUEST"]))
            elif head == "a":
                purses["a", tail] = _field("AGENT", value, "PURSE")
                open_counts[tail] = _field("AGENT", value, "OPEN")
            elif head == "s":
                purses["s", tail] = _field("SESSION", value, "PURSE")
            elif head == "b":
                purses[tail, None] = msgpack.unpackb(value)
            elif head == "t":
                purses["t", None] = _field("TENANT", value, "PURSE")
            elif head == "u":
                assert ttl.get(name, 1) <= 400 * DAY
                bill |= {(int(tail), field.decode()): int(number) for field, number in value.items()}
            else:
                assert head in {"d", "e", "ag", "as", "bs", "p"}, f"{name!r} is not documented"
        self._check_records(world, open_records, ended, image, open_counts)
        assert bill == {
            (day, "\t".join((*row, sort))): number
            for (day, *row), numbers in world.bill.items()
            for sort, number in zip("$n", numbers, strict=True)
        }
        self._check_money(one, purses, list(open_records.values()))

    def _check_records(
        self, world: World, open_records: dict[bytes, Any], ended: set[Any], image: dict[bytes, Any], counts: dict[str, int]
    ) -> None:
        assert {(r["AGENT"], r["REQUEST"]): r["DEADLINE"] for r in open_records.values()} == {
            key: record.deadline for key, record in world.records.items() if record.open
        }
        assert ended == {key for key, record in world.records.items() if not record.open}
        due = {f"r:{key.decode()}".encode(): r["DEADLINE"] for key, r in open_records.items()}
        due |= {f"s:{sid}".encode(): session.due for sid, session in world.sessions.items()}
        assert dict(image.get(b"d", ([],))[0]) == due
        open_now: dict[str, int] = defaultdict(int)
        for agent, _ in [key for key, record in world.records.items() if record.open]:
            open_now[agent] += 1
        assert counts == {agent: open_now[agent] for agent in world.agents}

    def _check_money(self, one: Side, purses: dict[tuple[str, str | None], list[Any]], open_records: list[Any]) -> None:
        """Reserved is what open grants hold in that window; an admission leaves no budget above its limit."""
        held: dict[tuple[Any, ...], int] = defaultdict(int)
        for record in open_records:
            flat = iter(record["LINES"])
            for owner, kind, window, _, _ in zip(flat, flat, flat, flat, flat, strict=True):
                name = {"a": record["AGENT"], "s": record["SESSION"]}.get(owner)
                held[owner, name, kind, window] += record["AMOUNT"]
        budgets = one.world.every_budget()
        seen = set()
        for (owner, name), purse in purses.items():
            for packed in purse:
                kind, limit, window, spent, reserved, _, ring = packed
                seen.add((owner, name, kind))
                assert limit == budgets[owner, name, kind].limit
                if ring is False:
                    assert reserved == held[owner, name, kind, window], (owner, name, kind)
                else:
                    cells = {ring[at]: ring[at + 1 : at + 3] for at in range(0, len(ring), 3)}
                    assert min(cells, default=window) >= window - CELLS
                    assert (spent, reserved) == tuple(sum(cell[i] for cell in cells.values()) for i in (0, 1))
                    for cell, (_, kept) in cells.items():
                        assert kept == held[owner, name, kind, cell], (owner, name, kind)
                if one.admitted is not None and (owner, kind) in one.admitted.lines and self._applied(one.admitted, owner, name):
                    assert spent + reserved <= limit, f"admitted above the limit of {owner} {name} {kind}"
                    budget = budgets[owner, name, kind]
                    assert (spent, reserved) == (budget.total(budget.spent), budget.total(budget.reserved))
        assert seen == set(budgets)

    def _applied(self, record: Record, owner: str, name: str | None) -> bool:
        return name == {"a": record.ask.agent, "s": record.session}.get(owner)


def machine_on(bench: Bench) -> type[BudgetMachine]:
    """The machine on one server, with counters of its own."""
    return type("BudgetMachineOnServer", (BudgetMachine,), {"bench": bench, "examples": 0, "steps": 0})


def _uuid7(born: int, number: int) -> str:
    return f"{born >> 16:08x}-{born & 0xFFFF:04x}-7000-8000-{number:012x}"


def _policy(escalate_above: int, deny_above: int) -> str:
    import json

    rules = json.loads(default_policy().document)["rules"]
    rules = [each for each in rules if each["type"] != "max_cost"]
    for name, effect, limit in (("much", "escalate", escalate_above), ("most", "deny", deny_above)):
        rules.append({"name": name, "type": "max_cost", "effect": effect, "limit_usd": str(Decimal(limit).scaleb(-9))})
    return json.dumps({"schema": 1, "rules": rules})


def _json(document: str) -> Any:
    import json

    return json.loads(document)


def _nanos(amount: Decimal) -> int:
    nanos = amount.scaleb(9)
    assert nanos == int(nanos)
    return int(nanos)


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _window(kind: str | int) -> str:
    return next(name for name, known in WINDOWS.items() if known == kind)


def _key(scope: str, name: str) -> str:
    return name if scope in {"model", "resource", "label"} else ""


def _record(blob: bytes) -> dict[str, Any]:
    return dict(zip(layout.RECORD, msgpack.unpackb(blob), strict=True))


def _field(what: str, blob: bytes, name: str) -> Any:
    names: tuple[str, ...] = getattr(layout, what)
    return dict(zip(names, msgpack.unpackb(blob), strict=True))[name]


def _event(fields: dict[bytes, bytes]) -> tuple[Any, ...]:
    kind, body = fields[b"k"].decode(), msgpack.unpackb(fields[b"b"])
    if len(body) == len(layout.RECORD):
        record = dict(zip(layout.RECORD, body, strict=True))
        return (kind, record["AGENT"], record["REQUEST"], record["CODE"], record["AMOUNT"], record["CHARGED"])
    body = [None if value is False else value for value in body[1:]]
    match kind:
        case "handshake" | "session_closed":
            return (kind, *body[:2])
        case "budget_set":
            return (kind, *body[:6])
        case "agent_labelled":
            return (kind, body[0], *body[1])
        case "policy_published":
            return (kind, body[0])
        case "tenant_opened":
            return (kind,)
    return (kind, *body)


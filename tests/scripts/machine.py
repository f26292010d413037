"""The state machine: the governor on a real server does what the model does, step by step, in two tenants at once.

After every step the keyspace is walked: what is reserved is what open grants hold, open records have no expiry and
ended ones have, each act left exactly its events, and the tenant that was not addressed is untouched to the byte.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition

from aegis_core.policy.loading import default_policy, load_policy
from aegis_core.protocol.errors import AuthError
from aegis_core.protocol.messages import (
    ExtendRequest,
    Handshake,
    PermissionRequest,
    ReleaseRequest,
    SettleRequest,
    Verdict,
)
from aegis_core.store import layout

from . import walk
from .bench import DAY, HOUR, MINUTE, SECOND, USD, Bench, Side
from .model import Ask, Budget, Candidate, Record, Refused, end_of
from .recording import first_step, step

ESCALATED = {"pending": "approval_needed", "timed_out": "approval_timed_out", "released": "withdrawn"}
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
    11 * HOUR, 90 * MINUTE, 2 * HOUR, DAY, DAY, DAY + HOUR, 6 * DAY, 27 * DAY, 75 * DAY, -1_500, -3 * HOUR, -2 * DAY,
]  # fmt: skip
SCENES: list[list[tuple[str, str, int]]] = [
    [],
    [],
    [("a", "day", 900 * USD), ("t", "day", 900 * USD)],
    [("a", "day", 900 * USD), ("t", "day", 12 * USD)],
    [("a", "day", 900 * USD), ("t", "day", 900 * USD), ("t", "hour", 12 * USD), ("t", "month", 40 * USD)],
    [("m:gpt-4.1-nano", "day", USD), ("m:gemini-2.5-flash-lite", "rolling:2h", 3 * USD)],
    [("t", "day", 40 * USD), ("t", "rolling:1d", 6 * USD), ("a", "hour", 5 * USD)],
    [("l:team=red", "week", 6 * USD), ("k:llm_tokens", "rolling:90m", 4 * USD), ("s", "day", 4 * USD)],
    [("a", "day", 40 * USD), ("a", "rolling:2h", 5 * USD + 1), ("m:gpt-4.1-nano", "total", 3 * USD)],
    [("a", "day", 40 * USD), ("t", "day", 900 * USD), ("a", "month", 12 * USD), ("k:api_call", "week", 5 * USD + 1)],
]
"""Limits at the start, so that each scope and window is the tightest somewhere, and so that an agent's questions reach
half of a budget that it shares before they use it up."""
POLICIES = [(5 * USD, 1 << 60), (2 * USD, 3 * USD + 1), (6 * USD, 4 * USD - 1)]

costs, pick = st.sampled_from(COSTS), st.integers(0, 63)
side = st.sampled_from([False, False, False, True])
sometimes = precondition(lambda self: self.count % 3 == 0)
rarely = precondition(lambda self: self.count % 5 == 0)
granted = precondition(lambda self: any(record.key for one in self.sides for record in one.world.records.values()))
agents = st.sampled_from(AGENTS)
bearers = st.sampled_from(["", "", "", "own", "other"])


class BudgetMachine(RuleBasedStateMachine):
    """Two tenants with the same agent names on one clock. `bench` is set by `machine_on`."""

    bench: ClassVar[Bench]
    examples: ClassVar[int]
    steps: ClassVar[int]
    looks: ClassVar[tuple[str, ...]] = ("every_key_is_in_order",)

    def __init__(self) -> None:
        super().__init__()
        type(self).examples += 1
        self.sides: list[Side] = []
        self.count = 0
        self.addressed: Side | None = None

    # --- the beginning and the end

    @first_step(
        first=st.sampled_from(STARTS), second=st.sampled_from(STARTS), shift=st.integers(0, 7_200_000),
        labels=st.sampled_from(LABELS),
        scene=st.sampled_from(SCENES), policy=st.sampled_from(POLICIES),
    )  # fmt: skip
    def begin(
        self, first: tuple[str, str], second: tuple[str, str], shift: int, labels: dict[str, str],
        scene: list[tuple[str, str, int]], policy: tuple[int, int],
    ) -> None:  # fmt: skip
        self.now = int(datetime.fromisoformat(first[1]).replace(tzinfo=UTC).timestamp()) * 1000 + shift
        self._set_clock()
        self.bench.sessions = 0
        for zone in (first[0], second[0]):
            self.sides.append(Side(self.bench, zone, self.now))
        for one in self.sides:
            for agent in AGENTS:
                self._handshake(one, agent, 5, (), None)
        self._label(self.sides[0], AGENTS[0], labels)
        for owner, window, limit in scene:
            self._set_limit(self.sides[0], owner, AGENTS[0], 0, window, limit)
        self._publish(self.sides[0], policy)
        for one in self.sides:
            image, ttl = walk.read(one)
            walk.check_events(one)
            walk.check_keys(one, image, ttl)
            one.image = image

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
        self.addressed = self.sides[which]
        return self.addressed

    # --- time

    @step(by=st.sampled_from(STEPS))
    def wait(self, by: int) -> None:
        self.wait_for(by)

    def wait_for(self, by: int) -> None:
        if by < 0:
            for one in self.sides:
                stored, budgets = walk.windows(one), one.world.every_budget()
                for whose, window in stored.items():
                    budgets[whose].adopt(window, one.world.zone)
        self.now += by
        self._set_clock()

    @step(which=side, early=st.sampled_from([0, 0, 1]))
    def wait_for_a_deadline(self, which: bool, early: int) -> None:
        deadlines = [r.deadline for r in self.sides[which].world.records.values() if r.open and r.deadline > self.now]
        if deadlines:
            self.now = min(deadlines) - early
            self._set_clock()

    @step(
        which=side, kind=st.sampled_from(["h", "d", "d", "w", "m", DAY, 2 * HOUR]), off=st.sampled_from([-1, 0, 0, 1])
    )
    def wait_for_a_window(self, which: bool, kind: str | int, off: int) -> None:
        self.now = end_of(kind, self.now, self.sides[which].world.zone) + off
        self._set_clock()

    @step(which=side, number=pick)
    def wait_a_whole_span(self, which: bool, number: int) -> None:
        """From one cell of a rolling window to the same one of the next."""
        spans = [kind for _, _, kind in self.sides[which].world.every_budget() if isinstance(kind, int)]
        if spans:
            self.wait_for(spans[number % len(spans)])

    # --- administration

    @sometimes
    @step(
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
        try:
            opened = self.bench.run(one.governor.handshake(message))
        except AuthError as error:
            raise AssertionError("a handshake in the governor's own process is never refused") from error
        one.tokens[opened.session_id], one.owners[opened.session_id] = opened.session_token, agent
        one.world.handshake(agent, opened.session_id, priority, abilities, limit)
        budgets = one.world.budgets_of(agent)
        said = {(line.scope, line.window): (line.limit_usd, line.remaining_usd) for line in opened.budgets}
        assert {line: tuple(map(_nanos, money)) for line, money in said.items()} == {
            (SCOPES[o], _window(k)): (b.limit, max(0, b.limit - b.used)) for (o, k), b in budgets.items() if o in "ast"
        }

    @sometimes
    @step(which=side, owner=st.sampled_from(OWNERS), agent=agents, number=pick, window=st.sampled_from(sorted(WINDOWS)),
          limit=st.sampled_from(LIMITS))  # fmt: skip
    def set_limit(self, which: bool, owner: str, agent: str, number: int, window: str, limit: int) -> None:
        self._set_limit(self._one(which), owner, agent, number, window, limit)

    def _set_limit(self, one: Side, owner: str, agent: str, number: int, window: str, limit: int) -> None:
        session = list(one.tokens)[number % len(one.tokens)] if owner == "s" else None
        name = {"a": agent, "s": session, "t": "tenant"}.get(owner) or owner[2:]
        got, budget = one.attempt(
            one.governor.set_budget(SCOPES[owner[0]], name, window, Decimal(limit).scaleb(-9)),
            lambda: one.world.set_limit(owner, agent if owner == "a" else None, session, WINDOWS[window], limit),
        )
        if got is not None:
            self._same_state(one, got, budget)

    @sometimes
    @step(which=side, number=pick)
    def reset_a_budget(self, which: bool, number: int) -> None:
        one = self._one(which)
        budgets = one.world.every_budget()
        (owner, name, kind), budget = list(budgets.items())[number % len(budgets)]
        whose = {"a": name, "s": name, "t": "tenant"}.get(owner) or owner[2:]
        operator = one.governor.operator
        got = self.bench.run(operator.reset_budget(SCOPES[owner[0]], whose, _window(kind), author="test"))
        assert (_nanos(got.spent_usd), _nanos(got.held_usd)) == one.world.reset(budget)
        self._same_state(one, got.budget, budget)

    @sometimes
    @step(which=side, number=pick, limit=st.sampled_from(LIMITS))
    def change_a_limit(self, which: bool, number: int, limit: int) -> None:
        one = self._one(which)
        budgets = one.world.every_budget()
        self._change(one, list(budgets)[number % len(budgets)], limit)

    @sometimes
    @step(which=side, number=pick, more=st.sampled_from([0, 1, USD // 10]))
    def raise_a_limit_that_was_reached(self, which: bool, number: int, more: int) -> None:
        """To one that what was spent reaches as well, or nearly."""
        one = self._one(which)
        spent = {key: budget.total(budget.spent) for key, budget in one.world.every_budget().items()}
        reached = [key for key, budget in one.world.every_budget().items() if 0 < budget.limit <= spent[key]]
        if reached:
            key = reached[number % len(reached)]
            self._change(one, key, spent[key] + more)

    def _change(self, one: Side, key: tuple[str, str | None, str | int], limit: int) -> None:
        owner, name, kind = key
        agent = name if owner == "a" and name else AGENTS[0]
        session = list(one.tokens).index(name) if owner == "s" and name else 0
        self._set_limit(one, owner, agent, session, _window(kind), limit)

    @rarely
    @step(which=side, agent=agents, labels=st.sampled_from(LABELS))
    def label(self, which: bool, agent: str, labels: dict[str, str]) -> None:
        self._label(self._one(which), agent, labels)

    def _label(self, one: Side, agent: str, labels: dict[str, str]) -> None:
        self.bench.run(one.governor.label_agent(agent, labels, author="test"))
        one.world.label(agent, sorted(f"{key}={value}" for key, value in labels.items()))

    @rarely
    @step(which=side, policy=st.sampled_from(POLICIES))
    def publish(self, which: bool, policy: tuple[int, int]) -> None:
        """Through another process's governor, so that this one learns of it from a control answer."""
        self._publish(self._one(which), policy)

    def _publish(self, one: Side, policy: tuple[int, int]) -> None:
        document = default_policy().document
        if policy != POLICIES[0]:
            document = _policy(*policy)
        compiled = load_policy(document)
        self.bench.run(one.governor._ledger.publish_policy(compiled.document, compiled.digest, "test"))
        one.world.publish(*policy)

    # --- decisions

    @step(
        which=side,
        agent=agents,
        cost=st.sampled_from(COSTS[:10]),
        model=st.sampled_from(MODELS),
        density=st.sampled_from([1, 1, 5]),
    )
    def ask(self, which: bool, agent: str, cost: int, model: str | None, density: int) -> None:
        one = self._one(which)
        fields = {
            "agent_id": agent, "task_intent": "Summarise it", "resource_type": "llm_tokens" if cost % 3 else "api_call",
            "estimated_cost_usd": Decimal(cost).scaleb(-9), "logic_density": density, "request_id": f"q{self.count}",
        }  # fmt: skip
        self._ask(one, {**fields, "model": model} if cost % 3 else fields, None, 0)

    ask_more = ask_often = ask_and_ask = ask  # rules are drawn evenly, and most of what happens are requests

    @step(agent=agents, cost=st.sampled_from([USD, 3 * USD, 4 * USD]))
    def ask_a_person(self, agent: str, cost: int) -> None:
        """By its confidence, so that questions gather whatever the policy says of amounts."""
        one = self._one(False)
        fields = {
            "agent_id": agent, "task_intent": "Summarise it", "resource_type": "api_call", "confidence": 0.5,
            "estimated_cost_usd": Decimal(cost).scaleb(-9), "request_id": f"q{self.count}",
        }  # fmt: skip
        self._ask(one, fields, None, 0)

    @step(
        which=side, agent=agents, cost=costs, priority=st.sampled_from([5, 5, 5, 3, 6, 9]),
        resource=st.sampled_from(["llm_tokens", "llm_tokens", "llm_tokens", "api_call", "compute", "wallet_lock"]),
        intent=st.sampled_from(["Summarise it"] * 5 + ["Drop database x"]),
        confidence=st.sampled_from([None, None, None, 0.9, 0.5]),
        model=st.sampled_from(MODELS),
        density=st.sampled_from([1, 1, 5]), sized=st.sampled_from([False, False, True]),
        capability=st.sampled_from([None, None, None, "web"]), session=st.sampled_from([None, None, "own", "other"]),
        number=pick, bearer=bearers, age=st.sampled_from([None, None, None, 0, -HOUR, HOUR, HOUR + 1]),
    )  # fmt: skip
    def ask_oddly(
        self, which: bool, agent: str, session: str | None, number: int, bearer: str, age: int | None, **how: Any
    ) -> None:
        one = self._one(which)
        fields: dict[str, Any] = {
            "agent_id": agent, "task_intent": how["intent"], "resource_type": how["resource"],
            "priority": how["priority"], "estimated_cost_usd": Decimal(how["cost"]).scaleb(-9),
            "logic_density": how["density"], "confidence": how["confidence"], "capability": how["capability"],
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
            Candidate(appraisal.recommended if request.model else c.model, c.model, c.nanos)
            for c in appraisal.candidates
        )
        code = None if candidates else "no_model"
        if request.resource_type == "wallet_lock":
            code = "target_needed"
        shaky = request.confidence is not None and request.confidence < 0.7
        effect = "deny" if request.task_intent.startswith("Drop") else "escalate" if shaky else "allow"
        content = request.model_dump(exclude={"agent_id", "session_id", "request_id"})
        return Ask(
            request.agent_id, str(request.request_id), tuple(map(repr, content.items())), request.session_id,
            request.priority, request.resource_type, candidates or (Candidate(None, None, 0),), effect, code, born,
            request.capability, request.model,
        )  # fmt: skip

    @granted
    @step(
        which=side,
        number=pick,
        change=st.sampled_from([None, None, "estimated_cost_usd", "priority", "task_intent"]),
        bearer=bearers,
    )
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

    @precondition(lambda self: any(r.state == "rejected" for one in self.sides for r in one.world.records.values()))
    @step(which=side, number=pick, times=st.sampled_from([1, 1, 2, 3]), pause=st.sampled_from([0, 0, 4 * SECOND]))
    def ask_for_what_was_refused(self, which: bool, number: int, times: int, pause: int) -> None:
        one = self._one(which)
        refused = [key for key, record in one.world.records.items() if record.state == "rejected" and key in one.asked]
        if not refused:
            return
        fields = one.asked[refused[-1 - number % len(refused)]]
        for time in range(times):
            self._ask(one, {**fields, "session_id": None, "request_id": f"q{self.count}-{time}"}, None, 0)
            self.wait_for(pause)

    # --- what becomes of grants

    def _grant(self, one: Side, number: int, *, open_first: bool = True) -> Record | None:
        known = [record for record in one.world.records.values() if record.key]
        if open_first and number % 4:
            known = [record for record in known if record.open] or known
        return known[number % len(known)] if known else None

    @granted
    @step(
        which=side,
        number=pick,
        cost=st.sampled_from(["same", "same", *COSTS]),
        bearer=bearers,
        named=st.sampled_from([True, True, False]),
    )
    def settle(self, which: bool, number: int, cost: int | str, bearer: str, named: bool) -> None:
        one = self._one(which)
        record = self._grant(one, number)
        if record is not None:
            self._settle(one, record, record.amount if isinstance(cost, str) else cost, number, bearer, named)

    @granted
    @step(which=side, number=pick, other=st.booleans())
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
    @step(which=side, number=pick, share=st.sampled_from([1, 2, 4]), again=st.booleans())
    def refund(self, which: bool, number: int, share: int, again: bool) -> None:
        one = self._one(which)
        record = self._grant(one, number, open_first=False)
        if record is None:
            return
        nanos = max(1, record.charged // share)
        name = record.refund if again and record.refund else f"f{self.count}"
        got, repeated = one.attempt(
            one.governor.operator.refund(f"gr_{record.key}", Decimal(nanos).scaleb(-9), author="test", refund_id=name),
            lambda: one.world.refund(record, nanos, name),
        )
        if got is not None:
            assert (got.repeated, _nanos(got.refunded_usd)) == (repeated, record.refunded)

    @granted
    @step(which=side, number=pick, bearer=bearers, mine=st.sampled_from([True, True, True, False]))
    def release(self, which: bool, number: int, bearer: str, mine: bool) -> None:
        one = self._one(which)
        record = self._grant(one, number)
        if record is None:
            return
        agent = record.ask.agent if mine else next(name for name in AGENTS if name != record.ask.agent)
        carried = one.bearer(bearer, record.ask.agent, number)
        got, repeated = one.attempt(
            one.governor.release(
                f"gr_{record.key}", ReleaseRequest(agent_id=agent), token=carried and one.tokens[carried]
            ),
            lambda: one.world.release(record, agent, carried),
        )
        if got is not None:
            assert got.repeated == repeated
            self._same_receipt(got, record)

    @granted
    @step(which=side, number=pick, seconds=st.sampled_from([1, 600, 1_200, 7_200]), bearer=bearers)
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
    @step(which=side, number=pick)
    def look(self, which: bool, number: int) -> None:
        one = self._one(which)
        record = self._grant(one, number, open_first=False)
        if record is not None:
            one.world.look(record)
            got = self.bench.run(one.governor.wait_for(f"gr_{record.key}", 0))
            self._same_verdict(got, record, one.policies[record.ask.agent, record.ask.request])

    @rarely
    @step(which=side, number=pick)
    def grants_of_the_other_tenant_are_unknown(self, which: bool, number: int) -> None:
        one = self._one(which)
        theirs = self._grant(self.sides[not which], number)
        if theirs is not None and theirs.key not in {record.key for record in one.world.records.values()}:
            got, _ = one.attempt(
                one.governor.settle(f"gr_{theirs.key}", SettleRequest(cost_usd=Decimal(1))),
                lambda: self._refuse("not_found"),
            )
            assert got is None

    def _refuse(self, code: str) -> None:
        raise Refused(code)

    @sometimes
    @step(which=side, most=st.sampled_from([1, 3, 200]))
    def sweep(self, which: bool, most: int) -> None:
        one = self._one(which)
        assert self.bench.run(one.governor._ledger.sweep(most)) == one.world.sweep(most)

    @sometimes
    @step(which=side, agent=st.sampled_from([*AGENTS, None]))
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
            code = ESCALATED[record.state]
        refused = record.state == "rejected"
        assert (got.status, got.code, got.state) == (record.status, code, record.state)
        assert _nanos(got.reserved_usd) == (0 if refused else record.amount)
        assert got.recommended_model == record.recommended
        assert got.policy_version == policy
        assert (got.grant_id is None) == refused
        said = {
            (line.scope, _key(line.scope, line.name), line.window): (_nanos(line.limit_usd), _nanos(line.remaining_usd))
            for line in got.budgets
        }
        assert said == {
            (SCOPES[owner[0]], owner[2:], _window(kind)): (limit, max(0, left))
            for (owner, kind), (limit, left) in record.lines.items()
        }
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
        assert (_nanos(got.limit_usd), _nanos(got.spent_usd), _nanos(got.reserved_usd)) == (
            budget.limit,
            spent,
            reserved,
        )
        assert _nanos(got.remaining_usd) == max(0, budget.limit - budget.used)
        apart = abs((_ms(got.resets_at) if got.resets_at else 0) - budget.ends(self.now, one.world.zone))
        assert apart <= (HOUR if budget.is_ahead(self.now + DAY) else 0), "of what lies ahead, the offset is a guess"

    # --- the walk

    @invariant()
    def every_key_is_in_order(self) -> None:
        for one in self.sides:
            image, ttl = walk.read(one)
            if one is not self.addressed:
                assert image == one.image, "a tenant changed that nobody addressed"
            elif one.world.events or image != one.image:
                walk.check_events(one)
                walk.check_keys(one, image, ttl)
            one.image, one.admitted = image, None
        self.addressed = None


def machine_on(bench: Bench) -> type[BudgetMachine]:
    """The machine on one server, with counters of its own."""
    return type("BudgetMachineOnServer", (BudgetMachine,), {"bench": bench, "examples": 0, "steps": 0})


def _uuid7(born: int, number: int) -> str:
    return f"{born >> 16:08x}-{born & 0xFFFF:04x}-7000-8000-{number:012x}"


def _policy(escalate_above: int, deny_above: int) -> str:
    rules = json.loads(default_policy().document)["rules"]
    rules = [each for each in rules if each["type"] != "max_cost"]
    for name, effect, limit in (("much", "escalate", escalate_above), ("most", "deny", deny_above)):
        rules.append({"name": name, "type": "max_cost", "effect": effect, "limit_usd": str(Decimal(limit).scaleb(-9))})
    return json.dumps({"schema": 1, "rules": rules})


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

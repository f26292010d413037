"""The state machine of approvals: two governors on a real server do what the model does, step by step.

After every step the keyspace is walked: questions, votes, deadlines, budgets, envelopes and counts are the model's, and
the events are exactly those that it announced.
"""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from typing import Any, ClassVar
from uuid import uuid4

import msgpack
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition

from aegis_core.connect import open_governor
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.approvals import ApprovalEdit, EnvelopeRequest
from aegis_core.protocol.errors import AegisError, StoreError
from aegis_core.protocol.messages import ExtendRequest, Handshake, PermissionRequest, ReleaseRequest, SettleRequest
from aegis_core.store import layout
from aegis_core.store import records as stored
from aegis_core.store.records import AlikeRefusals, Record
from aegis_core.store.schema import Agent, Tenant
from aegis_core.testing import private_settings

from .approval_model import GRANT, MOST_ASKED, MOST_OPEN, NEVER_ABOVE, RULES, Desk, Envelope, Question
from .bench import DAY, HOUR, MINUTE, SECOND, USD, Bench
from .model import Budget, Refused
from .recording import first_step, step
from .refusal_model import as_stored
from .walk import named, repeated, rows_of

START = 1_774_612_800_000
AGENTS, OPERATORS = ["ann", "bob"], ["ada", "eve", "cfo"]
STATES = {
    "G": "live", "P": "pending", "R": "rejected", "S": "settled", "L": "released", "X": "expired", "T": "timed_out",
    "D": "declined",
}  # fmt: skip
TOOLS = ["pay", "pay", "pay", "wire", "mail"]
COSTS = [USD, 2 * USD, 2 * USD + 1, 3 * USD, 3 * USD, 4 * USD, 5 * USD, 8 * USD, 9 * USD]
STEPS = [1, SECOND, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 14 * MINUTE, HOUR, 3 * HOUR, DAY + HOUR]
SCENES = [(40 * USD, 30 * USD, 60 * USD), (900 * USD, 900 * USD, 900 * USD), (40 * USD, 12 * USD, 20 * USD)]
"""Limits of an agent's day and two hours, and of the tenant's day."""

pick = st.integers(0, 63)
waiting = precondition(lambda self: any(r.state == "pending" for r in self.desk.records.values()))
asked = precondition(lambda self: any(r.key for r in self.desk.records.values()))
sometimes = precondition(lambda self: self.count % 3 == 0)


class ApprovalMachine(RuleBasedStateMachine):
    """One tenant, two governors. `bench` is set by `approvals_on`."""

    bench: ClassVar[Bench]
    examples: ClassVar[int]
    steps: ClassVar[int]
    looks: ClassVar[tuple[str, ...]] = ("every_key_is_in_order",)

    def __init__(self) -> None:
        super().__init__()
        type(self).examples += 1
        self.count, self.now, self.last_event = 0, START, "-"
        self.made: list[Envelope] = []
        self.governors: list[Any] = []
        self.tenant = f"q-{uuid4().hex[:12]}"

    @first_step(limits=st.sampled_from(SCENES))
    def begin(self, limits: tuple[int, int, int]) -> None:
        self.bench.sessions = 0
        self.bench.plain.set(layout.CLOCK_KEY, self.now)
        self.settings = private_settings(
            url=self.bench.settings.url, tenant=self.tenant, timezone="UTC", grant_seconds=600, max_grant_seconds=3600,
            approval_seconds=900, refusal_seconds=3600, idempotency_seconds=3600, session_idle_seconds=30_000_000,
            max_open_grants=MOST_OPEN, max_open_approvals=MOST_ASKED, agent_day_usd=limits[0] // USD,
            tenant_day_usd=limits[2] // USD,
        )  # fmt: skip
        self.governors = [self._governor(), self._governor()]
        self.desk = Desk(AGENTS, limits[0], limits[1], limits[2], self.now)
        port = self.governors[0]
        for agent in AGENTS:
            self.bench.run(port.handshake(Handshake(agent_id=agent)))
            self.bench.run(port.set_budget("agent", agent, "rolling:2h", Decimal(limits[1]).scaleb(-9)))
        self.bench.run(port.publish_policy(load_policy(_policy()), author="test"))
        self._events()

    def _governor(self) -> Any:
        made = self.bench.run(open_governor(self.bench.store, self.settings))
        made._arbiter = self.bench.arbiter
        return made

    def teardown(self) -> None:
        for governor in self.governors:
            self.bench.run(governor.aclose())
        if keys := self.bench.plain.keys(f"ae:{{{self.tenant}}}:*"):
            self.bench.plain.delete(*keys)

    def _port(self, which: bool) -> Any:
        self.count += 1
        type(self).steps += 1
        return self.governors[which]

    def _both(self, doing: Any, expected: Any) -> tuple[Any, Any]:
        """Run a call beside its model. A refusal by either must be a refusal by both, with the same code."""
        try:
            wanted: Any = expected()
        except Refused as refusal:
            wanted = refusal
        try:
            got = self.bench.run(doing)
        except StoreError:
            raise  # a script that fails is not an answer
        except AegisError as error:
            got = error
        if isinstance(wanted, Refused) or isinstance(got, AegisError):
            assert isinstance(got, AegisError), f"went through, not {wanted.args[0]}: {got}"
            assert isinstance(wanted, Refused), f"{got.code}: {got}"
            assert got.code == wanted.args[0]
            return None, None
        return got, wanted

    # --- time, and processes that die

    @step(by=st.sampled_from(STEPS))
    def wait(self, by: int) -> None:
        self._set_clock(self.now + by)

    @asked
    @step(early=st.sampled_from([0, 0, 1]))
    def wait_for_a_deadline(self, early: int) -> None:
        if due := [r.deadline for r in self.desk.records.values() if r.open and r.deadline > self.now]:
            self._set_clock(min(due) - early)

    def _set_clock(self, now: int) -> None:
        self.now = self.desk.now = now
        self.bench.plain.set(layout.CLOCK_KEY, now)

    @sometimes
    @step(which=st.booleans())
    def crash(self, which: bool) -> None:
        """A process is gone, whatever it remembered; another takes its place."""
        self.bench.run(self.governors[which].aclose())  # its connection ends with it
        self.governors[which] = self._governor()

    # --- agents

    @step(
        which=st.booleans(), agent=st.sampled_from(AGENTS), tool=st.sampled_from(TOOLS), cost=st.sampled_from(COSTS),
        skew=st.sampled_from([None, None, 0, -MINUTE, 10 * MINUTE]),
    )  # fmt: skip
    def ask(self, which: bool, agent: str, tool: str, cost: int, skew: int | None) -> None:
        """Some requests carry an id with the time of a client, whose clock is wrong."""
        port, born = self._port(which), self.now + (skew or 0)
        name = f"q{self.count}" if skew is None else f"{born >> 16:08x}-{born & 0xFFFF:04x}-7000-8000-{self.count:012x}"
        self._ask(port, agent, name, tool, cost)

    ask_more = ask_often = ask

    @asked
    @step(which=st.booleans(), number=pick)
    def ask_again(self, which: bool, number: int) -> None:
        record = self._record(number, [r for r in self.desk.records.values() if r.key])
        self._ask(self._port(which), record.agent, record.request, record.asked_tool, record.asked_amount)

    @asked
    @step(which=st.booleans(), number=pick)
    def ask_what_was_refused(self, which: bool, number: int) -> None:
        if refused := list(self.desk.refusals):
            agent, tool, amount = refused[number % len(refused)]
            port = self._port(which)
            self._ask(port, agent, f"q{self.count}", tool, amount)

    def _ask(self, port: Any, agent: str, name: str, tool: str, cost: int) -> None:
        request = PermissionRequest(
            agent_id=agent, request_id=name, task_intent="Do it", resource_type="api_call", tool=tool,
            estimated_cost_usd=Decimal(cost).scaleb(-9),
        )  # fmt: skip
        got = self.bench.run(port.request_permission(request))
        record = self.desk.request(agent, name, tool, cost)
        if got.grant_id is not None:
            record.key = got.grant_id.removeprefix("gr_")
        self._same_verdict(got, record)

    def _same_verdict(self, got: Any, record: Question) -> None:
        assert got.state == record.state
        assert got.granted == (record.state == "live")
        if record.open or record.state == "rejected":
            assert got.code == ("approval_needed" if record.state == "pending" else record.code)
        if record.retry:
            assert got.retry_after_seconds == max(0, record.retry - record.created) / 1000

    @asked
    @step(which=st.booleans(), number=pick, claims=st.booleans())
    def look(self, which: bool, number: int, claims: bool) -> None:
        record = self._record(number, [r for r in self.desk.records.values() if r.key])
        port = self._port(which)
        if claims:
            got = self.bench.run(port.wait_for(f"gr_{record.key}", 0))
            self.desk.look(record, claims=True)
            self._same_verdict(got, record)
        elif record.asked:
            got = self.bench.run(port.approvals.get(f"ap_{record.key}"))
            self.desk.look(record, claims=False)
            assert got.status == (record.how or "open")

    @asked
    @step(which=st.booleans(), number=pick, cost=st.sampled_from([0, USD, 3 * USD, 4 * USD, 30 * USD]))
    def settle(self, which: bool, number: int, cost: int) -> None:
        record = self._record(number, [r for r in self.desk.records.values() if r.key])
        self._settle(self._port(which), record, cost)

    def _settle(self, port: Any, record: Question, cost: int) -> None:
        message = SettleRequest(cost_usd=Decimal(cost).scaleb(-9))
        got, repeated = self._both(port.settle(f"gr_{record.key}", message), lambda: self.desk.settle(record, cost))
        assert got is None or got.repeated == repeated

    @asked
    @step(which=st.booleans(), number=pick)
    def release(self, which: bool, number: int) -> None:
        record = self._record(number, [r for r in self.desk.records.values() if r.key])
        self._release(self._port(which), record)

    def _release(self, port: Any, record: Question, _: int = 0) -> None:
        doing = port.release(f"gr_{record.key}", ReleaseRequest())
        got, repeated = self._both(doing, lambda: self.desk.release(record))
        assert got is None or got.repeated == repeated

    @asked
    @step(which=st.booleans(), number=pick, seconds=st.sampled_from([60, 900, 7_200]))
    def extend(self, which: bool, number: int, seconds: int) -> None:
        record = self._record(number, [r for r in self.desk.records.values() if r.key])
        self._extend(self._port(which), record, seconds)

    def _extend(self, port: Any, record: Question, seconds: int) -> None:
        doing = port.extend(f"gr_{record.key}", ExtendRequest(seconds=seconds))
        got, repeated = self._both(doing, lambda: self.desk.extend(record, seconds * 1000))
        assert got is None or got.repeated == repeated

    def _record(self, number: int, known: list[Question]) -> Question:
        lively = [record for record in known if record.open]
        return lively[number % len(lively)] if lively and number % 4 else known[number % len(known)]

    # --- operators

    @waiting
    @step(which=st.booleans(), number=pick, operator=st.sampled_from(OPERATORS), word=st.sampled_from(["approve"] * 3 + ["reject"]))  # fmt: skip # noqa: E501
    def decide(self, which: bool, number: int, operator: str, word: str) -> None:
        self._decide(which, number, operator, word, None)

    decide_more = decide

    @asked
    @step(which=st.booleans(), number=pick, operator=st.sampled_from(OPERATORS), word=st.sampled_from(["approve", "reject"]))  # fmt: skip # noqa: E501
    def decide_anything(self, which: bool, number: int, operator: str, word: str) -> None:
        self._decide(which, number, operator, word, None, pending=False)

    @waiting
    @step(
        which=st.booleans(), number=pick, operator=st.sampled_from(OPERATORS),
        tool=st.sampled_from([None, None, "pay", "wire", "drop"]),
        cost=st.sampled_from([None, USD, 3 * USD, 5 * USD, 7 * USD, NEVER_ABOVE, NEVER_ABOVE + 1]),
    )  # fmt: skip
    def edit(self, which: bool, number: int, operator: str, tool: str | None, cost: int | None) -> None:
        if tool is not None or cost is not None:
            self._decide(which, number, operator, "approve", (tool, cost))

    # Scenes of several steps, which chance alone would play too seldom.

    @waiting
    @step(which=st.booleans(), then=st.sampled_from(["extend", "block", "release"]))
    def approve_unheard(self, which: bool, then: str) -> None:
        """Something happens before the agent hears of its approval."""
        record = [r for r in self.desk.records.values() if r.state == "pending"][-1]
        for operator in ("ada", "cfo"):
            self._decide_one(which, record, operator, "approve", None)
        if then == "block":
            self._block_or_free(self._port(which), record.agent)
            self._ask(self._port(which), record.agent, record.request, record.asked_tool, record.asked_amount)
        else:
            getattr(self, f"_{then}")(self._port(which), record, 1_800)

    @waiting
    @step(which=st.booleans(), operator=st.sampled_from(OPERATORS))
    def edit_again(self, which: bool, operator: str) -> None:
        """The answer to an edit was lost, or somebody else makes the same one."""
        for record in list(self.desk.records.values()):
            if record.edited and record.state == "pending":
                self._decide_one(which, record, operator, "approve", record.edited)

    @precondition(lambda self: self.desk.envelopes)
    @step(which=st.booleans(), number=pick, cost=st.sampled_from([2 * USD + 1, 3 * USD, 4 * USD]))
    def use_an_envelope(self, which: bool, number: int, cost: int) -> None:
        envelope = self.desk.envelopes[number % len(self.desk.envelopes)]
        port = self._port(which)
        for use in range(3):  # until it is used up
            self._ask(port, envelope.agent, f"q{self.count}-{use}", envelope.tool or "pay", cost)

    @step(
        which=st.booleans(), agent=st.sampled_from(AGENTS), tool=st.sampled_from(["pay", "wire"]),
        cost=st.sampled_from([2 * USD + 1, 3 * USD, 5 * USD]), author=st.sampled_from(OPERATORS),
        then=st.sampled_from(["use", "expire", "refuse", "late"]),
    )  # fmt: skip
    def approve_ahead_and_then(self, which: bool, agent: str, tool: str, cost: int, author: str, then: str) -> None:
        """One envelope for one kind of request: used up, past its time, refused since, or settled too late."""
        port, name = self._port(which), f"q{self.count}"
        if then == "refuse":
            self._ask(port, agent, f"{name}-before", tool, cost)
        life = DAY if then == "late" else MINUTE
        self._put_envelope(port, Envelope(agent, tool, None, 3 * cost, author, self.now, self.now + life))
        if then == "refuse" and self.desk.records[f"{name}-before"].state == "pending":
            self._decide_one(which, self.desk.records[f"{name}-before"], "cfo", "reject", None)
        if then == "expire":
            self._set_clock(self.now + MINUTE)
        for use in range(4 if then == "use" else 1):
            self._ask(port, agent, f"{name}-{use}", tool, cost)
        used = self.desk.records[f"{name}-0"]
        if then == "late" and used.key:
            self._set_clock(self.now + GRANT)
            self._ask(port, agent, used.request, tool, cost)  # finds it past its deadline, and charged
            self._settle(port, used, cost - 1)

    @precondition(lambda self: any(r.state == "expired" for r in self.desk.records.values()))
    @step(which=st.booleans(), number=pick, cost=st.sampled_from([0, USD, 30 * USD]))
    def settle_late(self, which: bool, number: int, cost: int) -> None:
        expired = [r for r in self.desk.records.values() if r.state == "expired"]
        record = next((r for r in expired if r.envelope in self.desk.envelopes), expired[number % len(expired)])
        self._settle(self._port(which), record, cost)

    @waiting
    @step(which=st.booleans(), number=pick, cost=st.sampled_from([5 * USD, 7 * USD]))
    def change_and_refuse(self, which: bool, number: int, cost: int) -> None:
        """Two who disagree on one question; the agent asks again what it asked at first."""
        known = [r for r in self.desk.records.values() if r.key and r.state == "pending"]
        record = known[number % len(known)]
        self._decide_one(which, record, "ada", "approve", (None, cost))
        if record.edited and record.state == "pending":
            self._decide_one(which, record, "ada", "approve", (None, cost))  # the answer was lost
        if record.state == "pending":
            self._decide_one(which, record, "cfo", "reject", None)
        self._ask(self._port(which), record.agent, f"q{self.count}", record.asked_tool, record.asked_amount)

    def _decide(
        self, which: bool, number: int, operator: str, word: str, edit: tuple[str | None, int | None] | None,
        *, pending: bool = True,
    ) -> None:  # fmt: skip
        known = [r for r in self.desk.records.values() if r.key and (r.state == "pending" or not pending)]
        self._decide_one(which, known[number % len(known)], operator, word, edit)

    def _decide_one(
        self, which: bool, record: Question, operator: str, word: str, edit: tuple[str | None, int | None] | None
    ) -> None:
        change = None
        if edit is not None:
            change = ApprovalEdit(tool=edit[0], estimated_cost_usd=None if edit[1] is None else _usd(edit[1]))
        doing = self._port(which).approvals.decide(f"ap_{record.key}", word, by=operator, edit=change)
        got, _ = self._both(doing, lambda: self.desk.decide(record, operator, word, edit))
        if got is not None:
            assert (got.status, got.decided_by) == (record.how or "open", record.by)
            assert {vote.operator: vote.decision for vote in got.votes} == record.votes
            assert (got.quorum, got.amount_usd, got.tool) == (record.quorum, _usd(record.amount), record.tool)

    @sometimes
    @step(
        which=st.booleans(), agent=st.sampled_from(AGENTS), tool=st.sampled_from([None, "pay", "mail", "wire"]),
        name=st.sampled_from([None, *RULES]), limit=st.sampled_from([2 * USD + 1, 5 * USD, 7 * USD, 20 * USD]),
        author=st.sampled_from(OPERATORS), seconds=st.sampled_from([60, 3_600, 200_000]),
    )  # fmt: skip
    def approve_ahead(self, which: bool, agent: str, tool: str | None, name: str | None, limit: int, author: str, seconds: int) -> None:  # fmt: skip # noqa: E501
        if tool is None and name is None:
            tool = "pay"
        self._put_envelope(
            self._port(which), Envelope(agent, tool, name, limit, author, self.now, self.now + seconds * 1000)
        )

    def _put_envelope(self, port: Any, envelope: Envelope) -> None:
        request = EnvelopeRequest(
            agent_id=envelope.agent, tool=envelope.tool, rule=envelope.rule, limit_usd=_usd(envelope.limit),
            seconds=(envelope.expires - envelope.made) / 1000,
        )  # fmt: skip
        doing = port.approvals.approve_ahead(request, by=envelope.author)
        got, _ = self._both(doing, lambda: self.desk.put_envelope(envelope))
        if got is not None:
            envelope.name = got.envelope_id
            self.made.append(envelope)

    @precondition(lambda self: self.made and self.count % 2)
    @step(which=st.booleans(), number=pick)
    def revoke(self, which: bool, number: int) -> None:
        envelope = self.made[number % len(self.made)]
        self._both(self._port(which).approvals.revoke(envelope.name, by="ada"), lambda: self.desk.revoke(envelope))

    @sometimes
    @step(operator=st.sampled_from(OPERATORS), limit=st.sampled_from([None, 3 * USD, 5 * USD]))
    def set_limit(self, operator: str, limit: int | None) -> None:
        usd = None if limit is None else _usd(limit)
        self.bench.run(self._port(False).approvals.set_limit(operator, usd, by="operator"))
        self.desk.set_ceiling(operator, limit)

    @precondition(lambda self: self.count % 5 == 0)
    @step(agent=st.sampled_from(AGENTS))
    def block_or_free(self, agent: str) -> None:
        self._block_or_free(self._port(False), agent)

    def _block_or_free(self, port: Any, agent: str) -> None:
        if agent in self.desk.blocked:
            self.bench.run(port.operator.unblock(agent, author="cfo"))
            self.desk.unblock(agent)
        else:
            self.bench.run(port.operator.block(agent, author="cfo"))
            self.desk.block(agent, "cfo")

    @sometimes
    @step(which=st.booleans(), size=st.sampled_from([1, 2, 100]))
    def read_lists(self, which: bool, size: int) -> None:
        port = self._port(which)
        for listing, expected in (("open", self.desk.open_questions()), ("ended", self.desk.ended_questions())):
            seen: list[str] = []
            while page := self.bench.run(port.approvals.list(listing, after=seen[-1] if seen else None, limit=size)):
                seen += [each.approval_id for each in page]
                assert len(set(seen)) == len(seen), "a page repeats what an earlier one said"
            assert seen == [f"ap_{record.key}" for record in expected]

    # --- the walk

    @invariant()
    def every_key_is_in_order(self) -> None:
        told = self._events()
        assert told == self.desk.events, f"{told} instead of {self.desk.events}"
        self.desk.events.clear()
        records = [record for record in self.desk.records.values() if record.key]
        names = [f"r:{record.key}" for record in records] + [f"a:{agent}" for agent in AGENTS] + ["t", "v"]
        reader = self.bench.plain.pipeline(transaction=False)
        reader.mget([self._key(name) for name in names])
        for name in ("ap", "ah", "d"):
            reader.zrange(self._key(name), 0, -1, withscores=True)
        blobs, waiting, answered, due = reader.execute()
        packed = [blob and msgpack.unpackb(blob) for blob in blobs]
        for record, values in zip(records, packed, strict=False):
            self._same_record(named(Record, values), record)
        assert dict(waiting) == {r.key.encode(): r.created for r in records if r.state == "pending"}
        assert dict(answered) == {r.key.encode(): r.at for r in records if r.how}
        assert {name: at for name, at in due if name[:2] == b"r:"} == {
            f"r:{r.key}".encode(): r.deadline for r in records if r.open
        }
        assert {name: at for name, at in due if name[:2] == b"a:"} == {
            f"a:/{agent}".encode(): at for agent, at in self.desk.refusals_told.due.items()
        }
        for agent, values in zip(AGENTS, packed[len(records) :], strict=False):
            self._same_agent(named(Agent, values), agent, records)
        purse = named(Tenant, packed[-2])["PURSE"]
        self._same_purse(purse, [self.desk.tenant], [r for r in records if r.open])
        held = [named(stored.StoredEnvelope, row) for row in packed[-1] or []]
        assert [(row["ID"], row["USED"], row["USES"]) for row in held] == [
            (each.name, each.used, each.uses) for each in self.desk.envelopes
        ]

    def _same_record(self, got: dict[str, Any], record: Question) -> None:
        assert STATES[got["STATE"]] == record.state
        assert (got["AMOUNT"], got["CHARGED"], got["CODE"]) == (record.amount, record.charged, record.code)
        assert not record.open or got["DEADLINE"] == record.deadline
        assert bool(got["ASKED"]) == record.asked
        if record.asked:
            question = named(stored.Question, got["ASKED"])
            assert (question["QUORUM"], question["APPROVES"]) == (record.quorum, record.approves)
            assert (question["OPERATORS"] or None) == ((record.operators and list(record.operators)) or None)
            assert {vote[0]: vote[1] for vote in question["VOTES"]} == record.votes
            assert (question["HOW"] or None, question["BY"] or None) == (record.how, record.by)
            assert (question["AT"], question["CLAIMED"]) == (record.at, record.claimed)

    def _same_agent(self, got: dict[str, Any], agent: str, records: list[Question]) -> None:
        mine = [r for r in records if r.agent == agent and r.open]
        pending = [r.amount for r in mine if r.state == "pending"]
        assert (got["OPEN"], got["QUESTIONS"], got["PENDING"]) == (len(mine), len(pending), sum(pending))
        self._same_purse(got["PURSE"], self.desk.purses[agent], mine)
        refused = [named(AlikeRefusals, row) for row in got["REFUSED"]]
        assert as_stored(refused) == self.desk.refusals_told.stored(agent)

    def _same_purse(self, purse: list[Any], budgets: list[Budget], held: list[Question]) -> None:
        """A budget that was rolled on is the model's; what is reserved in its window is what open grants hold there."""
        assert len(purse) == len(budgets)
        for (kind, limit, window, spent, reserved, _, ring, *_), budget in zip(purse, budgets, strict=True):
            assert (kind, limit) == (budget.kind, budget.limit)
            inside: dict[int, int] = defaultdict(int)
            for record in held:
                inside[_number(kind, next(at for b, at in record.held if b is budget))] += record.amount
            if ring is False:
                assert reserved == inside[window]
            else:
                assert {cell: kept for cell, _, kept in rows_of(ring) if kept} == {
                    cell: kept for cell, kept in inside.items() if kept and cell in {at for at, _, _ in rows_of(ring)}
                }
            if window == _number(kind, budget.window):
                assert (spent, reserved) == (budget.total(budget.spent), budget.total(budget.reserved))

    def _key(self, name: str) -> str:
        return layout.key(self.tenant, name)

    def _events(self) -> list[tuple[object, ...]]:
        entries: Any = self.bench.plain.xrange(self._key("e"), self.last_event, "+")
        if entries:
            self.last_event = f"({entries[-1][0].decode()}"
        told = [_event(fields[b"k"].decode(), msgpack.unpackb(fields[b"b"])) for _, fields in entries]
        # A word that did not count is traced by another script, once an hour for each problem.
        return [event for event in told if event[0] not in {"budget_crossed", "budget_reserved", "channel_refused"}]


def approvals_on(bench: Bench) -> type[ApprovalMachine]:
    """The machine on one server, with counters of its own."""
    return type("ApprovalMachineOnServer", (ApprovalMachine,), {"bench": bench, "examples": 0, "steps": 0})


def _event(kind: str, body: list[Any]) -> tuple[object, ...]:
    if len(body) == len(Record._fields):
        record = named(Record, body)
        return (kind, record["REQUEST"], record["CODE"], record["AMOUNT"], record["CHARGED"])
    if kind.startswith("envelope"):
        envelope = named(stored.StoredEnvelope, body[1])
        return (kind, envelope["LIMIT"], envelope["USED"])
    if kind == "refusals_repeated":
        return repeated(body[1:])
    if kind == "ceiling_set":
        return (kind, body[1], None if body[2] is False else body[2])
    return (kind, body[1])


def _number(kind: str | int, window: int) -> int:
    """The store counts days where the model says when they began."""
    return window // DAY if kind == "d" else window


def _usd(nanos: int) -> Decimal:
    return Decimal(nanos).scaleb(-9)


def _policy() -> str:
    rules: list[dict[str, Any]] = [
        {"name": "never", "type": "max_cost", "effect": "deny", "limit_usd": str(_usd(NEVER_ABOVE))},
        {"name": "no-drop", "type": "blocked_intent", "tools": ["drop"]},
    ]
    for name, (about, terms) in RULES.items():
        asking = {
            "quorum": terms.quorum, "timeout_seconds": terms.seconds, "operators": terms.operators,
            "on_timeout": "approve" if terms.approves else "reject",
        }  # fmt: skip
        asking = {key: value for key, value in asking.items() if value is not None}
        what = {"type": "sensitive_intent", "tools": [about]}
        if isinstance(about, int):
            what = {"type": "max_cost", "limit_usd": str(_usd(about))}
        rules.append({"name": name, **what, "asking": asking})
    return json.dumps({"schema": 1, "rules": rules})

"""A walk through one workflow at random, beside a model that says of every act what must come of it.

The model is written from the promise alone: no member ever gets more than opener, plan, or its own profile allow; a
join token lets in as many as it says; and from its end on everything is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any
from uuid import uuid4

from aegis_core.connect import open_governor
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.errors import AegisError, StoreError
from aegis_core.protocol.messages import Handshake, PermissionRequest, SettleRequest
from aegis_core.protocol.profiles import Profile
from aegis_core.protocol.workflows import (
    InviteRequest,
    JoinRequest,
    Step,
    StepChange,
    Workflow,
    WorkflowChange,
    WorkflowRequest,
)
from aegis_core.store import layout
from aegis_core.testing import private_settings

from .bench import HOUR, SECOND, USD, Bench

START = 1_774_612_800_000
LASTS = 2 * HOUR
TOOLS = ("pay", "pay", "look", "mail", "delete")
COSTS = (0, USD // 10, USD // 2, USD, USD + 1, 2 * USD)
CAPABILITIES = ("pay", "read", "mail")
RULES = [
    {"name": "payments", "type": "sensitive_intent", "tools": ["pay"]},
    {"name": "never", "type": "blocked_intent", "tools": ["delete"]},
]


@dataclass
class PlannedStep:
    tool: str
    times: int | None
    upto: int
    used: int = 0
    uses: int = 0

    def left(self) -> int:
        if self.times is not None:
            return self.upto if self.uses < self.times else -1
        return self.upto - self.used


@dataclass
class Model:
    """What is planned, and what is used of it, in nano-dollars."""

    now: int = START
    budget: int = 2 * USD
    ends: int = START + LASTS
    steps: list[PlannedStep] = field(
        default_factory=lambda: [PlannedStep("pay", 3, USD), PlannedStep("look", None, USD), PlannedStep("mail", 2, 0)]
    )
    used: int = 0
    ended: bool = False
    opener_has: set[str] = field(default_factory=lambda: set(CAPABILITIES))
    opener_priority: int = 8
    opener_left: int = 9 * USD
    tokens: list[list[Any]] = field(default_factory=list[list[Any]])
    """Each with its text, uses that are left, and when it expires."""
    members: list[tuple[str, str, set[str], int]] = field(default_factory=list[tuple[str, str, set[str], int]])
    """Name, session, capabilities and priority."""
    held: list[tuple[str, str, int, PlannedStep | None]] = field(
        default_factory=list[tuple[str, str, int, PlannedStep | None]]
    )

    @property
    def over(self) -> bool:
        """Whether it ended, or its time has."""
        return self.ended or self.now >= self.ends

    def covers(self, tool: str, cost: int) -> PlannedStep | None:
        """The step that covers a request whole."""
        for step in self.steps:
            if step.tool == tool and cost <= step.left() and self.used + cost <= self.budget:
                return step
        return None

    def see_whether_used_up(self) -> None:
        """The end by use: when nothing is open, and no step has anything left."""
        done = all(s.uses >= s.times if s.times is not None else s.used >= s.upto for s in self.steps)
        self.ended = self.ended or (done and not self.held)


class FlowWalk:
    """One tenant with one workflow on a bench's server."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench, self.random, self.model = bench, Random(seed), Model(opener_left=(2 + seed % 2 * 7) * USD)
        self.tenant = f"w-{uuid4().hex[:12]}"
        self.granted = 0

    def walk(self, acts: int) -> None:
        """Open it, and do so many things at random."""
        self._at(START)
        settings = private_settings(
            url=self.bench.settings.url, tenant=self.tenant, timezone="UTC", session_idle_seconds=30_000_000,
            idempotency_seconds=36_000, grant_seconds=30_000, max_grant_seconds=36_000,
        )  # fmt: skip
        self.port: Any = self.bench.run(open_governor(self.bench.store, settings))
        try:
            self._open()
            choices = (self._join, self._ask, self._ask, self._ask, self._ask, self._settle, self._invite, self._time,
                       self._narrow, self._lower, self._check)  # fmt: skip
            for number in range(acts):
                self.random.choice(choices)()
                if number == acts - 8:
                    self._end()
            self._check()
        finally:
            self.bench.run(self.port.aclose())
            if keys := self.bench.plain.keys(f"ae:{{{self.tenant}}}:*"):
                self.bench.plain.delete(*keys)

    def _at(self, now: int) -> None:
        self.model.now = now
        self.bench.plain.set(layout.CLOCK_KEY, now)

    def _open(self) -> None:
        run = self.bench.run
        run(self.port.publish_policy(load_policy(json.dumps({"schema": 1, "rules": RULES})), author="test"))
        run(self.port.operator.set_profile(Profile(match="narrow", capabilities=("read",), max_priority=4), author="t"))
        boss = run(self.port.handshake(Handshake(agent_id="boss", capabilities=CAPABILITIES, max_priority=8)))
        plan = tuple(Step(tool=s.tool, times=s.times, upto_usd=Decimal(s.upto).scaleb(-9)) for s in self.model.steps)
        wish = WorkflowRequest(agent_id="boss", name="walk", budget_usd=Decimal(2), seconds=LASTS / 1000, plan=plan)
        self.token = boss.session_token
        self.flow: Workflow = run(self.port.workflows.open(wish, token=boss.session_token))
        self.content = self.flow.content
        run(self.port.approvals.decide(self.flow.approval_id, "approve", by="ada"))
        run(self.port.set_budget("agent", "boss", "day", Decimal(self.model.opener_left).scaleb(-9)))
        self._invite()

    def _tried(self, doing: Any) -> Any:
        try:
            return self.bench.run(doing)
        except StoreError:
            raise  # a script that fails is not an answer
        except AegisError as error:
            return error.code

    def _invite(self) -> None:
        uses, seconds = self.random.choice((1, 2)), self.random.choice((60, 3_600))
        message = InviteRequest(uses=uses, seconds=seconds)
        made = self._tried(
            self.port.workflows.invite(self.flow.workflow_id, message, agent_id="boss", token=self.token)
        )
        if self.model.over:
            assert made == "workflow_ended", made
        else:
            until = min(self.model.now + seconds * SECOND, self.model.ends)
            self.model.tokens.append([made.join_token, uses, until])

    def _join(self) -> None:
        if not self.model.tokens:
            return
        token, name = self.random.choice(self.model.tokens), self.random.choice(("one", "two", "narrow"))
        asked = self.random.sample(CAPABILITIES, 2)
        message = JoinRequest(
            join_token=token[0], agent_id=name, capabilities=tuple(asked), max_priority=self.random.choice((3, 9))
        )
        opened = self._tried(self.port.workflows.join(message))
        if self.model.over:
            assert opened == "workflow_ended", opened
        elif self.model.now >= token[2]:
            assert isinstance(opened, str), f"let in by a token that has expired: {opened}"
            assert opened in {"join_token_expired", "bad_join_token"}  # the next token takes its place
        elif token[1] == 0:
            assert opened == "join_token_used", opened
        else:
            assert not isinstance(opened, str), f"not let in: {opened}"
            token[1] -= 1
            own = {"read"} if name == "narrow" else set(CAPABILITIES)
            top = min(message.max_priority, 8)
            self.model.members.append(
                (name, opened.session_id, set(asked) & own, min(top, 4 if name == "narrow" else 10))
            )

    def _ask(self) -> None:
        if not self.model.members:
            return
        model = self.model
        name, session, has, top = self.random.choice(model.members)
        tool, cost = self.random.choice(TOOLS), self.random.choice(COSTS)
        capability, priority = self.random.choice((None, *CAPABILITIES)), self.random.choice((1, 4, 5, 8, 9))
        request = PermissionRequest(
            agent_id=name, session_id=session, task_intent=f"Do {uuid4().hex}", resource_type="api_call", tool=tool,
            estimated_cost_usd=Decimal(cost).scaleb(-9), capability=capability, priority=priority,
        )  # fmt: skip
        verdict = self.bench.run(self.port.request_permission(request))
        step = model.covers(tool, cost)
        bad = capability is not None and capability not in has & model.opener_has
        if model.over:
            assert verdict.code == "workflow_ended", verdict
        elif bad or priority > min(top, model.opener_priority) or tool == "delete" or cost > model.opener_left:
            assert verdict.status == "REJECTED", f"more than it may: {verdict}"
        elif step is None:
            assert verdict.status != "GRANTED", f"beside the plan: {verdict}"
            if verdict.grant_id:  # nobody answers it here
                self._tried(self.port.operator._registry.open_records(name, "ada"))
        else:
            assert (verdict.status, verdict.plan_step) == ("GRANTED", model.steps.index(step) + 1), verdict
            step.uses, step.used, model.used = step.uses + 1, step.used + cost, model.used + cost
            model.opener_left -= cost
            model.held.append((verdict.grant_id, name, cost, step))
            self.granted += 1

    def _settle(self) -> None:
        if not self.model.held:
            return
        grant, name, cost, step = self.model.held.pop(self.random.randrange(len(self.model.held)))
        actual = self.random.choice((0, cost // 3, cost))
        self.bench.run(self.port.settle(grant, SettleRequest(agent_id=name, cost_usd=Decimal(actual).scaleb(-9))))
        assert step is not None
        step.used, self.model.used = step.used - cost + actual, self.model.used - cost + actual
        self.model.opener_left += cost - actual
        self.model.see_whether_used_up()

    def _time(self) -> None:
        self._at(self.model.now + self.random.choice((1, SECOND, 61 * SECOND, 600 * SECOND)))

    def _narrow(self) -> None:
        number = self.random.randrange(3)
        step = self.model.steps[number]
        if step.times is None or self.random.random() < 0.7:
            return
        change = WorkflowChange(
            content=self.content, steps=(StepChange(number=number + 1, times=max(0, step.times - 1)),)
        )
        done = self._tried(self.port.workflows.change(self.flow.workflow_id, change, by="ada"))
        if self.model.over:
            assert done == "workflow_ended", done
        else:
            step.times = max(0, step.times - 1)
            self.content = done.content

    def _lower(self) -> None:
        if self.random.random() < 0.8 or len(self.model.opener_has) < 2:
            return
        self.model.opener_has.remove(self.random.choice(sorted(self.model.opener_has)))
        self.model.opener_priority = self.random.choice((4, self.model.opener_priority))
        profile = Profile(
            match="boss", capabilities=tuple(sorted(self.model.opener_has)), max_priority=self.model.opener_priority
        )
        self.bench.run(self.port.operator.set_profile(profile, author="ada"))

    def _end(self) -> None:
        self.bench.run(self.port.workflows.end(self.flow.workflow_id, by="ada"))
        self.model.ended = True

    def _check(self) -> None:
        """Money and counts are the model's, to the nano-dollar."""
        found: Workflow = self.bench.run(self.port.workflows.get(self.flow.workflow_id))
        model = self.model
        assert found.used_usd == Decimal(model.used).scaleb(-9)
        stand = [(each.uses, each.used_usd) for each in found.plan.steps]
        assert stand == [(each.uses, Decimal(each.used).scaleb(-9)) for each in model.steps]
        assert found.open == len(model.held)
        assert (found.state == "ended") == model.over
        assert (found.beside_usd, found.joined) == (0, len(model.members))

"""What a tenant must do, written a second time and small: dictionaries, zoneinfo, no Redis, nothing of the product.

Money is nano-dollars, times are milliseconds since 1970. A `World` is one tenant; `World.events` and `World.bill`
collect what it must have announced and booked.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from .refusal_model import Refusals

HOUR, MINUTE = 3_600_000, 60_000
CELLS = 24
BUSY = {"budget_exceeded", "too_many_open_grants", "too_many_questions", "too_much_pending"}
"""Refusals that the overdue may be behind."""


class Refused(Exception):  # noqa: N818 - an outcome, not a fault
    """The call must be refused with this code."""


def start_of(kind: str | int, now: int, zone: ZoneInfo) -> int:
    """When the window of an instant began; for a rolling window, which cell it is in."""
    if kind == "t":
        return 0
    if isinstance(kind, int):
        return now // (kind // CELLS)
    local = datetime.fromtimestamp(now // 1000, zone)
    if kind == "h":
        return now - (local.minute * 60 + local.second) * 1000 - now % 1000
    return _instant(_first_day(kind, local.date()), zone)


def end_of(kind: str | int, now: int, zone: ZoneInfo) -> int:
    """When the next window begins, 0 for never; for a rolling window, when the next cell begins."""
    if kind == "t":
        return 0
    if isinstance(kind, int):
        return (now // (kind // CELLS) + 1) * (kind // CELLS)
    if kind == "h":
        return start_of("h", now, zone) + HOUR
    first = _first_day(kind, datetime.fromtimestamp(now // 1000, zone).date())
    if kind == "m":
        return _instant((first + timedelta(days=31)).replace(day=1), zone)
    return _instant(first + timedelta(days=7 if kind == "w" else 1), zone)


def _first_day(kind: str, day: date) -> date:
    if kind == "w":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if kind == "m" else day


def _instant(day: date, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1000


@dataclass
class Budget:
    """One limit over one kind of window, with what each window (or cell) has spent and reserved."""

    owner: str
    agent: str | None
    session: str | None
    kind: str | int
    limit: int
    window: int = 0
    crossed: int = 0
    armed_above: int = 0
    resets: int = 0
    kept: int = 0
    told_ahead: int = 0
    told: int = 0
    told_at: int = 0
    spent: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    reserved: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def counts(self, window: int) -> bool:
        return window >= self.window - CELLS if isinstance(self.kind, int) else window == self.window

    def total(self, per_window: dict[int, int]) -> int:
        return sum(amount for window, amount in per_window.items() if self.counts(window))

    @property
    def used(self) -> int:
        return self.total(self.spent) + self.total(self.reserved)

    def mark(self, used: int) -> int:
        return 100 if used >= self.limit else 80 if used * 5 >= self.limit * 4 else 0

    def fall(self) -> None:
        """What was said of reservations may be said again once so much fell 5 points below it."""
        if self.used * 100 < self.limit * 95:
            self.armed_above = min(self.armed_above, 80 if self.used * 100 >= self.limit * 75 else 0)

    def roll(self, now: int, zone: ZoneInfo) -> Budget:
        """Go on to the present window; what the new window has not crossed will be announced again."""
        self._go_on_to(start_of(self.kind, now, zone))
        return self

    def _go_on_to(self, window: int) -> None:
        if window > self.window:
            self.window, self.kept = window, 0
            self.crossed = min(self.crossed, self.mark(self.total(self.spent)))
            self.fall()

    def adopt(self, stored: float, zone: ZoneInfo) -> None:
        """Go on to the window that is stored, where that is a later one: a refusal may have written that or not."""
        number = int(stored)
        if number and self.kind in ("d", "w", "m"):
            first = date(1970, 1, 1) + timedelta(days=number * 7 - 3 if self.kind == "w" else number)
            if self.kind == "m":
                first = date((number + 2) // 12, (number + 2) % 12 + 1, 1)
            number = _instant(first, zone)
        self._go_on_to(number)

    def ends(self, now: int, zone: ZoneInfo) -> int:
        """When it begins anew: with the window that it counts in, which may lie ahead."""
        ahead = self.window > start_of(self.kind, now, zone)
        if ahead and isinstance(self.kind, int):
            return (self.window + 1) * (self.kind // CELLS)
        return end_of(self.kind, self.window if ahead else now, zone)

    def is_ahead(self, now: int) -> bool:
        """Whether its window begins more than a minute later; windows but rolling ones are known by when they begin."""
        return self.window * (self.kind // CELLS if isinstance(self.kind, int) else 1) > now + MINUTE


@dataclass
class Session:
    agent: str
    priority: int
    capabilities: tuple[str, ...]
    due: int
    seen: int
    purse: list[Budget]


@dataclass
class Agent:
    session: str
    purse: list[Budget]
    labels: list[str] = field(default_factory=list)
    profile: list[str] = field(default_factory=list)
    """The labels published for it, which become its own at its next request or handshake."""


@dataclass(frozen=True)
class Candidate:
    recommended: str | None
    model: str | None
    amount: int


@dataclass(frozen=True)
class Ask:
    """A request, as far as a decision depends on it. `content` stands for all of it."""

    agent: str
    request: str
    content: tuple[object, ...]
    session: str | None
    priority: int
    resource: str
    candidates: tuple[Candidate, ...]
    effect: str = "allow"
    code: str | None = None
    born: int = 0
    capability: str | None = None
    model: str | None = None


@dataclass
class Record:
    ask: Ask
    session: str
    state: str
    code: str
    amount: int
    deadline: int
    created: int
    model: str | None
    recommended: str | None
    lines: dict[tuple[str, str | int], tuple[int, int]]
    """Owner and window kind to limit and what was left."""
    retry: int = 0
    held: list[tuple[Budget, int, int]] = field(default_factory=list)
    """Budgets in which it was reserved: in which window, after how many resets."""
    escalated: bool = False
    charged: int = 0
    estimated: bool = False
    settled: object = None
    refunded: int = 0
    refund: str | None = None
    key: str = ""
    answered: int = 0
    rule: str | None = None
    lacking: Budget | None = None
    repeated: bool = False

    @property
    def open(self) -> bool:
        return self.state in {"live", "pending"}

    @property
    def status(self) -> str:
        if self.state == "pending":
            return "PENDING"
        never = self.state in {"rejected", "timed_out"} or (self.escalated and self.state == "released")
        return "REJECTED" if never else "GRANTED"


@dataclass(frozen=True)
class Timings:
    grant: int
    grant_max: int
    approval: int
    keep: int
    idle: int
    most_open: int
    most_asked: int
    agent_day: int
    tenant_day: int


class World:
    """One tenant."""

    def __init__(self, zone: str, timings: Timings, now: int) -> None:
        self.zone, self.timings, self.now = ZoneInfo(zone), timings, now
        self.agents: dict[str, Agent] = {}
        self.sessions: dict[str, Session] = {}
        self.records: dict[tuple[str, str], Record] = {}
        self.tenant = [Budget("t", None, None, "d", timings.tenant_day)]
        self.shared: dict[str, list[Budget]] = {}
        self.events: list[tuple[object, ...]] = []
        self.refusals = Refusals(self.events)
        self.bill: dict[tuple[int, str, str, str, str], dict[str, int]] = defaultdict(lambda: {"$": 0, "n": 0})
        self.policy, self.profiles = 1, 0
        self.escalate_above, self.deny_above = 5_000_000_000, 1 << 60

    # --- administration

    def handshake(
        self, agent: str, session: str, priority: int, capabilities: tuple[str, ...], limit: int | None
    ) -> None:
        if agent not in self.agents:
            self.agents[agent] = Agent(session, [Budget("a", agent, None, "d", self.timings.agent_day)])
        self.agents[agent].session = session
        self._take_profile(agent)
        purse = [] if limit is None else [Budget("s", agent, session, "t", limit)]
        self.sessions[session] = Session(agent, priority, capabilities, self.now + self.timings.idle, self.now, purse)
        for budget in (*self.agents[agent].purse, *self.tenant):
            budget.roll(self.now, self.zone)
        self.events.append(("handshake", agent, session))

    def set_limit(self, owner: str, agent: str | None, session: str | None, kind: str | int, limit: int) -> Budget:
        if owner == "s":
            if session not in self.sessions:
                raise Refused("not_found")
            agent = self.sessions[session].agent
        if owner == "a" and agent not in self.agents:
            raise Refused("not_found")
        purse = self._purse(owner, agent, session)
        if purse is None:
            purse = self.shared[owner] = []
        budget = next((b for b in purse if b.kind == kind), None)
        before = None if budget is None else budget.limit
        if budget is None:
            budget = Budget(owner, agent if owner in "as" else None, session, kind, limit)
            purse.append(budget)
        budget.roll(self.now, self.zone)
        if budget.limit != limit:
            budget.limit, budget.crossed, budget.armed_above, budget.told = limit, 0, 0, 0
        self.events.append(("budget_set", owner, agent, session, kind, before, limit))
        self._announce(budget, budget.agent, budget.session)
        return budget

    def reset(self, budget: Budget) -> tuple[int, int]:
        """Answers what was spent and held. What was held counts as spent, in whatever of its records becomes of it."""
        budget.roll(self.now, self.zone)
        spent, held = max(0, budget.total(budget.spent) - budget.kept), budget.total(budget.reserved)
        budget.kept += held
        budget.window, budget.resets = start_of(budget.kind, self.now, self.zone), budget.resets + 1
        budget.spent.clear()
        budget.reserved.clear()
        budget.spent[budget.window] = budget.kept
        budget.crossed = budget.armed_above = budget.told = budget.told_ahead = 0
        self.events.append(
            ("budget_reset", budget.owner, budget.agent, budget.session, budget.kind, budget.limit, spent, held)
        )
        self._announce(budget, budget.agent, budget.session)
        return spent, held

    def label(self, agent: str, labels: list[str]) -> None:
        self.agents[agent].profile = labels
        self.profiles += 1
        self.events.append(("profiles_published", self.profiles))

    def publish(self, escalate_above: int, deny_above: int) -> None:
        if (escalate_above, deny_above) != (self.escalate_above, self.deny_above):
            self.escalate_above, self.deny_above = escalate_above, deny_above
            self.policy += 1
            self.events.append(("policy_published", self.policy))

    # --- decisions

    def request(self, ask: Ask, bearer: str | None = None) -> tuple[Record, bool]:
        """The record of a request, and whether it is new."""
        self._check_bearer(bearer, ask.agent)
        known = self.records.get((ask.agent, ask.request))
        if known is not None:
            if known.ask.content != ask.content:
                raise Refused("conflict")
            self._end_if_overdue(known)
            return known, False
        if ask.born and self.now - ask.born > self.timings.keep:
            raise Refused("invalid_request")
        if ask.agent not in self.agents:
            raise Refused("not_found")
        sid = bearer or ask.session or self.agents[ask.agent].session
        if sid not in self.sessions:
            raise Refused("not_found")
        if self.sessions[sid].agent != ask.agent:
            raise Refused("not_yours")
        self._take_profile(ask.agent)
        behind = self.sweep(4)
        if sid not in self.sessions:
            raise Refused("not_found")
        record, budgets = self._judge(ask, sid)
        if record.code in BUSY and behind:
            self.sweep()
            if sid not in self.sessions:
                raise Refused("not_found")
            record, budgets = self._judge(ask, sid)
        self.records[ask.agent, ask.request] = record
        if record.state == "rejected":
            self._refuse(record)
            return record, True
        self.refusals.tell(ask.agent)
        for budget in budgets:
            budget.roll(self.now, self.zone)
            budget.reserved[budget.window] += record.amount
            record.held.append((budget, budget.window, budget.resets))
            self._announce(budget, ask.agent, sid)
        self.sessions[sid].seen = self.now
        self._tell("granted" if record.state == "live" else "pending", record)
        return record, True

    def _refuse(self, record: Record) -> None:
        ask, lacking = record.ask, record.lacking
        if lacking:
            self._tell_ahead(lacking, ask.agent, record.session)
        budget = lacking and (lacking.owner, lacking.kind, lacking.session if lacking.owner == "s" else None)
        kind = (self.policy, record.rule, ask.resource, budget, ask.model, ask.capability)
        record.repeated = self.refusals.counts(ask.agent, self.now, record.code, kind, record.amount)
        if not record.repeated:
            self._tell("rejected", record)

    def _judge(self, ask: Ask, sid: str) -> tuple[Record, list[Budget]]:
        def used(budget: Budget) -> int:
            return replace(budget).roll(self.now, self.zone).used  # what is refused need not leave it rolled

        code, choice, short = self._objection(ask, sid), ask.candidates[0], None
        budgets = self._applying(ask, sid, choice.model)
        if code is None:
            for candidate in ask.candidates:
                applying = self._applying(ask, sid, candidate.model)
                tight = [b for b in applying if used(b) + candidate.amount > b.limit]
                if not tight:
                    choice, budgets, short = candidate, applying, None
                    break
                short = short or tight[0]
            open_grants = sum(r.open for (agent, _), r in self.records.items() if agent == ask.agent)
            if open_grants >= self.timings.most_open:
                code = "too_many_open_grants"
            elif short is not None:
                code = "budget_exceeded"
        effect = ask.effect
        rule = None if code in {"missing_capability", "priority_above_maximum", "budget_exceeded"} else effect
        if code is None and choice.amount > self.escalate_above:
            rule, effect = "much" if effect == "allow" else rule, "escalate"
        if code is None and choice.amount > self.deny_above:
            code, rule = "policy", "most"
        if code is None and effect == "escalate":
            held = self._waiting(ask.agent) + choice.amount
            asked = sum(r.state == "pending" for (name, _), r in self.records.items() if name == ask.agent)
            if asked >= self.timings.most_asked:
                code = "too_many_questions"
            elif any(b.owner not in {"a", "s"} and held * 2 > b.limit for b in budgets):
                code = "too_much_pending"
        state = "rejected" if code else "pending" if effect == "escalate" else "live"
        life = {"rejected": -self.now, "pending": self.timings.approval, "live": self.timings.grant}[state]
        taken = 0 if code else choice.amount
        lines = {(b.owner, b.kind): (b.limit, b.limit - used(b) - taken) for b in budgets}
        retry = short.ends(self.now, self.zone) if short is not None and code == "budget_exceeded" else 0
        retry = self.now + MINUTE if code in {"too_many_questions", "too_much_pending"} else retry
        record = Record(
            ask, sid, state, code or ("escalated" if state == "pending" else "ok"), choice.amount, self.now + life,
            self.now, choice.model, choice.recommended,
            lines, retry, escalated=state == "pending", rule=rule,
            lacking=short if code == "budget_exceeded" else None,
        )  # fmt: skip
        return record, budgets

    def _waiting(self, agent: str) -> int:
        """What waits of an agent, or of all, as nobody shows a credential here: that drops out after its hour."""
        waiting = [(name, r) for (name, _), r in self.records.items() if r.state == "pending"]
        of_all = sum(r.amount for _, r in waiting if r.deadline // HOUR >= self.now // HOUR)
        return max(of_all, sum(r.amount for name, r in waiting if name == agent))

    def _objection(self, ask: Ask, sid: str) -> str | None:
        """Why a request is refused whatever it costs."""
        session = self.sessions[sid]
        if ask.code is not None:
            return ask.code
        if ask.effect == "deny":
            return "policy"
        if ask.capability is not None and ask.capability not in session.capabilities:
            return "missing_capability"
        return "priority_above_maximum" if ask.priority > session.priority else None

    def _applying(self, ask: Ask, sid: str, model: str | None) -> list[Budget]:
        agent = self.agents[ask.agent]
        budgets = [*agent.purse, *self.sessions[sid].purse, *self.tenant]
        for name in (*(f"l:{label}" for label in agent.labels), f"k:{ask.resource}", f"m:{model}"):
            budgets += self.shared.get(name, [])
        return budgets

    # --- what becomes of a grant

    def settle(self, record: Record, cost: int, agent: str | None, bearer: str | None) -> tuple[bool, bool]:
        """Answers whether it was a repeat, and whether it was late."""
        self._check_access(record, agent, bearer)
        self._end_if_overdue(record)
        if record.state == "live":
            record.settled = cost
            self._close(record, "settled", cost)
            return False, False
        if record.state == "settled" and record.settled == cost:
            return True, False
        if record.state != "expired" or record.refunded:
            raise Refused("grant_closed")
        self._spend(record, cost, already=record.amount)
        self._book(record, cost - record.amount, 0, -record.amount)
        record.estimated = False
        record.state, record.charged, record.settled = "settled", cost, cost
        self._tell("overrun" if cost > record.amount else "settled", record)
        return False, True

    def refund(self, record: Record, nanos: int, name: str) -> bool:
        """Answers whether it was a repeat."""
        self._end_if_overdue(record)
        if record.refund == name:
            return True
        if nanos > (0 if record.open else record.charged - record.refunded):
            raise Refused("grant_open" if record.open else "invalid_request")
        for budget, window, _ in record.held:
            if budget.session is not None and budget.session not in self.sessions:
                continue
            budget.roll(self.now, self.zone)
            cells = [budget.window]
            if isinstance(budget.kind, int):
                cells = sorted(cell for cell in budget.spent if cell >= window and budget.counts(cell))
            rest = nanos
            for cell in cells:
                part = min(rest, budget.spent[cell])
                budget.spent[cell] -= part
                rest -= part
        self._book(record, -nanos, 0, -nanos if record.estimated else 0)
        record.refunded, record.refund = record.refunded + nanos, name
        who, money = (record.ask.agent, record.key, record.ask.request), (nanos, record.charged, record.refunded)
        self.events.append(("refunded", *who, *money, "", "test"))
        return False

    def release(self, record: Record, agent: str | None, bearer: str | None) -> bool:
        self._check_access(record, agent, bearer)
        self._end_if_overdue(record)
        if record.state == "released":
            return True
        if not record.open:
            raise Refused("grant_closed")
        self._close(record, "released", 0)
        return False

    def extend(self, record: Record, by: int, agent: str | None, bearer: str | None) -> bool:
        self._check_access(record, agent, bearer)
        self._end_if_overdue(record)
        if record.state != "live":
            raise Refused("grant_closed")
        deadline = min(self.now + by, record.created + self.timings.grant_max)
        if deadline <= record.deadline:
            return True
        record.deadline = deadline
        self._tell("extended", record)
        return False

    def look(self, record: Record) -> None:
        self._end_if_overdue(record)

    def sweep(self, most: int = 1 << 30) -> bool:
        """End overdue records and idle sessions, the earliest first; answers whether some are left."""
        due = [(r.deadline, f"r:{r.key}", r) for r in self.records.values() if r.open and r.deadline <= self.now]
        due += [(s.due, f"s:{sid}", sid) for sid, s in self.sessions.items() if s.due <= self.now]
        due += self.refusals.overdue(self.now)
        due.sort(key=lambda item: item[:2])
        for _, name, it in due[:most]:
            if isinstance(it, Record):
                self._end_if_overdue(it)
                continue
            if name.startswith("a"):
                self.refusals.end(it, self.now)
                continue
            session = self.sessions[it]
            session.due = session.seen + self.timings.idle
            if session.due <= self.now:
                del self.sessions[it]
                self.events.append(("session_closed", session.agent, it))
        left = [r.deadline for r in self.records.values() if r.open] + [s.due for s in self.sessions.values()]
        return any(due <= self.now for due in (*left, *self.refusals.due.values()))

    def _end_if_overdue(self, record: Record) -> None:
        if record.open and record.deadline <= self.now:
            live = record.estimated = record.state == "live"
            self._close(record, "expired" if live else "timed_out", record.amount if live else 0)

    def _close(self, record: Record, state: str, charged: int) -> None:
        for budget, window, resets in record.held:
            budget.roll(self.now, self.zone)  # before money moves: on its way to what is spent it never was free
            if resets == budget.resets:
                budget.reserved[window] -= record.amount
        self._spend(record, charged, already=0)
        calls = 0 if state in {"released", "timed_out"} else 1
        self._book(record, charged, calls, charged if record.estimated else 0)
        record.answered = record.deadline if state == "timed_out" else self.now
        record.state, record.charged = state, charged
        self._tell("overrun" if charged > record.amount else state, record)

    def _spend(self, record: Record, charged: int, already: int) -> None:
        """Up to the reservation in the window it was reserved in, the rest in the present one."""
        over = max(0, charged - record.amount)
        for budget, window, resets in record.held:
            if budget.session is not None and budget.session not in self.sessions:
                continue
            budget.roll(self.now, self.zone)
            if resets == budget.resets:
                budget.spent[window] += charged - over - already
            budget.spent[budget.window] += over
            self._announce(budget, record.ask.agent, record.session)

    # --- the rest

    def _take_profile(self, agent: str) -> None:
        self.agents[agent].labels = self.agents[agent].profile

    def budgets_of(self, agent: str | None) -> dict[tuple[str, str | int], Budget]:
        """What a report on an agent, or on everything shared, shows of the present window, which no look enters."""
        shown = list(self.tenant)
        for owner, purse in self.shared.items():
            if agent is None or not owner.startswith("l:") or owner[2:] in self.agents[agent].labels:
                shown += purse
        if agent is not None:
            session = self.sessions.get(self.agents[agent].session)
            shown += self.agents[agent].purse + (session.purse if session else [])
        return {(budget.owner, budget.kind): replace(budget).roll(self.now, self.zone) for budget in shown}

    def every_budget(self) -> dict[tuple[str, str | None, str | int], Budget]:
        """Every budget of the tenant, by its owner, the agent's or session's name, and its window kind."""
        purses = [self.tenant, *self.shared.values()]
        found: dict[tuple[str, str | None, str | int], Budget] = {(b.owner, None, b.kind): b for p in purses for b in p}
        found |= {("a", name, b.kind): b for name, agent in self.agents.items() for b in agent.purse}
        found |= {("s", name, b.kind): b for name, session in self.sessions.items() for b in session.purse}
        return found

    def _purse(self, owner: str, agent: str | None, session: str | None) -> list[Budget] | None:
        if owner == "a":
            return self.agents[agent or ""].purse
        if owner == "s":
            return self.sessions[session or ""].purse
        return self.tenant if owner == "t" else self.shared.get(owner)

    def _check_access(self, record: Record, agent: str | None, bearer: str | None) -> None:
        if agent is not None and agent != record.ask.agent:
            raise Refused("not_yours")
        self._check_bearer(bearer, record.ask.agent)

    def _check_bearer(self, bearer: str | None, agent: str) -> None:
        if bearer is None:
            return
        if bearer not in self.sessions:
            raise Refused("bad_token")
        if self.sessions[bearer].agent != agent:
            raise Refused("not_yours")

    def _announce(self, budget: Budget, agent: str | None, session: str | None) -> None:
        budget.fall()
        self._tell_ahead(budget, agent, session)
        used, spent = budget.used, budget.total(budget.spent)
        facts = (budget.owner, agent, session, budget.kind, budget.limit, used)
        mark = budget.mark(used)
        if mark > budget.armed_above and (mark > budget.told or self.now >= budget.told_at + HOUR):
            budget.armed_above, budget.told, budget.told_at = mark, mark, self.now
            self.events.append(("budget_reserved", *facts, mark, spent))
        if budget.mark(spent) > budget.crossed:
            budget.crossed = budget.mark(spent)
            self.events.append(("budget_crossed", *facts, budget.crossed, spent))

    def _tell_ahead(self, budget: Budget, agent: str | None, session: str | None) -> None:
        if budget.is_ahead(self.now) and budget.told_ahead != budget.window:
            budget.told_ahead = budget.window
            self.events.append(("budget_ahead", budget.owner, agent, session, budget.kind))

    def _tell(self, kind: str, record: Record) -> None:
        self.events.append((kind, record.ask.agent, record.ask.request, record.code, record.amount, record.charged))

    def _book(self, record: Record, cost: int, calls: int, estimated: int) -> None:
        if cost or calls or estimated:
            day = datetime.fromtimestamp(self.now // 1000, self.zone).date() - date(1970, 1, 1)
            labels = ",".join(self.agents[record.ask.agent].labels)
            row = self.bill[day.days, record.ask.agent, record.ask.resource, record.model or "", labels]
            row["$"] += cost
            row["n"] += calls
            if estimated:
                row["~"] = row.get("~", 0) + estimated

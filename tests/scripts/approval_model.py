"""What approvals must do, written a second time and small: questions, votes, edits, envelopes, claims and refusals.

Money is nano-dollars, times are milliseconds. `Desk` is one tenant; `Desk.events` collects what it must have announced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from .model import Budget, Refused
from .refusal_model import Refusals

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
USD = 1_000_000_000
GRANT, GRANT_MAX, APPROVAL, REFUSAL, TRANSIENT = 600 * SECOND, HOUR, 900 * SECOND, HOUR, MINUTE
MOST_OPEN, MOST_ASKED = 8, 4
NEVER_ABOVE = 8 * USD


@dataclass(frozen=True)
class Terms:
    quorum: int = 1
    seconds: int | None = None
    approves: bool = False
    operators: tuple[str, ...] | None = None


RULES: dict[str, tuple[str | int, Terms]] = {
    "asks": (2 * USD, Terms()),
    "two": (4 * USD, Terms(quorum=2, seconds=300)),
    "named": ("wire", Terms(operators=("cfo", "ada"))),
    "quiet": ("mail", Terms(approves=True, seconds=120)),
}
"""Rules that ask: above an amount, or about a tool."""


@dataclass
class Envelope:
    agent: str
    tool: str | None
    rule: str | None
    limit: int
    author: str
    made: int
    expires: int
    used: int = 0
    uses: int = 0
    name: str = ""


@dataclass
class Question:
    """A request, and what became of it."""

    agent: str
    request: str
    tool: str
    amount: int
    created: int
    asked_tool: str
    asked_amount: int
    state: str = "rejected"
    code: str = ""
    deadline: int = 0
    charged: int = 0
    settled: int | None = None
    retry: int = 0
    key: str = ""
    held: list[tuple[Budget, int]] = field(default_factory=list)
    envelope: Envelope | None = None
    asked: bool = False
    quorum: int = 1
    approves: bool = False
    operators: tuple[str, ...] | None = None
    votes: dict[str, str] = field(default_factory=dict)
    how: str | None = None
    by: str | None = None
    at: int = 0
    claimed: bool = False
    edited: tuple[str, int] | None = None
    lacking: Budget | None = None

    @property
    def open(self) -> bool:
        return self.state in {"live", "pending"}

    @property
    def unheard(self) -> bool:
        return self.state == "live" and self.asked and not self.claimed


def both(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Only whom both name; None names everybody."""
    if one is None or other is None:
        return one if other is None else other
    return tuple(name for name in other if name in one)


class Desk:
    """One tenant's questions."""

    def __init__(self, agents: list[str], agent_day: int, agent_ring: int, tenant_day: int, now: int) -> None:
        self.now = now
        self.tenant = Budget("t", None, None, "d", tenant_day)
        self.purses = {
            name: [Budget("a", name, None, "d", agent_day), Budget("a", name, None, 2 * HOUR, agent_ring)]
            for name in agents
        }
        self.blocked: set[str] = set()
        self.records: dict[str, Question] = {}
        self.envelopes: list[Envelope] = []
        self.ceilings: dict[str, int] = {}
        self.refusals: dict[tuple[str, str, int], tuple[int, int]] = {}
        """What a person refused: until when, and since when."""
        self.events: list[tuple[object, ...]] = []
        self.refusals_told = Refusals(self.events)

    # --- asking

    def request(self, agent: str, request: str, tool: str, amount: int) -> Question:
        known = self.records.get(request)
        if known is not None:
            self.look(known, claims=True)
            return known
        behind = self.sweep(4)
        record, envelope = self._judge(agent, request, tool, amount)
        busy = {"budget_exceeded", "too_many_open_grants", "too_many_questions", "too_much_pending"}
        if behind and record.code in busy:
            self.sweep()
            record, envelope = self._judge(agent, request, tool, amount)
        self.records[request] = record
        if record.state == "rejected":
            budget = record.lacking and (record.lacking.owner, record.lacking.kind)
            if not self.refusals_told.counts(agent, self.now, record.code, (tool, budget), amount):
                self._tell("rejected", record)
            return record
        self.refusals_told.tell(agent)
        self._hold(record, amount)
        if envelope is not None:
            envelope.used, envelope.uses, record.envelope = envelope.used + amount, envelope.uses + 1, envelope
        self._tell({"live": "granted"}.get(record.state, record.state), record)
        return record

    def _judge(self, agent: str, request: str, tool: str, amount: int) -> tuple[Question, Envelope | None]:
        record = Question(agent, request, tool, amount, self.now, tool, amount)
        record.code = self._objection(record)
        if record.code:
            return record, None
        fired = _fired(tool, amount)
        if not fired:
            record.state, record.code, record.deadline = "live", "ok", self.now + GRANT
            return record, None
        record.approves, seconds = True, APPROVAL // SECOND
        for terms in fired.values():
            _tighten(record, terms)
        given = [terms.seconds for terms in fired.values() if terms.seconds]
        seconds = (
            max(terms.seconds or seconds for terms in fired.values()) if record.approves else min(given or [seconds])
        )
        till, since = self.refusals.get((agent, tool, amount), (0, 0))
        refused = till > self.now
        for envelope in self.envelopes if record.quorum == 1 else []:
            may = record.operators is None or envelope.author in record.operators
            fresh = not refused or envelope.made > since
            if may and fresh and self._covers(envelope, record, fired):
                record.state, record.code, record.deadline = "live", "ok", self.now + GRANT
                return record, envelope
        mine = [r.amount for r in self.records.values() if r.agent == agent and r.state == "pending"]
        if refused:
            record.code, record.retry = "refused_before", till
        elif len(mine) >= MOST_ASKED:
            record.code, record.retry = "too_many_questions", self.now + TRANSIENT
        elif (self._waiting(agent) + amount) * 2 > self.tenant.limit:
            record.code, record.retry = "too_much_pending", self.now + TRANSIENT
        else:
            record.state, record.code, record.asked = "pending", "escalated", True
            record.deadline = self.now + seconds * SECOND
        return record, None

    def _waiting(self, agent: str) -> int:
        """What waits of an agent, or of all, as nobody shows a credential here: that drops out after its hour."""
        waiting = [r for r in self.records.values() if r.state == "pending"]
        of_all = sum(r.amount for r in waiting if r.deadline // HOUR >= self.now // HOUR)
        return max(of_all, sum(r.amount for r in waiting if r.agent == agent))

    def _covers(self, envelope: Envelope, record: Question, fired: dict[str, Terms]) -> bool:
        return (
            envelope.agent == record.agent
            and envelope.tool in {None, record.tool}
            and (envelope.rule is None or set(fired) == {envelope.rule})
            and self.now < envelope.expires
            and envelope.used + record.amount <= envelope.limit
            and record.amount <= self.ceilings.get(envelope.author, 1 << 60)
        )

    def _objection(self, record: Question) -> str:
        if record.agent in self.blocked:
            return "agent_blocked"
        if record.tool == "drop":
            return "policy"
        if sum(r.open for r in self.records.values() if r.agent == record.agent) >= MOST_OPEN:
            return "too_many_open_grants"
        if tight := [b for b in self._budgets(record.agent) if b.used + record.amount > b.limit]:
            record.lacking = tight[0]
            return "budget_exceeded"
        return "policy" if record.amount > NEVER_ABOVE else ""

    def _budgets(self, agent: str) -> list[Budget]:
        return [budget.roll(self.now, ZoneInfo("UTC")) for budget in (*self.purses[agent], self.tenant)]

    def _hold(self, record: Question, amount: int) -> None:
        record.held = [(budget, budget.window) for budget in self._budgets(record.agent)]
        for budget, window in record.held:
            budget.reserved[window] += amount

    # --- what operators say

    def decide(self, record: Question, operator: str, word: str, edit: tuple[str | None, int | None] | None) -> bool:
        """Answers whether it changed anything."""
        if not record.asked:
            raise Refused("not_found")
        self._end_if_overdue(record)
        changed = None if edit is None else (edit[0] or record.tool, record.amount if edit[1] is None else edit[1])
        if changed is not None and changed == (record.edited or (record.asked_tool, record.asked_amount)):
            changed = None
        same = record.votes.get(operator) == word and changed is None
        if same:
            return False
        if record.state != "pending":
            raise Refused("already_decided" if record.by else str(record.how))
        terms = Terms(record.quorum, None, record.approves, record.operators)
        asking = Question("", "", "", 0, 0, "", 0)
        asking.approves = True
        for each in (terms, *(_fired(*changed).values() if changed else ())):
            _tighten(asking, each)
        if asking.operators is not None and operator not in asking.operators:
            raise Refused("not_its_operator")
        amount = changed[1] if changed else record.amount
        if word == "approve" and amount > self.ceilings.get(operator, 1 << 60):
            raise Refused("above_operator_limit")
        if word == "approve" and record.agent in self.blocked:
            raise Refused("agent_blocked")
        if changed is not None:
            self._edit(record, *changed)
            record.quorum, record.approves, record.operators = asking.quorum, asking.approves, asking.operators
        record.votes[operator] = word
        if word == "reject":
            self._close(record, "declined", 0, by=operator)
            self.refusals[record.agent, record.asked_tool, record.asked_amount] = (self.now + REFUSAL, self.now)
            return True
        self._recount(record)
        if list(record.votes.values()).count("approve") >= record.quorum:
            self._go_live(record, operator, self.now)
        else:
            self._tell("voted", record)
        return True

    def _recount(self, record: Question) -> None:
        """Of the approvals those count whose person may still approve so much. A rejection needs no count, and what the
        others said stays to be read."""
        record.votes = {o: w for o, w in record.votes.items() if record.amount <= self.ceilings.get(o, 1 << 60)}

    def _edit(self, record: Question, tool: str, amount: int) -> None:
        if tool == "drop" or amount > NEVER_ABOVE:
            raise Refused("edit_refused")
        for budget, window in record.held:
            budget.roll(self.now, ZoneInfo("UTC"))
            kept = record.amount if budget.counts(window) else 0
            if budget.used - kept + amount > budget.limit:
                raise Refused("budget_exceeded")
        for budget, window in record.held:
            budget.reserved[window] -= record.amount
        self._hold(record, amount)
        record.tool, record.amount, record.edited, record.votes = tool, amount, (tool, amount), {}

    def put_envelope(self, envelope: Envelope) -> None:
        if envelope.limit > self.ceilings.get(envelope.author, 1 << 60):
            raise Refused("above_operator_limit")
        self.envelopes = [each for each in self.envelopes if each.expires > self.now] + [envelope]
        self.events.append(("envelope_made", envelope.limit, 0))

    def revoke(self, envelope: Envelope) -> None:
        if envelope not in self.envelopes or envelope.expires <= self.now:
            raise Refused("not_found")
        self.envelopes = [each for each in self.envelopes if each is not envelope and each.expires > self.now]
        self.events.append(("envelope_revoked", envelope.limit, envelope.used))

    def set_ceiling(self, operator: str, limit: int | None) -> None:
        self.ceilings.pop(operator, None)
        if limit is not None:
            self.ceilings[operator] = limit
        self.events.append(("ceiling_set", operator, limit))

    def block(self, agent: str, author: str) -> None:
        self.blocked.add(agent)
        self.events.append(("agent_blocked", agent))
        for record in sorted(self.records.values(), key=lambda r: (r.deadline, r.key)):
            if record.agent == agent and record.open:
                self._end_if_overdue(record)
                if record.state == "pending":
                    self._close(record, "declined", 0, by=author)

    def unblock(self, agent: str) -> None:
        self.blocked.discard(agent)
        self.events.append(("agent_active", agent))

    def open_questions(self) -> list[Question]:
        """What a listing of the open ones shows; the overdue end."""
        waiting = [r for r in self.records.values() if r.state == "pending"]
        for record in sorted(waiting, key=lambda r: (r.created, r.key)):
            self._end_if_overdue(record)
        return sorted((r for r in waiting if r.state == "pending"), key=lambda r: (r.created, r.key))

    def ended_questions(self) -> list[Question]:
        """What a listing of the ended ones shows, the newest first; approved grants that are overdue end."""
        ended = [r for r in self.records.values() if r.how]
        ended.sort(key=lambda r: (r.at, r.key), reverse=True)
        for record in ended:
            self._end_if_overdue(record)
        return ended

    # --- what becomes of grants

    def look(self, record: Question, *, claims: bool) -> None:
        self._end_if_overdue(record)
        if claims:
            self._claim(record)

    def _claim(self, record: Question) -> None:
        if record.unheard:
            if record.agent in self.blocked:
                self._close(record, "released", 0)
            else:
                record.claimed, record.deadline = True, max(record.deadline, self.now + GRANT)

    def settle(self, record: Question, cost: int) -> bool:
        """Answers whether it was a repeat."""
        self._end_if_overdue(record)
        if record.state == "live":
            record.settled = cost
            self._close(record, "settled", cost)
            return False
        if record.state == "settled" and record.settled == cost:
            return True
        if record.state != "expired":
            raise Refused("grant_closed")
        self._spend(record, cost, already=record.amount)
        if record.envelope in self.envelopes:
            record.envelope.used += cost - record.amount
        record.state, record.charged, record.settled = "settled", cost, cost
        self._tell("overrun" if cost > record.amount else "settled", record)
        return False

    def release(self, record: Question) -> bool:
        self._end_if_overdue(record)
        if record.state == "released":
            return True
        if not record.open:
            raise Refused("grant_closed")
        self._close(record, "released", 0)
        return False

    def extend(self, record: Question, by: int) -> bool:
        self._end_if_overdue(record)
        self._claim(record)
        if record.state != "live":
            raise Refused("grant_closed")
        since = record.at if record.asked else record.created
        deadline = min(self.now + by, since + GRANT_MAX)
        if deadline <= record.deadline:
            return True
        record.deadline = deadline
        self._tell("extended", record)
        return False

    def sweep(self, most: int = 1 << 30) -> bool:
        due = [(r.deadline, f"r:{r.key}", r) for r in self.records.values() if r.open and r.deadline <= self.now]
        due += self.refusals_told.overdue(self.now)
        for _, _, it in sorted(due, key=lambda item: item[:2])[:most]:
            if isinstance(it, Question):
                self._end_if_overdue(it)
            else:
                self.refusals_told.end(it, self.now)
        left = [r.deadline for r in self.records.values() if r.open]
        return any(due <= self.now for due in (*left, *self.refusals_told.due.values()))

    def _end_if_overdue(self, record: Question) -> None:
        if not record.open or record.deadline > self.now:
            return
        if record.state == "pending" and record.approves and record.agent not in self.blocked:
            self._go_live(record, None, record.deadline)
            if record.deadline > self.now:
                return
        if record.state == "pending":
            self._close(record, "timed_out", 0)
        elif record.unheard:
            self._close(record, "released", 0)
        else:
            self._close(record, "expired", record.amount)

    def _go_live(self, record: Question, by: str | None, since: int) -> None:
        record.how, record.by, record.at = "approved", by, self.now
        record.state, record.code, record.deadline = "live", "approved", since + GRANT
        self._tell("approved", record)

    def _close(self, record: Question, state: str, charged: int, *, by: str | None = None) -> None:
        if record.state == "pending":
            record.how = {"timed_out": "timed_out", "declined": "rejected", "released": "withdrawn"}[state]
            record.by, record.at = by, record.deadline if state == "timed_out" else self.now
        for budget, window in record.held:
            budget.roll(self.now, ZoneInfo("UTC"))
            budget.reserved[window] -= record.amount
        self._spend(record, charged, already=0)
        if record.envelope in self.envelopes:
            record.envelope.used += charged - record.amount
        record.state, record.charged = state, charged
        self._tell("overrun" if charged > record.amount else state, record)

    def _spend(self, record: Question, charged: int, already: int) -> None:
        over = max(0, charged - record.amount)
        for budget, window in record.held:
            budget.roll(self.now, ZoneInfo("UTC"))
            budget.spent[window] += charged - over - already
            budget.spent[budget.window] += over

    def _tell(self, kind: str, record: Question) -> None:
        self.events.append((kind, record.request, record.code, record.amount, record.charged))


def _fired(tool: str, amount: int) -> dict[str, Terms]:
    return {
        name: terms
        for name, (about, terms) in RULES.items()
        if (tool == about if isinstance(about, str) else amount > about)
    }


def _tighten(record: Question, terms: Terms) -> None:
    record.quorum, record.approves = max(record.quorum, terms.quorum), record.approves and terms.approves
    record.operators = both(record.operators, terms.operators)

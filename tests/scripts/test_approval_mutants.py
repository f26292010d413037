"""Faults in how people are asked, put into the shipped scripts on purpose: the machine of approvals finds every one."""

from __future__ import annotations

import pytest
from hypothesis import settings

from .approval_machine import approvals_on
from .bench import Bench
from .mutating import HUNT, Hunter, check_mutant, hunt, mutated, record

# Name: pairs of what the scripts say and what the mutant says instead; before them a file, where that is needed.
MUTANTS: dict[str, tuple[str, ...]] = {
    "a question is decided twice": (
        "if R[R_STATE] ~= STATE_PENDING then return {same and 'OK' or 'DECIDED', encode(R), 1, NOW} end\n",
        "",
    ),
    "the deadline is of the client's time": (
        "state == STATE_PENDING and NOW + span",
        "state == STATE_PENDING and (born > 0 and born or NOW) + span",
    ),
    "the deadline is kept by another clock": (
        "NOW >= R[R_DEADLINE]",
        "redis.call('TIME')[1] * 1000 >= R[R_DEADLINE]",
    ),
    "a decision after the deadline counts": ("decide", "if overdue(R) then", "if false then"),
    "a rejection keeps its hold": (
        "  move(R, R[R_AMOUNT], 0, charged)",
        "  if state ~= STATE_DECLINED then move(R, R[R_AMOUNT], 0, charged) end",
    ),
    "a quorum counts one operator twice": (
        "if same then return {'OK', encode(R), 1, NOW} end\n",
        "",
        "local vote = before or NEW_O",
        "local vote = NEW_O",
        "if not before then votes[#votes + 1] = vote end",
        "votes[#votes + 1] = vote",
        "if not seen[name] and ",
        "if ",
    ),
    "the easiest rule says how many must approve": ("math.max(Q[Q_QUORUM], quorum)", "quorum"),
    "anybody may decide": ("if not names(Q[Q_OPERATORS], name) then", "if false then"),
    "the operator's limit is ignored": ("if ceiling and bound > ceiling then", "if false then"),
    "a refusal is forgotten": (
        "  call('SET', PREFIX .. 'x:' .. Q[Q_CONTENT], encode(X), 'PX', span)\n",
        "",
    ),
    "a refusal is of what an operator made of it": (
        "'x:' .. Q[Q_CONTENT]",
        "'x:' .. (Q[Q_EDITED] or Q[Q_CONTENT])",
    ),
    "a refusal lasts for ever": ("if refusal and refusal[X_UNTIL] <= NOW then refusal = false end\n", ""),
    "silence approves": ("R[R_ASKED][Q_APPROVES] and not halted(R)", "not halted(R)"),
    "silence never approves": ("R[R_ASKED][Q_APPROVES] and not halted(R)", "false"),
    "an unclaimed approval is charged": ("  elseif unheard(R) then\n", "  elseif false then\n"),
    "a claimed approval is free": ("Q[Q_CLAIMED] = true", "Q[Q_CLAIMED] = false"),
    "who extends a grant has not heard of it": ("  claim(id, R)\n", ""),
    "what was approved begins although its agent is blocked": (
        "lifecycle",
        "  if stopped then\n",
        "  if false then\n",
    ),
    "an edit is not judged by the rules": ("  if edit[EDIT_EFFECT] == 'deny' then", "  if false then"),
    "an edit is not judged by the limits": ("decide", "if bound > limits[at + LIMIT_ABOVE] and", "if false and"),
    "an edit is not judged by the budgets": ("if room and room < 0 then", "if false then"),
    "an edit is asked on the old terms": ("for i = 1, edit and #edit[EDIT_TERMS] or 0 do", "for i = 1, 0 do"),
    "an edit holds what was asked first": (
        "decide",
        "      add(b, b[B_WINDOW], 0, amount)",
        "      add(b, b[B_WINDOW], 0, R[R_AMOUNT])",
    ),
    "an edit keeps the old hold": ("      add(b, lines[at + M_WINDOW], 0, -R[R_AMOUNT])\n", ""),
    "an edit does not change what is pending": (
        "G[G_PENDING] = G[G_PENDING] + amount - R[R_AMOUNT]",
        "G[G_PENDING] = G[G_PENDING]",
    ),
    "votes survive an edit": (
        "= amount, decode(edit[EDIT_TRACE]), edit[EDIT_CONTENT], {}",
        "= amount, decode(edit[EDIT_TRACE]), edit[EDIT_CONTENT], votes",
    ),
    "the same edit again is another one": (
        "if edit and present == edit[EDIT_CONTENT] then edit = false end",
        "",
    ),
    "an envelope is never exhausted": (" and V[V_USED] + bound <= V[V_LIMIT]", ""),
    "an envelope has no end": ("and NOW < V[V_EXPIRES] and", "and"),
    "an envelope survives its revocation": (
        "found = V else kept[#kept + 1] = V end",
        "found = V end\n    kept[#kept + 1] = V",
    ),
    "an envelope goes beyond its author's limit": (
        "if ceiling and made[V_LIMIT] > ceiling then",
        "if false then",
    ),
    "an envelope gets around a quorum": ("Q[Q_QUORUM] == 1 and fetch('v')", "fetch('v')"),
    "an envelope gets around the operators of a rule": (
        "alone_may(Q, V[V_AUTHOR], bound, V[V_MADE])",
        "true",
    ),
    "an envelope for one rule covers another": ("(not V[V_RULE] or alone)", "true"),
    "an envelope is everybody's": ("(not V[V_AGENT] or V[V_AGENT] == agent)", "true"),
    "an envelope is stronger than a later refusal": (
        " and not (refusal and refusal[X_AT] >= V[V_MADE])",
        "",
    ),
    "an envelope keeps what came back": ("  correct_envelope(R, charged - R[R_AMOUNT])\n", ""),
    "an envelope misses a late settlement": ("  correct_envelope(R, charged - before)\n", ""),
    "an agent can drown its operators": ("G[G_QUESTIONS] >= most", "false"),
    "an answered question is still open": ("G[G_QUESTIONS] - 1", "G[G_QUESTIONS]"),
    "a vote leaves no event": ("  event('voted', told_of(R, body))\n", ""),
    "an approval leaves no event": ("  event('approved', told_of(R, body))\n", ""),
    "a timeout is listed when it was noticed": (
        "call('ZADD', PREFIX .. 'ah', Q[Q_AT], id)",
        "call('ZADD', PREFIX .. 'ah', NOW, id)",
    ),
    "an approved grant ends at the question's deadline": (
        "NOW, since + T[T_CONFIG][C_GRANT]",
        "NOW, R[R_DEADLINE]",
    ),
    "a page begins where the last one did": ("ended and id < after[2]", "ended and id <= after[2]"),
}


HUNTER = Hunter("approvals", approvals_on, settings(HUNT, stateful_step_count=50))


@pytest.mark.parametrize("name", MUTANTS)
def test_a_recorded_walk_finds(name: str, bench: Bench, record_traces: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if record_traces:
        record(HUNTER, name, bench, lambda: mutated(monkeypatch, bench, MUTANTS[name]))
    check_mutant(HUNTER, name, bench, lambda: mutated(monkeypatch, bench, MUTANTS[name]))


@pytest.mark.deep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MUTANTS)
def test_the_machine_of_approvals_finds(name: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with mutated(monkeypatch, bench, MUTANTS[name]):
        hunt(approvals_on(bench), HUNTER.how)

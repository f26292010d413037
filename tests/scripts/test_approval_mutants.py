"""Faults in how people are asked, put into the shipped scripts on purpose: the machine of approvals finds every one."""

from __future__ import annotations

import pytest
from hypothesis import settings

from .approval_machine import approvals_on
from .bench import Bench
from .mutating import HUNT, hunt, mutate

# Name: file, then pairs of what the file says and what the mutant says instead.
MUTANTS: dict[str, tuple[str, ...]] = {
    "a question is decided twice": (
        "decide",
        "if R[R_STATE] ~= 'P' then return {same and 'OK' or 'DECIDED', encode(R), 1, NOW} end\n",
        "",
    ),
    "the deadline is of the client's time": (
        "authorize",
        "state == 'P' and NOW + span",
        "state == 'P' and (born > 0 and born or NOW) + span",
    ),
    "the deadline is kept by another clock": (
        "records",
        "NOW >= R[R_DEADLINE]",
        "redis.call('TIME')[1] * 1000 >= R[R_DEADLINE]",
    ),
    "a decision after the deadline counts": ("decide", "if overdue(R) then", "if false then"),
    "a rejection keeps its hold": (
        "endings",
        "  move(R, R[R_AMOUNT], 0, charged)",
        "  if state ~= 'D' then move(R, R[R_AMOUNT], 0, charged) end",
    ),
    "a quorum counts one operator twice": (
        "decide",
        "if same then return {'OK', encode(R), 1, NOW} end\n",
        "",
        "local vote = before or {}",
        "local vote = {}",
        "if not before then votes[#votes + 1] = vote end",
        "votes[#votes + 1] = vote",
    ),
    "the easiest rule says how many must approve": ("endings", "math.max(Q[Q_QUORUM], quorum)", "quorum"),
    "anybody may decide": ("decide", "if not names(Q[Q_OPERATORS], operator) then", "if false then"),
    "the operator's limit is ignored": ("decide", "if ceiling and bound > tonumber(ceiling)", "if false"),
    "a refusal is forgotten": (
        "decide",
        "  call('SET', PREFIX .. 'x:' .. Q[Q_CONTENT], encode({operator, why, NOW + span, NOW}), 'PX', span)\n",
        "",
    ),
    "a refusal is of what an operator made of it": (
        "decide",
        "'x:' .. Q[Q_CONTENT]",
        "'x:' .. (Q[Q_EDITED] or Q[Q_CONTENT])",
    ),
    "a refusal lasts for ever": ("authorize", "if refusal and refusal[3] <= NOW then refusal = false end\n", ""),
    "silence approves": ("endings", "R[R_ASKED][Q_APPROVES] and not halted(R)", "not halted(R)"),
    "silence never approves": ("endings", "R[R_ASKED][Q_APPROVES] and not halted(R)", "false"),
    "an unclaimed approval is charged": ("endings", "  elseif unheard(R) then\n", "  elseif false then\n"),
    "a claimed approval is free": ("endings", "R[R_ASKED][Q_CLAIMED] = true", "R[R_ASKED][Q_CLAIMED] = false"),
    "who extends a grant has not heard of it": ("settle", "if act == 'extend' then claim(id, R) end\n", ""),
    "what was approved begins although its agent is blocked": (
        "endings",
        "  if stopped then\n",
        "  if false then\n",
    ),
    "an edit is not judged by the rules": ("decide", "  if edit[2] == 'deny' then", "  if false then"),
    "an edit is not judged by the limits": ("decide", "if bound > edit[4][i] and", "if false and"),
    "an edit is not judged by the budgets": ("decide", "if room and room < 0 then", "if false then"),
    "an edit is asked on the old terms": ("decide", "for i = 1, edit and #edit[9] or 0 do", "for i = 1, 0 do"),
    "an edit holds what was asked first": (
        "decide",
        "      add(b, b[B_WINDOW], 0, amount)",
        "      add(b, b[B_WINDOW], 0, R[R_AMOUNT])",
    ),
    "an edit keeps the old hold": ("decide", "      add(b, lines[i + 2], 0, -R[R_AMOUNT])\n", ""),
    "an edit does not change what is pending": (
        "decide",
        "G[G_PENDING] = G[G_PENDING] + amount - R[R_AMOUNT]",
        "G[G_PENDING] = G[G_PENDING]",
    ),
    "votes survive an edit": (
        "decide",
        "= amount, decode(edit[7]), edit[8], {}",
        "= amount, decode(edit[7]), edit[8], votes",
    ),
    "the same edit again is another one": (
        "decide",
        "if edit and present == edit[8] then edit = false end",
        "",
    ),
    "an envelope is never exhausted": ("authorize", " and V[V_USED] + bound <= V[V_LIMIT]", ""),
    "an envelope has no end": ("authorize", "and NOW < V[V_EXPIRES] and", "and"),
    "an envelope survives its revocation": (
        "put_envelope",
        "found = V else kept[#kept + 1] = V end",
        "found = V end\n    kept[#kept + 1] = V",
    ),
    "an envelope goes beyond its author's limit": (
        "put_envelope",
        "if ceiling and made[V_LIMIT] > tonumber(ceiling) then",
        "if false then",
    ),
    "an envelope gets around a quorum": ("authorize", "Q[Q_QUORUM] == 1 and fetch('v')", "fetch('v')"),
    "an envelope gets around the operators of a rule": (
        "authorize",
        "names(Q[Q_OPERATORS], V[V_AUTHOR])",
        "true",
    ),
    "an envelope for one rule covers another": ("authorize", "(not V[V_RULE] or alone)", "true"),
    "an envelope is everybody's": ("authorize", "(not V[V_AGENT] or V[V_AGENT] == agent)", "true"),
    "an envelope is stronger than a later refusal": (
        "authorize",
        " and not (refusal and refusal[4] >= V[V_MADE])",
        "",
    ),
    "an envelope keeps what came back": ("endings", "  correct_envelope(R, charged - R[R_AMOUNT])\n", ""),
    "an envelope misses a late settlement": ("settle", "    correct_envelope(R, cost - estimate)\n", ""),
    "an agent can drown its operators": ("authorize", "elseif G[G_QUESTIONS] >= most then", "elseif false then"),
    "an answered question is still open": ("endings", "G[G_QUESTIONS] - 1", "G[G_QUESTIONS]"),
    "a vote leaves no event": ("decide", "  event('voted', body)\n", ""),
    "an approval leaves no event": ("endings", "  event('approved', body)\n", ""),
    "a timeout is listed when it was noticed": (
        "endings",
        "call('ZADD', PREFIX .. 'ah', Q[Q_AT], id)",
        "call('ZADD', PREFIX .. 'ah', NOW, id)",
    ),
    "an approved grant ends at the question's deadline": (
        "endings",
        "NOW, since + T[T_CONFIG][C_GRANT]",
        "NOW, R[R_DEADLINE]",
    ),
    "a page begins where the last one did": ("list_questions", "ended and id < after[2]", "ended and id <= after[2]"),
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MUTANTS)
def test_the_machine_of_approvals_finds(name: str, server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file, *pairs = MUTANTS[name]
    mutate(monkeypatch, file, tuple(pairs))
    bench = Bench(server_url)
    try:
        hunt(approvals_on(bench), settings(HUNT, stateful_step_count=50))
    finally:
        bench.close()

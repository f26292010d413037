"""Faults put into the shipped scripts on purpose: the unchanged state machine must find every one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from aegis_core.store import layout

from .bench import Bench
from .machine import machine_on
from .mutating import Hunter, check_mutant, hunt, mutated, record

_EARLY = """if not code then
  for i = 1, #purses do
    local owner = lines[1 + (i - 1) * M_WIDTH + M_OWNER]
    add(purses[i], purses[i][B_WINDOW], 0, amount)
    if #owner > 1 then change(shared_name(owner)) end
  end
  change('t'); change('a:' .. agent); change('s:' .. sid)
end
"""

# Name: pairs of what the scripts say and what the mutant says instead; before them a file, where that is needed.
MUTANTS: dict[str, tuple[str, ...]] = {
    "the session budget is unchecked": ("  judge('s', S[S_PURSE], amount)\n", ""),
    "label budgets are unchecked": ("  if shared[A_LABELS] > 0 then", "  if false then"),
    "idempotency is dropped": (
        "if known and not (taken_back(known) and known[R_ATTEMPT] ~= attempt) then",
        "if false then",
    ),
    "other content under a known id is taken for a repeat": (" or known[R_DIGEST] ~= digest", ""),
    "old request ids are taken for new ones": (
        "if born > 0 and NOW - born > T[T_CONFIG][C_KEEP]",
        "if false",
    ),
    "the client's time is used": (
        "known_request",
        "local blobs = call('MGET'",
        "if born > 0 then NOW = born end\nlocal blobs = call('MGET'",
    ),
    "a refusal keeps its hold": (
        "if state == STATE_REJECTED then\n",
        "if state == STATE_REJECTED then\n  add(purses[1], purses[1][B_WINDOW], 0, amount)\n  change('a:' .. agent)\n",
    ),
    "a refusal counts as an open grant": (
        "if state == STATE_REJECTED then\n",
        "if state == STATE_REJECTED then\n  G[G_OPEN] = G[G_OPEN] + 1\n  change('a:' .. agent)\n",
    ),
    "an approval that timed out keeps its hold": (
        "  move(R, R[R_AMOUNT], 0, charged)",
        "  if state ~= STATE_TIMED_OUT then move(R, R[R_AMOUNT], 0, charged) end",
    ),
    "a release keeps its hold": (
        "  move(R, R[R_AMOUNT], 0, charged)",
        "  if state ~= STATE_RELEASED then move(R, R[R_AMOUNT], 0, charged) end",
    ),
    "an expired grant is free": ("close(id, R, STATE_EXPIRED, R[R_AMOUNT])", "close(id, R, STATE_EXPIRED, 0)"),
    "an approval that timed out is charged": (
        "close(id, R, STATE_TIMED_OUT, 0)",
        "close(id, R, STATE_TIMED_OUT, R[R_AMOUNT])",
    ),
    "the event of an expiry is dropped": (
        "  event(charged > R[R_AMOUNT] and",
        "  if state == STATE_EXPIRED then return end\n  event(charged > R[R_AMOUNT] and",
    ),
    "the event of a refusal is dropped": ("if not again then\n", "if false then\n"),
    "every refusal is told": ("repeated", "if same then", "if false then"),
    "all refusals of an agent are alike": ("for field = 1, REFUSED_SINCE - 1 do", "for field = 1, 0 do"),
    "refusals that are alike are counted for ever": (
        "if G[G_REFUSED][1] and not counting(G) then tell_repeated(agent, G) end\n  local kinds",
        "local kinds",
    ),
    "a grant tells nothing of refusals": (
        "if G[G_REFUSED][1] then tell_repeated(agent, G) end\n  due_at('r:'",
        "due_at('r:'",
    ),
    "a sweep tells nothing of refusals": (
        "if G and G[G_REFUSED][1] then tell_repeated(agent, G) end\n    call('ZREM'",
        "call('ZREM'",
    ),
    "refusals are told again": ("repeated", "G[G_REFUSED] = {}", ""),
    "nobody is to tell of refusals": ("due_at('a:/' .. agent, alike_ends(G))", ""),
    "a repeated refusal is remembered like the first": ("local brief = transient or again", "local brief = transient"),
    "the last refusal is taken for the largest": (
        "math.max(kind[REFUSED_MOST], refused[REFUSED_MOST])",
        "refused[REFUSED_MOST]",
    ),
    "the event of a grant is dropped": (
        "  local event_id = event(kind, told, state == STATE_LIVE and trace, R[R_CODE], nil, said[SAID_DIGEST])",
        "  local event_id = '0-1'",
    ),
    "a replay is an event again": (
        "  return {'OLD', encode(R)}",
        "  event('granted', encode(R))\n  return {'OLD', encode(R)}",
    ),
    "the tenant is dropped from the bill's key": ("return PREFIX .. 'u:'", "return 'ae:u:'"),
    "a window is not reset": (
        "  b[B_SPENT], b[B_RESERVED] = spent, reserved\n",
        "  if ring then b[B_SPENT], b[B_RESERVED] = spent, reserved end\n",
    ),
    "a grant is settled twice": (
        "R[R_SETTLED] == digest then\n    repeated = true",
        "R[R_SETTLED] == digest then\n    close(id, R, STATE_SETTLED, cost)",
    ),
    "another settlement replaces the first": (
        "elseif state == STATE_SETTLED and R[R_SETTLED] == digest then",
        "elseif state == STATE_SETTLED then",
    ),
    "written before the last judgement": (
        "for at = 0, judged and #limits - 1 or -1, LIMIT_WIDTH do",
        _EARLY + "for at = 0, judged and #limits - 1 or -1, LIMIT_WIDTH do",
        "    add(b, b[B_WINDOW], 0, amount)\n    note_crossing",
        "    note_crossing",
    ),
    "an open record expires": (
        "agent_key, encode(G), PREFIX .. 's:' .. sid, encode(S))\n",
        "agent_key, encode(G), PREFIX .. 's:' .. sid, encode(S))\n  call('PEXPIRE', record_key, config[C_KEEP])\n",
    ),
    "an extended record expires": (
        "event('extended', told_of(R, body))",
        "event('extended', told_of(R, body))\n    call('EXPIRE', PREFIX .. 'r:' .. id, 3600)",
    ),
    "an ended record stays for ever": (
        ", 'PX', string.format('%.0f', R[R_WATCHED] and WATCHED or T[T_CONFIG][C_KEEP]))",
        ")",
    ),
    "an overrun is not charged": ("        add(b, b[B_WINDOW], charged - amount, 0)\n", ""),
    "an overrun is charged to the old window": (
        "add(b, b[B_WINDOW], charged - amount, 0)",
        "add(b, lines[at + M_WINDOW], charged - amount, 0)",
    ),
    "a settlement goes to the present window": (
        "add(b, lines[at + M_WINDOW], math.min(charged, amount)",
        "add(b, b[B_WINDOW], math.min(charged, amount)",
    ),
    "a late settlement is refused": ("settle", "elseif state == STATE_EXPIRED and", "elseif state == 'x' and"),
    "a late settlement is charged on top": ("  move(R, 0, before, charged)", "  move(R, 0, 0, charged)"),
    "a change of the clocks is missed": (
        "if NOW >= ZONE[Z_SINCE] and NOW < ZONE[Z_TILL] then",
        "if NOW >= ZONE[Z_SINCE] then",
    ),
    "months begin a day late": ("local z = day + 719468", "local z = day + 719467"),
    "weeks begin on Sunday": ("return math.floor((day + 3) / 7)", "return math.floor((day + 4) / 7)"),
    "a rolling window forgets a cell too early": (
        "if ring[at + E_NUMBER] >= now - RING then",
        "if ring[at + E_NUMBER] > now - RING then",
    ),
    "the overdue are not ended first": (
        "local behind = NOW >= T[T_DUE] and sweep(4)",
        "local behind = false",
    ),
    "a new limit forgets what was spent": ("set_budget", "roll(b)\n", "roll(b)\nb[B_SPENT] = 0\n"),
    "one open grant too many": ("G[G_OPEN] >= T[T_CONFIG][C_OPEN]", "G[G_OPEN] > T[T_CONFIG][C_OPEN]"),
    "the pending ceiling is ignored": ("pending > most_pending", "false"),
    "the pending ceiling forgets what is pending": (
        "math.max(G[G_PENDING], waiting_in(G[G_WAITING]), whole) + amount",
        "amount",
    ),
    "an ended question stays pending": ("= G[G_PENDING] - R[R_AMOUNT], G", "= G[G_PENDING], G"),
    "new profiles are not taken": ("if profiles ~= T[T_PROFILES] or G[G_PROFILE] ~= profiles", "if false"),
    "extensions have no end": ("math.min(NOW + more, since + T[T_CONFIG][C_GRANT_MAX])", "NOW + more"),
    "anybody may settle": ("settle", "if agent and R[R_AGENT] ~= agent then", "if false then"),
    "any token will do": ("if S[S_AGENT] ~= agent then return 'NOT_YOURS' end", ""),
    "a crossing is announced again and again": ("if mark > b[B_CROSSED] then", "if mark > 0 then"),
    "what is reserved counts as spent": ("  mark = mark_of(limit, b[B_SPENT])\n", ""),
    "a settlement crosses a limit unheard": ("      note_crossing(b, owner, R[R_AGENT], R[R_SESSION])\n    ", "    "),
    "reservations are announced again and again": ("if mark > alert[ALERT_MARK] and (", "if mark > 0 and ("),
    "reservations are announced at every rise": (" or NOW >= alert[ALERT_AT] + ALERT_EVERY)", " or true)"),
    "reservations are announced once for ever": (
        "if left * 4 > limit then alert[ALERT_MARK] = 0",
        "if false then alert[ALERT_MARK] = 0",
    ),
    "a rise of reservations waits an hour": ("(mark > alert[ALERT_TOLD] or NOW", "(NOW"),
    "the same limit again is crossed again": ("if b[B_LIMIT] ~= limit then b", "if true then b"),
    "a new limit is not crossed anew": ("b[B_LIMIT], b[B_CROSSED], b[B_ALERT] = limit, 0, false", "b[B_LIMIT] = limit"),
    "a refund is made twice": ("local repeated = R[R_REFUND] == refund_id", "local repeated = false"),
    "more is refunded than was charged": ("refund", "R[R_CHARGED] - R[R_REFUNDED]", "R[R_CHARGED]"),
    "a refund is not in the bill": ("  book(R, -nanos, 0, R[R_ESTIMATED] and -nanos or 0)\n", ""),
    "a refund makes more room than the limit": ("b[B_SPENT] - math.min(b[B_SPENT], amount)", "b[B_SPENT] - amount"),
    "a refund is taken from what was spent before": ("ring[at + E_NUMBER] >= window and", "true and"),
    "what was refunded is settled late": ("settle", " and R[R_REFUNDED] == 0", ""),
    "only the first candidate is tried": ("for i = 1, #others do", "for i = 1, 0 do"),
    "an old policy still decides": ("if due ~= policy or tried ~= trial then", "if false then"),
}


HUNTER = Hunter("budgets", machine_on)
TENANT_KEY = "a key without its tenant"
ALL = [*MUTANTS, TENANT_KEY]
RARE = {"a refund is taken from what was spent before"}
"""Found by chance once; hunts of ten minutes do not find it again. Its recorded walk is replayed every day."""


@pytest.mark.parametrize("name", ALL)
def test_a_recorded_walk_finds(name: str, bench: Bench, record_traces: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if record_traces:
        record(HUNTER, name, bench, lambda: _in_place(name, bench, monkeypatch))
    check_mutant(HUNTER, name, bench, lambda: _in_place(name, bench, monkeypatch))


@pytest.mark.deep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [each for each in ALL if each not in RARE])
def test_the_state_machine_finds(name: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with _in_place(name, bench, monkeypatch):
        hunt(machine_on(bench), HUNTER.how)


def _in_place(name: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> AbstractContextManager[None]:
    return _without_tenant(monkeypatch) if name == TENANT_KEY else mutated(monkeypatch, bench, MUTANTS[name])


@contextmanager
def _without_tenant(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In the one key that Python names and not the scripts."""
    with monkeypatch.context() as patched:
        patched.setattr(layout, "root", lambda tenant: "ae:{everybody}:t")
        yield

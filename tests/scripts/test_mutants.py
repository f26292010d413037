"""Faults put into the shipped scripts on purpose: the unchanged state machine must find every one."""

from __future__ import annotations

import inspect
import textwrap

import pytest

from aegis_core.store import layout

from .bench import Bench
from .machine import machine_on
from .mutating import hunt, mutate, replaced

_EARLY = """if not code then
  for i = 1, #purses do
    local owner = lines[(i - 1) * LINE + 1]
    add(purses[i], purses[i][B_WINDOW], 0, amount)
    if #owner > 1 then change(shared_name(owner)) end
  end
  change('t'); change('a:' .. agent); change('s:' .. sid)
end
"""

# Name: file, then pairs of what the file says and what the mutant says instead.
MUTANTS: dict[str, tuple[str, ...]] = {
    "the session budget is unchecked": ("authorize", "  judge('s', S[S_PURSE], amount)\n", ""),
    "label budgets are unchecked": ("authorize", "  if shared[1] > 0 then", "  if false then"),
    "idempotency is dropped": ("authorize", "if blobs[1] then", "if false then"),
    "other content under a known id is taken for a repeat": ("authorize", " or R[R_DIGEST] ~= digest", ""),
    "old request ids are taken for new ones": (
        "authorize",
        "if born > 0 and NOW - born > T[T_CONFIG][C_KEEP]",
        "if false",
    ),
    "the client's time is used": (
        "authorize",
        "local blobs = call('MGET'",
        "if born > 0 then NOW = born end\nlocal blobs = call('MGET'",
    ),
    "a refusal keeps its hold": (
        "authorize",
        "if state == 'R' then\n",
        "if state == 'R' then\n  add(purses[1], purses[1][B_WINDOW], 0, amount)\n  change('a:' .. agent)\n",
    ),
    "a refusal counts as an open grant": (
        "authorize",
        "if state == 'R' then\n",
        "if state == 'R' then\n  G[G_OPEN] = G[G_OPEN] + 1\n  change('a:' .. agent)\n",
    ),
    "an approval that timed out keeps its hold": (
        "endings",
        "  move(R, R[R_AMOUNT], 0, charged)",
        "  if state ~= 'T' then move(R, R[R_AMOUNT], 0, charged) end",
    ),
    "a release keeps its hold": (
        "endings",
        "  move(R, R[R_AMOUNT], 0, charged)",
        "  if state ~= 'L' then move(R, R[R_AMOUNT], 0, charged) end",
    ),
    "an expired grant is free": ("endings", "close(id, R, 'X', R[R_AMOUNT])", "close(id, R, 'X', 0)"),
    "an approval that timed out is charged": ("endings", "close(id, R, 'T', 0)", "close(id, R, 'T', R[R_AMOUNT])"),
    "the event of an expiry is dropped": (
        "endings",
        "  event(charged > R[R_AMOUNT] and",
        "  if state == 'X' then return end\n  event(charged > R[R_AMOUNT] and",
    ),
    "the event of a refusal is dropped": ("authorize", "  event(kind, body, trace)\n  call('SET'", "  call('SET'"),
    "the event of a grant is dropped": (
        "authorize",
        "  event(kind, body, state == 'G' and trace) -- a question holds its trace\n",
        "",
    ),
    "a replay is an event again": (
        "authorize",
        "  return {'OLD', encode(R)}",
        "  event('granted', encode(R))\n  return {'OLD', encode(R)}",
    ),
    "the tenant is dropped from the bill's key": ("endings", "return PREFIX .. 'u:'", "return 'ae:u:'"),
    "a window is not reset": (
        "budgets",
        "  b[B_SPENT], b[B_RESERVED] = spent, reserved\n",
        "  if ring then b[B_SPENT], b[B_RESERVED] = spent, reserved end\n",
    ),
    "a grant is settled twice": (
        "settle",
        "R[R_SETTLED] == digest then\n    repeated = true",
        "R[R_SETTLED] == digest then\n    close(id, R, 'S', cost)",
    ),
    "another settlement replaces the first": (
        "settle",
        "elseif state == 'S' and R[R_SETTLED] == digest then",
        "elseif state == 'S' then",
    ),
    "written before the last judgement": (
        "authorize",
        "-- Thresholds on what",
        _EARLY + "-- Thresholds on what",
        "    add(b, b[B_WINDOW], 0, amount)\n    note_crossing",
        "    note_crossing",
    ),
    "an open record expires": (
        "authorize",
        "agent_key, encode(G), PREFIX .. 's:' .. sid, encode(S))\n",
        "agent_key, encode(G), PREFIX .. 's:' .. sid, encode(S))\n  call('PEXPIRE', record_key, config[C_KEEP])\n",
    ),
    "an extended record expires": (
        "settle",
        "    event('extended', store_open(id, R))",
        "    event('extended', store_open(id, R))\n    call('EXPIRE', PREFIX .. 'r:' .. id, 3600)",
    ),
    "an ended record stays for ever": ("endings", ", 'PX', T[T_CONFIG][C_KEEP])", ")"),
    "an overrun is not charged": ("endings", "        add(b, b[B_WINDOW], charged - amount, 0)\n", ""),
    "an overrun is charged to the old window": (
        "endings",
        "add(b, b[B_WINDOW], charged - amount, 0)",
        "add(b, lines[i + 2], charged - amount, 0)",
    ),
    "a settlement goes to the present window": (
        "endings",
        "add(b, lines[i + 2], math.min(charged, amount)",
        "add(b, b[B_WINDOW], math.min(charged, amount)",
    ),
    "a late settlement is refused": ("settle", "elseif state == 'X' then", "elseif state == 'x' then"),
    "a late settlement is charged on top": ("settle", "    move(R, 0, estimate, cost)", "    move(R, 0, 0, cost)"),
    "a change of the clocks is missed": (
        "windows",
        "if NOW >= ZONE[3] and NOW < ZONE[4] then",
        "if NOW >= ZONE[3] then",
    ),
    "months begin a day late": ("windows", "local z = day + 719468", "local z = day + 719467"),
    "weeks begin on Sunday": ("windows", "number = math.floor((day + 3) / 7)", "number = math.floor((day + 4) / 7)"),
    "a rolling window forgets a cell too early": (
        "budgets",
        "if ring[i] >= now - RING then",
        "if ring[i] > now - RING then",
    ),
    "the overdue are not ended first": (
        "authorize",
        "local behind = NOW >= T[T_DUE] and endings()(4)",
        "local behind = false",
    ),
    "a new limit forgets what was spent": ("set_budget", "roll(b)\n", "roll(b)\nb[B_SPENT] = 0\n"),
    "one open grant too many": ("authorize", "G[G_OPEN] >= T[T_CONFIG][C_OPEN]", "G[G_OPEN] > T[T_CONFIG][C_OPEN]"),
    "the pending ceiling is ignored": ("authorize", "(G[G_PENDING] + amount) * 2 > limit", "false"),
    "the pending ceiling forgets what is pending": ("authorize", "(G[G_PENDING] + amount) * 2", "amount * 2"),
    "an ended question stays pending": ("endings", "= G[G_PENDING] - R[R_AMOUNT], G", "= G[G_PENDING], G"),
    "new profiles are not taken": ("authorize", "if profiles ~= T[T_PROFILES] or G[G_PROFILE] ~= profiles", "if false"),
    "extensions have no end": ("settle", "math.min(NOW + more, since + T[T_CONFIG][C_GRANT_MAX])", "NOW + more"),
    "anybody may settle": ("settle", "if agent and R[R_AGENT] ~= agent then", "if false then"),
    "any token will do": ("records", "if S[S_AGENT] ~= agent then return 'NOT_YOURS' end", ""),
    "a crossing is announced again and again": ("budgets", "if mark > b[B_CROSSED] then", "if mark > 0 then"),
    "only the first candidate is tried": ("authorize", "for i = 1, #others, 3 do", "for i = 1, 0, 3 do"),
    "an old policy still decides": ("authorize", "if T[T_POLICY] ~= policy then", "if false then"),
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MUTANTS)
def test_the_state_machine_finds(name: str, server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file, *pairs = MUTANTS[name]
    mutate(monkeypatch, file, tuple(pairs))
    _hunt(server_url)


@pytest.mark.timeout(900)
def test_the_state_machine_finds_a_key_without_its_tenant(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = textwrap.dedent(inspect.getsource(layout.root))
    names: dict[str, object] = {}
    exec(replaced(source, 'f"ae:{{{tenant}}}:t"', '"ae:{everybody}:t"'), vars(layout) | names, names)
    monkeypatch.setattr(layout, "root", names["root"])
    _hunt(server_url)


def _hunt(server_url: str) -> None:
    bench = Bench(server_url)
    try:
        hunt(machine_on(bench))
    finally:
        bench.close()

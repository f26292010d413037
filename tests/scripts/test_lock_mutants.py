"""Faults put into the lock scripts on purpose: the unchanged state machine of locks must find every one."""

from __future__ import annotations

import pytest
from hypothesis import settings

from .bench import Bench
from .lock_machine import lock_machine_on
from .mutating import HUNT, Hunter, check_mutant, hunt, mutated, record

_NOTE = "local function note_lock(kind, agent, name, fence, priority, waited, held, more)\n"
_GIVE = "      leave(token, W)\n      for i"

# Name: pairs of what the scripts say and what the mutant says instead; before them a file, where that is needed.
MUTANTS: dict[str, tuple[str, ...]] = {
    "release without hand-over": (
        "give_up(agent, name, token, fence)\nsettle()\n",
        "give_up(agent, name, token, fence)\n",
    ),
    "release ignores the fence": ("if fence and H[H_FENCE] ~= fence then", "if false then"),
    "an evicted one may renew": ("  if not evicted then H[H_EXPIRES]", "  if true then H[H_EXPIRES]"),
    "the fence comes from the clock": ("  N[N_FENCE] = N[N_FENCE] + 1\n", "  N[N_FENCE] = NOW\n"),
    "barging past the queue": ("free = free and L[L_QUEUED] == 0 and fits", "free = free and fits"),
    "a cancel leaks a grant": (
        "if H then\n    if H[H_AGENT] ~= agent",
        "if H and H[H_CLAIMED] then\n    if H[H_AGENT] ~= agent",
    ),
    "a waiter is kept after its grant": (
        _GIVE,
        "      for i = 1, #names do give(names[i], token, W) end\n      do return end\n      for i",
    ),
    "a dead waiter is granted": ("if W[W_ALIVE] > NOW then", "if true then"),
    "last come, first served": (
        "priority, N[N_RANK] - priority * STEP,",
        "priority, -N[N_RANK] - priority * STEP,",
    ),
    "no grant on asking again": (
        "settle()\n  PRESENT = token",
        "if not held_by(LOCKS[names[1]], token) then settle() end\n  PRESENT = token",
    ),
    "the count of permits is read once": (
        "  local L = open_lock(name)\n  while true do\n",
        "  local L = open_lock(name)\n  local once = {unpack(L[L_HOLDERS])}\n  while true do\n",
        "elseif not fits(other[L_HOLDERS], other[L_PERMITS]",
        "elseif not fits(names[i] == name and once or other[L_HOLDERS], other[L_PERMITS]",
    ),
    "priority has no end": ("local STEP = 2000 * 1024", "local STEP = 20000 * 1024"),
    "a lower priority goes first": ("N[N_RANK] - priority * STEP", "N[N_RANK] + priority * STEP"),
    "an expired lease is kept": ("if H[H_EXPIRES] <= NOW then", "if H[H_EXPIRES] < NOW then"),
    "a grant need not be claimed": ("present and W[W_TTL] or math.min(W[W_TTL], CLAIM)", "W[W_TTL]"),
    "a renewal does not claim": (
        "H[H_CLAIMED] = NOW + (ttl or H[H_TTL]), true",
        "H[H_CLAIMED] = NOW + CLAIM, true",
    ),
    "equals evict each other": (
        "if H[H_PRIORITY] < W[W_PRIORITY] and",
        "if H[H_PRIORITY] <= W[W_PRIORITY] and",
    ),
    "never is not respected": ("never = false", "never = function() return false end"),
    "the cooperative are evicted": (
        "cooperative = function() return false end",
        "cooperative = function(L) return L[L_GRACE] end",
    ),
    "permits change while held": (
        "if permits and permits ~= L[L_PERMITS] then",
        "if false then",
        "    local permitted = used and L[L_PERMITS] or permits or 1\n",
        "    if permits then L[L_PERMITS], TOUCHED[names[i]] = permits, true end\n    local permitted = L[L_PERMITS]\n",
    ),
    "a weight above the permits waits for ever": ("if weight > permitted then", "if false then"),
    "sharers beside one who excludes": (
        "if mode == 'shared' then return used == 0 end",
        "if mode == 'shared' then return true end",
    ),
    "one who excludes beside sharers": ("return not shared and used", "return used"),
    "several are not all or nothing": (
        "names[i] ~= name and head_of(names[i], other) ~= token then\n        ready = false",
        "names[i] ~= name and head_of(names[i], other) ~= token then\n        ready = ready",
    ),
    "only the first of several is given back": (
        "claims",
        "for i = 1, #names do\n      local other",
        "for i = 1, 1 do\n      local other",
    ),
    "a cycle of waits is not seen by who comes": ("not free and queue and wounded(W)", "false"),
    "anybody may release": ("    if H[H_AGENT] ~= agent then return 'NOT_YOURS' end\n", ""),
    "anybody may renew": ("if H[H_AGENT] ~= agent then return answer('NOT_YOURS') end\n", ""),
    "anybody may claim": ("if known[H and H_AGENT or W_AGENT] ~= agent then", "if false then"),
    "the event of an expiry is dropped": (
        _NOTE,
        _NOTE + "  if kind == 'expired' then return end\n",
    ),
    "what an agent holds is forgotten": (
        "  forget_claim(H[H_AGENT], H[H_CREDENTIAL], H[H_TOKEN], name)\n",
        "",
    ),
    "a place that was left is counted": ("    count_place(name, W, -1)\n", ""),
    "a lock stays when nobody needs it": ("      call('DEL', PREFIX .. 'l:' .. name)\n", ""),
    "a lock has no expiry": (", 'PX', last - NOW + KEPT)", ")"),
    "a queue has no expiry": ("      if L[L_QUEUED] == 1 then\n", "      if false then\n"),
}


HUNTER = Hunter("locks", lock_machine_on, settings(HUNT, stateful_step_count=50))


@pytest.mark.parametrize("name", MUTANTS)
def test_a_recorded_walk_finds(name: str, bench: Bench, record_traces: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if record_traces:
        record(HUNTER, name, bench, lambda: mutated(monkeypatch, bench, MUTANTS[name]))
    check_mutant(HUNTER, name, bench, lambda: mutated(monkeypatch, bench, MUTANTS[name]))


@pytest.mark.deep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MUTANTS)
def test_the_lock_machine_finds(name: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with mutated(monkeypatch, bench, MUTANTS[name]):
        hunt(lock_machine_on(bench), HUNTER.how)

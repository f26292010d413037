-- Claims: how a token comes to hold its locks, and how it gives them up.
-- Wound-wait. Among those who hold and wait, only the later in rank ever waits for the earlier, so no cycle closes.
-- Who waits for several at once holds none, but its places in their queues keep others out just the same.
local function later(rank, chain, W) return rank > W[W_RANK] or rank == W[W_RANK] and chain > W[W_CHAIN] end
local function wound(name, W)
  for _, H in ipairs(LOCKS[name][L_HOLDERS]) do
    local waits = H[H_WAITS]
    if #waits > 1 and H[H_CHAIN] ~= W[W_CHAIN] and later(H[H_RANK], H[H_CHAIN], W) then
      while #waits > 1 do
        local row = #waits - waits[1]
        local at, waiter = waits[row + I_LOCK], waits[row + I_TOKEN]
        local blob = call('HGET', PREFIX .. 'lw:' .. at, waiter)
        if blob then
          local V = complete_W(decode(blob))
          leave(waiter, V, 'wounded', W[W_AGENT])
          tell(V[W_INBOX], TELL_WOUNDED, waiter, at, 0, NOW)
        end
        row = #waits - waits[1]
        if row > 0 and waits[row + I_TOKEN] == waiter then
          for i = #waits, row + 1, -1 do waits[i] = nil end
        end
      end
      if H[H_EVICTED] <= 0 then evict(name, H, WOUND, 'preempting', W[W_AGENT]) end
    end
  end
end
local function wounded(W)
  local within = W[W_WITHIN]
  for at = 1, #within - 1, within[1] do
    local queue_of = within[at + I_LOCK]
    local ahead = call('ZRANGEBYSCORE', PREFIX .. 'lq:' .. queue_of, '-inf', W[W_RANK])
    for _, other in ipairs(ahead) do
      local V = complete_W(decode(call('HGET', PREFIX .. 'lw:' .. queue_of, other)))
      local holds = #V[W_WITHIN] > 1 or #V[W_NAMES] > 1
      if holds and V[W_CHAIN] ~= W[W_CHAIN] and not later(V[W_RANK], V[W_CHAIN], W) then return queue_of end
    end
  end
end

-- One who stands behind others does not wait until a holder of lower priority goes by itself. The first in the queue gets
-- its place, and keeps it no longer than the grace if it is of lower priority, too.
local function press(name, token, W)
  local L, lower = LOCKS[name], false
  for _, H in ipairs(L[L_QUEUED] > 1 and L[L_HOLDERS] or {}) do
    lower = lower or H[H_PRIORITY] < W[W_PRIORITY] and H[H_EVICTED] == 0
  end
  if lower and call('HEXISTS', PREFIX .. 'lw:' .. name, token) == 1 then preempt(name, L, W) end
end

-- Takes all of `names` (sorted), or with `queue` a place in each of their queues. The same token again claims what was handed
-- over meanwhile, or shows that the waiter is still there. Answers a word and its facts; the caller saves.
local function take(agent, sid, names, token, priority, ttl, permits, weight, mode, preemption, grace, queue, inbox, within)
  for i = 1, #names do open_lock(names[i]) end
  settle() -- before anything is judged: what the expired left is for those who wait, not for the caller
  PRESENT = token
  local H = held_by(LOCKS[names[1]], token)
  local waiting = not H and LOCKS[names[1]][L_QUEUED] > 0 and call('HGET', PREFIX .. 'lw:' .. names[1], token)
  local known = H or waiting and complete_W(decode(waiting))
  if known then
    local same = known[H and H_NAMES or W_NAMES]
    if known[H and H_AGENT or W_AGENT] ~= agent then return 'NOT_YOURS' end
    for i = 1, math.max(#names, #same) do
      if names[i] ~= same[i] then return 'TOKEN_USED' end
    end
  end
  local parts = 0
  for i = 1, #names do
    if held_by(LOCKS[names[i]], token) then parts = parts + 1 end
  end
  if parts > 0 and parts < #names then return 'OK', 'gone' end -- some of it was taken
  local G, S = fetch('a:' .. agent), fetch('s:' .. sid)
  local flow = S and S[S_WORKFLOW] and (fetch('wf:' .. S[S_WORKFLOW]) or NEW_FLOW)
  local stopped = T[T_STATUS] ~= 'active' and 'HALTED' or G[G_STATUS] ~= 'active' and 'BLOCKED'
    or flow and (flow[FLOW_STATE] ~= 'live' or NOW >= flow[FLOW_EXPIRES]) and 'WORKFLOW_OVER'
  if stopped and waiting then -- its place keeps nobody out
    leave(token, known, 'cancelled')
    settle()
  end
  if stopped then return stopped, flow and (flow[FLOW_HOW] or 'time') end

  if H then -- claims what was handed over while it waited
    for i = 1, #names do
      H = held_by(LOCKS[names[i]], token)
      if not H[H_CLAIMED] and H[H_EVICTED] <= 0 then
        H[H_CLAIMED], H[H_EXPIRES], TOUCHED[names[i]] = true, NOW + H[H_TTL], true
      end
      if inbox and H[H_INBOX] ~= inbox then H[H_INBOX], TOUCHED[names[i]] = inbox, true end
    end
    return 'OK', 'known'
  end
  if waiting then -- shows that it is still there; who stands before it may not be
    known[W_ALIVE], known[W_INBOX] = NOW + ALIVE, inbox or known[W_INBOX]
    for i = 1, #names do
      call('HSET', PREFIX .. 'lw:' .. names[i], token, encode(known))
      call('PEXPIRE', PREFIX .. 'lw:' .. names[i], ALIVE + KEPT)
      call('PEXPIRE', PREFIX .. 'lq:' .. names[i], ALIVE + KEPT)
      call('PEXPIRE', PREFIX .. 'lp:' .. names[i], ALIVE + KEPT)
      HEADS[names[i]] = nil
      dirty(names[i])
    end
    settle()
    for i = 1, #names do press(names[i], token, known) end
    return 'OK', 'known'
  end

  local most = math.min(S and S[S_PRIORITY] or 10, G[G_PRIORITY])
  priority = priority or math.min(5, most)
  if priority > most then return 'PRIORITY', most end

  -- Judged first: what the locks are, the caller's own leases, how much there may be.
  local free = true
  for i = 1, #names do
    local L = LOCKS[names[i]]
    local used = #L[L_HOLDERS] > 0 or L[L_QUEUED] > 0
    if used then
      if permits and permits ~= L[L_PERMITS] then return 'LOCK_DIFFERS', names[i], 'permits', L[L_PERMITS] end
      if preemption and preemption ~= L[L_PREEMPTION] then
        return 'LOCK_DIFFERS', names[i], 'preemption', L[L_PREEMPTION]
      end
      if grace and grace ~= L[L_GRACE] then return 'LOCK_DIFFERS', names[i], 'grace_seconds', L[L_GRACE] end
      if L[L_QUEUED] >= MOST_WAITERS then return 'LOCKS_FULL', 'queue', MOST_WAITERS end
    elseif call('ZCARD', PREFIX .. 'ld') >= MOST_LOCKS then return 'LOCKS_FULL', 'tenant', MOST_LOCKS end
    local permitted = used and L[L_PERMITS] or permits or 1
    if weight > permitted then return 'LOCK_DIFFERS', names[i], 'weight', permitted end
    free = free and L[L_QUEUED] == 0 and fits(L[L_HOLDERS], permitted, weight, mode)
  end
  local config, whose = T[T_CONFIG], S and S[S_CREDENTIAL]
  if has_no_room(PREFIX .. 'la:' .. agent, #names, MOST_OF_AGENT) then return 'LOCKS_FULL', 'agent', MOST_OF_AGENT end
  if whose and has_no_room(PREFIX .. 'lk:' .. whose, #names, config[C_KEY_LOCKS]) then
    return 'LOCKS_FULL', 'key', config[C_KEY_LOCKS]
  end
  for i = 1, queue and not free and #names or 0 do
    if has_places(names[i], 'a:' .. agent, config[C_WAITS]) then return 'TOO_MANY_WAITS', names[i], 'agent', config[C_WAITS] end
    if whose and has_places(names[i], 'k:' .. whose, config[C_KEY_WAITS]) then
      return 'TOO_MANY_WAITS', names[i], 'key', config[C_KEY_WAITS]
    end
  end
  N[N_RANK] = math.max(NOW * 1024, N[N_RANK] + 1)
  local W = NEW_W
  W[W_AGENT], W[W_PRIORITY], W[W_RANK], W[W_WEIGHT], W[W_MODE] = agent, priority, N[N_RANK] - priority * STEP, weight, mode
  W[W_SINCE], W[W_TTL], W[W_ALIVE], W[W_INBOX], W[W_NAMES] = NOW, ttl, NOW + ALIVE, inbox, names
  W[W_CHAIN], W[W_WITHIN], W[W_SESSION] = string.format('%s.%.0f', token, N[N_RANK]), within, sid -- a token may come twice
  W[W_CREDENTIAL] = whose or false
  for at = 1, #within - 1, within[1] do
    local outer = held_by(open_lock(within[at + I_LOCK]), within[at + I_TOKEN])
    if not outer or outer[H_AGENT] ~= agent then
      settle()
      return 'OK', 'gone', within[at + I_LOCK]
    end
    if at == 1 then W[W_RANK], W[W_CHAIN] = outer[H_RANK], outer[H_CHAIN] end
  end
  if #within > 1 then settle() end

  local deadly = not free and queue and wounded(W)
  if deadly then
    note_lock('wounded', agent, names[1], false, priority, 0, 0, deadly)
    return 'OK', 'wounded', deadly
  end
  if free or queue then
    for i = 1, #names do
      local L = LOCKS[names[i]]
      if #L[L_HOLDERS] == 0 and L[L_QUEUED] == 0 then
        L[L_PERMITS], L[L_PREEMPTION] = permits or 1, preemption or 'after_grace'
        L[L_GRACE] = grace or 5000
      end
      note_claim(agent, whose, token, names[i])
    end
  end
  if free then
    for i = 1, #names do give(names[i], token, W) end
  elseif queue then
    local packed = encode(W)
    for i = 1, #names do
      local name = names[i]
      local L = LOCKS[name]
      call('ZADD', PREFIX .. 'lq:' .. name, W[W_RANK], token)
      call('HSET', PREFIX .. 'lw:' .. name, token, packed)
      L[L_QUEUED] = L[L_QUEUED] + 1
      count_place(name, W, 1)
      if L[L_QUEUED] == 1 then
        call('PEXPIRE', PREFIX .. 'lw:' .. name, ALIVE + KEPT)
        call('PEXPIRE', PREFIX .. 'lq:' .. name, ALIVE + KEPT)
      end
      local head = HEADS[name]
      if head and W[W_RANK] <= head[2][W_RANK] then HEADS[name] = nil end
      note_lock('waiting', agent, name, false, priority, 0, 0, L[L_QUEUED])
      dirty(name)
    end
    for at = 1, #within - 1, within[1] do
      local outer = held_by(LOCKS[within[at + I_LOCK]], within[at + I_TOKEN])
      if outer then
        local waits = outer[H_WAITS]
        local last = #waits
        waits[last + I_LOCK], waits[last + I_TOKEN], TOUCHED[within[at + I_LOCK]] = names[1], token, true
        pad_I(waits, last)
      end
    end
    for i = 1, (#within > 1 or #names > 1) and #names or 0 do wound(names[i], W) end
    settle() -- it may be the first, and what the others wait for may be more than it wants
    for i = 1, #names do press(names[i], token, W) end
  end
  return 'OK', 'known'
end

-- Gives up whatever a token holds or waits for, beginning at one of its locks. Answers what it was and since when, or
-- nothing. The caller settles, which hands over what is free.
local function give_up(agent, name, token, fence)
  local L = open_lock(name)
  local H = held_by(L, token)
  if H then
    if H[H_AGENT] ~= agent then return 'NOT_YOURS' end
    if fence and H[H_FENCE] ~= fence then return end
    local names, since = H[H_NAMES], H[H_SINCE]
    for i = 1, #names do
      local other = open_lock(names[i])
      local _, at = held_by(other, token)
      if at then drop(names[i], other, at, 'released') end
    end
    return 'released', since
  end
  local blob = L[L_QUEUED] > 0 and call('HGET', PREFIX .. 'lw:' .. name, token)
  if not blob then return end
  local W = complete_W(decode(blob))
  if W[W_AGENT] ~= agent then return 'NOT_YOURS' end
  leave(token, W, 'cancelled')
  tell(W[W_INBOX], TELL_GIVEN_UP, token, name, 0, NOW) -- one who still waits by it must not ask again
  return 'cancelled', W[W_SINCE]
end

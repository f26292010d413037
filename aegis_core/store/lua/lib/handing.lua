-- How what is free comes to those who wait for it.
-- What the chain of a waiter waits for besides. From now on the lease that it gets waits for it too: else one who came
-- earlier would take a holder that keeps others out by its waiting for one that works.
local function inherited(name, token, W)
  local within, waits = W[W_WITHIN], NEW_I
  for at = 1, #within - 1, within[1] do
    local outer = held_by(open_lock(within[at + I_LOCK]), within[at + I_TOKEN])
    if outer then
      local others = outer[H_WAITS]
      for row = 1, #others - 1, others[1] do
        local queue_of, other = others[row + I_LOCK], others[row + I_TOKEN]
        local blob = call('HGET', PREFIX .. 'lw:' .. queue_of, other)
        if blob then
          local V = complete_W(decode(blob))
          local outers = V[W_WITHIN]
          local last = #outers
          outers[last + I_LOCK], outers[last + I_TOKEN] = name, token
          pad_I(outers, last)
          for _, each in ipairs(V[W_NAMES]) do
            call('HSET', PREFIX .. 'lw:' .. each, other, encode(V))
            HEADS[each] = nil
          end
          last = #waits
          waits[last + I_LOCK], waits[last + I_TOKEN] = queue_of, other
          fill_I(waits, last)
        end
      end
      return waits
    end
  end
  return waits
end

local function give(name, token, W)
  local present, H = token == PRESENT, NEW_H
  N[N_FENCE] = N[N_FENCE] + 1
  H[H_TOKEN], H[H_AGENT], H[H_FENCE], H[H_SESSION] = token, W[W_AGENT], N[N_FENCE], W[W_SESSION]
  H[H_EXPIRES] = NOW + (present and W[W_TTL] or math.min(W[W_TTL], CLAIM))
  H[H_PRIORITY], H[H_RANK], H[H_WEIGHT], H[H_MODE] = W[W_PRIORITY], W[W_RANK], W[W_WEIGHT], W[W_MODE]
  H[H_SINCE], H[H_WAITED], H[H_TTL], H[H_CLAIMED], H[H_EVICTED] = NOW, NOW - W[W_SINCE], W[W_TTL], present, 0
  H[H_INBOX], H[H_NAMES], H[H_CHAIN], H[H_WAITS] = W[W_INBOX], W[W_NAMES], W[W_CHAIN], inherited(name, token, W)
  H[H_CREDENTIAL] = W[W_CREDENTIAL]
  local holders = LOCKS[name][L_HOLDERS]
  holders[#holders + 1] = H
  TOUCHED[name] = true
  note_lock('acquired', W[W_AGENT], name, N[N_FENCE], W[W_PRIORITY], H[H_WAITED], 0)
  if not present then tell(W[W_INBOX], TELL_GRANTED, token, name, #W[W_NAMES] == 1 and N[N_FENCE] or 0, H[H_EXPIRES]) end
end

-- True when the process that would hear of a grant is gone. In a cluster, where other nodes' listeners do not count,
-- inboxes begin with a tilde, and only the time in which a grant must be claimed tells.
local function deaf(inbox)
  return inbox and string.sub(inbox, 1, 1) ~= '~' and call('PUBSUB', 'NUMSUB', PREFIX .. 'i:' .. inbox)[2] == 0
end

-- Hands what is free to the first in the queue, for as long as the first gets all it wants. One who wants several
-- locks gets all or none, and keeps its place in each queue meanwhile: ranks are the same everywhere, so the lowest of
-- all is first in each of its queues.
local function hand(name)
  if T[T_STATUS] ~= 'active' then return end
  local L = open_lock(name)
  while true do
    local token, W = head_of(name, L)
    if not token then return end
    local names, ready = W[W_NAMES], true
    for i = 1, #names do
      local other = open_lock(names[i])
      if names[i] ~= name and head_of(names[i], other) ~= token then
        ready = false
      elseif not fits(other[L_HOLDERS], other[L_PERMITS], W[W_WEIGHT], W[W_MODE]) then
        ready = false
        preempt(names[i], other, W)
      end
    end
    if not ready then return end
    local within = W[W_WITHIN] -- a lease within which it waits may have expired: then it is not of that chain any more
    for at = 1, #within - 1, within[1] do open_lock(within[at + I_LOCK]) end
    token, W = head_of(name, L)
    local G = token ~= PRESENT and fetch('a:' .. W[W_AGENT])
    if token ~= PRESENT and deaf(W[W_INBOX]) then
      leave(token, W, 'abandoned')
    elseif G and G[G_STATUS] ~= 'active' then -- blocked while it waited, which it hears when it asks again
      leave(token, W, 'cancelled')
      tell(W[W_INBOX], TELL_ABANDONED, token, name, 0, NOW)
    else
      leave(token, W)
      for i = 1, #names do give(names[i], token, W) end
    end
  end
end

local function settle()
  local at = 1
  while DIRTY[at] do
    hand(DIRTY[at])
    MARKED[DIRTY[at]] = nil
    at = at + 1
  end
  DIRTY = {}
end

-- Locks. l:NAME exists while somebody holds or wants the lock. Its queue is kept apart, so that a lock with thousands
-- of waiters costs no more to open than one with none. Every script opens the locks it is about (which ends expired
-- leases), settles (which hands free permits to the queue), only then does its own work, settles again and saves.
--
-- A place in the queue is a rank: the moment of asking, less STEP for each level of priority. So equals are served in
-- their order, and nobody is overtaken by one who came more than nine steps later.
local CLAIM = 3000 -- a grant that was handed to a waiter is its own for this long; a renewal shows that it arrived
local ALIVE = 15000 -- a waiter that does not ask again for this long is taken for dead
local STEP = 2000 * 1024 -- ranks count 1,024ths of a millisecond
local WOUND = 100 -- the grace of one that is stopped because it closes a cycle of waits: it waits, so it does not work
local KEPT = 7 * 86400000
local MOST_LOCKS, MOST_WAITERS, MOST_OF_AGENT = 10000, 10000, 1000

local function tell(inbox, kind, token, name, fence, at)
  if inbox then
    call('PUBLISH', PREFIX .. 'i:' .. inbox, string.format('%s\t%s\t%s\t%.0f\t%.0f', kind, token, name, fence, at))
  end
end

local function note_lock(kind, agent, name, fence, priority, waited, held, more)
  if kind == 'acquired' and waited > 0 then
    count(COUNT_WAITED_MS, string.format('%.0f', waited))
    for i = 1, #(WAIT_BUCKETS) do
      if waited <= (WAIT_BUCKETS)[i] then count(COUNT_WAITED .. (WAIT_BUCKETS)[i], 1); break end
    end
  end
  event('lock_' .. kind,
    encode({NOW, agent, name, fence, priority, math.max(waited, 0), math.max(held, 0), more or false}))
end

-- What an agent holds and waits for, and all agents of the credential that opened its session.
local function note_claim(agent, whose, token, name)
  call('ZADD', PREFIX .. 'la:' .. agent, NOW, token .. '\t' .. name)
  if whose then call('ZADD', PREFIX .. 'lk:' .. whose, NOW, token .. '\t' .. name) end
end
local function forget_claim(agent, whose, token, name)
  call('ZREM', PREFIX .. 'la:' .. agent, token .. '\t' .. name)
  if whose then call('ZREM', PREFIX .. 'lk:' .. whose, token .. '\t' .. name) end
end
-- Whether a set of those has no room for more; of the lost there, nobody hears for so long.
local function has_no_room(claims, more, most)
  if call('ZCARD', claims) + more <= most then return false end
  call('ZREMRANGEBYSCORE', claims, '-inf', NOW - 30 * 86400000)
  return call('ZCARD', claims) + more > most
end

-- How many places in a queue each agent has, and each credential. With the queue they begin and end, whatever was lost.
local function count_place(name, W, more)
  local places, queued = PREFIX .. 'lp:' .. name, LOCKS[name][L_QUEUED]
  if queued == 0 or queued == 1 and more > 0 then call('DEL', places) end
  if queued == 0 then return end
  for _, whose in ipairs({'a:' .. W[W_AGENT], W[W_CREDENTIAL] and 'k:' .. W[W_CREDENTIAL] or nil}) do
    if call('HINCRBY', places, whose, more) <= 0 then call('HDEL', places, whose) end
  end
  if more > 0 and queued == 1 then call('PEXPIRE', places, ALIVE + KEPT) end
end
local function has_places(name, whose, most)
  return tonumber(call('HGET', PREFIX .. 'lp:' .. name, whose) or 0) >= most
end

local function mark(name) -- its queue may have moved
  if not MARKED[name] and LOCKS[name][L_QUEUED] > 0 then MARKED[name], DIRTY[#DIRTY + 1] = true, name end
end
local function dirty(name)
  TOUCHED[name] = true
  mark(name)
end

local open_lock, held_by

-- A lease has ended within which others wait. Who is left without any such lease waits by itself, for its chain holds
-- nothing: else a lease that one of the chain gains would wait for nobody, while the others wait for it.
local function detach(waits)
  for row = 1, #waits - 1, waits[1] do
    local token = waits[row + I_TOKEN]
    local blob = call('HGET', PREFIX .. 'lw:' .. waits[row + I_LOCK], token)
    local W = blob and complete_W(decode(blob))
    local within, holds = W and W[W_WITHIN] or NEW_I, false
    for at = 1, #within - 1, within[1] do
      if held_by(open_lock(within[at + I_LOCK]), within[at + I_TOKEN]) then holds = true end
    end
    if W and not holds then
      W[W_WITHIN], W[W_CHAIN] = NEW_I, string.format('%s.%.0f', token, W[W_RANK])
      for _, each in ipairs(W[W_NAMES]) do
        call('HSET', PREFIX .. 'lw:' .. each, token, encode(W))
        HEADS[each] = nil
      end
    end
  end
end

-- Takes a permit from its holder. The next in the queue gets it when the script settles.
local function drop(name, L, at, kind, more)
  local H = table.remove(L[L_HOLDERS], at)
  dirty(name)
  forget_claim(H[H_AGENT], H[H_CREDENTIAL], H[H_TOKEN], name)
  note_lock(kind, H[H_AGENT], name, H[H_FENCE], H[H_PRIORITY], H[H_WAITED], NOW - H[H_SINCE], more)
  if kind ~= 'released' then tell(H[H_INBOX], TELL_LOST, H[H_TOKEN], name, H[H_FENCE], NOW) end
  detach(H[H_WAITS])
end

function open_lock(name, blob)
  local L = LOCKS[name]
  if L then return L end
  if blob == nil then blob = call('GET', PREFIX .. 'l:' .. name) end
  if blob then
    L = complete_L(decode(blob))
  else
    L = NEW_L
    L[L_PERMITS], L[L_PREEMPTION], L[L_GRACE], L[L_HOLDERS], L[L_QUEUED], L[L_DUE] = 1, 'after_grace', 5000, {}, 0, 0
  end
  LOCKS[name] = L
  local holders = L[L_HOLDERS]
  for at = #holders, 1, -1 do
    local H = holders[at]
    if H[H_EXPIRES] <= NOW then
      drop(name, L, at, H[H_EVICTED] > 0 and 'evicted' or H[H_CLAIMED] and 'expired' or 'unclaimed')
    end
  end
  if L[L_QUEUED] > 0 then mark(name) end -- who is first may have died meanwhile
  return L
end

function held_by(L, token)
  local holders = L[L_HOLDERS]
  for at = 1, #holders do
    if holders[at][H_TOKEN] == token then return holders[at], at end
  end
end

-- Sharers exclude only those who want the lock for themselves, who share the permits among them by weight.
local function fits(holders, permits, weight, mode)
  local used, shared = 0, false
  for i = 1, #holders do
    if holders[i][H_MODE] == 'shared' then shared = true else used = used + holders[i][H_WEIGHT] end
  end
  if mode == 'shared' then return used == 0 end
  return not shared and used + weight <= permits
end

-- What a script reads and writes of locks at its beginning and its end, and how a claim stands.
-- Ends what others left behind, a few locks a call and now and then, so that expiries are seen though nobody asks for
-- those locks.
local function look_around(most)
  for _, name in ipairs(call('ZRANGEBYSCORE', PREFIX .. 'ld', '-inf', NOW, 'LIMIT', 0, most)) do
    open_lock(name)
    dirty(name)
  end
end

local function save()
  for name in pairs(TOUCHED) do
    local L = LOCKS[name]
    local holders = L[L_HOLDERS]
    if #holders == 0 and L[L_QUEUED] == 0 then
      call('DEL', PREFIX .. 'l:' .. name)
      call('ZREM', PREFIX .. 'ld', name)
    else
      local first, last = MAX, NOW + ALIVE
      for i = 1, #holders do
        first, last = math.min(first, holders[i][H_EXPIRES]), math.max(last, holders[i][H_EXPIRES])
      end
      if first == MAX then first = NOW + ALIVE end
      if first ~= L[L_DUE] then
        L[L_DUE] = first
        call('ZADD', PREFIX .. 'ld', first, name)
      end
      call('SET', PREFIX .. 'l:' .. name, encode(L), 'PX', last - NOW + KEPT)
    end
  end
  if N[N_FENCE] ~= LAST_FENCE or N[N_RANK] ~= LAST_RANK then call('SET', PREFIX .. 'lc', encode(N)) end
end

-- Opens the books of locks: none is open yet. `blob` holds the counters, where they were read with something else.
local function open_books(blob)
  LOCKS, TOUCHED, DIRTY, MARKED, HEADS, PRESENT = {}, {}, {}, {}, {}, nil
  if blob == nil then blob = call('GET', PREFIX .. 'lc') end
  N = blob and complete_N(decode(blob))
  if not N then
    N = NEW_N
    N[N_FENCE], N[N_RANK] = 0, 0
  end
  LAST_FENCE, LAST_RANK = N[N_FENCE], N[N_RANK]
end

-- How a claim stands: {state, now, expires, fences, place, asked at, evicted at, next expiry of a holder, names}.
local function standing(token, names)
  local fences, expires, evicted, next_expiry, place, since = {}, MAX, 0, MAX, 0, NOW
  local state = 'held'
  for i = 1, #names do
    local L = LOCKS[names[i]]
    local H = held_by(L, token)
    if H then
      fences[#fences + 1], expires, since = H[H_FENCE], math.min(expires, H[H_EXPIRES]), H[H_SINCE]
      if H[H_EVICTED] ~= 0 then evicted = H[H_EVICTED] end
    else
      state = 'busy'
      local at = L[L_QUEUED] > 0 and call('ZRANK', PREFIX .. 'lq:' .. names[i], token)
      if at then state, place = 'waiting', math.max(place, at) end
      for _, other in ipairs(L[L_HOLDERS]) do next_expiry = math.min(next_expiry, other[H_EXPIRES]) end
    end
  end
  return {state, NOW, state == 'held' and expires or 0, fences, place, since, evicted,
    next_expiry < MAX and next_expiry or NOW + CLAIM, names}
end

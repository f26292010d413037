-- How records and sessions end: settled, released, expired or timed out.
local ENDED = {S = 'settled', L = 'released', X = 'expired', T = 'timed_out', D = 'declined'}

local function store_ended(id, R)
  call('SET', PREFIX .. 'r:' .. id, encode(R), 'PX', T[T_CONFIG][C_KEEP])
end

local function bill() return PREFIX .. 'u:' .. string.format('%.0f', window_number('d')) end

-- Fails, before anything is written, where a key is damaged that an ending writes one command at a time.
local function check_keys(id)
  call('ZSCORE', PREFIX .. 'd', 'r:' .. id)
  call('XLEN', PREFIX .. 'e')
  call('HLEN', bill())
end

-- What a day cost, by agent, model and labels, for the operator's bill.
local function book(R, cost, calls)
  if cost == 0 and calls == 0 then return end
  local G = fetch('a:' .. R[R_AGENT])
  local labels = G and table.concat(G[G_LABELS], ',') or ''
  local key = bill()
  local field = R[R_AGENT] .. '\t' .. R[R_RESOURCE] .. '\t' .. (R[R_MODEL] or '') .. '\t' .. labels .. '\t'
  call('HINCRBY', key, field .. '$', string.format('%.0f', cost))
  call('HINCRBY', key, field .. 'n', calls)
  call('EXPIRE', key, 400 * 86400)
end

-- Moves money in every budget of the record. `before` is what the record counts as reserved now, `spent_before` what
-- it counts as spent; afterwards it is spent, up to the reservation in its own window, the rest in the present one.
local function move(R, before, spent_before, charged)
  local lines, amount = R[R_LINES], R[R_AMOUNT]
  for i = 1, #lines, LINE do
    local owner = lines[i]
    local purse, name = purse_of(owner, R[R_AGENT], R[R_SESSION])
    local b = purse and find(purse, lines[i + 1])
    if b then
      roll(b)
      add(b, lines[i + 2], math.min(charged, amount) - spent_before, -before)
      if charged > amount then
        add(b, b[B_WINDOW], charged - amount, 0)
        note_crossing(b, owner, R[R_AGENT], R[R_SESSION])
      end
      change(name)
    end
  end
end

-- Ends an open record: reserved becomes charged or free. One event; whoever waits for an answer is woken.
local function close(id, R, state, charged)
  local pending = R[R_STATE] == 'P'
  check_keys(id)
  move(R, R[R_AMOUNT], 0, charged)
  R[R_STATE], R[R_CHARGED], R[R_CHANGED] = state, charged, NOW
  local G = fetch('a:' .. R[R_AGENT])
  if G then
    G[G_OPEN] = G[G_OPEN] - 1
    if pending then G[G_PENDING] = G[G_PENDING] - R[R_AMOUNT] end
    change('a:' .. R[R_AGENT])
  end
  book(R, charged, state == 'L' and 0 or state == 'T' and 0 or 1)
  store_ended(id, R)
  call('ZREM', PREFIX .. 'd', 'r:' .. id)
  event(charged > R[R_AMOUNT] and 'overrun' or ENDED[state], encode(R))
  if pending then call('PUBLISH', PREFIX .. 'i', id) end
end

-- A grant past its deadline was perhaps used, so it is charged; a question nobody answered was not, so it is free.
local function expire(id, R)
  if R[R_STATE] == 'P' then close(id, R, 'T', 0) else close(id, R, 'X', R[R_AMOUNT]) end
end

local function expire_session(sid)
  local S = fetch('s:' .. sid)
  if not S then
    call('ZREM', PREFIX .. 'd', 's:' .. sid)
  elseif S[S_SEEN] + T[T_CONFIG][C_IDLE] > NOW then
    call('ZADD', PREFIX .. 'd', S[S_SEEN] + T[T_CONFIG][C_IDLE], 's:' .. sid)
  else
    call('ZREM', PREFIX .. 'd', 's:' .. sid)
    call('ZREM', PREFIX .. 'as:' .. S[S_AGENT], sid)
    call('DEL', PREFIX .. 's:' .. sid)
    HELD['s:' .. sid], CHANGED['s:' .. sid] = false, nil
    event('session_closed', encode({NOW, S[S_AGENT], sid}))
  end
end

-- Ends up to `most` overdue things, oldest first; answers whether some are left. Written before anything is judged.
local function sweep(most)
  local due = call('ZRANGEBYSCORE', PREFIX .. 'd', '-inf', NOW, 'LIMIT', 0, most)
  for i = 1, #due do
    local kind, id = string.sub(due[i], 1, 1), string.sub(due[i], 3)
    if kind == 's' then
      expire_session(id)
    else
      local R = call('GET', PREFIX .. 'r:' .. id)
      if R then expire(id, decode(R)) else call('ZREM', PREFIX .. 'd', due[i]) end
    end
  end
  local first = call('ZRANGE', PREFIX .. 'd', 0, 0, 'WITHSCORES')
  T[T_DUE] = first[2] and tonumber(first[2]) or MAX
  change('t')
  flush()
  return T[T_DUE] <= NOW
end

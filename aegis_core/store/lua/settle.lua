-- Settles, releases or extends one grant. The same act again is a harmless repeat; another one is a conflict.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local blob = call('GET', PREFIX .. 'r:' .. id)
if not blob then return {'NO_GRANT'} end
local R = complete_R(decode(blob))
if agent and R[R_AGENT] ~= agent then return {'NOT_YOURS'} end
local refused = impostor(R[R_AGENT], sid, token)
if refused then return {refused} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
if overdue(R) then expire(id, R) end

-- Remembers which share of its bound a call cost, in 255ths rounded up.
local function learn()
  if R[R_STRICT] == 0 then return end
  local name = PREFIX .. 'f:' .. R[R_AGENT] .. '\t' .. (R[R_MODEL] or '')
  local share = string.char(math.min(255, math.ceil(cost / R[R_STRICT] * 255)))
  call('SET', name, string.sub((call('GET', name) or '') .. share, -FORECAST_KEEP), 'EX', 30 * 86400)
end

-- Counts how well the task was done: for its task type, and for its agent at that density, each by the model that
-- answered first: the one whose tokens were reported, else a cheap one that was to be verified, else the one that the
-- grant is for. What was only recommended to an agent that calls another learns nothing of it.
-- Old outcomes fade. A row is "sum of scores, outcomes, when"; VERSION_ROW counts all.
local function note_outcome()
  local name = PREFIX .. 'o'
  local said = {}
  for field in string.gmatch(string.match(R[R_WHY], '^[^\n]*'), '([^\t]*)\t') do said[#said + 1] = field end
  local task_type, density, escalation = said[1], said[2], said[11]
  local model = '\t' .. (answered or escalation ~= '' and R[R_RECOMMENDED] or R[R_MODEL])
  local function count(row)
    local old, good, total, at, more = call('HGET', name, row), 0, 0, NOW, ''
    if old then
      good, total, at, more = string.match(old, '^(%S+) (%S+) (%S+)(.*)$')
    elseif call('HLEN', name) > OUTCOME_ROWS then -- of a few rows the one that was quiet for longest makes room
      local some, oldest, since = call('HRANDFIELD', name, 8, 'WITHVALUES'), nil, MAX
      for i = 1, #some, 2 do
        local seen = tonumber(string.match(some[i + 1], '^%S+ %S+ (%S+)'))
        if some[i] ~= VERSION_ROW and string.sub(some[i], 1, 1) ~= '*' and seen < since then oldest, since = some[i], seen end
      end
      if oldest then call('HDEL', name, oldest) end
    end
    local left = 0.5 ^ ((NOW - at) / HALF_LIFE)
    call('HSET', name, row, string.format('%.6f %.6f %.0f%s', good * left + outcome, total * left + 1, NOW, more))
  end
  count('*' .. model)
  if task_type ~= '' then count('t\t' .. task_type .. model) end
  count('a\t' .. R[R_AGENT] .. '\t' .. density .. model)
  call('HINCRBY', name, VERSION_ROW, 1)
end

-- What an agent that is not trusted says of its spending can add to a charge, never take from it. What was approved without
-- its knowing, it did not use; to extend it is to know.
local least = (R[R_TRUSTED] or act == 'release' and unheard(R)) and 0 or R[R_AMOUNT]
if act == 'extend' then claim(id, R) end
if R[R_LOCK] then R[R_LOCK][K_STANDS] = false end
if act == 'settle' then cost = math.max(cost, least) end
outcome = R[R_TRUSTED] and R[R_WHY] and outcome -- and of the choice of models for others, it says nothing
if outcome then call('HLEN', PREFIX .. 'o') end -- fails here, before anything is written, where the key is damaged

local state, repeated, late = R[R_STATE], false, false
if act == 'settle' then
  if state == STATE_LIVE and not (R[R_LOCK] and not R[R_LOCK][K_CLAIMED]) then
    R[R_SETTLED] = digest
    close(id, R, STATE_SETTLED, cost)
    learn()
    if outcome then note_outcome() end
  elseif state == STATE_SETTLED and R[R_SETTLED] == digest then
    repeated = true
  elseif state == STATE_EXPIRED then
    local estimate = R[R_CHARGED]
    check_keys(id)
    move(R, 0, estimate, cost)
    book(R, cost - estimate, 0)
    correct_envelope(R, cost - estimate)
    R[R_STATE], R[R_CHARGED], R[R_CHANGED], R[R_SETTLED] = STATE_SETTLED, cost, NOW, digest
    event(cost > R[R_AMOUNT] and 'overrun' or 'settled', store_ended(id, R))
    if outcome then note_outcome() end
    late = true
  else
    flush()
    return {'CLOSED', encode(R)}
  end
elseif act == 'release' then
  if state == STATE_LIVE then close(id, R, STATE_RELEASED, least)
  elseif state == STATE_PENDING then close(id, R, STATE_RELEASED, 0)
  elseif state == STATE_RELEASED then repeated = true
  else
    flush()
    return {'CLOSED', encode(R)}
  end
elseif state == STATE_LIVE then
  local since = R[R_ASKED] and R[R_ASKED][Q_AT] or R[R_CREATED]
  local deadline = math.min(NOW + more, since + T[T_CONFIG][C_GRANT_MAX])
  repeated = deadline <= R[R_DEADLINE]
  if not repeated then
    R[R_DEADLINE], R[R_CHANGED] = deadline, NOW
    due_at('r:' .. id, deadline)
    event('extended', store_open(id, R))
  end
else
  flush()
  return {'CLOSED', encode(R)}
end
flush()
return {'OK', encode(R), repeated and 1 or 0, late and 1 or 0}

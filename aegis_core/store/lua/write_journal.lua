-- The execution journal of an agent: what was started, and what became of it. A start without an end is an unknown outcome,
-- except to the runner that wrote it, whose lost answer is repeated. Also counts identical refusals of a session.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local refused = impostor(agent, sid, token)
if refused then return {refused} end
local G = fetch('a:' .. agent)
if not G then return {'NO_AGENT'} end
if act == 'start' or act == 'refuse' then -- what says how a call ended is never refused
  local S = sid and fetch('s:' .. sid)
  refused = S and refuse_beyond_rate(agent, G, S)
  if refused then return refused end
end

if act == 'refuse' then
  local S = sid and fetch('s:' .. sid)
  if not S or S[S_AGENT] ~= agent then return {'NO_SESSION'} end
  local name, seen, from = PREFIX .. 'jx:' .. sid, 0, 1
  local ring = string.sub((call('GET', name) or '') .. string.sub(id, 1, 16), -2048)
  while true do
    local at = string.find(ring, string.sub(id, 1, 16), from, true)
    if not at then break end
    if at % 16 == 1 then seen = seen + 1 end
    from = at + 1
  end
  call('SET', name, ring, 'PX', T[T_CONFIG][C_IDLE])
  return {'OK', encode({'refused', NOW, false, seen})}
end

local name, index = PREFIX .. 'j:' .. id, PREFIX .. 'ja:' .. agent
local blob = call('GET', name)
local E = blob and complete_J(decode(blob))
if act == 'look' then
  if not E then return {'OK', encode({'absent', NOW, false, 0})} end
  return {'OK', encode({E[J_STATE], E[J_AT], E[J_RESULT], 0})}
elseif act == 'start' then
  if E then
    if E[J_STATE] == 'unknown' and E[J_RUNNER] == runner then return {'OK', encode({'started', E[J_AT], false, 0})} end
    if E[J_STATE] == 'unknown' and not E[J_TOLD] then -- once: who asks again learns nothing new
      E[J_TOLD] = true
      call('SET', name, encode(E), 'KEEPTTL')
      event('outcome_unknown', encode({NOW, agent, id, E[J_AT]}))
    end
    return {'OK', encode({E[J_STATE], E[J_AT], E[J_RESULT], 0})}
  end
  call('ZREMRANGEBYSCORE', index, '-inf', NOW)
  if call('ZCARD', index) >= most then -- makes room by the oldest that ended; what is unknown stays
    local room = false
    for _, old in ipairs(call('ZRANGE', index, 0, 63)) do
      local held = call('GET', PREFIX .. 'j:' .. old)
      if not held or decode(held)[J_STATE] ~= 'unknown' then
        call('DEL', PREFIX .. 'j:' .. old)
        call('ZREM', index, old)
        room = true
        break
      end
    end
    if not room then return {'JOURNAL_FULL', most} end
  end
  E = NEW_J
  E[J_STATE], E[J_AT], E[J_RESULT], E[J_RUNNER] = 'unknown', NOW, false, runner
  call('SET', name, encode(E), 'PX', keep)
  call('ZADD', index, NOW + keep, id)
  call('PEXPIRE', index, keep)
  return {'OK', encode({'started', NOW, false, 0})}
end
-- finish, fail: only what was started, and only by who started it, has an end.
if not E then return {'NO_ENTRY'} end
local state = act == 'finish' and 'finished' or 'failed'
if E[J_STATE] == 'unknown' and E[J_RUNNER] == runner then
  E[J_STATE], E[J_AT], E[J_RESULT] = state, NOW, result or false
  call('SET', name, encode(E), 'PX', keep)
  if result and #result > LONG_RESULT then -- of these the oldest keep their end, so that nobody runs them again, and no result
    local long = PREFIX .. 'jl:' .. agent
    call('ZADD', long, NOW, id)
    call('PEXPIRE', long, keep)
    if call('ZCARD', long) > LONG_RESULTS then
      local old = call('ZPOPMIN', long)[1]
      local held = call('GET', PREFIX .. 'j:' .. old)
      local O = held and complete_J(decode(held))
      if O and O[J_RESULT] then
        O[J_RESULT] = RESULT_GONE
        call('SET', PREFIX .. 'j:' .. old, encode(O), 'KEEPTTL')
      end
    end
  end
  call('ZADD', index, NOW + keep, id)
  call('PEXPIRE', index, keep)
  if thread and act == 'fail' then
    keep_words(agent, G, event('thread_failed', encode({NOW, agent, '', ''}), nil, nil, nil, said[SAID_DIGEST]), said)
    flush()
  end
elseif E[J_STATE] ~= state or E[J_RESULT] ~= (result or false) then
  return {'NOT_RUNNER'}
end
return {'OK', encode({E[J_STATE], E[J_AT], E[J_RESULT], 0})}

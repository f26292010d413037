-- Numbers a pair of answers when it is sampled, and takes its scores. Pairs are counted in the order of their numbers, up to the
-- first that is still open: failures are slower than successes, and who counts them as they come counts too few. One that
-- nobody scores before its deadline is missing; where many are, nobody knows what they hide, and the experiment is void.
--@ betting
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
local key = PREFIX .. 'kx:' .. experiment
local found = call('HMGET', key, 'state', 'last', 'next', 'day', 'tally', 'margin', 'refutes', 'most', 'until', 'r:' .. request)
local state, last, number = found[1], tonumber(found[2]), tonumber(found[10] or 0)
if not state then return {'NO_EXPERIMENT'} end
local pair = number > 0 and complete_PAIR(decode(call('HGET', key, number)))

-- What is shown is shown of two models and a template; of the first of each that was seen.
local function is_other(field, said)
  return said ~= '' and call('HSETNX', key, field, said) == 0 and call('HGET', key, field) ~= said
end
local function changed(of)
  if not is_other(of .. '_is', version) then return false end
  return 'the version of its ' .. of .. ' model changed: ' .. version
end
if act == 'present' or act == 'candidate' then -- what a certificate is seen with
  local why = state == 'certified' and (changed(act) or is_other('basis', basis) and 'its prompts have another template')
  if why then
    state = 'lapsed'
    end_experiment(key, experiment, state, why, '', complete_TALLY(decode(found[5])))
  end
  flush()
  return {'OK', state, 0, 0, 0}
end
if act == 'open' then
  if pair then return {'OK', state, number, pair[PAIR_STATE] ~= 'open' and 1 or 0, 0} end
  if state ~= 'running' and state ~= 'suggested' or last >= tonumber(found[8]) or NOW >= tonumber(found[9]) then return {'OK', state, 0, 0, 0} end
  local G = agent and fetch('a:' .. agent)
  for _, label in ipairs(G and G[G_LABELS] or {}) do
    if string.sub(label, 1, #NEVER_SHADOWED) == NEVER_SHADOWED then return {'OK', state, 0, 0, 0} end
  end
  if is_other('basis', basis) then return {'OK', state, 0, 0, 0} end
  local why = changed('present')
  if why then
    end_experiment(key, experiment, 'void', why, '', complete_TALLY(decode(found[5])))
    flush()
    return {'OK', 'void', 0, 0, 0}
  end
  number, pair = last + 1, NEW_PAIR
  pair[PAIR_DEADLINE], pair[PAIR_DAY], pair[PAIR_STATE] = NOW + span, window_number('d'), 'open'
  pair[PAIR_PRESENT], pair[PAIR_CANDIDATE] = 0, 0
  call('HSET', key, 'last', number, 'r:' .. request, number, number, encode(pair))
  flush()
  return {'OK', state, number, 0, 0}
end
local counts = state == 'running' or state == 'paused' or state == 'suggested'
if counts and not pair and act ~= 'count' then return {'NO_PAIR'} end
local labels = counts and act == 'label'
if labels then
  if call('HSETNX', key, 'l:' .. number, encode({present, candidate})) == 0 then return {'OK', state, number, 1, 0} end
elseif not counts or (pair and pair[PAIR_STATE] ~= 'open') then return {'OK', state, number, 1, 0} end -- the first word stands

local tally, closed = complete_TALLY(decode(found[5])), nil
local why = counts and not labels and changed('candidate') or false
if why then state, pair = 'void', nil end -- the pair is one of another model
local margin, next, day = tonumber(found[6]), tonumber(found[3]), tonumber(found[4])
if labels then
  tally[TALLY_LABELS] = tally[TALLY_LABELS] + 1
  bet_on(tally[TALLY_LABELLED], 0.9, candidate - 0.9 * present)
elseif pair then
  pair[PAIR_STATE], pair[PAIR_PRESENT], pair[PAIR_CANDIDATE] = act, present, candidate
  call('HSET', key, number, encode(pair))
end

-- What a day held stands apart when the next one begins, because only whole days are decided on.
local function close_day()
  closed = NEW_CLOSED
  closed[CLOSED_DAY], closed[CLOSED_DAYS], closed[CLOSED_N] = day, tally[TALLY_DAYS], tally[TALLY_N]
  closed[CLOSED_LOG_E], closed[CLOSED_LABELS] = log_mean(tally[TALLY_STAKES]), tally[TALLY_LABELS]
  closed[CLOSED_LOG_LABELS] = log_mean(tally[TALLY_LABELLED])
  tally[TALLY_DAYS] = tally[TALLY_DAYS] + 1
end
local function count_in(each)
  if each[PAIR_DAY] > day and day >= 0 then close_day() end
  day = each[PAIR_DAY] -- where a clock went back, too, so that a day far ahead holds nobody up
  local word = each[PAIR_STATE]
  if word == 'skip' then tally[TALLY_SKIPPED] = tally[TALLY_SKIPPED] + 1
  elseif word == 'missing' then tally[TALLY_MISSING] = tally[TALLY_MISSING] + 1
  else
    local d = each[PAIR_CANDIDATE] - margin * each[PAIR_PRESENT]
    tally[TALLY_N], tally[TALLY_TOTAL] = tally[TALLY_N] + 1, tally[TALLY_TOTAL] + d
    tally[TALLY_SQUARES] = tally[TALLY_SQUARES] + d * d
    bet_on(tally[TALLY_STAKES], margin, d)
    bet_on(tally[TALLY_AGAINST], 1, -d)
  end
end
local first, whole = next, false
for at = next, counts and not why and math.min(last, next + PAIRS_AT_ONCE - 1) or 0 do
  local each = at == number and pair or complete_PAIR(decode(call('HGET', key, at)))
  if each[PAIR_STATE] == 'open' then
    if each[PAIR_DEADLINE] > NOW then break end
    each[PAIR_STATE] = 'missing'
    call('HSET', key, at, encode(each))
  end
  count_in(each)
  next, whole = at + 1, at + 1 - first == PAIRS_AT_ONCE -- there may be more
end

local n, missing = tally[TALLY_N], tally[TALLY_MISSING]
if why then -- nothing else is to be said
elseif counts and n + missing >= MISSING_FROM and missing * MISSING_ONE_IN > n + missing then
  state, why = 'void', 'too many pairs were never judged'
elseif counts and found[7] == '1' and log_mean(tally[TALLY_AGAINST]) >= math.log(20) then
  state, why = 'refuted', 'the candidate does worse than it may'
end
call('HSET', key, 'next', next, 'day', day, 'tally', encode(tally))
if closed then call('HSET', key, 'closed', encode(closed)) end
if why then end_experiment(key, experiment, state, why, '', tally) end
flush()
return {'OK', state, number, 0, whole and 1 or 0}

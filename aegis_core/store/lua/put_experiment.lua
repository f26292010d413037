-- Begins an experiment, or brings it from one of some states to another: what an operator says, or what followed from the close
-- of a day. One that ended is kept for a while, because it counts where several are decided on together.
--@ betting
T = fetch('t')
if not T then return {'NO_TENANT'} end
local names, key = PREFIX .. 'kx', PREFIX .. 'kx:' .. experiment
local before, tally = call('HGET', key, 'state'), nil
if before then
  local may = false
  for at = 1, #allowed do may = may or allowed[at] == before end
  if not may then return {'OK', before, 0} end
  tally = complete_TALLY(decode(call('HGET', key, 'tally')))
elseif begun then
  if call('SCARD', names) >= MOST_EXPERIMENTS then
    for _, name in ipairs(call('SMEMBERS', names)) do
      if call('EXISTS', PREFIX .. 'kx:' .. name) == 0 then call('SREM', names, name) end
    end
    if call('SCARD', names) >= MOST_EXPERIMENTS then return {'FULL_EXPERIMENTS', MOST_EXPERIMENTS} end
  end
  tally = NEW_TALLY
  for _, at in ipairs({TALLY_N, TALLY_TOTAL, TALLY_SQUARES, TALLY_MISSING, TALLY_SKIPPED, TALLY_DAYS, TALLY_LABELS}) do
    tally[at] = 0
  end
  tally[TALLY_STAKES], tally[TALLY_AGAINST], tally[TALLY_LABELLED] = no_stakes(), no_stakes(), no_stakes()
  call('SADD', names, experiment)
  call('HSET', key, 'about', begun[BEGUN_ABOUT], 'task', begun[BEGUN_TASK_TYPE], 'present', begun[BEGUN_PRESENT],
    'candidate', begun[BEGUN_CANDIDATE], 'margin', begun[BEGUN_MARGIN], 'refutes', begun[BEGUN_REFUTES] and 1 or 0,
    'most', begun[BEGUN_MOST], 'until', string.format('%.0f', NOW + begun[BEGUN_SPAN]), 'made', string.format('%.0f', NOW),
    'last', 0, 'next', 1, 'day', -1, 'tally', encode(tally))
else return {'NO_EXPERIMENT'} end
if proof then call('HSET', key, 'proof', proof) end
if ended then end_experiment(key, experiment, state, why, author, tally)
else
  call('HSET', key, 'state', state, 'why', why)
  call('PERSIST', key)
  tell_experiment(key, experiment, state, why, author, tally)
end
return {'OK', state, 1}

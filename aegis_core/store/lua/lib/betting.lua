-- The test of shadow experiments, as aegis_core/kaizen/experiments/betting.py explains it: of each fixed bet the logarithm of
-- its stake. Here it runs where pairs are stored, so that a pair is counted in the step that stores it.
local BETS = 12
local function no_stakes()
  local stakes = {}
  for at = 1, BETS do stakes[at] = 0 end
  return stakes
end
local function bet_on(stakes, least, d)
  for at = 1, BETS do
    stakes[at] = stakes[at] + math.log(1 + 0.02 / least * 45 ^ ((at - 1) / (BETS - 1)) * d)
  end
end
local function log_mean(stakes)
  local top, sum = -math.huge, 0
  for at = 1, BETS do top = math.max(top, stakes[at]) end
  for at = 1, BETS do sum = sum + math.exp(stakes[at] - top) end
  return top + math.log(sum / BETS)
end

local function tell_experiment(key, name, state, why, author, tally)
  local about = call('HMGET', key, 'task', 'present', 'candidate')
  local n, log_e = tally[TALLY_N], log_mean(tally[TALLY_STAKES])
  event('kaizen_' .. state, encode({NOW, name, about[1], about[2], about[3], state, n, log_e, why, author}))
end
local function end_experiment(key, name, state, why, author, tally)
  call('HSET', key, 'state', state, 'why', why, 'ended', string.format('%.0f', NOW))
  call('PEXPIRE', key, string.format('%.0f', KEPT_EXPERIMENT))
  tell_experiment(key, name, state, why, author, tally)
end

-- What is learnt of a call that was settled: what such calls cost, and how well they are done.
-- Remembers which share of its bound a call cost, in 255ths rounded up.
local function learn(R, cost)
  if R[R_STRICT] == 0 then return end
  local name = PREFIX .. 'f:' .. R[R_AGENT] .. '\t' .. (R[R_MODEL] or '')
  local share = string.char(math.min(255, math.ceil(cost / R[R_STRICT] * 255)))
  call('SET', name, string.sub((call('GET', name) or '') .. share, -FORECAST_KEEP), 'EX', 30 * 86400)
end

-- Counts how well the task was done: for its task type, and for its agent at that density, each by the model that
-- answered first: the one whose tokens were reported, else a cheap one that was to be verified, else the one that the
-- grant is for. What was only recommended to an agent that calls another learns nothing of it.
-- Old outcomes fade. A row is "sum of scores, outcomes, when"; VERSION_ROW counts all.
local function note_outcome(R, outcome, answered)
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

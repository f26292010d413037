-- Adds sums to rows of hours and moves the cursor, whole or not at all: only under the present fence, and only from where the
-- cursor stands, so that no event is counted twice. `added` are lists of hour, names, agent, sums.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local name, hours = PREFIX .. 'hc', PREFIX .. 'h:'
local stored = call('HMGET', name, 'fence', 'cursor', 'rows', 'first')
if tonumber(stored[1] or 0) ~= fence or (stored[2] or '0') ~= before then return {'OK', 0} end
local rows, first, age = tonumber(stored[3] or 0), tonumber(stored[4] or MAX), T[T_CONFIG][C_AGE]
local kept = math.max(HOURS_KEPT, math.ceil(age / 3600000) + 30 * 24)

-- An agent that names more than AGENT_ROWS in an hour has what follows in one row, and of more agents than fit all that
-- follows is in one. What is first in the events is first here, however they are cut into parts.
local function row_of(key, row, agent)
  if call('HEXISTS', key, row) == 1 then return row end
  local own, all = '#' .. agent, tonumber(call('HGET', key, '#') or 0)
  if all >= HOUR_ROWS then return string.rep('*\t', 5) .. '*' end
  if tonumber(call('HGET', key, own) or 0) >= AGENT_ROWS then return agent .. string.rep('\t*', 5) end
  call('HINCRBY', key, own, 1)
  return row
end

for i = 1, #added do
  local hour, more = added[i][1], added[i][4]
  local key = hours .. string.format('%.0f', hour)
  local row = row_of(key, added[i][2], added[i][3])
  local blob = call('HGET', key, row)
  local sums = blob and decode(blob) or {}
  for at = 1, #more do sums[at] = (sums[at] or 0) + more[at] end
  call('HSET', key, row, encode(sums))
  if not blob then
    rows, first = rows + 1, math.min(first, hour)
    call('HINCRBY', key, '#', 1)
    call('PEXPIRE', key, string.format('%.0f', (kept + 48) * 3600000))
  end
end

-- The oldest hours go: those that are too old, and those that are too many together.
local most, present = math.max(ROLLUP_ROWS, 2 * T[T_CONFIG][C_EVENTS]), math.floor(NOW / 3600000)
for _ = 1, 200 do
  if first >= present or (rows <= most and first > present - kept) then break end
  local key = hours .. string.format('%.0f', first)
  rows, first = math.max(0, rows - tonumber(call('HGET', key, '#') or 0)), first + 1
  call('UNLINK', key)
end
call('HSET', name, 'cursor', cursor, 'number', number, 'rows', rows, 'first', string.format('%.0f', math.min(first, MAX)))
if missed > 0 then call('HINCRBY', name, 'missed', missed) end
return {'OK', 1}

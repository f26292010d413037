-- A page of questions. Open ones by age; ended ones, the newest first, all or those that ended as `how` says. `after` is
-- {time, id} of the last one of the page before. Answers as well where to go on when it has looked at many in vain.
local ROUNDS, ROUND = 10, 200
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
local name, answer, from = PREFIX .. (ended and 'ah' or 'ap'), {}, 0
local verb = ended and 'ZREVRANGEBYSCORE' or 'ZRANGEBYSCORE'
local start, stop = after and after[1] or ended and '+inf' or '-inf', ended and '-inf' or '+inf'
local passed, last = not after, false
local rounds = 0
while rounds < ROUNDS do
  local gone = 0
  local page = call(verb, name, start, stop, 'WITHSCORES', 'LIMIT', from, ROUND)
  for i = 1, #page, 2 do
    local id = page[i]
    if not passed and (page[i + 1] ~= after[1] or ended and id < after[2] or not ended and id > after[2]) then
      passed = true
    end
    local blob = passed and call('GET', PREFIX .. 'r:' .. id)
    local R = blob and complete_R(decode(blob))
    if passed and not R then
      call('ZREM', name, id)
      gone = gone + 1
    end
    if R and overdue(R) then
      expire(id, R)
      if not ended then gone = gone + 1 end
    end
    if R and (not agent or R[R_AGENT] == agent) and (ended and (not how or R[R_ASKED][Q_HOW] == how)
        or not ended and R[R_STATE] == STATE_PENDING) then
      answer[#answer + 1] = {id, R}
      if #answer == most then
        flush()
        return {'OK', encode({answer, false}), NOW}
      end
    end
  end
  from = from + #page / 2 - gone
  if passed then rounds = rounds + 1 end -- to skip what was seen costs little
  last = #page == 2 * ROUND and {page[#page], page[#page - 1]}
  if not last then break end
end
flush()
return {'OK', encode({answer, last}), NOW}

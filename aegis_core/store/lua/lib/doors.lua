-- Who was refused at a door (a handshake, a login, the word of an operator), and why: counted for an hour from the first one.
-- Beyond so many pairs of both, those of a door are counted as one.
local an_hour, most_apart = 3600000, 1000
local function count_refusal(door, who, why, more)
  local name, field = PREFIX .. 'cx:' .. door, who .. '\t' .. why
  if call('HEXISTS', name, field) == 0 and call('HLEN', name) >= most_apart then who, field = '*', '*\t*' end
  local times = call('HINCRBY', name, field, more)
  if call('PTTL', name) < 0 then call('PEXPIRE', name, an_hour) end
  return times, who
end

-- Of equal ones the first leaves an event, then the tenth, the hundredth and so on, so that no flood drowns the rest and its size
-- is known. Answers the count where it is told.
local function refusals_to_tell(door, who, why, more)
  local times, whom = count_refusal(door, who, why, more)
  return (times == more or #string.format('%.0f', times) > #string.format('%.0f', times - more)) and times, whom
end

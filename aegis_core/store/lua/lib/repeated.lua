-- Refusals of one agent that are alike. The first leaves its event. What follows within ALIKE ms is counted with the agent, and
-- told in one event: when the agent is next granted something or asks a person, when somebody who reads the events has read
-- all others, or after that time, by whoever sweeps.
local function tell_repeated(agent, G)
  local kinds = G[G_REFUSED]
  for i = 1, #kinds do
    local kind = kinds[i]
    if kind[REFUSED_COUNT] > 0 then
      if kind[REFUSED_SAID] then kind[REFUSED_TOOL], kind[REFUSED_TARGET], kind[REFUSED_CAPABILITY] = false, false, false end
      event('refusals_repeated', encode({NOW, agent, kind}))
    end
  end
  G[G_REFUSED] = {}
  change('a:' .. agent)
end

local function alike_ends(G) return G[G_REFUSED][1][REFUSED_SINCE] + ALIKE end
local function counting(G) -- a clock that goes back ends it, too
  return G[G_REFUSED][1] and NOW >= G[G_REFUSED][1][REFUSED_SINCE] and NOW < alike_ends(G)
end

-- Whether one like it left its event already, so that this one is only counted. Of more kinds than ALIKE_KINDS at a time, each
-- leaves its own.
local function counts_as_repeated(agent, G, refused)
  if G[G_REFUSED][1] and not counting(G) then tell_repeated(agent, G) end
  local kinds = G[G_REFUSED]
  for i = 1, #kinds do
    local kind, same = kinds[i], true
    for field = 1, REFUSED_SINCE - 1 do same = same and kind[field] == refused[field] end
    if same then
      kind[REFUSED_COUNT], kind[REFUSED_UNTIL] = kind[REFUSED_COUNT] + 1, NOW
      kind[REFUSED_MOST] = math.max(kind[REFUSED_MOST], refused[REFUSED_MOST])
      change('a:' .. agent)
      if kind[REFUSED_COUNT] == 1 then
        due_at('a:/' .. agent, alike_ends(G)) -- what an older version takes for a record's id; those have no slash
        change('t')
      end
      return true
    end
  end
  if #kinds < ALIKE_KINDS then
    kinds[#kinds + 1] = refused
    change('a:' .. agent)
  end
  return false
end

-- When the time is over in which refusals of an agent are counted, or `early`; `member` is of the deadlines.
local function end_repeated(member, early)
  local agent = string.sub(member, 4)
  local G = fetch('a:' .. agent)
  if G and not early and counting(G) then
    call('ZADD', PREFIX .. 'd', alike_ends(G), member) -- the time is another one than it was made for
  else
    if G and G[G_REFUSED][1] then tell_repeated(agent, G) end
    call('ZREM', PREFIX .. 'd', member)
  end
end

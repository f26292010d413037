-- How many requests of this second there were over HTTP of an agent, and of all agents of the credential (`whose`, or '') that
-- opened its session. A process with credentials of Redis could do anything anyway, so it is not asked. A handshake counts with
-- its credential only (no G), for anybody may name an agent. Answers whether this one is beyond the rate.
local function beyond_rate(agent, G, whose)
  local second, most = math.floor(NOW / 1000), T[T_CONFIG][C_REQUESTS]
  if T[T_SECOND] ~= second or not T[T_ASKED] then T[T_SECOND], T[T_ASKED] = second, {} end
  local all = T[T_ASKED][whose] or 0
  local before = all
  if G then
    if G[G_SECOND] ~= second then G[G_SECOND], G[G_ASKED] = second, 0 end
    before = math.max(G[G_ASKED], all)
  end
  local beyond = before >= most
  if before <= most then -- one beyond is counted, and told; what follows in this second leaves nothing
    T[T_ASKED][whose] = all + 1
    change('t')
    if G then
      G[G_ASKED] = G[G_ASKED] + 1
      change('a:' .. agent)
    end
    if beyond then event('requests_limited', encode({NOW, agent, most, whose})) end
  end
  return beyond
end

local function next_second() return NOW + 1000 - NOW % 1000 end

-- The same for verbs that are no decision: nil, or what they answer. What only gives back or ends something asks nobody.
local function refuse_beyond_rate(agent, G, S, whose)
  if S and S[S_LOCAL] then return end
  local beyond = beyond_rate(agent, G, S and S[S_CREDENTIAL] or whose or '')
  flush()
  return beyond and {'TOO_MANY_REQUESTS', T[T_CONFIG][C_REQUESTS], next_second() - NOW} or nil
end

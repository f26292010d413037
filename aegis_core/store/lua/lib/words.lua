-- What an agent wrote lies in a stream of its own, `w:AGENT`, under the id of the event that it belongs to. The event has
-- only a salted digest of it, so that to forget an agent is to delete one key. What is kept of a question for those who
-- answer it lies in its record, and its events go without.
local WORDS = {'intent', 'prompt_end', 'metadata', 'tool', 'target_resource', 'capability'}

-- Keeps what was `said` with an event. That it cannot be kept fails no decision: then it reads as kept no longer.
local function keep_words(agent, G, id, said)
  local name, size = PREFIX .. 'w:' .. agent, #said[SAID_WORDS] + #said[SAID_SALT]
  local kept = T[T_CONFIG][C_EVENTS]
  if size > EVENT_BYTES then kept = math.min(kept, math.max(100, math.floor(kept * EVENT_BYTES / size))) end
  redis.pcall('XADD', name, 'MAXLEN', '~', kept, id, 'w', said[SAID_WORDS], 's', said[SAID_SALT])
  if NOW >= G[G_WORDS] then -- once a day, since it costs a command
    local age = T[T_CONFIG][C_AGE]
    G[G_WORDS] = NOW + WORDS_DAY
    change('a:' .. agent)
    redis.pcall('PEXPIRE', name, string.format('%.0f', (age > 0 and age or WORDS_KEPT) + WORDS_DAY))
  end
end

-- A request whole, as a person who is asked is shown it.
local function whole_request(trace, said)
  local request = decode(trace)
  for name, value in pairs(decode(said[SAID_WHOLE] or said[SAID_WORDS])) do request[name] = value end
  return request
end

local function without_words(request)
  local left = {}
  for name, value in pairs(request) do left[name] = value end
  for i = 1, #WORDS do left[WORDS[i]] = nil end
  return left
end

-- What the events of a record say of it; `body` is the record itself, packed. What an operator made of a request is no word
-- of the agent's. The words of a question that an older version asked lie nowhere else.
local function told_of(R, body)
  local Q = R[R_ASKED]
  if not Q or not Q[Q_SAID] then return body end
  local trace, original = Q[Q_TRACE], Q[Q_ORIGINAL]
  Q[Q_TRACE] = without_words(trace)
  if original then
    local before = original[2]
    if trace.tool ~= before.tool then Q[Q_TRACE].tool = trace.tool end
    if trace.target_resource ~= before.target_resource then Q[Q_TRACE].target_resource = trace.target_resource end
    Q[Q_ORIGINAL] = {original[1], without_words(before)}
  end
  local told = encode(R)
  Q[Q_TRACE], Q[Q_ORIGINAL] = trace, original
  return told
end

-- What one call knows. `begin` makes all of it again, so that nothing of an earlier call is left, however that ended. A
-- function of a library may name `redis` and `cmsgpack` only while it runs.
local call, encode, decode, NOW
local KEYS, ARGV -- the tenant's root, "ae:{tenant}:t"; packed: the arguments and, only after ZONE, a time zone
local PREFIX -- of every other name, because a sweep reaches records that no caller could have declared
local A -- the arguments
local T -- the tenant, which every verb loads first
local HELD, CHANGED -- a unit of work: what was read stays here, what was changed is written once, by flush
local ZONE, NUMBERS -- the tenant's zone, and the numbers of the present windows
local LOCKS, TOUCHED, DIRTY, MARKED, HEADS -- the locks that are open, and what of them is to be written or handed over
local N, LAST_FENCE, LAST_RANK -- the tenant's counters, and as they were
local PRESENT -- the token of the caller, which needs no message and has claimed what it gets
local MAX = 9007199254740991 -- 2^53 - 1: up to here a Lua number counts every nano-dollar

local function begin(keys, arguments)
  call, encode, decode = redis.call, cmsgpack.pack, cmsgpack.unpack
  KEYS, ARGV, PREFIX, A = keys, arguments, string.sub(keys[1], 1, -2), decode(arguments[1])
  T, HELD, CHANGED, ZONE, NUMBERS = nil, {}, {}, nil, {}
  LOCKS, TOUCHED, DIRTY, MARKED, HEADS, N, LAST_FENCE, LAST_RANK, PRESENT = nil
--@ clock
end

local function hold(name, blob)
  local value = blob and complete_held(decode(blob), name) or false
  HELD[name] = value
  return value
end
local function fetch(name)
  local value = HELD[name]
  if value == nil then value = hold(name, call('GET', PREFIX .. name)) end
  return value
end
local function change(name) CHANGED[name] = true end
local function flush()
  local writes, n = {}, 0
  for name in pairs(CHANGED) do
    writes[n + 1], writes[n + 2] = PREFIX .. name, encode(HELD[name])
    n = n + 2
  end
  if n > 0 then call('MSET', unpack(writes, 1, n)) end
  CHANGED = {}
end

-- Of long words an event keeps the beginning.
local function shortened(said)
  for name, value in pairs(said) do
    if type(value) == 'string' and #value > EVENT_TEXT then
      local last = EVENT_TEXT
      while string.find(string.sub(value, last + 1, last + 1), '[\128-\191]') do last = last - 1 end -- within a character
      said[name] = string.sub(value, 1, last) .. '…'
    end
  end
  if said.metadata and #encode(said.metadata) > EVENT_TEXT then said.metadata = nil end
  return said
end

-- A large event is shortened, and fewer of its size are kept, so that the stream has a bound in bytes, too: EVENT_BYTES for
-- each event that a tenant keeps, and at most three times that where large ones come before small ones.
local function fit(body, trace, kept)
  if #body + (trace and #trace or 0) > EVENT_MOST then
    local values = decode(body)
    local asked = values[R_ASKED]
    if type(asked) == 'table' and type(asked[Q_TRACE]) == 'table' then shortened(asked[Q_TRACE]) end
    body, trace = encode(shortened(values)), trace and encode(shortened(decode(trace)))
  end
  local size = #body + (trace and #trace or 0)
  return body, trace, math.min(kept, math.max(100, math.floor(kept * EVENT_BYTES / size)))
end

-- Counts for those who measure: sums that only grow, so that whoever reads them misses none.
local function count(field, more) call('HINCRBY', PREFIX .. 'c', field, more) end

-- One event, under the next number of the tenant. `trace` is of a request; `facts` of how it was settled; `digest` of the words
-- that are kept under its id (see `words`), which is answered. Of decisions the `code` is counted, too.
local function event(kind, body, trace, code, facts, digest)
  local kept, counts = T[T_CONFIG][C_EVENTS], PREFIX .. 'c'
  local number = call('HINCRBY', counts, COUNT_EVENTS, 1)
  call('HINCRBY', counts, code and kind .. '\t' .. code or kind, 1)
  if #body + (trace and #trace or 0) > EVENT_BYTES then body, trace, kept = fit(body, trace, kept) end
  local head = PREFIX .. 'e'
  if trace then return call('XADD', head, 'MAXLEN', '~', kept, '*', 'k', kind, 'n', number, 'b', body, 'q', trace, 'd', digest) end
  if facts then return call('XADD', head, 'MAXLEN', '~', kept, '*', 'k', kind, 'n', number, 'b', body, 's', facts) end
  if digest then return call('XADD', head, 'MAXLEN', '~', kept, '*', 'k', kind, 'n', number, 'b', body, 'd', digest) end
  return call('XADD', head, 'MAXLEN', '~', kept, '*', 'k', kind, 'n', number, 'b', body)
end

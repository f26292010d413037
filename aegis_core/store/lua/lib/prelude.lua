-- KEYS[1] is the tenant's root, "ae:{tenant}:t"; every other name is built from its prefix, because a sweep reaches
-- records that no caller could have declared. ARGV[1] holds the arguments, ARGV[2] (only after ZONE) a time zone.
local call, encode, decode = redis.call, cmsgpack.pack, cmsgpack.unpack
local PREFIX = string.sub(KEYS[1], 1, -2)
local A = decode(ARGV[1])
local MAX = 9007199254740991 -- 2^53 - 1: up to here a Lua number counts every nano-dollar

-- A unit of work: what was read stays here, what was changed is written once, by flush.
local HELD, CHANGED = {}, {}
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

local T -- the tenant, which every script loads first

local function event(kind, body, trace)
  local kept = T[T_CONFIG][C_EVENTS]
  if trace then
    call('XADD', PREFIX .. 'e', 'MAXLEN', '~', kept, '*', 'k', kind, 'b', body, 'q', trace)
  else
    call('XADD', PREFIX .. 'e', 'MAXLEN', '~', kept, '*', 'k', kind, 'b', body)
  end
end

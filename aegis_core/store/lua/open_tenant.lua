-- Makes a tenant on first sight and brings its timings to the caller's settings. Never touches a limit that exists.
--@ people_book
T = fetch('t')

-- Versions before hashed different arguments alike, so a yes to one call could let another one pass. Once, when the first
-- process that hashes otherwise opens the tenant, the questions that are open about such hashes end as withdrawn.
local function withdraw_old_hashes()
  if T[T_HASHES] >= HASHES or zone_missing() then return end -- a zone that is missing was asked for below
  local open = call('ZRANGE', PREFIX .. 'ap', 0, -1)
  for i = 1, #open do
    local blob = call('GET', PREFIX .. 'r:' .. open[i])
    local R = blob and complete_R(decode(blob))
    local said = R and R[R_STATE] == STATE_PENDING and R[R_ASKED][Q_TRACE]
    local hash = said and said.tool and said.arguments_hash
    if hash and #hash == 32 and not string.find(hash, '[^0-9a-f]') then
      close(open[i], R, STATE_RELEASED, 0, false, 'Aegis hashes arguments otherwise now; ask again')
    end
  end
  T[T_HASHES] = HASHES
  change('t')
end

if T and T[T_SCHEMA] > schema then return {'NEWER', T[T_SCHEMA]} end
local zone = ARGV[2] and decode(ARGV[2]) or T and T[T_ZONE]
if not zone or zone[Z_NAME] ~= zone_name then return {'ZONE', NOW, zone_name} end
if T and T[T_HASHES] < HASHES and (NOW < zone[Z_SINCE] or NOW >= zone[Z_TILL]) then return {'ZONE', NOW, zone_name} end
if not T then
  T = NEW_T
  local shared = NEW_A
  shared[A_LABELS], shared[A_RESOURCES], shared[A_MODELS] = 0, 0, 0
  T[T_SCHEMA], T[T_STATUS], T[T_POLICY], T[T_ZONE], T[T_DUE] = schema, 'active', 1, zone, MAX
  T[T_CONFIG], T[T_SHARED], T[T_AGENTS] = config, shared, 0
  T[T_PURSE] = {new_budget('d', day_limit)}
  T[T_MODE], T[T_PROFILES], T[T_KEYS], T[T_HASHES] = 'enforce', 0, 0, HASHES
  HELD.t = T
  local P = NEW_P
  P[P_VERSION], P[P_DOCUMENT], P[P_DIGEST], P[P_AUTHOR], P[P_AT], P[P_PARENT] = 1, document, fingerprint, 'defaults', NOW, 0
  call('SET', PREFIX .. 'p:1', encode(P))
  change('t')
  event('tenant_opened', encode({NOW, day_limit, fingerprint}))
else
  local present, same = T[T_CONFIG], T[T_ZONE][Z_NAME] == zone_name
  for i = 1, #config do
    same = same and config[i] == present[i]
    present[i] = config[i] -- what a newer version keeps behind it stays
  end
  if not same then
    for i = 1, #zone do T[T_ZONE][i] = zone[i] end
    change('t')
    event('tenant_configured', encode({NOW, zone_name, config}))
  end
  withdraw_old_hashes()
end
if T[T_PERSONS] == 0 then
  for _, each in ipairs(call('SMEMBERS', PREFIX .. 'ks')) do
    local blob = call('GET', PREFIX .. 'k:' .. each)
    if blob then carry_over(complete_Y(decode(blob))) end
  end
  T[T_PERSONS] = 1
  change('t')
end
flush()
return {'OK', T[T_POLICY], NOW}

-- Makes a tenant on first sight and brings its timings to the caller's settings. Never touches a limit that exists.
local schema, config, zone_name, day_limit, document, fingerprint = unpack(A, 1, 6)
T = fetch('t')
if T and T[T_SCHEMA] > schema then return {'NEWER', T[T_SCHEMA]} end
local zone = ARGV[2] and decode(ARGV[2]) or T and T[T_ZONE]
if not zone or zone[1] ~= zone_name then return {'ZONE', NOW, zone_name} end
if not T then
  T = {}
  T[T_SCHEMA], T[T_STATUS], T[T_POLICY], T[T_ZONE], T[T_DUE] = schema, 'active', 1, zone, MAX
  T[T_CONFIG], T[T_SHARED], T[T_AGENTS] = config, {0, 0, 0}, 0
  T[T_PURSE] = {new_budget('d', day_limit)}
  T[T_MODE], T[T_PROFILES], T[T_KEYS] = 'enforce', 0, 0
  HELD.t = T
  call('SET', PREFIX .. 'p:1', encode({1, document, fingerprint, 'defaults', NOW, 0}))
  change('t')
  event('tenant_opened', encode({NOW, day_limit, fingerprint}))
else
  local same = T[T_ZONE][1] == zone_name
  for i = 1, #config do same = same and config[i] == T[T_CONFIG][i] end
  if not same then
    T[T_ZONE], T[T_CONFIG] = zone, config
    change('t')
    event('tenant_configured', encode({NOW, zone_name, config}))
  end
end
flush()
return {'OK', T[T_POLICY], NOW}

-- Makes a tenant on first sight and brings its timings to the caller's settings. Never touches a limit that exists.
T = fetch('t')
if T and T[T_SCHEMA] > schema then return {'NEWER', T[T_SCHEMA]} end
local zone = ARGV[2] and decode(ARGV[2]) or T and T[T_ZONE]
if not zone or zone[Z_NAME] ~= zone_name then return {'ZONE', NOW, zone_name} end
if not T then
  T = NEW_T
  local shared = NEW_A
  shared[A_LABELS], shared[A_RESOURCES], shared[A_MODELS] = 0, 0, 0
  T[T_SCHEMA], T[T_STATUS], T[T_POLICY], T[T_ZONE], T[T_DUE] = schema, 'active', 1, zone, MAX
  T[T_CONFIG], T[T_SHARED], T[T_AGENTS] = config, shared, 0
  T[T_PURSE] = {new_budget('d', day_limit)}
  T[T_MODE], T[T_PROFILES], T[T_KEYS] = 'enforce', 0, 0
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
end
flush()
return {'OK', T[T_POLICY], NOW}

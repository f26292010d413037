-- Says of budgets for a day, once a day and limit, when each is used up if what was charged in the last hour goes on.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
local ends = window_end('d')
for at = 0, #pace - 1, PACE_WIDTH do
  local owner, name, hour = pace[at + PACE_OWNER], pace[at + PACE_NAME], pace[at + PACE_HOUR]
  local purse, key = purse_of(owner, name, name)
  local b = purse and find(purse, 'd')
  if b then
    roll(b)
    local limit, spent, alert = b[B_LIMIT], b[B_SPENT], b[B_ALERT] or no_alert()
    local gone = NOW + math.ceil((limit - spent) / hour * 3600000)
    if spent < limit and gone < ends and alert[ALERT_FORETOLD] < b[B_WINDOW] then
      alert[ALERT_FORETOLD], b[B_ALERT] = b[B_WINDOW], alert
      change(key)
      local agent, sid = owner == 'a' and name, owner == 's' and name
      if sid then agent = fetch('s:' .. sid)[S_AGENT] end
      event('budget_forecast', encode({NOW, owner, agent, sid, 'd', limit, spent, hour, gone}))
    end
  end
end
flush()
return {'OK', NOW}

-- A purse is the list of an owner's budgets, one a window kind. An owner is a (agent), s (session), t (tenant), or
-- the name of a shared purse: m:MODEL, k:RESOURCE, l:LABEL=VALUE. o:AGENT is the agent who opened the caller's workflow.
local function shared_name(owner)
  return string.sub(owner, 1, 2) == 'o:' and 'a:' .. string.sub(owner, 3) or 'b:' .. owner
end

local function purse_of(owner, agent, session)
  local name, field = shared_name(owner), nil
  if owner == 'a' then name, field = 'a:' .. agent, G_PURSE
  elseif owner == 's' then name, field = 's:' .. session, S_PURSE
  elseif owner == 't' then name, field = 't', T_PURSE
  elseif string.sub(owner, 1, 2) == 'o:' then field = G_PURSE end
  local held = fetch(name)
  if not held then return nil end
  return field and held[field] or held, name
end

local function find(purse, kind)
  for i = 1, #purse do
    if purse[i][B_KIND] == kind then return purse[i] end
  end
end

local function new_budget(kind, limit)
  local b = NEW_B
  b[B_KIND], b[B_LIMIT], b[B_WINDOW], b[B_SPENT], b[B_RESERVED], b[B_CROSSED] = kind, limit, 0, 0, 0, 0
  b[B_RING] = type(kind) == 'number' and NEW_E or false
  return b
end

-- How much of a limit is used, in the steps that are announced.
local function mark_of(limit, used)
  return used >= limit and 100 or (limit - used) * 5 <= limit and 80 or 0
end

-- Takes at most what is spent off a rolled budget; of a rolling window nothing that was spent before `window`.
local function give_back(b, window, amount)
  local ring = b[B_RING]
  if not ring then
    b[B_SPENT] = b[B_SPENT] - math.min(b[B_SPENT], amount)
    return
  end
  for at = 1, #ring - 1, ring[1] do
    local part = ring[at + E_NUMBER] >= window and math.min(ring[at + E_SPENT], amount) or 0
    ring[at + E_SPENT], b[B_SPENT], amount = ring[at + E_SPENT] - part, b[B_SPENT] - part, amount - part
  end
end

local function no_alert()
  local alert = NEW_ALERT
  alert[ALERT_MARK], alert[ALERT_TOLD], alert[ALERT_AT], alert[ALERT_FORETOLD] = 0, 0, 0, 0
  return alert
end

-- What was said of reservations is said again only after so much fell 5 points below its step.
local function rearm(b)
  local alert, limit = b[B_ALERT], b[B_LIMIT]
  local left = limit - b[B_SPENT] - b[B_RESERVED]
  if left * 4 > limit then alert[ALERT_MARK] = 0
  elseif left * 20 > limit then alert[ALERT_MARK] = math.min(alert[ALERT_MARK], 80) end
end

-- Brings a budget to the present window, only ever forwards. As often as it was reset, so many 1024ths are added to the
-- number, so that what was reserved before counts in no window of it any more.
local function roll(b)
  local now = window_number(b[B_KIND])
  if now <= b[B_WINDOW] then return b end
  b[B_WINDOW], b[B_KEPT] = now + b[B_RESETS] / 1024, 0
  local ring, spent, reserved = b[B_RING], 0, 0
  if ring then
    local width = ring[1]
    local kept = {width}
    for at = 1, #ring - 1, width do
      if ring[at + E_NUMBER] >= now - RING then
        local to = #kept
        for i = 1, width do kept[to + i] = ring[at + i] end
        spent, reserved = spent + ring[at + E_SPENT], reserved + ring[at + E_RESERVED]
      end
    end
    b[B_RING] = kept
  end
  b[B_SPENT], b[B_RESERVED] = spent, reserved
  b[B_CROSSED] = math.min(b[B_CROSSED], mark_of(b[B_LIMIT], spent))
  if b[B_ALERT] then rearm(b) end
  return b
end

-- A clock that was ahead, and was put right, leaves budgets in windows that are still to come. They count there, since
-- what was spent meanwhile may have been spent today, until that window ends; or until an operator resets them.
local function ahead(b) return math.floor(b[B_WINDOW]) > window_number(b[B_KIND]) end

-- When a rolled budget begins anew, 0 for never.
local function budget_end(b) return window_end(b[B_KIND], ahead(b) and math.floor(b[B_WINDOW]) or nil) end

-- Tells of a window that lies more than a minute ahead, once. Answers whether it did, so that the budget is written.
local function tell_ahead(b, owner, agent, session)
  if b[B_TOLD] == b[B_WINDOW] or not ahead(b) then return false end
  local kind, number = b[B_KIND], math.floor(b[B_WINDOW])
  local begins = kind == 'h' and number or window_end(kind, number - 1)
  if begins <= NOW + AHEAD then return false end
  b[B_TOLD] = b[B_WINDOW]
  event('budget_ahead', encode({NOW, owner, agent or false, session or false, kind, b[B_LIMIT], b[B_SPENT] + b[B_RESERVED],
    b[B_SPENT], budget_end(b)}))
  return true
end

-- Adds to one window of a rolled budget. A window that has passed no longer counts anywhere.
local function add(b, window, spent, reserved)
  local ring = b[B_RING]
  if not ring then
    if window ~= b[B_WINDOW] then return end
  else
    if window < b[B_WINDOW] - RING or window % 1 ~= b[B_WINDOW] % 1 then return end
    local at
    for row = 1, #ring - 1, ring[1] do
      if ring[row + E_NUMBER] == window then at = row; break end
    end
    if not at then
      at = #ring
      ring[at + E_NUMBER], ring[at + E_SPENT], ring[at + E_RESERVED] = window, 0, 0
      pad_E(ring, at)
    end
    ring[at + E_SPENT], ring[at + E_RESERVED] = ring[at + E_SPENT] + spent, ring[at + E_RESERVED] + reserved
  end
  b[B_SPENT], b[B_RESERVED] = math.min(b[B_SPENT] + spent, MAX), b[B_RESERVED] + reserved
end

-- A limit that is another one can be crossed anew.
local function set_limit(b, limit)
  if b[B_LIMIT] ~= limit then b[B_LIMIT], b[B_CROSSED], b[B_ALERT] = limit, 0, false end
end

local function tell_crossing(kind, b, mark, owner, agent, session)
  local limit, spent = b[B_LIMIT], b[B_SPENT]
  local used = spent + b[B_RESERVED]
  if string.sub(owner, 1, 2) == 'o:' then owner, agent, session = 'a', string.sub(owner, 3), false end
  event(kind, encode({NOW, owner, agent or false, session or false, b[B_KIND], limit, used, mark, spent}))
end

-- One event when 80 % and when 100 % of a limit are spent, once a window. Another one when so much is spent or reserved:
-- within an hour only if it is more than was said.
local function note_crossing(b, owner, agent, session)
  local limit, alert = b[B_LIMIT], b[B_ALERT]
  tell_ahead(b, owner, agent, session)
  if alert then rearm(b) end
  local mark = mark_of(limit, b[B_SPENT] + b[B_RESERVED])
  if mark == 0 then return end
  if not alert then
    alert = no_alert()
    b[B_ALERT] = alert
  end
  if mark > alert[ALERT_MARK] and (mark > alert[ALERT_TOLD] or NOW >= alert[ALERT_AT] + ALERT_EVERY) then
    alert[ALERT_MARK], alert[ALERT_TOLD], alert[ALERT_AT] = mark, mark, NOW
    tell_crossing('budget_reserved', b, mark, owner, agent, session)
  end
  mark = mark_of(limit, b[B_SPENT])
  if mark > b[B_CROSSED] then
    b[B_CROSSED] = mark
    tell_crossing('budget_crossed', b, mark, owner, agent, session)
  end
end

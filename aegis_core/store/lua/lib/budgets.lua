-- A purse is the list of an owner's budgets, one a window kind. An owner is a (agent), s (session), t (tenant), or
-- the name of a shared purse: m:MODEL, k:RESOURCE, l:LABEL=VALUE.
local function shared_name(owner) return 'b:' .. owner end

local function purse_of(owner, agent, session)
  local name, field = shared_name(owner), nil
  if owner == 'a' then name, field = 'a:' .. agent, G_PURSE
  elseif owner == 's' then name, field = 's:' .. session, S_PURSE
  elseif owner == 't' then name, field = 't', T_PURSE end
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

-- How much of its limit is committed, in the steps that are announced.
local function mark_of(b)
  local limit, used = b[B_LIMIT], b[B_SPENT] + b[B_RESERVED]
  return used >= limit and 100 or (limit - used) * 5 <= limit and 80 or 0
end

-- Brings a budget to the present window, only ever forwards.
local function roll(b)
  local now = window_number(b[B_KIND])
  if now <= b[B_WINDOW] then return b end
  b[B_WINDOW] = now
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
  b[B_CROSSED] = math.min(b[B_CROSSED], mark_of(b))
  return b
end

-- Adds to one window of a rolled budget. A window that has passed no longer counts anywhere.
local function add(b, window, spent, reserved)
  local ring = b[B_RING]
  if not ring then
    if window ~= b[B_WINDOW] then return end
  else
    if window < b[B_WINDOW] - RING then return end
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

-- One event when 80 % and when 100 % of a limit are committed, once a window.
local function note_crossing(b, owner, agent, session)
  local mark = mark_of(b)
  if mark > b[B_CROSSED] then
    b[B_CROSSED] = mark
    local used = b[B_SPENT] + b[B_RESERVED]
    event('budget_crossed', encode({NOW, owner, agent or false, session or false, b[B_KIND], b[B_LIMIT], used, mark}))
  end
end

-- Windows. The offset of a tenant's zone holds from Z_SINCE until Z_TILL. Window numbers only grow.
-- Kinds: h d w m t, or a number: the span in ms of a rolling window.
local DAY = 86400000

-- Answers ZONE when the stored offset does not cover NOW; the caller looks it up and comes back with ARGV[2].
local function zone_missing()
  ZONE = T[T_ZONE]
  if NOW >= ZONE[Z_SINCE] and NOW < ZONE[Z_TILL] then return false end
  local given = ARGV[2] and decode(ARGV[2])
  if not given or given[Z_NAME] ~= ZONE[Z_NAME] or NOW < given[Z_SINCE] or NOW >= given[Z_TILL] then return true end
  for i = 1, #given do ZONE[i] = given[i] end
  change('t')
  return false
end

-- Days since 1970 to a count of months (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
local function month_of(day)
  local z = day + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local from_march = math.floor((5 * (doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))) + 2) / 153)
  return (yoe + era * 400) * 12 + from_march
end

local function window_number(kind)
  local number = NUMBERS[kind]
  if number then return number end
  local day = math.floor((NOW + ZONE[Z_OFFSET]) / DAY)
  if kind == 'd' then number = day
  elseif kind == 't' then number = 0
  elseif kind == 'h' then number = NOW - (NOW + ZONE[Z_OFFSET]) % 3600000 -- its start: offsets may change by half an hour
  elseif kind == 'w' then number = math.floor((day + 3) / 7)
  elseif kind == 'm' then number = month_of(day)
  else number = math.floor(NOW / (kind / RING)) end
  NUMBERS[kind] = number
  return number
end

-- When the window ends in real time, 0 for never: a day with a clock change has 23 or 25 hours.
local function window_end(kind)
  if kind == 't' then return 0 end
  if kind == 'h' then return window_number('h') + 3600000 end
  if type(kind) == 'number' then return (window_number(kind) + 1) * (kind / RING) end
  local day = math.floor((NOW + ZONE[Z_OFFSET]) / DAY) + 1
  if kind == 'w' then
    day = (window_number('w') + 1) * 7 - 3
  elseif kind == 'm' then
    while month_of(day) == window_number('m') do day = day + 1 end
  end
  local ends = day * DAY - ZONE[Z_OFFSET]
  if ends >= ZONE[Z_TILL] then ends = math.max(ZONE[Z_TILL], day * DAY - ZONE[Z_AFTER]) end -- midnight itself may be skipped
  return ends
end

-- Windows. The offset of a tenant's zone holds from Z_SINCE until Z_TILL. Window numbers only grow.
-- A kind is a letter of CALENDAR, or a number: the span in ms of a rolling window.
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

local function local_day() return math.floor((NOW + ZONE[Z_OFFSET]) / DAY) end

-- When a local day begins in real time: a day with a clock change has 23 or 25 hours, and may lack its midnight.
local function midnight(day)
  local at = day * DAY - ZONE[Z_OFFSET]
  if at >= ZONE[Z_TILL] then at = math.max(ZONE[Z_TILL], day * DAY - ZONE[Z_AFTER]) end
  return at
end

-- A window of whole local days: it ends where the number of a later day is another.
local function of_days(number_of)
  return {
    number = function() return number_of(local_day()) end,
    ends = function(number) -- or, of a window that lies ahead, to the hour: offsets are known until the next change
      local day, step = local_day(), 1
      while number_of(day + step) <= number do day, step = day + step, step * 2 end
      while step > 1 do
        step = step / 2
        if number_of(day + step) <= number then day = day + step end
      end
      return midnight(day + 1)
    end,
  }
end

-- The windows of the calendar by the letters of protocol/windows.py: their number now, and when that one ends.
local CALENDAR = {
  h = { -- its number is its start, because offsets may change by half an hour
    number = function() return NOW - (NOW + ZONE[Z_OFFSET]) % 3600000 end,
    ends = function(number) return number + 3600000 end,
  },
  d = of_days(function(day) return day end),
  w = of_days(function(day) return math.floor((day + 3) / 7) end),
  m = of_days(month_of),
  t = { number = function() return 0 end, ends = function() return 0 end }, -- never
}

local function window_number(kind)
  local number = NUMBERS[kind]
  if number then return number end
  if type(kind) == 'number' then number = math.floor(NOW / (kind / RING)) else number = CALENDAR[kind].number() end
  NUMBERS[kind] = number
  return number
end

-- When a window ends in real time, by default the present one; 0 for never.
local function window_end(kind, number)
  number = number or window_number(kind)
  if type(kind) == 'number' then return (number + 1) * (kind / RING) end
  return CALENDAR[kind].ends(number)
end

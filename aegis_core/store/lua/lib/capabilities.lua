-- What two lists of capabilities (`,a,b,`) have in common.
local function common(one, other)
  local both = {}
  for name in string.gmatch(one, '[^,]+') do
    if string.find(other, ',' .. name .. ',', 1, true) then both[#both + 1] = name end
  end
  return ',' .. table.concat(both, ',') .. ','
end

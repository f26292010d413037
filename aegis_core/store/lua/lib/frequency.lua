-- Counters of the policy, kept with the agent. A repeat counts every attempt, a rate those that reach it, a spend rate
-- what was granted.
local counted = judged and #counters > 0
local function count_all()
  local kept, cell = G[G_COUNTERS], nil
  if fingerprint then -- 8 characters and the second in hexadecimal, the last 64 of them
    G[G_RING] = string.sub(G[G_RING] .. fingerprint .. string.format('%08x', math.floor(NOW / 1000)), -1024)
  end
  for at = 0, #counters - 1, COUNTER_WIDTH do
    local kind, name = counters[at + COUNTER_KIND], counters[at + COUNTER_RULE]
    local limit, span = counters[at + COUNTER_LIMIT], counters[at + COUNTER_SPAN]
    local over, used
    if kind == 'repeat' then
      local from, seen = 1, 0
      while true do
        local place = string.find(G[G_RING], fingerprint, from, true)
        if not place then break end
        local second = place % 16 == 1 and tonumber(string.sub(G[G_RING], place + 8, place + 15), 16)
        if second and second * 1000 > NOW - span then seen = seen + 1 end
        from = place + 1
      end
      over, used = seen > limit, seen - 1 -- the list holds this one already
    elseif kind == 'rate' then
      cell = math.floor(NOW / span)
      local c = complete_U(kept[name])
      if not c then
        c = NEW_U
        c[U_CELL], c[U_PRESENT], c[U_BEFORE] = cell, 0, 0
      elseif c[U_CELL] < cell or c[U_CELL] > cell + 1 then -- or counted by a clock that was far ahead
        c[U_CELL], c[U_PRESENT], c[U_BEFORE] = cell, 0, c[U_CELL] == cell - 1 and c[U_PRESENT] or 0
      end
      used = c[U_PRESENT] + c[U_BEFORE] * (1 - (NOW % span) / span)
      over = used >= limit
      if not over and not code then c[U_PRESENT] = c[U_PRESENT] + 1 end
      kept[name] = c
    else
      local b = complete_B(kept[name])
      if not b or b[B_WINDOW] > window_number(span) + RING then b = new_budget(span, MAX) end -- nobody could reset it
      roll(b)
      over, used = b[B_SPENT] + bound > limit, b[B_SPENT]
      kept[name] = b
    end
    if over then
      if object(counters[at + COUNTER_EFFECT], kind == 'spend' and 'policy' or kind .. '_limit',
          counters[at + COUNTER_OBSERVED], name, counters[at + COUNTER_REASON]) then
        stands_at(kind == 'spend' and 'usd' or 'requests', limit, math.max(0, math.floor(limit - used)),
          kind == 'spend' and bound or 1)
      end
      if code and kind ~= 'spend' then transient, retry = true, NOW + span end
    end
  end
  change('a:' .. agent)
end
if counted then count_all() end

-- Judges one request whole, then writes the whole outcome: reservation, idempotency record and event in one.
-- Each question is a part of lib/. They share these locals, and the one that knows the answer returns it.
--@ known_request
--@ objections
--@ affordable
--@ gas_price
--@ frequency
--@ person

-- The lock of its target, in the same step as the money: held, or a place in its queue. A question takes none yet.
local lease, stands = lock and NEW_K, nil
if lease then
  lease[K_RESOURCE], lease[K_TTL], lease[K_PRIORITY] = target, math.min(lock[WANTED_TTL], T[T_CONFIG][C_GRANT]), priority
  lease[K_CLAIMED], lease[K_WITHIN], lease[K_QUEUED], lease[K_LOST] = false, lock[WANTED_WITHIN], false, false
end
if lease and not code and not asked then
  local trouble, most
  trouble, stands, most = attend(id, agent, sid, lease, lock[WANTED_INBOX])
  if trouble then
    code, transient, effect = trouble, true, 'deny'
    if most then stands_at(({locks_full = 'locks', too_many_waits = 'waits'})[trouble] or 'permits', most, 0, 1) else bar = false end
  elseif crowded and not lease[K_CLAIMED] then -- it would wait, and hold what others need
    give_back_lock('lk_' .. id, agent, target)
    code, transient, retry, effect = crowded, true, NOW + T[T_CONFIG][C_TRANSIENT], 'deny'
  end
end

if code and measured then -- nothing is taken, so what is left is what was left before
  for at = 1, #lines - 1, M_WIDTH do
    local room = lines[at + M_ROOM]
    if room then lines[at + M_ROOM] = room + amount end
  end
end

--@ joined_question
--@ outcome

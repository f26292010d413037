-- What becomes of a transaction whose money is held. `sending`: just before a node is asked; from here on nobody may take
-- the money back, and the record lives until the nonce is final. `sent`: a node accepted it, so the wallet is free for the
-- next one. `refused`: every node refused it, so nothing was sent. `later`: looked at, nothing new. `over`: it is settled.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
local record, watch, due = PREFIX .. 'r:' .. id, PREFIX .. 'gt:' .. id, PREFIX .. 'gd'
local blobs = call('MGET', record, watch)
if not blobs[1] then return {'NO_GRANT'} end
if not blobs[2] then return {'NO_TRANSACTION'} end
local R, W = complete_R(decode(blobs[1])), complete_WATCH(decode(blobs[2]))
if agent and R[R_AGENT] ~= agent then return {'NOT_YOURS'} end
local refused = impostor(R[R_AGENT], sid, token)
if refused then return {refused} end
local function stand(state)
  W[WATCH_STATE], W[WATCH_AT] = state, NOW
  call('SET', watch, encode(W))
end

if act == 'sending' then
  if overdue(R) then expire(id, R) end
  local lease = R[R_LOCK]
  if W[WATCH_STATE] == 'held' then
    if R[R_STATE] ~= STATE_LIVE or lease and not lease[K_CLAIMED] then
      flush()
      return {'CLOSED', encode(R)}
    end
    if not lease or peek_lock('lk_' .. id, lease[K_RESOURCE])[D_STATE] ~= 'held' then
      flush()
      return {'LOCK_GONE'}
    end
    local free = tonumber(call('GET', PREFIX .. 'gn:' .. W[WATCH_WALLET]) or '0')
    if W[WATCH_NONCE] < free and not replaces then
      flush()
      return {'NONCE', W[WATCH_NONCE], free}
    end
    if call('ZCARD', due) >= WATCHES then
      flush()
      return {'WATCHES_FULL'}
    end
    R[R_WATCHED], W[WATCH_RAW], W[WATCH_LAST_HEIGHT] = true, raw, last_height or 0
    stand('sending')
    store_open(id, R)
    call('ZADD', due, NOW + pause, id)
  end
elseif act == 'sent' then
  local lease = R[R_LOCK]
  if W[WATCH_STATE] == 'sending' then
    local name = PREFIX .. 'gn:' .. W[WATCH_WALLET]
    local free = math.max(tonumber(call('GET', name) or '0'), W[WATCH_NONCE] + 1)
    stand('sent')
    call('SET', name, string.format('%.0f', free), 'PX', string.format('%.0f', NEXT_NONCE))
    if lease and R[R_STATE] == STATE_LIVE then
      give_back_lock('lk_' .. id, R[R_AGENT], lease[K_RESOURCE])
      R[R_LOCK] = false
      store_open(id, R)
    end
  end
  call('ZADD', due, NOW + pause, id)
elseif act == 'later' then
  call('ZADD', due, NOW + pause, id)
else -- it is over, one way or the other
  R[R_WATCHED] = false
  if R[R_STATE] == STATE_LIVE then close(id, R, STATE_RELEASED, 0)
  elseif R[R_STATE] == STATE_EXPIRED then store_ended(id, R)
  elseif call('PTTL', record) > T[T_CONFIG][C_KEEP] then store_ended(id, R) end
  call('DEL', watch)
  call('ZREM', due, id)
end
flush()
return {'OK', encode(R), encode(W), NOW}

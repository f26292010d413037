-- What the end of a workflow leaves to do: questions are withdrawn, approvals of which nobody heard and locks are given back.
-- Open grants stay, to be settled.

-- Whatever a session holds or waits for outside of its grants.
flows.give_back_locks = function(sid)
  local S = fetch('s:' .. sid)
  if not S then return end
  open_books()
  for _, claim in ipairs(call('ZRANGE', PREFIX .. 'la:' .. S[S_AGENT], 0, -1)) do
    local token, name = string.match(claim, '^([^\t]*)\t(.*)$')
    local H = held_by(open_lock(name), token)
    local blob = not H and LOCKS[name][L_QUEUED] > 0 and call('HGET', PREFIX .. 'lw:' .. name, token)
    local whose = H and H[H_SESSION] or blob and complete_W(decode(blob))[W_SESSION]
    if whose == sid then
      if H then tell(H[H_INBOX], TELL_LOST, token, name, H[H_FENCE], NOW) end
      give_up(S[S_AGENT], name, token)
    end
  end
  settle()
  save()
end

flows.clear = function(id, most)
  local open, members = PREFIX .. 'wo:' .. id, PREFIX .. 'wm:' .. id
  local page = call('ZRANGEBYSCORE', open, 0, 0, 'LIMIT', 0, most)
  for _, key in ipairs(page) do
    call('ZADD', open, 1, key) -- seen; one that goes on is taken off when it ends
    local blob = call('GET', PREFIX .. 'r:' .. key)
    local R = blob and complete_R(decode(blob))
    if not R then
      call('ZREM', open, key)
    elseif R[R_STATE] == STATE_PENDING or unheard(R) then
      if R[R_STATE] == STATE_PENDING then R[R_ASKED][Q_TAKEN_BACK] = 'workflow' end
      R[R_CODE] = 'workflow_ended'
      close(key, R, STATE_RELEASED, 0)
    elseif R[R_LOCK] and R[R_STATE] == STATE_LIVE then
      give_back_lock('lk_' .. key, R[R_AGENT], R[R_LOCK][K_RESOURCE])
      R[R_LOCK][K_LOST] = true
      store_open(key, R)
    end
  end
  local left = most - #page
  local sids = left > 0 and call('ZRANGEBYSCORE', members, '(0', '+inf', 'LIMIT', 0, left) or {}
  for _, sid in ipairs(sids) do
    call('ZADD', members, '-' .. call('ZSCORE', members, sid), sid)
    flows.give_back_locks(sid)
  end
  if #page + #sids < most then call('ZREM', PREFIX .. 'd', 'w:' .. id) end
end

-- Ends one whose plan is used up, with its question.
flows.finish = function(id)
  flows.over(id, 'use')
  local blob = call('GET', PREFIX .. 'r:' .. id)
  local R = blob and complete_R(decode(blob))
  if R and R[R_STATE] == STATE_LIVE then close(id, R, STATE_RELEASED, 0) end
end

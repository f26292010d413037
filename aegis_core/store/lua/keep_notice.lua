-- Remembers, or forgets, what a channel has shown of one approval, and which message that is. Only who holds the lease may.
local channel, holder, approval, notice, ref, keep = unpack(A, 1, 6)
T = fetch('t')
if not T then return {'NO_TENANT'} end
if call('GET', PREFIX .. 'cl:' .. channel) ~= holder then return {'OK', 0} end
local name = PREFIX .. 'cn:' .. channel
if not notice then
  call('HDEL', name, approval)
  return {'OK', 1}
end
call('HSET', name, approval, encode(notice))
call('PEXPIRE', name, keep)
call('SET', PREFIX .. 'cm:' .. channel .. '\t' .. ref, approval, 'PX', keep)
return {'OK', 1}

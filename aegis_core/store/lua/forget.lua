-- Deletes an agent's words, and notes that. What was only counted is told first, so that no number is lost. The journal still
-- knows what was run, and no longer what came of it. Who just makes a report of those words can commit it no more.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local G = fetch('a:' .. agent)
if not G then return {'NO_AGENT'} end
if G[G_REFUSED][1] then tell_repeated(agent, G) end
local name = PREFIX .. 'w:' .. agent
local removed = call('XLEN', name) + held
call('UNLINK', name)
for _, id in ipairs(call('ZRANGE', PREFIX .. 'ja:' .. agent, 0, -1)) do
  local blob = call('GET', PREFIX .. 'j:' .. id)
  local E = blob and complete_J(decode(blob))
  if E and E[J_RESULT] and E[J_RESULT] ~= RESULT_FORGOTTEN then
    E[J_RESULT], removed = RESULT_FORGOTTEN, removed + 1
    call('SET', PREFIX .. 'j:' .. id, encode(E), 'KEEPTTL')
  end
end
call('UNLINK', PREFIX .. 'jl:' .. agent)
call('HINCRBY', PREFIX .. 'kz', 'fence', 1)
G[G_WORDS] = 0
change('a:' .. agent)
flush()
event('agent_forgotten', encode({NOW, removed, author, agent}))
return {'OK', removed}

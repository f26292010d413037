-- Puts agent profiles in force, at each agent's very next request.
local document, author = unpack(A, 1, 2)
T = fetch('t')
if not T then return {'NO_TENANT'} end
T[T_PROFILES] = T[T_PROFILES] + 1
call('SET', PREFIX .. 'pf', encode({T[T_PROFILES], document, author, NOW}))
change('t')
flush()
event('profiles_published', encode({NOW, T[T_PROFILES], author}))
return {'OK', T[T_PROFILES]}

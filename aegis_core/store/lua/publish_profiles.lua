-- Puts agent profiles in force, at each agent's very next request.
T = fetch('t')
if not T then return {'NO_TENANT'} end
T[T_PROFILES] = T[T_PROFILES] + 1
local F = NEW_F
F[F_VERSION], F[F_DOCUMENT], F[F_AUTHOR], F[F_AT] = T[T_PROFILES], document, author, NOW
call('SET', PREFIX .. 'pf', encode(F))
change('t')
flush()
event('profiles_published', encode({NOW, T[T_PROFILES], author}))
return {'OK', T[T_PROFILES]}

-- The agent profiles in force: version and document, empty before the first.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local blob = call('GET', PREFIX .. 'pf')
local F = NEW_F
F[F_VERSION], F[F_DOCUMENT], F[F_AUTHOR], F[F_AT] = 0, '', '', 0
return {'OK', blob or encode(F)}

-- What the policy may know of who asks: {session, framework, capabilities, priority, workflow}, within the agent's own ceilings.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local G = fetch('a:' .. agent)
if not G then return {'NO_AGENT'} end
sid = sid or G[G_SESSION]
local S = fetch('s:' .. sid)
-- Without a session of its own nothing is decided, but only authorize knows whether it was decided before.
if not S or S[S_AGENT] ~= agent then return {'OK', encode({sid, '', '', 0, false})} end
return {'OK', encode({sid, S[S_FRAMEWORK], S[S_CAPABILITIES], S[S_PRIORITY], S[S_WORKFLOW]})}

-- Appends one event for an operator's act that no script carried out.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local G = forgotten and fetch('a:' .. forgotten)
if G then
  G[G_REFUSED] = {} -- of what is not told yet, too
  change('a:' .. forgotten)
  flush()
end
event(kind, encode({NOW, fact, author}))
return {'OK', NOW}

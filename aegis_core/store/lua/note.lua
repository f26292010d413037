-- Appends one event for an operator's act that no script carried out.
T = fetch('t')
if not T then return {'NO_TENANT'} end
event(kind, encode({NOW, fact, author}))
return {'OK', NOW}

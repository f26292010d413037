-- Whether the tenant's policy and budgets decide, or only say what they would have decided.
T = fetch('t')
if not T then return {'NO_TENANT'} end
T[T_MODE] = mode
change('t')
flush()
event('tenant_mode', encode({NOW, mode, author}))
return {'OK', mode}

-- The policy in force: {version, document, fingerprint, author, time}.
T = fetch('t')
if not T then return {'NO_TENANT'} end
return {'OK', call('GET', PREFIX .. 'p:' .. T[T_POLICY])}

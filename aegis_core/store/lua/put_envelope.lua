-- Approves in advance what is `made`, or ends what was. Those past their time go.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local who, P = person_of(author)
local held, kept, found = fetch('v') or {}, {}, nil
for i = 1, #held do
  local V = held[i]
  if V[V_EXPIRES] > NOW then
    if made and V[V_ID] == made[V_ID] then return {'OK', encode(V)} end -- the same call again, whose answer was lost
    if V[V_ID] == ending then found = V else kept[#kept + 1] = V end
  end
end
if ending and not found then return {'NO_ENVELOPE'} end
if made then
  local alone = NEW_Q
  alone[Q_QUORUM] = 1
  local why_not = unfit(alone, author, who, P)
  if why_not then return {why_not, false, who} end
  local ceiling = ceiling_of(who, author)
  if ceiling and made[V_LIMIT] > ceiling then return {'ABOVE_CEILING', made[V_LIMIT], ceiling} end
  if #kept >= most then return {'TOO_MANY_ENVELOPES', most} end
  made[V_AUTHOR], made[V_MADE], made[V_EXPIRES] = who, NOW, NOW + made[V_EXPIRES]
  kept[#kept + 1] = made
end
HELD.v = kept
change('v')
flush()
local V = made or found
event(made and 'envelope_made' or 'envelope_revoked', encode({NOW, V, who}))
return {'OK', encode(V)}

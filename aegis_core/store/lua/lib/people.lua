-- Persons. One has a name and credentials, such as `telegram:123`, whose names hold a colon as no person's does. What a
-- person may is read when it counts, so a change is in force for what is open, too.

-- Who stands behind a name or credential: the person's name, '' where the credential ended, and the record if there is one.
local function person_of(by)
  local name = string.find(by, ':', 1, true) and call('HGET', PREFIX .. 'pc', by) or by
  local blob = name ~= '' and call('HGET', PREFIX .. 'pe', name)
  return name, blob and complete_PERSON(decode(blob)) or false
end

-- Up to how many nano-dollars somebody may approve: the least of what is set for the person and for the credential.
local function ceiling_of(name, by)
  local most = tonumber(call('HGET', PREFIX .. 'ol', name) or nil)
  local also = by and by ~= name and tonumber(call('HGET', PREFIX .. 'ol', by) or nil)
  return also and math.min(most or also, also) or most
end

-- Whether a list names somebody. It may name a person by a credential.
local function names(operators, name)
  for i = 1, operators and #operators or 0 do
    if operators[i] == name or person_of(operators[i]) == name then return true end
  end
  return not operators
end

-- Whether somebody has a role, or belongs to a group that is called so. The operator secret is an owner's.
local function has(name, P, role)
  local rank = ROLE_RANKS[role]
  if rank then return (ROLE_RANKS[P and P[PERSON_ROLE] or name == 'operator' and 'owner'] or 0) >= rank end
  for i = 1, P and #P[PERSON_GROUPS] or 0 do
    if P[PERSON_GROUPS][i] == role then return true end
  end
  return false
end

-- Why somebody may not say a word on a question, as things stand now. Whoever is no person is taken at a trusted process's
-- word, but never counted beside persons.
local function unfit(Q, by, name, P)
  if name == '' then return 'CREDENTIAL_ENDED' end
  if P and P[PERSON_REMOVED] > 0 then return 'BELONGS_NO_MORE' end
  if P and not has(name, P, 'approver') then return 'ROLE_NEEDED' end
  if not P and string.find(by, ':', 1, true) and Q[Q_QUORUM] > 1 and call('HLEN', PREFIX .. 'pe') > 0 then
    return 'NOBODYS'
  end
  if not names(Q[Q_OPERATORS], name) then return 'NOT_AN_OPERATOR_OF_IT' end
  for i = 1, Q[Q_ROLES] and #Q[Q_ROLES] or 0 do
    if not has(name, P, Q[Q_ROLES][i]) then return 'NOT_OF_ITS_ROLE' end
  end
  local member = not Q[Q_GROUPS]
  for i = 1, Q[Q_GROUPS] and #Q[Q_GROUPS] or 0, 2 do member = member or has(name, P, Q[Q_GROUPS][i]) end
  if not member then return 'NOT_OF_ITS_ROLE' end
end

-- Whether a person said something before having been removed and added again: then perhaps it was another one of the name.
local function former(P, at) return P and at < P[PERSON_MADE] end

-- Keeps those approvals of a question that still count: each person's once, who may still approve so much.
local function recount(Q, bound)
  local kept, seen, people = {}, {}, {}
  for i = 1, #Q[Q_VOTES] do
    local vote = Q[Q_VOTES][i]
    local by = vote[O_OPERATOR]
    local name, P = person_of(by)
    local most = ceiling_of(name, vote[O_CREDENTIAL] or by)
    if not seen[name] and not former(P, vote[O_AT]) and not unfit(Q, by, name, P) and not (most and bound > most) then
      seen[name] = true
      kept[#kept + 1], people[#people + 1] = vote, {name, P}
    end
  end
  Q[Q_VOTES] = kept
  return people
end

-- Whether people suffice: as many as the quorum, and of each group so many, where each person sits in one place only.
local function suffice(Q, people)
  if #people < Q[Q_QUORUM] then return false end
  local places, sits = {}, {}
  for i = 1, Q[Q_GROUPS] and #Q[Q_GROUPS] or 0, 2 do
    for _ = 1, Q[Q_GROUPS][i + 1] do places[#places + 1] = Q[Q_GROUPS][i] end
  end
  local function seat(place, tried)
    for i = 1, #people do
      if not tried[i] and has(people[i][1], people[i][2], places[place]) then
        tried[i] = true
        if not sits[i] or seat(sits[i], tried) then
          sits[i] = place
          return true
        end
      end
    end
    return false
  end
  for place = 1, #places do
    if not seat(place, {}) then return false end
  end
  return true
end

-- Takes the stricter of two terms in everything, so that no rule can be used to get around another.
local function tighten(Q, quorum, approves, operators, role, groups)
  Q[Q_QUORUM], Q[Q_APPROVES] = math.max(Q[Q_QUORUM], quorum), Q[Q_APPROVES] and approves
  if operators and Q[Q_OPERATORS] then -- only whom both name
    local both = {}
    for i = 1, #operators do
      local name = person_of(operators[i])
      if names(Q[Q_OPERATORS], name) then both[#both + 1] = name end
    end
    operators = both
  end
  Q[Q_OPERATORS] = operators or Q[Q_OPERATORS]
  if role then
    Q[Q_ROLES] = Q[Q_ROLES] or {}
    Q[Q_ROLES][#Q[Q_ROLES] + 1] = role
  end
  for i = 1, groups and #groups or 0, 2 do
    Q[Q_GROUPS] = Q[Q_GROUPS] or {}
    local at = 1
    while Q[Q_GROUPS][at] and Q[Q_GROUPS][at] ~= groups[i] do at = at + 2 end
    Q[Q_GROUPS][at], Q[Q_GROUPS][at + 1] = groups[i], math.max(Q[Q_GROUPS][at + 1] or 0, groups[i + 1])
  end
  local all = 0
  for i = 2, Q[Q_GROUPS] and #Q[Q_GROUPS] or 0, 2 do all = all + Q[Q_GROUPS][i] end
  Q[Q_QUORUM] = math.max(Q[Q_QUORUM], all)
end

-- Whether the author of an envelope could approve so much alone, as things stand now.
local function alone_may(Q, author, bound, made)
  local name, P = person_of(author)
  local most = ceiling_of(name, author)
  return not former(P, made) and not unfit(Q, author, name, P) and not (most and bound > most)
end

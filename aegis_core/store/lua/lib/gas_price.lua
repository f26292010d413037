-- The price of gas, as who watches the chain wrote it. Unknown or old, nobody can say what a transaction costs now. It is
-- the base fee, and what is offered above it as far as it would be paid at this moment.
if bid and judged and not code then
  local blob = call('GET', PREFIX .. 'g:' .. bid[BID_CHAIN])
  local gas = blob and complete_GAS(decode(blob))
  if not gas then
    object('deny', 'gas_unknown')
  elseif NOW - gas[GAS_AT] > bid[BID_STALE] then
    if object('deny', 'gas_stale') then stands_at('ms', bid[BID_STALE], bid[BID_STALE], NOW - gas[GAS_AT]) end
  else
    local base, ceilings = gas[GAS_PRICE], bid[BID_CEILINGS]
    local price = base + math.min(bid[BID_TIP], math.max(0, bid[BID_FEE] - base))
    for at = 0, #ceilings - 1, LIMIT_WIDTH do
      if price > ceilings[at + LIMIT_ABOVE] then
        if object(ceilings[at + LIMIT_EFFECT], 'gas_too_dear', ceilings[at + LIMIT_OBSERVED], ceilings[at + LIMIT_RULE],
            ceilings[at + LIMIT_REASON]) then
          local unit = ({solana = 'micro_lamports', sui = 'mist'})[string.match(bid[BID_CHAIN], '^%a+')] or 'wei'
          stands_at(unit, ceilings[at + LIMIT_ABOVE], ceilings[at + LIMIT_ABOVE], price)
        end
      end
    end
  end
  if code then transient, retry = true, NOW + GAS_AGAIN end
end

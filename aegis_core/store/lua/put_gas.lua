-- The price of gas on a chain, written by who watches chains and by nobody else: one that lost the lease writes nothing.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if call('GET', PREFIX .. 'cl:' .. duty) ~= holder then return {'OK', 0, NOW} end
local gas = NEW_GAS
gas[GAS_PRICE], gas[GAS_AT], gas[GAS_BLOCK], gas[GAS_BLOCK_AT] = price, NOW, block, block_at
gas[GAS_SOURCES], gas[GAS_USD] = sources, usd
call('SET', PREFIX .. 'g:' .. chain, encode(gas), 'PX', keep)
return {'OK', 1, NOW}

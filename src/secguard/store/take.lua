local counted, units = {}, {}
local admitted = true

for at = 1, count do
  local state, cost = asked[at], costs[at]
  local left = amounts[at] - state.used - cost
  if left < 0 or state.blocked > 0 then
    admitted = false
    refused(at, state, -left)
  else
    counted[#counted + 1], units[#units + 1] = state, cost
    stands(at, left, state.strategy.wait(state, 0), 0)
    local sponsor = sponsors[at]
    if sponsor and sponsor ~= state and state.used == 0 then
      local lacking = sponsor.used + cost - amounts[at]
      if lacking > 0 then
        admitted = false
        refused(at, sponsor, lacking)
      end
      counted[#counted + 1], units[#units + 1] = sponsor, cost
    end
  end
end

if admitted then
  for i = 1, #counted do
    counted[i].strategy.add(counted[i], units[i])
  end
else
  for at = 1, count do
    if reply[at * 3] == 0 then
      reply[at * 3 - 2] = reply[at * 3 - 2] + costs[at]
    end
  end
end

return reply

for at = 1, count do
  local state = asked[at]
  local left = max(amounts[at] - state.used, 0)
  if left < costs[at] or state.blocked > 0 then
    refused(at, state, state.used + costs[at] - amounts[at])
  else
    stands(at, left, state.strategy.wait(state, 0), 0)
  end
end

return reply

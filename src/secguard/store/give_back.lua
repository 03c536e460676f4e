for at = 1, count do
  local state, sponsor = asked[at], sponsors[at]
  state.strategy.give_back(state, costs[at])
  if sponsor and state.used == 0 then
    sponsor.strategy.give_back(sponsor, costs[at])
  end
end

return reply

for at = 1, count do
  redis.call('DEL', KEYS[at * 2 - 1], KEYS[at * 2])
end

return reply

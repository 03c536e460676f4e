local span = ARGV[2] * 1000000

for at = 1, count do
  redis.call('SET', KEYS[at * 2], pack('<d', now + span), 'PX', ceil(span / 1000) + TIDY)
end

return reply

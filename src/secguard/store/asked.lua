-- Each script begins with this.
--
-- Times are in microseconds of the server's clock, so several app servers need not agree on the time. They stand in the
-- values, which are doubles, packed. That keys expire only tidies up: a while after the last of their units has gone.
--
-- What is asked: KEYS has a key of each demand and that of its block, and where there is a sponsor, two more for that.
-- ARGV[1] has the amount, the microseconds, the strategy, the cost, and whether there is a sponsor.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local TIDY = 5000 -- milliseconds
local pack, unpacked, floor, ceil, min, max = struct.pack, struct.unpack, math.floor, math.ceil, math.min, math.max

local values = redis.call('MGET', unpack(KEYS)) -- false for a list

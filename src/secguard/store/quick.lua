-- Most of what is taken, ahead of the rest: windows with room for it, and no sponsors, blocks, lists or keys that come
-- twice. That needs no closures and no tables of states, which are half the time of a script. Anything else is left to
-- the rest, and nothing has been written then.

local kept = {nil, nil, nil, nil, nil, nil} -- for each key a value, and the milliseconds it lasts where that is new;
local told = {nil, nil, nil, nil, nil, nil, nil, nil, nil} -- and what is replied. There is room in both for three.
local size, offset = 0, 1

for place = 1, #KEYS, 2 do
  local key, value = KEYS[place], values[place]
  local amount, span, code, cost, sponsored
  amount, span, code, cost, sponsored, offset = unpacked('<ddBdB', ARGV[1], offset)
  local left, rest, lasts = amount - cost, nil, nil
  if code == 1 then -- fixed-window
    local used = 0
    rest, lasts = span, span
    if value and #value == 16 then
      local ends, count = unpacked('<dd', value)
      if ends > now then
        rest, used, lasts = min(ends - now, span), count, nil
      end
    end
    left, value = left - used, pack('<dd', now + rest, used + cost)
  else -- sliding-window
    local last, this = 0, 0
    rest = span - now % span
    lasts = rest + span
    if value and #value == 24 then
      local ends, before, here = unpacked('<ddd', value)
      local due = now + rest
      if ends >= due then
        last, this, lasts = before, here, nil
      elseif ends == due - span then
        last = here
      end
    end
    left = left - this - floor(last * rest / span)
    value = pack('<ddd', now + rest, last, this + cost)
  end
  for other = 1, place - 2, 2 do
    sponsored = KEYS[other] == key and 1 or sponsored
  end
  if left < 0 or code == 3 or sponsored == 1 or values[place + 1] then
    size = nil
    break
  end
  kept[place], kept[place + 1] = value, lasts
  told[size + 1], told[size + 2], told[size + 3] = left, ceil(rest), 0
  size = size + 3
end

if size then
  for place = 1, #KEYS, 2 do
    local lasts = kept[place + 1]
    if lasts then
      redis.call('SET', KEYS[place], kept[place], 'PX', ceil(lasts / 1000) + TIDY)
    else -- in place, and it expires when it did: that is half the time
      redis.call('SETRANGE', KEYS[place], 0, kept[place])
    end
  end
  return told
end

-- Counting by three strategies, to the letter of windows.py.

local fixed, sliding, moving = {}, {}, {}
local STRATEGIES = {fixed, sliding, moving}

local function keep(state, value, ends)
  redis.call('SET', state.key, value, 'PX', ceil((ends - now) / 1000) + TIDY)
end

-- fixed-window: when the window ends, and the count.

function fixed.read(state, value)
  state.ends, state.used = now + state.span, 0
  if #value == 16 then
    local ends, count = unpacked('<dd', value)
    if ends > now then
      -- A server that took over from another may be behind it: no window lasts longer than it should for that.
      state.ends, state.used = min(ends, state.ends), count
    end
  end
end

function fixed.wait(state)
  return state.ends - now
end

local function keep_fixed(state)
  keep(state, pack('<dd', state.ends, state.used), state.ends)
end

function fixed.add(state, cost)
  state.used = state.used + cost
  keep_fixed(state)
end

function fixed.give_back(state, cost)
  if state.used > 0 then
    state.used = max(state.used - cost, 0)
    keep_fixed(state)
  end
end

-- sliding-window: when the window ends, the count of the last one, and the count of this one.

local function weighted(state)
  return floor(state.last * min(state.ends - now, state.span) / state.span)
end

function sliding.read(state, value)
  local span = state.span
  state.ends, state.last, state.this = now - now % span + span, 0, 0
  if #value == 24 then
    local ends, last, this = unpacked('<ddd', value)
    if ends >= state.ends then
      state.last, state.this = last, this
    elseif ends == state.ends - span then
      state.last = this
    end
  end
  state.used = weighted(state) + state.this
end

-- How much of a window is left when its count, weighted by that, falls below target + 1.
local function fades(state, count, target)
  return min((target + 1) * state.span / count, state.span)
end

function sliding.wait(state, lacking)
  local rest = state.ends - now
  if lacking <= 0 then
    return rest
  end
  local fading = weighted(state)
  if lacking <= fading then
    return rest - fades(state, state.last, fading - lacking)
  end
  lacking = lacking - fading
  return rest + state.span - fades(state, state.this, state.this - lacking)
end

local function keep_sliding(state)
  keep(state, pack('<ddd', state.ends, state.last, state.this), state.ends + state.span)
end

function sliding.add(state, cost)
  state.this = state.this + cost
  keep_sliding(state)
end

function sliding.give_back(state, cost)
  local here = min(cost, state.this)
  if state.last + state.this > 0 then
    state.this, state.last = state.this - here, max(state.last - (cost - here), 0)
    state.used = weighted(state) + state.this
    keep_sliding(state)
  end
end

-- moving-window: a list of the time of each unit, the oldest first.

local function time_at(state, index)
  return tonumber(redis.call('LINDEX', state.key, index))
end

function moving.read(state)
  local size = redis.call('LLEN', state.key)
  local since = now - state.span
  if size > 0 and time_at(state, 0) <= since then
    local low, high = 1, size -- the first that is alive stands at one of these
    while low < high do
      local middle = floor((low + high) / 2)
      if time_at(state, middle) <= since then
        low = middle + 1
      else
        high = middle
      end
    end
    redis.call('LTRIM', state.key, low, -1)
    size = size - low
  end
  state.used = size
end

function moving.wait(state, lacking)
  if state.used == 0 then
    return state.span
  end
  return time_at(state, min(max(lacking, 1), state.used) - 1) + state.span - now
end

function moving.add(state, cost)
  local stamp = now
  if state.used > 0 then
    stamp = max(now, time_at(state, -1))
  end
  local unit = string.format('%.0f', stamp)
  for done = 0, cost - 1, 1000 do -- so many arguments at once: the stack of Lua is bounded
    local units = {}
    for i = 1, min(cost - done, 1000) do
      units[i] = unit
    end
    redis.call('RPUSH', state.key, unpack(units))
  end
  state.used = state.used + cost
  redis.call('PEXPIRE', state.key, ceil((stamp + state.span - now) / 1000) + TIDY)
end

function moving.give_back(state, cost)
  state.used = max(state.used - cost, 0)
  redis.call('LTRIM', state.key, 0, -cost - 1)
end

-- What is asked, by demand.

local states = {}

local function state_at(place, span, strategy)
  local key = KEYS[place]
  local state = states[key]
  if not state then
    local blocked = values[place + 1]
    state = {key = key, span = span, strategy = strategy, blocked = blocked and max(unpacked('<d', blocked) - now, 0) or 0}
    strategy.read(state, values[place] or '')
    states[key] = state
  end
  return state
end

local amounts, costs, asked, sponsors = {}, {}, {}, {}
local count, place, offset = 0, 1, 1
while KEYS[place] do
  local span, code, sponsored
  count = count + 1
  amounts[count], span, code, costs[count], sponsored, offset = unpacked('<ddBdB', ARGV[1], offset)
  asked[count] = state_at(place, span, STRATEGIES[code])
  place = place + 2
  if sponsored == 1 then
    sponsors[count] = state_at(place, span, STRATEGIES[code])
    place = place + 2
  end
end

-- What is replied: for each demand what remains, the microseconds to wait, and 0 for room, 1 for refused, 2 for blocked.

local reply = {}

local function stands(at, remaining, wait, verdict)
  local first = at * 3 - 3
  reply[first + 1], reply[first + 2], reply[first + 3] = remaining, ceil(wait), verdict
end

local function refused(at, state, lacking)
  -- What costs more than the quota has will never pass: then the time until it is as good as it gets.
  local wait = lacking > 0 and state.strategy.wait(state, min(lacking, state.used)) or 0
  stands(at, max(amounts[at] - state.used, 0), max(wait, state.blocked), state.blocked > 0 and 2 or 1)
end

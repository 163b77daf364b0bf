-- Replays prepared bodies, one a line, and counts what comes back.
-- wrk … -s wrk.lua URL -- FILE MEMBER ITEMS
-- Every response must have status 200; the number of items is counted in the
-- first ones and in one of fifty after that, since counting costs as much as reading.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local headers = { ["Content-Type"] = "application/json" }
  headers[os.getenv("BENCH_HEADER")] = os.getenv("BENCH_CREDENTIAL")
  requests = {}
  for line in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, headers, line)
  end
  member = '"' .. args[2] .. '":'
  expected = tonumber(args[3])
  math.randomseed(os.time())
  at = math.random(#requests)
  answered, wrong, trouble = 0, 0, ""
end

function request()
  at = at % #requests + 1
  return requests[at]
end

local function count(body)
  local found, from = 0, 1
  while true do
    local first, last = string.find(body, member, from, true)
    if first == nil then
      return found
    end
    found, from = found + 1, last + 1
  end
end

function response(status, headers, body)
  answered = answered + 1
  if status == 200 and (answered > 20 and answered % 50 ~= 0 or count(body) == expected) then
    return
  end
  wrong = wrong + 1
  if trouble == "" then
    trouble = status .. " " .. string.sub(body, 1, 200):gsub('[^%w{}:_., -]', " ")
  end
end

function done(summary, latency, requests)
  local wrong, trouble = 0, ""
  for _, thread in ipairs(threads) do
    wrong = wrong + thread:get("wrong")
    trouble = thread:get("trouble")
  end
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    '\n{"requests": %d, "duration_us": %d, "p50_us": %d, "p90_us": %d, "p99_us": %d,'
      .. ' "wrong": %d, "lost": %d, "trouble": "%s"}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(90),
    latency:percentile(99), wrong, lost, trouble))
end

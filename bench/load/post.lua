-- Load of the checkout benchmark: POST the same body for one of 5,000 customers, with the key in KEY.
local key = os.getenv("KEY") or ""
local countries = {"DE", "BR", "NL", "PH", "VN", "NG"}
local count = 0
wrk.method = "POST"
request = function()
  count = count + 1
  local body = string.format(
    '{"customer":{"reference":"bench-%d","country":"%s"},"amount":{"amount":"20.00","currency":"USD"}}',
    count % 5000, countries[count % 6 + 1])
  return wrk.format(nil, nil, {["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. key}, body)
end
local bad = 0
response = function(status) if status >= 300 then bad = bad + 1; thread_bad = bad end end
local threads = {}
setup = function(thread) table.insert(threads, thread) end
done = function(summary)
  local refused = 0
  for _, thread in ipairs(threads) do refused = refused + (thread:get("thread_bad") or 0) end
  io.write(string.format("\nresult %d %d %d\n", summary.requests, summary.duration, refused))
end

-- Load of the holds benchmark: a hold on one of the wallets in WALLETS, then its capture, as fast as answers come.
local key, wallets = os.getenv("KEY") or "", {}
for wallet in string.gmatch(os.getenv("WALLETS") or "", "[^,]+") do table.insert(wallets, wallet) end
local headers = {["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. key}
local open, first, last, count, bad = {}, 1, 0, 0, 0
local capture = '{"amount":{"amount":"0.000123","currency":"USD"}}'
request = function()
  if first <= last then
    local id = open[first]
    open[first] = nil
    first = first + 1
    return wrk.format("POST", "/v1/holds/" .. id .. "/capture", headers, capture)
  end
  count = count + 1
  local body = '{"wallet":"' .. wallets[count % #wallets + 1] .. '","amount":{"amount":"0.01","currency":"USD"}}'
  return wrk.format("POST", "/v1/holds", headers, body)
end
response = function(status, _, body)
  if status == 201 then
    last = last + 1
    open[last] = string.match(body, '"id":"(hold_%w+)"')
  elseif status ~= 200 then
    bad = bad + 1
    thread_bad = bad
  end
end
local threads = {}
setup = function(thread) table.insert(threads, thread) end
done = function(summary)
  local refused = 0
  for _, thread in ipairs(threads) do refused = refused + (thread:get("thread_bad") or 0) end
  io.write(string.format("\nresult %d %d %d\n", summary.requests, summary.duration, refused))
end

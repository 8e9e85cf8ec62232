-- The same signed message again and again; "result <requests> <microseconds> <answers other than 200>" at the end.
local file = assert(io.open(os.getenv("BODY"), "rb"))
wrk.method, wrk.body = "POST", file:read("*a")
file:close()
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Stripe-Signature"] = os.getenv("SIGNATURE")

function done(summary, latency, requests)
  print(string.format("result %d %d %d", summary.requests, summary.duration, summary.errors.status))
end

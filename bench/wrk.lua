-- A chat request with a key, and the result as one line of JSON. Times are microseconds, as wrk counts them.
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer " .. os.getenv("BENCH_KEY")
wrk.body = '{"model":"bench:1","stream":false,"messages":[{"role":"system","content":"Answer from the passages alone."},'
  .. '{"role":"user","content":"Which port does the gateway listen on, and who may reach it from another machine?"}]}'

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"duration_us":%d,"p50_us":%d,"p95_us":%d,"failed":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(95),
    errors.status + errors.connect + errors.read + errors.write + errors.timeout
  ))
end

-- One POST again and again: what it is comes from the environment, so that the body can be made and checked elsewhere.
--
--   BURGEE_KEY=burgee_server_… BURGEE_BODY=body.json wrk -t1 -c16 -d5s --latency -s loadtests/wrk/post.lua http://…/path
--
-- BURGEE_BODY names a file. BURGEE_ETAG, when set, is sent as If-None-Match.

local file = assert(io.open(assert(os.getenv("BURGEE_BODY"), "BURGEE_BODY names no file"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. (os.getenv("BURGEE_KEY") or "")
wrk.headers["If-None-Match"] = os.getenv("BURGEE_ETAG")
file:close()

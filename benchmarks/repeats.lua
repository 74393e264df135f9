-- For wrk: ask for the paths of a file, over and over, each thread from a place of its own.
-- Arguments: the file, the Host that load.py names, too, so that caches know the URLs again, and a
-- Cache-Control header, which may be empty.
-- The last line says: requests, microseconds, failures.

local threads = 0

function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

function init(args)
   wrk.headers["Host"] = args[2]
   wrk.headers["Accept"] = "image/jpeg"
   if args[3] ~= "" then
      wrk.headers["Cache-Control"] = args[3]
   end
   requests = {}
   for path in io.lines(args[1]) do
      requests[#requests + 1] = wrk.format("GET", path)
   end
   place = math.floor(number * #requests / 2)
end

function request()
   place = place % #requests + 1
   return requests[place]
end

function done(summary, latency, _)
   local errors = summary.errors
   local failures = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   io.write(string.format("repeats: %d %d %d\n", summary.requests, summary.duration, failures))
end

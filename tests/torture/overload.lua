-- For wrk: ask for renditions that nobody asked for before, at a rate.
-- Arguments: a file with names, the first number, requests a second of all connections together
-- (0: as fast as answers come), connections, threads.
-- The last line says: seconds, then how many answers had which status.

local threads = {}

function setup(thread)
   thread:set("number", #threads)
   threads[#threads + 1] = thread
end

function init(args)
   wrk.headers["Accept"] = "image/avif,image/webp,image/apng,image/*,*/*;q=0.8"
   names = {}
   for name in io.lines(args[1]) do
      names[#names + 1] = name
   end
   rate, connections, count = tonumber(args[3]), tonumber(args[4]), tonumber(args[5])
   place = tonumber(args[2]) + number
   counts = {}
   told = ""
end

function delay()
   if rate == 0 then
      return 0
   end
   return math.random(0, math.floor(2000 * connections / rate))
end

-- Names, qualities, widths and heights that are more than enough, each together once: those of wide
-- pictures cost ten times those of narrow ones, so steps are such that any hundred requests have
-- about the same mixture. A prime near the golden share of eight names' 1,152,000.
local QUALITIES, WIDTHS, HEIGHTS, STEP = 30, 600, 8, 711983

function request()
   place = place + count
   local all = #names * QUALITIES * WIDTHS * HEIGHTS
   local rest, path = place * STEP % all, "/images/?bandwidth=4g&dpr=1&name="
   path = path .. names[rest % #names + 1]
   rest = math.floor(rest / #names)
   path = path .. "&quality=" .. (40 + rest % QUALITIES)
   rest = math.floor(rest / QUALITIES)
   path = path .. "&width=" .. (300 + rest % WIDTHS)
   return wrk.format("GET", path .. "&height=" .. (4000 + math.floor(rest / WIDTHS)))
end

function response(status)
   counts[status] = (counts[status] or 0) + 1
   told = ""
   for known, number in pairs(counts) do
      told = told .. known .. "=" .. number .. " "
   end
end

function done(summary, latency, _)
   local text = string.format("answers: %.3f ", summary.duration / 1e6)
   for _, thread in ipairs(threads) do
      text = text .. thread:get("told")
   end
   io.write(text .. "\n")
end

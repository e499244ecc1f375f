-- For wrk: ask for pages at random, and compare each answer with what the page has to be.
--
--   wrk -t8 -c8 -d5s -s load.lua http://127.0.0.1:8000 -- PAGES REPEATS [PREFIX...]
--
-- More arguments are prefixes of the paths: sites that share their pages. Each thread has one connection, so it knows what an
-- answer is the answer to. Page n is asked for n times as rarely as page 1. The last line of the output is JSON: what was answered, how much of it was computed for this request (the header
-- X-Computed), what was wrong, and the errors of connections by kind.

local threads = {}

function setup(thread)
   threads[#threads + 1] = thread
   thread:set("number", #threads)
end

function init(args)
   pages, repeats = tonumber(args[1]), tonumber(args[2])
   prefixes = #args > 2 and { unpack(args, 3) } or { "" }
   answered, computed, wrong, first = 0, 0, 0, ""
   expected = {}
   math.randomseed(number)
end

function page(n)
   if not expected[n] then
      expected[n] = "<h1>Page " .. n .. "</h1>" .. string.rep("\n" .. n .. " is tea.", repeats)
   end
   return expected[n]
end

function request()
   asked = math.floor((pages + 1) ^ math.random())
   return wrk.format("GET", prefixes[math.random(#prefixes)] .. "/page/" .. asked)
end

function response(status, headers, body)
   answered = answered + 1
   if headers["X-Computed"] or headers["x-computed"] then
      computed = computed + 1
   end
   if status ~= 200 or body ~= page(asked) then
      wrong = wrong + 1
      if first == "" then
         first = status .. " for page " .. asked .. ": " .. body:sub(1, 300):gsub("[^%w <>/.:]", "_")
      end
   end
end

function done(summary, latency, requests)
   local sums, example = { answered = 0, computed = 0, wrong = 0 }, ""
   for _, thread in ipairs(threads) do
      for name, sum in pairs(sums) do
         sums[name] = sum + thread:get(name)
      end
      example = example ~= "" and example or thread:get("first")
   end
   local errors = summary.errors
   io.write(string.format(
      '{"answered": %d, "computed": %d, "wrong": %d, "example": "%s", "seconds": %.6f, "p50_us": %d, "p99_us": %d, '
         .. '"connect": %d, "read": %d, "write": %d, "timeout": %d}\n',
      sums.answered, sums.computed, sums.wrong, example, summary.duration / 1e6, latency:percentile(50),
      latency:percentile(99), errors.connect, errors.read, errors.write, errors.timeout
   ))
end

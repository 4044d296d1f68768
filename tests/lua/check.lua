-- A small test helper: named tests, comparisons that say what they saw, and an exit status that is the verdict.
--   local check = dofile((arg[0]:match("^.*/") or "") .. "check.lua")
--   check.test("name", function() check.eq(got, want) end)
--   check.done()
local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here .. "../../lua/?.lua;" .. here .. "../../lua/?/init.lua;" .. package.path

local M = {root = here .. "../../"}
local passed, failed, skipped = 0, 0, 0

local function show(value, depth)
  if type(value) == "string" then
    return ("%q"):format(value)
  elseif type(value) ~= "table" or depth > 4 then
    return tostring(value)
  end
  local keys, out = {}, {}
  for k in next, value do
    keys[#keys + 1] = k
  end
  table.sort(keys, function(a, b)
    if math.type(a) and math.type(b) then
      return a < b
    end
    return tostring(a) < tostring(b)
  end)
  for _, k in ipairs(keys) do
    out[#out + 1] = tostring(k) .. "=" .. show(value[k], depth + 1)
  end
  return "{" .. table.concat(out, ", ") .. "}"
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b and math.type(a) == math.type(b)
  end
  for k, v in next, a do
    if not same(v, b[k]) then
      return false
    end
  end
  for k in next, b do
    if a[k] == nil then
      return false
    end
  end
  return true
end

-- Equal in value and, for numbers, in subtype; tables by their fields.
function M.eq(got, want, what)
  if not same(got, want) then
    error(("%sgot %s, want %s"):format(what and what .. ": " or "", show(got, 0), show(want, 0)), 2)
  end
end

-- |got - want| <= tolerance (absolute, default 1e-12); not a number is near nothing.
function M.near(got, want, tolerance, what)
  tolerance = tolerance or 1e-12
  local off = type(got) == "number" and math.abs(got - want) or math.huge
  if off ~= off or off > tolerance then
    local message = "%sgot %s, want %s within %g"
    error(message:format(what and what .. ": " or "", show(got, 0), show(want, 0), tolerance), 2)
  end
end

function M.ok(condition, what)
  if not condition then
    error(what or "condition is false", 2)
  end
end

-- f(...) raises, and the message matches the pattern; returns the message.
function M.fails(pattern, f, ...)
  local ok, message = pcall(f, ...)
  if ok then
    error(("no error, want one that matches %q"):format(pattern), 2)
  end
  M.matches(tostring(message), pattern)
  return message
end

function M.matches(text, pattern, what)
  if type(text) ~= "string" or not text:find(pattern) then
    error(("%s%s does not match %q"):format(what and what .. ": " or "", show(text, 0), pattern), 2)
  end
end

function M.test(name, f)
  local ok, message = xpcall(f, debug.traceback)
  if ok then
    passed = passed + 1
    print(("ok %d %s"):format(passed + failed + skipped, name))
  else
    failed = failed + 1
    print(("not ok %d %s\n  %s"):format(passed + failed + skipped, name, tostring(message):gsub("\n", "\n  ")))
  end
end

function M.skip(name, reason)
  skipped = skipped + 1
  print(("SKIP %s: %s"):format(name, reason))
end

-- Print the counts and end the program; the exit status is the verdict.
function M.done()
  print(("%d passed, %d failed, %d skipped"):format(passed, failed, skipped))
  os.exit(failed == 0 and passed + skipped > 0, true)
end

return M

-- Names that every template knows.
local value = require "pofit.template.value"
local arguments = require "pofit.template.arguments"

local function range(run, args)
  if args.n < 1 or args.n > 3 then value.fail("range takes 1 to 3 numbers, not %d", args.n) end
  local numbers = {}
  for i = 1, args.n do numbers[i] = arguments.integer(args, {}, i) end
  local from, to, step = numbers[1], numbers[2], numbers[3] or 1
  if not to then from, to = 0, from end
  if step == 0 then value.fail("range needs a step other than 0") end
  local out, n = {}, 0
  run:charge(math.max(0, (to - from) // step))
  for i = from, to + (step > 0 and -1 or 1), step do
    n = n + 1
    out[n] = i
  end
  return value.list(out, n)
end

-- fills a dict or namespace from a dict and from arguments by name
local function filled(make)
  return function(_, args, named)
    local out = make()
    if args[1] ~= nil then
      if value.kind(args[1]) ~= "dict" then value.fail("expected a dict, not %s", value.kind(args[1])) end
      for key, v in value.pairs(args[1]) do value.set(out, key, v) end
    end
    for _, name in ipairs(named.order) do value.set(out, name, named[name]) end
    return out
  end
end

local function raise_exception(run, args)
  run.refused = true
  return value.fail("%s", value.str(args[1] or "no reason given"))
end

-- date: seconds since 1970 of the moment that "now" is
local function strftime_now(date)
  return function(run, args)
    run.dated = true
    local pattern = arguments.text(args, {}, 1, "format")
    local ok, shown = pcall(os.date, pattern, date)
    return ok and shown or value.fail("strftime_now does not know the format %s", value.repr(pattern))
  end
end

--- The scope that templates begin with.
---@param date integer seconds since 1970: what strftime_now says
return function(date)
  local scope = {}
  for name, f in pairs { range = range, dict = filled(value.dict), namespace = filled(value.namespace),
    raise_exception = raise_exception, strftime_now = strftime_now(date) } do
    scope[name] = value.func(name, f)
  end
  return scope
end

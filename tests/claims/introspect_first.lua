-- Row 10: what is learned about turns costs the first one nothing.
local introspect = require "introspect_arms"

return {
  row = 10, paper = "Qu et al. 2024, arXiv 2407.18219", title = "The first turn is not worse than the start's",
  better = "introspection", worse = "start", metric = "m1@t1", minimum = 0, relation = "not worse",
  settings = introspect.settings, quick = introspect.quick,
  run = function(_, c)
    local b, cost = introspect.measure(c, "introspect")
    return { better = b["m1@t1"], worse = (introspect.measure(c, "start"))["m1@t1"],
      budget = { better = cost, worse = {} } }
  end,
}

-- Row 10: more turns help a policy that learned to try again, and not one that learned the same answers.
local introspect = require "introspect_arms"

return {
  row = 10, paper = "Qu et al. 2024, arXiv 2407.18219",
  title = "Turns gain more after introspection than after imitation of the same answers",
  better = "introspection", worse = "SFT on the same answers", metric = "m1@t5 minus m1@t1", minimum = 0.02,
  settings = introspect.settings, quick = introspect.quick,
  run = function(_, c)
    local b, b_cost = introspect.measure(c, "introspect")
    local w, w_cost = introspect.measure(c, "sft")
    return { better = introspect.gain(b, "m1@t5", "m1@t1"), worse = introspect.gain(w, "m1@t5", "m1@t1"),
      budget = { better = b_cost, worse = w_cost } }
  end,
}

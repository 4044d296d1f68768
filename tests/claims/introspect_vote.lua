-- Row 10: five turns that see each other against five samples that do not.
local introspect = require "introspect_arms"

return {
  row = 10, paper = "Qu et al. 2024, arXiv 2407.18219",
  title = "The vote of five turns solves more than the vote of five independent samples",
  better = "m1@t5", worse = "m5@t1", metric = "right by majority, the same model, as many samples", minimum = 0.02,
  settings = introspect.settings, quick = introspect.quick,
  run = function(_, c)
    local made, cost = introspect.measure(c, "introspect")
    return { better = made["m1@t5"], worse = made["m5@t1"], budget = { better = cost, worse = cost } }
  end,
}

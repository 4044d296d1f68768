-- pf.trainer: optimiser, schedule, clipping and checkpoints of a run whose loop is written in Lua.
return require("pofit.core").trainer

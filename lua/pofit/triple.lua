-- pf.triple: a shared prefix, a good and a bad way to go on. What error injection, per-step preferences and tree search
-- all produce; a preference row whose loss is on the continuations' tokens alone.
local core = require "pofit.core"

local function ids_of(answer, name)
  local ids = type(answer) == "table" and (answer.ids or answer) or nil
  if not ids or ids[1] ~= nil and math.type(ids[1]) ~= "integer" then
    core.raise(("triple: %s is not a sample or a list of ids"):format(name))
  end
  return ids
end

-- tokens first..last, as an answer that is finished only if it goes to the end of one that is
local function tail(answer, name, first, last)
  local ids = ids_of(answer, name)
  last = last or #ids
  if first > #ids then core.raise(("triple: %s ends with the shared prefix, after token %d"):format(name, #ids)) end
  if last > #ids or last < first then
    core.raise(("triple: tokens %d to %d of %s, which has %d"):format(first, last, name, #ids))
  end
  return { ids = table.move(ids, first, last, 1, {}), finish = last == #ids and answer.finish or "length" }
end

--- A preference row of two answers that begin alike: from token `first` on they are compared. The ids are those that
--- were sampled; no EOS is added, and a cut answer has none.
---@param o table prompt (text, conversation or ids); good, bad: answers ({ids=, finish=} or ids); first: the token from
---  which they are compared (default: the first in which they differ); good_last, bad_last: the last one that counts
---  (default: all)
---@return table row {prompt=, prefix= ids, chosen= {ids=, finish=}, rejected=}, as pf.data.preference takes it
return function(o)
  local good, bad = ids_of(o.good, "good"), ids_of(o.bad, "bad")
  local shared = 0
  while shared < #good and good[shared + 1] == bad[shared + 1] do shared = shared + 1 end
  local first = o.first or shared + 1
  if first - 1 > shared then
    core.raise(("triple: good and bad differ in token %d, which is before first = %d"):format(shared + 1, first))
  end
  if shared == #good and shared == #bad then core.raise("triple: good and bad are the same, which teaches nothing") end
  local row = { prompt = o.prompt, prefix = table.move(good, 1, first - 1, 1, {}),
    chosen = tail(o.good, "good", first, o.good_last), rejected = tail(o.bad, "bad", first, o.bad_last) }
  if table.concat(row.chosen.ids, " ") == table.concat(row.rejected.ids, " ") then
    core.raise("triple: good and bad go on with the same tokens, which teaches nothing")
  end
  return row
end

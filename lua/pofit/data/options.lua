-- Options of recipes that read a user's rows (pf.data.options in their declaration), and what the sets are told.
local M = {}

M.list = {
  { "columns", "", "names in --data for the fields: prompt=question,chosen=good" },
  { "max_length", 512, "tokens of prompt and answer; longer rows: see --truncation", min = 2 },
  { "max_prompt_length", 0, "tokens of the prompt, cut at its beginning; 0 for no limit", min = 0 },
  { "truncation", "drop", "longer rows: left out, or cut at one side", choices = { "drop", "keep_start", "keep_end" } },
  { "date", "", "what a chat template that writes the date is told: YYYY-MM-DD" },
}

local function given(text) return text ~= "" and text or nil end

--- The options of pf.data.preference and its relatives that a recipe was given.
---@param opt table
---@param model pofit.Model
---@return table
function M.settings(opt, model)
  return { model = model, max_length = opt.max_length, truncation = opt.truncation, date = given(opt.date),
    max_prompt_length = opt.max_prompt_length > 0 and opt.max_prompt_length or nil }
end

--- The rows of --data, an iterator.
---@param opt table
---@return function
function M.rows(opt)
  return require("pofit.data.read").rows(opt.data, { columns = given(opt.columns), seed = opt.seed })
end

return M

--- STAR: find the arm of a star graph that ends at the goal (Bachmann and Nagarajan 2024, arXiv 2403.06963).
---
---   problem  = edge ("|" edge)* "/" centre goal "="         gq|ab|ag|bk/ak=     edges outwards, in random order
---   solution = node+                                        bk           from the centre's neighbour to the goal
--
-- Nodes are letters. From a centre go `arms` arms of `length` edges each; one ends at the goal. A step is one node. All
-- but the first are determined by following an edge, so a model trained by teacher forcing learns those and takes the
-- first at chance, 1 / arms: what only the goal decides, one has to plan.
local splits = require "pofit.splits"

local M = {}

---@class pofit.task.star
---@field arms integer
---@field length integer
local star = {}
star.__index = star

local LETTERS <const> = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
local KNOWN <const> = {"arms", "length", "nodes", "seed", "splits"}

local function refuse(...)
  splits.refuse("star", ...)
end

-- edges: list of {from, to}; next[node]: list of the nodes its edges lead to
local function graph(edges)
  local next_of, from = {}, {}
  for _, e in ipairs(edges) do
    next_of[e[1]] = next_of[e[1]] or {}
    next_of[e[2]] = next_of[e[2]] or {}
    table.insert(next_of[e[1]], e[2])
    from[e[2]] = e[1]
  end
  return next_of, from
end

local function describe(edges, centre, goal)
  local out, path, next_of, from = {}, {}, graph(edges)
  for i, e in ipairs(edges) do
    out[i] = e[1] .. e[2]
  end
  local node, i = goal, 0
  while node and node ~= centre and i <= #edges do
    table.insert(path, 1, node)
    node, i = from[node], i + 1
  end
  return {
    text = ("%s/%s%s="):format(table.concat(out, "|"), centre, goal),
    answer = goal, centre = centre, next = next_of, path = node == centre and path or nil,
  }
end

local function draw(task, g)
  local letters, arms, edges = {}, {}, {}
  for i = 1, task.nodes do
    letters[i] = LETTERS:sub(i, i)
  end
  g:shuffle(letters)
  local centre, used = letters[1], 1
  for a = 1, task.arms do
    local node = centre
    for _ = 1, task.length do
      used = used + 1
      edges[#edges + 1] = {node, letters[used]}
      node = letters[used]
    end
    arms[a] = node
  end
  g:shuffle(edges)
  local problem = describe(edges, centre, g:pick(arms))
  return problem.text, problem
end

--- A task.
---@param o? table arms (2), length (4: edges of an arm), nodes (arms * length + 1: letters to choose from, at most 52),
--- seed (1), splits (names besides train, preference, heldout)
---@return pofit.task.star
function M.new(o)
  o = o or {}
  splits.check("star", o, KNOWN)
  local self = setmetatable({arms = o.arms or 2, length = o.length or 4}, star)
  for _, name in ipairs{"arms", "length"} do
    if math.type(self[name]) ~= "integer" or self[name] < (name == "arms" and 2 or 1) then
      refuse("%s is an integer from %d, not %s", name, name == "arms" and 2 or 1, tostring(self[name]))
    end
  end
  local needed = self.arms * self.length + 1
  self.nodes = o.nodes or needed
  if math.type(self.nodes) ~= "integer" or self.nodes < needed or self.nodes > #LETTERS then
    refuse("%d arms of %d edges need %d nodes; nodes is at least that and at most %d, not %s", self.arms, self.length,
      needed, #LETTERS, tostring(self.nodes))
  end
  self.drawn = splits.new{
    name = "star", seed = o.seed or 1, extra = o.splits,
    draw = function(g) return draw(self, g) end,
    describe = function(problem) return problem end,
  }
  return self
end

--- The i-th problem of a split: {text, answer (the goal), centre, next (node -> the nodes its edges lead to), path (the
--- right nodes), split, index}.
---@param split string
---@param i integer from 1
---@return table problem
function star:problem(split, i)
  return self.drawn:get(split, i)
end

--- Problems first to first + n - 1 of a split.
---@param split string
---@param n integer
---@param first? integer 1
---@return table[]
function star:problems(split, n, first)
  return self.drawn:list(split, n, first)
end

--- Read a problem from its text; nil and the reason if it is none.
---@param text string
---@return table? problem
---@return string? why
function star:read(text) -- luacheck: ignore self
  local list, centre, goal = text:match("^([%a|]+)/(%a)(%a)=$")
  if not list then
    return nil, ("not a problem: %q is not edges, /, centre, goal, ="):format(text)
  end
  local edges, entered = {}, {}
  for edge in (list .. "|"):gmatch("(.-)|") do
    local a, b = edge:match("^(%a)(%a)$")
    if not a then
      return nil, ("not a problem: %q is not an edge"):format(edge)
    elseif entered[b] then
      return nil, ("not a problem: two edges lead to %s"):format(b)
    end
    entered[b], edges[#edges + 1] = true, {a, b}
  end
  local problem = describe(edges, centre, goal)
  if not problem.path or #problem.path == 0 then
    return nil, ("not a problem: no path leads from %s to %s"):format(centre, goal)
  end
  return problem
end

local function given(task, problem)
  if type(problem) ~= "string" then
    return problem
  end
  local made, why = task:read(problem)
  return made or refuse("%s", why)
end

--- The right solution.
---@param problem table|string
---@return string
function star:solution(problem)
  return table.concat(given(self, problem).path)
end

--- Every right solution: there is one.
---@param problem table|string
---@return string[]
function star:solutions(problem)
  return {self:solution(problem)}
end

--- Rows for supervised training: {prompt, completion, problem}.
---@param split string
---@param n integer
---@param o? table first (1)
---@return table[]
function star:rows(split, n, o)
  local out = self:problems(split, n, o and o.first)
  for i, problem in ipairs(out) do
    out[i] = {prompt = problem.text, completion = self:solution(problem), problem = problem}
  end
  return out
end

-- ---- judging ----

local function leads(problem, from, to)
  for _, node in ipairs(problem.next[from] or {}) do
    if node == to then
      return true
    end
  end
  return false
end

-- take one step from where the path stands: the type of the mistake with a message, if there is one
local function carry_out(problem, at, node, visited)
  if not problem.next[node] then
    return "node", ("%s is no node of the graph"):format(node)
  elseif at == problem.answer then
    return "end", ("the path goes on after the goal %s"):format(at)
  elseif leads(problem, at, node) then
    for _, right in ipairs(problem.path) do
      if right == node then
        return nil
      end
    end
    return "arm", ("the arm of %s does not end at %s"):format(node, problem.answer)
  elseif visited[node] then
    return "back", ("%s was visited before"):format(node)
  end
  return "edge", ("no edge leads from %s to %s"):format(at, node)
end

--- Judge a solution. Every step is taken again on the graph, from where the path stands.
---@param problem table|string
---@param text string
---@return table verdict {correct, answer (where the path ends), answer_correct, steps, error}; error is nil or {step,
--- type, message, first, last} with a type of
---   arm          an edge leads there, but not to the goal
---   edge         no edge leads there from where the path stands
---   back         the node was visited before
---   node, end    there is no such node; the goal was reached before
---   format, unfinished   what stands there is no letter; the text ends before the goal
--- After a wrong arm the steps along it are right again; after a step that no edge leads to, nothing is known of where
--- the path stands: those that follow are judged from the node that was written.
function star:verify(problem, text)
  problem = given(self, problem)
  local verdict = {correct = false, answer_correct = false, steps = {}}
  local function fail(step, kind, message, from, to)
    verdict.error = verdict.error or {step = step, type = kind, message = message, first = from, last = to}
  end
  local at, visited, off = problem.centre, {[problem.centre] = true}, false
  for i = 1, #text do
    local node = text:sub(i, i)
    if not node:find("%a") then
      fail(i, "format", ("%q is not a node"):format(text:sub(i)), i, #text)
      break
    end
    local kind, message = carry_out(problem, at, node, visited)
    if kind == "arm" and off then
      kind = nil -- the wrong turn was taken before
    end
    off = off or kind ~= nil
    verdict.steps[i] = {first = i, last = i, text = node, ok = not kind, type = kind, state = node,
      value = not off and problem.answer or nil}
    if kind then
      fail(i, kind, message, i, i)
    end
    at, visited[node] = node, true
  end
  verdict.answer = #verdict.steps > 0 and at or nil
  verdict.answer_correct = verdict.answer == problem.answer
  if not verdict.answer_correct then
    fail(#verdict.steps + 1, "unfinished", ("the path does not reach %s"):format(problem.answer), #text + 1, #text)
  end
  verdict.correct = not verdict.error
  return verdict
end

--- The steps of a solution, with the node reached as state; without a problem, the text has to begin with it.
---@param text string
---@param problem? table|string
---@return table[] steps as in the verdict of star:verify; first and last count in the given text
function star:steps(text, problem)
  return splits.steps("star", self, text, problem, "=")
end

-- ---- wrong steps, for pf.inject ----

--- The types of mistakes that star:edits makes.
---@return string[]
function star:types() -- luacheck: ignore self
  return {"arm", "edge", "back"}
end

--- Candidates for a wrong step: every node of the graph, in random order; star:prove says which are of the type.
function star:edits(problem, _, _, _, g) -- luacheck: ignore self
  local out = {}
  for i = 1, #LETTERS do
    local node = LETTERS:sub(i, i)
    out[#out + 1] = problem.next[node] and node or nil
  end
  return g:shuffle(out)
end

--- The type of a wrong step in the place of a right one; nil and the reason if it is not wrong.
function star:prove(problem, before, _, text)
  local verdict = self:verify(problem, before .. text)
  if #text ~= 1 or #verdict.steps ~= #before + 1 then
    return nil, "is not one step"
  elseif verdict.error and verdict.error.step <= #before then
    return nil, "comes after a mistake"
  end
  local kind = verdict.steps[#before + 1].type
  return kind, not kind and "is right" or nil
end

--- The characters that problems and solutions are written with.
---@return string[]
function star:vocabulary()
  local out = {"|", "/", "="}
  for i = 1, self.nodes do
    out[#out + 1] = LETTERS:sub(i, i)
  end
  return out
end

--- Characters of the longest problem and of the longest right solution.
---@return integer problem
---@return integer solution
function star:longest()
  return self.arms * self.length * 3 + 3, self.length
end

return M

-- pofit chat: a conversation in the terminal, and preferences from it.
local sampling = require "pofit.sampling"

local M = {
  summary = "a conversation with a model; answers marked as better become preferences to train on",
  common = { "quiet" },
  options = {
    "A conversation with a model, in its own chat template. Ctrl-C stops an answer, Ctrl-D ends; /help lists what else "
      .. "can be said.",
    { "model", nil, "directory or GGUF file (or --model DIR)", type = "string", required = true, bare = true,
      alias = "-m" },
    { "system", "", "system message", alias = "-p sys" },
    { "prefer", "", "file of preferences, which /better and /worse append to and recipes/dpo.lua reads" },
  },
}
for _, o in ipairs(sampling.options { temperature = 0.8, min_p = 0.05, max_tokens = 1024 }) do
  table.insert(M.options, o)
end

local HELP <const> = [[
/regenerate     another answer to the last question
/better         the last answer is better than the one before it: a row for --prefer
/worse          it is worse: the conversation goes on with the one before it
/better TEXT    TEXT would have been the better answer
/prefer FILE    append preferences to FILE
/system TEXT    another system message (without TEXT: none), and start anew
/reset          start anew
/save FILE      append the conversation to FILE, as a row of messages
/quit           end (or Ctrl-D)
A line that ends with \ goes on in the next one. A line that begins with // is text that begins with /.]]

local function out(text) sampling.out(text) end

local function say(text, ...) sampling.say("[" .. text .. "]", ...) end

local function show(self, answer)
  out(answer.text:find "\n$" and "" or "\n")
  if answer.dropped > 0 then
    say("the %d oldest messages no longer fit the context of %d tokens: they were left out", answer.dropped,
      self.talk.model.max_position_embeddings)
  end
  if not self.opt.quiet then say("%s", answer.summary) end
end

local function append(path, row)
  local sys, json = require "pofit.sys", require "pofit.json"
  local file = sys.append(path)
  file:write(json.encode(row) .. "\n")
  file:close()
end

-- a file that rows can be appended to; what cannot be is said before anything is asked of the user
local function check(path)
  local sys = require "pofit.sys"
  local there = sys.exists(path)
  sys.append(path):close()
  if not there then sys.remove(path) end
  return path
end

local function prefer(self, chosen, rejected)
  if self.prefer == "" then error("where to? /prefer FILE names the file of preferences", 0) end
  append(self.prefer, self.talk:prefer(chosen, rejected))
  self.pairs = self.pairs + 1
  say("%d %s in this conversation, kept in %s", self.pairs, self.pairs == 1 and "preference" or "preferences",
    self.prefer)
end

-- the last two answers to the last question
local function two(self)
  local answers = self.talk.answers
  if #answers < 2 then error("there is only one answer to compare: /regenerate makes another", 0) end
  return answers[#answers], answers[#answers - 1]
end

local commands = {}

function commands.help() print(HELP) end

function commands.quit() return true end
commands.exit = commands.quit

function commands.reset(self)
  self.talk:reset()
  say "a new conversation"
end

function commands.system(self, text)
  self.talk.system = text
  self.talk:reset()
  say(text == "" and "no system message; a new conversation" or "a new conversation with this system message")
end

function commands.save(self, path)
  if path == "" then error("/save FILE", 0) end
  if #self.talk.messages == 0 then error("nothing has been said yet", 0) end
  local messages = self.talk:window(1)
  append(path, { messages = messages })
  say("%d messages appended to %s", #messages, path)
end

function commands.prefer(self, path)
  if path == "" then error("/prefer FILE", 0) end
  self.prefer = check(path)
  say("preferences are appended to %s", path)
end

function commands.regenerate(self)
  local answers = self.talk.answers
  show(self, self.talk:again(out))
  if #answers > 1 and answers[#answers].text == answers[#answers - 1].text then
    say "the same answer again: a higher --temperature gives others"
  elseif self.prefer ~= "" then
    say "/better or /worse than the one before?"
  end
end

function commands.better(self, text)
  if text == "" then return prefer(self, two(self)) end
  local answers = self.talk.answers
  if #answers == 0 then error("there is no answer yet to be better than", 0) end
  local own = { text = text }
  prefer(self, own, answers[#answers])
  answers[#answers + 1] = own
end

function commands.worse(self)
  local last, before = two(self)
  prefer(self, before, last)
  table.insert(self.talk.answers, table.remove(self.talk.answers, #self.talk.answers - 1))
end

local function command(self, line)
  local name, text = line:match "^/(%S*)%s*(.-)%s*$"
  if commands[name] then return commands[name](self, text) end
  local names = {}
  for known in pairs(commands) do names[#names + 1] = known end
  table.sort(names)
  local near = require("pofit.options").nearest(name, names)
  local hint = near and ("; did you mean /%s?"):format(near) or ": /help lists what there is"
  error(("there is no /%s%s"):format(name, hint), 0)
end

-- a line, or several joined by \ at their ends; nil at the end of input; "" after Ctrl-C
local function read(self)
  local sys, lines = require "pofit.sys", {}
  repeat
    local line, why = sys.ask(self.terminal and (lines[1] and ". " or "> ") or "")
    if why == "interrupted" then
      sys.rearm()
      print()
      say "Ctrl-D or /quit ends"
      return ""
    elseif not line then
      return lines[1] and table.concat(lines, "\n") or nil
    end
    lines[#lines + 1] = line:gsub("\\$", "")
  until not line:find "\\$"
  return table.concat(lines, "\n")
end

-- one turn; true at the end
local function turn(self, line)
  local first = line:match "^%s*(/?)"
  if line:find "^%s*$" then return end
  if first == "/" and line:sub(1, 2) ~= "//" then return command(self, line) end
  show(self, self.talk:say(line:gsub("^//", "/"), out))
end

function M.run(opt)
  if opt.prefer ~= "" then check(opt.prefer) end
  local sys, model = require "pofit.sys", sampling.model(opt)
  local self = { opt = opt, prefer = opt.prefer, pairs = 0, terminal = sys.isatty(0) and sys.isatty(1),
    talk = require("pofit.conversation").new(model, sampling.of(opt), opt.system) }
  sys.poll(true) -- from here on Ctrl-C only asks
  if self.terminal and not opt.quiet then
    say("%s, context %d tokens; /help, Ctrl-C stops an answer, Ctrl-D ends", opt.model, model.max_position_embeddings)
  end
  for line in read, self do
    local ok, done = pcall(turn, self, line)
    if not ok then say("%s", tostring(done)) end
    if ok and done then return end
    sys.rearm()
  end
  if self.terminal then print() end
end

return M

-- Declarations for an editor's Lua language server: operations and losses from the registry, the rest by hand.
-- `make meta` writes them to lua/pofit/_meta.lua.
local core = require "pofit.core"

local head = [[
---@meta
-- Written by `make meta` (pofit --stubs); not edited by hand, never loaded.
error("pofit/_meta.lua is for editors; require \"pofit\" instead")

---@class pofit.Tensor
---@field shape integer[] sizes, outermost first
---@field dtype "float32"|"float64"|"int32"|"bfloat16"|"float16"|"q8_0"|"q4_0"|"q4_1"|"q5_0"|"q5_1"|"q4_k"|"q5_k"|"q6_k"
---@field grad pofit.Tensor? what backward collected; set to nil to forget it
---@field requires_grad boolean collects gradients, or has history; settable for leaves
---@field name string of a model's parameter, else ""
---@field [integer] pofit.Tensor|integer? row; a number for int32 with one dimension; nil after the last
---@operator add(pofit.Tensor|number): pofit.Tensor
---@operator sub(pofit.Tensor|number): pofit.Tensor
---@operator mul(pofit.Tensor|number): pofit.Tensor
---@operator div(pofit.Tensor|number): pofit.Tensor
---@operator pow(pofit.Tensor|number): pofit.Tensor
---@operator unm: pofit.Tensor
---@operator len: integer
local Tensor = {}
---Values as nested tables.
---@return table|number
function Tensor:totable() end
---The value of a tensor that has one.
---@return number
function Tensor:item() end
---Number of dimensions.
---@return integer
function Tensor:dim() end
---@return integer
function Tensor:numel() end
---Size of a dimension, from 1, or from -1 at the end.
---@param dim integer
---@return integer
function Tensor:size(dim) end
---The same values without history: no gradient flows through the result.
---@return pofit.Tensor
function Tensor:detach() end
---Lift the tensor off the current step, so that it outlives it. Returns the tensor.
---@return pofit.Tensor
function Tensor:keep() end
---Add the gradient of this value to every leaf below it. Frees the history.
function Tensor:backward() end
---Forget the collected gradient.
function Tensor:zero_grad() end
---A leaf with the same values.
---@return pofit.Tensor
function Tensor:clone() end
---A leaf with the same values in another type.
---@param dtype string
---@return pofit.Tensor
function Tensor:to(dtype) end
---Overwrite the values of a leaf. Returns the tensor.
---@param values table|pofit.Tensor|number
---@return pofit.Tensor
function Tensor:copy_(values) end

---@class pofit.Tokenizer
---@field bos integer? id that begins a text
---@field eos integer? id that ends a text
---@field size integer vocabulary with added tokens
local Tokenizer = {}
---@param text string
---@param opts? { special: boolean } special (true): with what the tokenizer adds, BOS
---@return integer[]
function Tokenizer:encode(text, opts) end
---@param ids integer[]|pofit.Tensor
---@param opts? { skip_special: boolean }
---@return string
function Tokenizer:decode(ids, opts) end
---@param token string
---@return integer?
function Tokenizer:id(token) end
---@param id integer
---@return string?
function Tokenizer:token(id) end
---@param messages { role: string, content: string }[]
---@param opts? { generation_prompt: boolean, tokenize: boolean }
---@return string|integer[]
function Tokenizer:chat(messages, opts) end

---@class pofit.Batch
---@field sequence pofit.Tensor [entries] whose an entry is, from 1
---@field step pofit.Tensor [entries] from 1, 0 outside any step
---@field target pofit.Tensor [entries] the scored tokens
---@field length pofit.Tensor [sequences] entries of a sequence
---@field sequences integer
---@field entries integer scored tokens
---@field tokens integer in all sequences
---@field nodes integer computed tokens: distinct prefixes
---@field longest integer tokens of the longest sequence that are computed
---@field straddles integer rows whose boundary falls inside a token
---@field chosen integer[]? numbers of sequences; set by whoever makes the batch
---@field rejected integer[]?
---@field ref_logp pofit.Tensor? [entries] under the reference

---@class pofit.Sample
---@field ids integer[]
---@field text string?
---@field logp number[] at temperature 1
---@field finish "eos"|"stop"|"length"|"cancelled"

---@class pofit.Model
---@field tokenizer pofit.Tokenizer?
---@field vocab_size integer
---@field hidden_size integer
---@field num_hidden_layers integer
---@field max_position_embeddings integer
---@field trainable_parameters integer
---@field adapter string? its adapter_config.json
local Model = {}
---A reference: weights of its own that collect no gradients.
---@return pofit.Model
function Model:copy() end
---What the model was when its training began: a copy, or the base shared with it, the adapter off or as a frozen copy.
---@param run? table a run, whose log says which it was
---@return pofit.Model
function Model:reference(run) end
---Freeze the model and add a low-rank adapter.
---@param opts? table rank, alpha, targets, exclude, dropout, rslora, dora, rank_pattern, alpha_pattern, layers, save
---@return pofit.Model
function Model:adapt(opts) end
---Go on from a PEFT adapter directory.
---@param dir string
---@param opts? { seed: integer }
---@return pofit.Model
function Model:load_adapter(dir, opts) end
---Write a PEFT adapter directory, or a LoRA file for llama.cpp if path ends with ".gguf".
---@param path string
function Model:save_adapter(path) end
---Add the adapter to the base's weights and take it off.
---@return pofit.Model
function Model:merge() end
---Leave parameters alone whose names match a pattern: "*.mlp.*".
---@param patterns string[]
---@return pofit.Model
function Model:freeze(patterns) end
---Write a Hugging Face directory.
---@param dir string
function Model:save(dir) end
---Logits [T, vocab] after each of T ids.
---@param ids integer[]|pofit.Tensor
---@return pofit.Tensor
function Model:logits(ids) end
---Log-probability [entries] of the scored tokens; with stats also [entries, 4]: entropy, 1 if the target is the
---likeliest token, mean logit, log of the sum of squared probabilities.
---@param batch pofit.Batch
---@param opts? { stats: boolean }
---@return pofit.Tensor, pofit.Tensor?
function Model:logp(batch, opts) end
---Names in order in the list part, tensors by name.
---@return table<integer|string, string|pofit.Tensor>
function Model:parameters() end
---@return string
function Model:fingerprint() end
---@param rows table[]
---@param cache? string
---@return pofit.Tensor, boolean
function Model:reference_logp(rows, cache) end
---The ids of a prompt as generate reads it.
---@param prompt string|table
---@return integer[]
function Model:prompt_ids(prompt) end
---@param prompts string|table
---@param opts? table n, max_tokens, temperature, top_p, top_k, min_p, stop, stop_ids, seed, batch,
---  compute, kv, on_token
---@return pofit.Sample[][]
function Model:generate(prompts, opts) end

---@class pofit.Trainer
local Trainer = {}
---@param loss pofit.Tensor
---@param scale? number
function Trainer:accumulate(loss, scale) end
---@param lr? number instead of the schedule's
---@return { step: integer, loss: number, grad_norm: number, lr: number, skipped: boolean, what: string }
function Trainer:step(lr) end
---@param path string
---@param extra? string
function Trainer:save(path, extra) end
---@param path string
---@return string
function Trainer:restore(path) end

---What pf.gradcheck found where backward and central differences differ most.
---@class pofit.gradcheck
---@field worst number the error there, relative to max(|numeric|, 1e-3 x the largest gradient)
---@field input integer number of the input, from 1; of inputs by name, in the order of their names
---@field element integer number of its element, from 1, row by row
---@field analytic number what backward gives
---@field numeric number what the differences give

---@class pofit.loss
---@field mix fun(parts: table): pofit.Tensor, table<string, number>
---@field preference fun(model: pofit.Model, batch: pofit.Batch, opts: table): pofit.Tensor, table<string, number>
---@field list fun(): table<string, table>

---@class pofit
---@field loss pofit.loss
---@field version string
local pf = {}
---A tensor of a number or of nested lists, in float32 unless dtype says otherwise; with grad it collects gradients.
---@param values number|table
---@param opts? { grad: boolean, dtype: string }
---@return pofit.Tensor
function pf.tensor(values, opts) end
---A tensor of zeros.
---@param shape integer|integer[]
---@param opts? { grad: boolean, dtype: string }
---@return pofit.Tensor
function pf.zeros(shape, opts) end
---A tensor of ones.
---@param shape integer|integer[]
---@param opts? { grad: boolean, dtype: string }
---@return pofit.Tensor
function pf.ones(shape, opts) end
---A tensor whose elements all have one value.
---@param shape integer|integer[]
---@param value number
---@param opts? { grad: boolean, dtype: string }
---@return pofit.Tensor
function pf.full(shape, value, opts) end
---A tensor of standard normal numbers; the same seed and stream give the same ones.
---@param shape integer|integer[]
---@param opts? { seed: integer, stream: integer, grad: boolean, dtype: string }
---@return pofit.Tensor
function pf.randn(shape, opts) end
---A tensor of numbers from 0 to 1 (1 is left out); the same seed and stream give the same ones.
---@param shape integer|integer[]
---@param opts? { seed: integer, stream: integer, grad: boolean, dtype: string }
---@return pofit.Tensor
function pf.uniform(shape, opts) end
---Call f without recording history; returns what it returns.
---@param f function
function pf.no_grad(f, ...) end
---Call f; every tensor made in it is freed at its end. Returns what f returns.
---@param f function
function pf.step(f, ...) end
---Check the gradient of f at inputs, in double precision, and return true and the place where it is worst; raises where
---the error is above tolerance (1e-6).
---@param f function
---@param inputs table a list, given to f as its arguments, or a table by name, given to f as one table
---@param opts? { tolerance: number }
---@return boolean, pofit.gradcheck
function pf.gradcheck(f, inputs, opts) end
---What an operation, a loss, a function or a command does; without a name, all names.
---@param name? string
---@return string
function pf.help(name) end
---Bytes held by tensors and models: now, and at most so far.
---@return integer, integer
function pf.memory() end
---Compute on so many threads, 1 to 256; without a number nothing changes. How many there are.
---@param n integer?
---@return integer
function pf.threads(n) end
---The batch of some rows: {prompt=, completion=} each, as text or ids; a prompt that rows share is computed once.
---@param tok pofit.Tokenizer?
---@param rows table[]
---@return pofit.Batch
function pf.batch(tok, rows) end
---The steps of a solution: {first=, last= (tokens), text=, state=, ok=} each, and the number of each token's step.
---@param solution integer[]|string
---@param task table
---@param opts? { tokenizer: pofit.Tokenizer, problem: table|string }
---@return table[], integer[]
function pf.steps(solution, task, opts) end
---Continue prefixes of answers n times each and judge the whole: {{ids=, text=, finish=, correct=, answer=}, ...} a
---prefix, and counts. With cache= (a folder) nothing is sampled twice.
---@param model pofit.Model
---@param prefixes table[] {problem=, ids=} or {prompt=, ids=}
---@param opts? table n, task, seed, max_tokens, temperature, top_p, top_k, min_p, stop, compute, kv, cache, run, quiet
---@return table[][], table
function pf.rollout(model, prefixes, opts) end
---Values, advantages and first pits of the steps of answers, by rollouts; pf.credit.values, .pit, .full_against_prefix,
---.same_prefix, .weighted, .pairs, .data.
---@param model pofit.Model
---@param answers table[] {problem=, ids=, correct=}
---@param opts table task, n, k, estimator, and those of pf.rollout
---@return table[], table
function pf.credit(model, answers, opts) end
---A preference row of two answers that begin alike, scored from where they are compared.
---@param opts table prompt, good, bad, first, good_last, bad_last
---@return table
function pf.triple(opts) end
---Rounds of sampling, keeping and training; goes on after a kill with the same bits.
---@param opts table run, model, rounds, buffer, collect, train
---@return pofit.Model
function pf.rounds(opts) end
---A data set that the policy makes itself, anew every so many updates.
---@param opts table every, n, make, data, run
---@return table
function pf.online(opts) end
---Samples kept a problem, each different one once: add, keep, get, only, rows, save, load.
---@return table
function pf.buffer() end
---For each question a reference answer, right and wrong samples: batches for losses over groups.
---@param problems table[]
---@param samples table[][]
---@param tok pofit.Tokenizer
---@param opts table solution, reference_positive, model, max_length
---@return table
function pf.groups(problems, samples, tok, opts) end
---Model, task and problems of a recipe that samples and verifies: {model=, task=, train=, heldout=}, sample, measure.
---@param opt table as pf.options(pf.problems.options{...}) gives them
---@param run table
---@param opts? table
---@return table
function pf.problems(opt, run, opts) end
---Print the first rows and how many there are.
---@param rows table[]
---@param tok? pofit.Tokenizer
---@param n? integer
function pf.show(rows, tok, n) end
---Step pairs of right samples, one step of each with a mistake in it; and what there is, in words.
---@param task table
---@param problems table[]
---@param samples table[][]
---@param opts table tokenizer, n, seed, editor, distance, draws
---@return table[], string
function pf.edits(task, problems, samples, opts) end
---A right solution with one proved mistake in one step: edited, step, type, parts; or nil and the reason.
---@param task table
---@param solution integer[]|string
---@param opts table
---@return integer[]|string?, integer|string, string?, table?
function pf.inject(task, solution, opts) end
---The probability, by enumeration, that a solution which begins with a prefix ends right; and the right continuations.
---@param task table
---@param model pofit.Model|function
---@param problem table
---@param prefix? string
---@return number, table[]
function pf.exact(task, model, problem, prefix) end
---Optimiser, schedule, clipping and checkpoints of a loop that is written in Lua.
---@param model pofit.Model
---@param opts table
---@return pofit.Trainer
function pf.trainer(model, opts) end
---Declare what the script can be told, and read the command line: {"name", default, "help", min=, max=, above=,
---choices=, type=, required=, bare=, alias=} each. --help prints them; a mistake is told, and the program ends with 2.
---@param declaration table
---@return table
function pf.options(declaration) end
---Open runs/NAME, a directory for all that a training leaves behind. NAME is opt.name; with opt.resume it goes on.
---@param opt table as pf.options gives them
---@return table run
function pf.run(opt) end
---Compile a chat template (Jinja).
---@param source string
---@param name? string for messages
---@return table template with render(variables)
function pf.template(source, name) end
pf.tokenizer = {}
---@param path string
---@return pofit.Tokenizer
function pf.tokenizer.load(path) end
pf.model = {}
---@param dir string
---@param opts? { dtype: string, lora: table, adapter: string, freeze: string[] }
---@return pofit.Model
function pf.model.load(dir, opts) end
---The policy that a recipe's options ask for: opt.model or what otherwise() returns, with its adapter.
---@param opt table
---@param otherwise fun(): pofit.Model, string?
---@return pofit.Model
function pf.model.open(opt, otherwise) end
---@param config table
---@param opts? { seed: integer, tokenizer: pofit.Tokenizer }
---@return pofit.Model
function pf.model.new(config, opts) end
pf.json = {}
---The value of a JSON text. Objects keep the order of their keys, null is pf.json.null.
---@param text string
---@param name? string of the file that it is from, for messages
---@param line? integer of that file, where the text begins
---@return any
function pf.json.decode(text, name, line) end
---A value as JSON. A table is a list or an object; an empty one is an object, unless it is marked by pf.json.array.
---@param value any
---@param opts? { indent: integer }
---@return string
function pf.json.encode(value, opts) end
---Mark a table as a list, even if it is empty. Returns it.
---@param list table
---@return table
function pf.json.array(list) end
---Give an object's keys an order. Returns it.
---@param object table
---@param keys string[]
---@return table
function pf.json.object(object, keys) end
pf.sys = {}
---The bytes of a file.
---@param path string
---@return string
function pf.sys.read(path) end
---The bytes of a file that zstd compressed.
---@param path string
---@return string
function pf.sys.read_zst(path) end
---Write a file: it is there whole, or as it was before.
---@param path string
---@param text string
function pf.sys.write(path, text) end
---The same, compressed with zstd.
---@param path string
---@param text string
function pf.sys.write_zst(path, text) end
---Make a directory, and those above it.
---@param path string
function pf.sys.mkdirs(path) end
---Is there a file or directory of that name?
---@param path string
---@return boolean
function pf.sys.exists(path) end
---Is it a directory?
---@param path string
---@return boolean
function pf.sys.is_dir(path) end
---Is it a regular file: no directory, device or pipe?
---@param path string
---@return boolean
function pf.sys.is_file(path) end
---The size in bytes; nil if there is no such file.
---@param path string
---@return integer?
function pf.sys.size(path) end
---Cut a file to so many bytes.
---@param path string
---@param bytes integer
function pf.sys.truncate(path, bytes) end
---Remove a file or an empty directory; none is no error.
---@param path string
function pf.sys.remove(path) end
---Lines of a file, plain or zstd: for text, number in pf.sys.lines(path). Blank ones are left out.
---@param path string
---@return function
function pf.sys.lines(path) end
---A file to append to: write(text) puts all of a text on the disk or nothing, close().
---@param path string
---@return table
function pf.sys.append(path) end
---Lock a file until the lock is collected or the process ends; nil if another process holds it.
---@param path string
---@return userdata?
function pf.sys.lock(path) end
---Is standard output (1) or standard error (2) a terminal?
---@param fd? integer 2
---@return boolean
function pf.sys.isatty(fd) end
---Columns of the terminal, 80 if unknown.
---@param fd? integer 2
---@return integer
function pf.sys.width(fd) end
---Seconds of a clock that only goes forward.
---@return number
function pf.sys.clock() end
---The date and time in UTC: "2026-01-31T12:00:00Z".
---@return string
function pf.sys.date() end
---Has the user asked to stop (Ctrl-C)?
---@return boolean
function pf.sys.interrupted() end
---With true, Ctrl-C only sets what interrupted() reads; with false, it raises. Returns what was.
---@param only boolean
---@return boolean
function pf.sys.poll(only) end
---Forget that the user asked to stop: the next Ctrl-C is a first one again. Returns whether it was asked.
---@return boolean
function pf.sys.rearm() end
---A line from standard input; or nil and "end" or, while poll(true) holds, "interrupted".
---@param prompt string
---@return string?, string?
function pf.sys.ask(prompt) end
---Random number from 0 to 1 (1 is left out), a function of its three arguments alone.
---@param seed integer
---@param stream integer
---@param index integer
---@return number
function pf.sys.uniform(seed, stream, index) end
---Standard normal number, a function of its three arguments alone.
---@param seed integer
---@param stream integer
---@param index integer
---@return number
function pf.sys.normal(seed, stream, index) end
---Fingerprint of a text in 64 bits; no protection against forgery.
---@param text string
---@param start? integer hash of what stands before
---@return integer
function pf.sys.hash(text, start) end
]]

local types = {
  tensor = "pofit.Tensor|number|table", constant = "pofit.Tensor|number|table", index = "pofit.Tensor|integer[]",
  token = "pofit.Tensor|integer[]", number = "number", integer = "integer", dimension = "integer",
  position = "integer", boolean = "boolean", shape = "integer|integer[]",
}

local function type_of(p)
  if p.kind ~= "choice" then return types[p.kind] end
  return (p.choices:gsub("%S+", '"%0"'):gsub(" ", "|"))
end

local function comment(text)
  local lines, line = {}, "---"
  for word in text:gmatch("%S+") do
    if #line + #word > 116 then
      lines[#lines + 1] = line
      line = "---"
    end
    line = line .. (line == "---" and "" or " ") .. word
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

local function operation(entry, out)
  local names = {}
  local is_method = entry.params[1] and entry.params[1].kind == "tensor"
  local params = {}
  for i, p in ipairs(entry.params) do
    names[i] = p.name
    params[i] = ("---@param %s%s %s"):format(p.name, p.optional and "?" or "", type_of(p))
  end
  local function declare(first, target)
    out[#out + 1] = comment(entry.doc)
    for i = first, #params do out[#out + 1] = params[i] end
    out[#out + 1] = "---@return pofit.Tensor"
    out[#out + 1] = ("function %s%s(%s) end"):format(target, entry.name, table.concat(names, ", ", first))
  end
  declare(1, "pf.")
  if is_method then declare(2, "Tensor:") end
end

local function loss(entry, out)
  local class = "pofit.loss." .. entry.name
  out[#out + 1] = "---@class " .. class
  for _, p in ipairs(entry.params) do
    out[#out + 1] = ("---@field %s%s %s"):format(p.name, p.optional and "?" or "", type_of(p))
  end
  out[#out + 1] = '---@field reduction? "mean"|"none"'
  out[#out + 1] = comment(entry.doc)
  out[#out + 1] = comment("Formula: " .. entry.formula)
  out[#out + 1] = comment("Source: " .. entry.source)
  out[#out + 1] = "---@param args " .. class
  out[#out + 1] = "---@return pofit.Tensor, table<string, number>"
  out[#out + 1] = ("function pf.loss.%s(args) end"):format(entry.name)
end

return function()
  local out, registry = { head }, core.registry()
  for _, entry in ipairs(registry) do
    if not entry.loss then operation(entry, out) end
  end
  out[#out + 1] = "pf.loss = {}"
  for _, entry in ipairs(registry) do
    if entry.loss then loss(entry, out) end
  end
  out[#out + 1] = "return pf"
  return table.concat(out, "\n") .. "\n"
end

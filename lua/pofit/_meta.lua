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

---|x|, element by element; the gradient at 0 is 0. x any shape.
---@param x pofit.Tensor|number|table
---@return pofit.Tensor
function pf.abs(x) end
---|x|, element by element; the gradient at 0 is 0. x any shape.
---@return pofit.Tensor
function Tensor:abs() end
---x + y, element by element. Sizes equal or 1 (broadcast).
---@param x pofit.Tensor|number|table
---@param y pofit.Tensor|number|table
---@return pofit.Tensor
function pf.add(x, y) end
---x + y, element by element. Sizes equal or 1 (broadcast).
---@param y pofit.Tensor|number|table
---@return pofit.Tensor
function Tensor:add(y) end
---Position of the largest value of x over dimension dim, or in all of x in row order; the first of equal ones.
---Integers: positions from 1 in Lua, from 0 in C. No gradient.
---@param x pofit.Tensor|number|table
---@param dim? integer
---@param keep? boolean
---@return pofit.Tensor
function pf.argmax(x, dim, keep) end
---Position of the largest value of x over dimension dim, or in all of x in row order; the first of equal ones.
---Integers: positions from 1 in Lua, from 0 in C. No gradient.
---@param dim? integer
---@param keep? boolean
---@return pofit.Tensor
function Tensor:argmax(dim, keep) end
---Causal attention on a token forest. q[T,H,D], k and v[T,G,D] with H a multiple of G; branch b is the nodes
---start[b] to start[b+1]-1 and continues branch parent[b] (-1: a root); both count from 0. A token sees its
---ancestors and itself, at most window of them if window > 0. scale: 1/sqrt(D) if not given; softcap c > 0: scores s
---become c tanh(s / c). Result [T,H,D].
---@param q pofit.Tensor|number|table
---@param k pofit.Tensor|number|table
---@param v pofit.Tensor|number|table
---@param start pofit.Tensor|integer[]
---@param parent pofit.Tensor|integer[]
---@param scale? number
---@param window? integer
---@param softcap? number
---@return pofit.Tensor
function pf.attention(q, k, v, start, parent, scale, window, softcap) end
---Causal attention on a token forest. q[T,H,D], k and v[T,G,D] with H a multiple of G; branch b is the nodes
---start[b] to start[b+1]-1 and continues branch parent[b] (-1: a root); both count from 0. A token sees its
---ancestors and itself, at most window of them if window > 0. scale: 1/sqrt(D) if not given; softcap c > 0: scores s
---become c tanh(s / c). Result [T,H,D].
---@param k pofit.Tensor|number|table
---@param v pofit.Tensor|number|table
---@param start pofit.Tensor|integer[]
---@param parent pofit.Tensor|integer[]
---@param scale? number
---@param window? integer
---@param softcap? number
---@return pofit.Tensor
function Tensor:attention(k, v, start, parent, scale, window, softcap) end
---x and then y along dimension dim (the first if left out); all other sizes must agree.
---@param x pofit.Tensor|number|table
---@param y pofit.Tensor|number|table
---@param dim? integer
---@return pofit.Tensor
function pf.cat(x, y, dim) end
---x and then y along dimension dim (the first if left out); all other sizes must agree.
---@param y pofit.Tensor|number|table
---@param dim? integer
---@return pofit.Tensor
function Tensor:cat(y, dim) end
---x, but not below min and not above max; either may be left out. The gradient is 0 outside.
---@param x pofit.Tensor|number|table
---@param min? number
---@param max? number
---@return pofit.Tensor
function pf.clamp(x, min, max) end
---x, but not below min and not above max; either may be left out. The gradient is 0 outside.
---@param min? number
---@param max? number
---@return pofit.Tensor
function Tensor:clamp(min, max) end
---x copied to row order. x any shape; result the same shape.
---@param x pofit.Tensor|number|table
---@return pofit.Tensor
function pf.contiguous(x) end
---x copied to row order. x any shape; result the same shape.
---@return pofit.Tensor
function Tensor:contiguous() end
---Running sums along dimension dim (the last if left out), each with its own value; result like x. Summed in double.
---@param x pofit.Tensor|number|table
---@param dim? integer
---@return pofit.Tensor
function pf.cumsum(x, dim) end
---Running sums along dimension dim (the last if left out), each with its own value; result like x. Summed in double.
---@param dim? integer
---@return pofit.Tensor
function Tensor:cumsum(dim) end
---x / y, element by element. Sizes equal or 1 (broadcast).
---@param x pofit.Tensor|number|table
---@param y pofit.Tensor|number|table
---@return pofit.Tensor
function pf.div(x, y) end
---x / y, element by element. Sizes equal or 1 (broadcast).
---@param y pofit.Tensor|number|table
---@return pofit.Tensor
function Tensor:div(y) end
---Each element of x is 0 with probability p, else x / (1 - p): drawn from seed, stream and place alone (Srivastava
---et al. 2014). Result like x.
---@param x pofit.Tensor|number|table
---@param p? number
---@param seed? integer
---@param stream? integer
---@return pofit.Tensor
function pf.dropout(x, p, seed, stream) end
---Each element of x is 0 with probability p, else x / (1 - p): drawn from seed, stream and place alone (Srivastava
---et al. 2014). Result like x.
---@param p? number
---@param seed? integer
---@param stream? integer
---@return pofit.Tensor
function Tensor:dropout(p, seed, stream) end
---The rows of w[V, C] that ids[T] name; result [T, C]. An id outside 0..V-1 is an error. w may be a frozen weight in
---a storage type.
---@param w pofit.Tensor|number|table
---@param ids pofit.Tensor|integer[]
---@return pofit.Tensor
function pf.embedding(w, ids) end
---The rows of w[V, C] that ids[T] name; result [T, C]. An id outside 0..V-1 is an error. w may be a frozen weight in
---a storage type.
---@param ids pofit.Tensor|integer[]
---@return pofit.Tensor
function Tensor:embedding(ids) end
---e^x, element by element. x any shape.
---@param x pofit.Tensor|number|table
---@return pofit.Tensor
function pf.exp(x) end
---e^x, element by element. x any shape.
---@return pofit.Tensor
function Tensor:exp() end
---x repeated along its dimensions of size 1, and along new ones in front, to a shape; -1 keeps a size. Shares
---storage with x.
---@param x pofit.Tensor|number|table
---@param shape integer|integer[]
---@return pofit.Tensor
function pf.expand(x, shape) end
---x repeated along its dimensions of size 1, and along new ones in front, to a shape; -1 keeps a size. Shares
---storage with x.
---@param shape integer|integer[]
---@return pofit.Tensor
function Tensor:expand(shape) end
---e^x - 1, accurate for small x. x any shape.
---@param x pofit.Tensor|number|table
---@return pofit.Tensor
function pf.expm1(x) end
---e^x - 1, accurate for small x. x any shape.
---@return pofit.Tensor
function Tensor:expm1() end
---Gaussian error linear unit: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), or with form = exact x/2 (1 + erf(x /
---sqrt 2)). x any shape.
---@param x pofit.Tensor|number|table
---@param form? "tanh"|"exact"
---@return pofit.Tensor
function pf.gelu(x, form) end
---Gaussian error linear unit: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), or with form = exact x/2 (1 + erf(x /
---sqrt 2)). x any shape.
---@param form? "tanh"|"exact"
---@return pofit.Tensor
function Tensor:gelu(form) end
---The rows of x, along its first dimension, that stand at the positions at[K]. x[N, ...]; result [K, ...]. A
---position may come several times.
---@param x pofit.Tensor|number|table
---@param at pofit.Tensor|integer[]
---@return pofit.Tensor
function pf.index(x, at) end
---The rows of x, along its first dimension, that stand at the positions at[K]. x[N, ...]; result [K, ...]. A
---position may come several times.
---@param at pofit.Tensor|integer[]
---@return pofit.Tensor
function Tensor:index(at) end
---(x - mean) / sqrt(variance + eps) * w + b over the last dimension. x[..., C], w[C], b[C] or nothing; result like
---x. The variance divides by C.
---@param x pofit.Tensor|number|table
---@param w pofit.Tensor|number|table
---@param b? pofit.Tensor|number|table
---@param eps? number
---@return pofit.Tensor
function pf.layer_norm(x, w, b, eps) end
---(x - mean) / sqrt(variance + eps) * w + b over the last dimension. x[..., C], w[C], b[C] or nothing; result like
---x. The variance divides by C.
---@param w pofit.Tensor|number|table
---@param b? pofit.Tensor|number|table
---@param eps? number
---@return pofit.Tensor
function Tensor:layer_norm(w, b, eps) end
---Length-desensitised sums of LD-DPO (Liu et al. 2024, arXiv 2409.06411, eq. 9). logp[T]: tokens in order, nats;
---sequence[T]: the sequence of each; partner[B]: the other sequence of each one's pair (itself: none). Tokens within
---the partner's length count 1, those beyond it alpha, 0 to 1. Result [B]. For dpo take it of policy and reference
---alike.
---@param logp pofit.Tensor|number|table
---@param sequence pofit.Tensor|integer[]
---@param partner pofit.Tensor|integer[]
---@param alpha number
---@return pofit.Tensor
function pf.ld_sum(logp, sequence, partner, alpha) end
---Length-desensitised sums of LD-DPO (Liu et al. 2024, arXiv 2409.06411, eq. 9). logp[T]: tokens in order, nats;
---sequence[T]: the sequence of each; partner[B]: the other sequence of each one's pair (itself: none). Tokens within
---the partner's length count 1, those beyond it alpha, 0 to 1. Result [B]. For dpo take it of policy and reference
---alike.
---@param sequence pofit.Tensor|integer[]
---@param partner pofit.Tensor|integer[]
---@param alpha number
---@return pofit.Tensor
function Tensor:ld_sum(sequence, partner, alpha) end
---x w^T + b. x[..., in], w[out, in], b[out] or nothing; result [..., out]. w may be a frozen weight in a storage
---type.
---@param x pofit.Tensor|number|table
---@param w pofit.Tensor|number|table
---@param b? pofit.Tensor|number|table
---@return pofit.Tensor
function pf.linear(x, w, b) end
---x w^T + b. x[..., in], w[out, in], b[out] or nothing; result [..., out]. w may be a frozen weight in a storage
---type.
---@param w pofit.Tensor|number|table
---@param b? pofit.Tensor|number|table
---@return pofit.Tensor
function Tensor:linear(w, b) end
---Natural logarithm, element by element. x any shape.
---@param x pofit.Tensor|number|table
---@return pofit.Tensor
function pf.log(x) end
---Natural logarithm, element by element. x any shape.
---@return pofit.Tensor
function Tensor:log() end
---log(1 + x), accurate for small x. x any shape.
---@param x pofit.Tensor|number|table
---@return pofit.Tensor
function pf.log1p(x) end
---log(1 + x), accurate for small x. x any shape.
---@return pofit.Tensor
function Tensor:log1p() end
---x - log(sum(e^x)) along dimension dim (the last if left out), nats; result like x. Does not overflow.
---@param x pofit.Tensor|number|table
---@param dim? integer
---@return pofit.Tensor
function pf.log_softmax(x, dim) end
---x - log(sum(e^x)) along dimension dim (the last if left out), nats; result like x. Does not overflow.
---@param dim? integer
---@return pofit.Tensor
function Tensor:log_softmax(dim) end
---log(1 / (1 + e^-x)), nats; finite wherever x is. x any shape.
---@param x pofit.Tensor|number|table
---@return pofit.Tensor
function pf.logsigmoid(x) end
---log(1 / (1 + e^-x)), nats; finite wherever x is. x any shape.
---@return pofit.Tensor
function Tensor:logsigmoid() end
---log(sum(e^x)) over dimension dim, or over everything; keep leaves the dimension with size 1. Does not overflow. Of
---nothing it is -infinity.
---@param x pofit.Tensor|number|table
---@param dim? integer
---@param keep? boolean
---@return pofit.Tensor
function pf.logsumexp(x, dim, keep) end
---log(sum(e^x)) over dimension dim, or over everything; keep leaves the dimension with size 1. Does not overflow. Of
---nothing it is -infinity.
---@param dim? integer
---@param keep? boolean
---@return pofit.Tensor
function Tensor:logsumexp(dim, keep) end
---y + scale x a^T b^T: what a low-rank adapter adds to a product (Hu et al. 2021). y[..., out], x[..., in], a[r,
---in], b[out, r]; result like y.
---@param y pofit.Tensor|number|table
---@param x pofit.Tensor|number|table
---@param a pofit.Tensor|number|table
---@param b pofit.Tensor|number|table
---@param scale? number
---@return pofit.Tensor
function pf.lora(y, x, a, b, scale) end
---y + scale x a^T b^T: what a low-rank adapter adds to a product (Hu et al. 2021). y[..., out], x[..., in], a[r,
---in], b[out, r]; result like y.
---@param x pofit.Tensor|number|table
---@param a pofit.Tensor|number|table
---@param b pofit.Tensor|number|table
---@param scale? number
---@return pofit.Tensor
function Tensor:lora(x, a, b, scale) end
---Matrix product of x[M, K] and y[K, N], or of batches [B, M, K] and [B, K, N]; one side may be without B and then
---serves the whole batch.
---@param x pofit.Tensor|number|table
---@param y pofit.Tensor|number|table
---@return pofit.Tensor
function pf.matmul(x, y) end
---Matrix product of x[M, K] and y[K, N], or of batches [B, M, K] and [B, K, N]; one side may be without B and then
---serves the whole batch.
---@param y pofit.Tensor|number|table
---@return pofit.Tensor
function Tensor:matmul(y) end
---The largest value of x over dimension dim, or of everything; keep leaves the dimension with size 1. The gradient
---goes to the first of equal ones. NaN wins. Of nothing it is an error.
---@param x pofit.Tensor|number|table
---@param dim? integer
---@param keep? boolean
---@return pofit.Tensor
function pf.max(x, dim, keep) end
---The largest value of x over dimension dim, or of everything; keep leaves the dimension with size 1. The gradient
---goes to the first of equal ones. NaN wins. Of nothing it is an error.
---@param dim? integer
---@param keep? boolean
---@return pofit.Tensor
function Tensor:max(dim, keep) end
---The larger of x and y, element by element; of two equal ones the gradient goes to x. NaN wins. Sizes equal or 1.
---@param x pofit.Tensor|number|table
---@param y pofit.Tensor|number|table
---@return pofit.Tensor
function pf.maximum(x, y) end
---The larger of x and y, element by element; of two equal ones the gradient goes to x. NaN wins. Sizes equal or 1.
---@param y pofit.Tensor|number|table
---@return pofit.Tensor
function Tensor:maximum(y) end
---Mean of x over dimension dim, or over everything. keep leaves the dimension with size 1. Summed in double. The
---mean of nothing is an error.
---@param x pofit.Tensor|number|table
---@param dim? integer
---@param keep? boolean
---@return pofit.Tensor
function pf.mean(x, dim, keep) end
---Mean of x over dimension dim, or over everything. keep leaves the dimension with size 1. Summed in double. The
---mean of nothing is an error.
---@param dim? integer
---@param keep? boolean
---@return pofit.Tensor
function Tensor:mean(dim, keep) end
---Means of x[T] by group[T], for n groups; result [n]. An empty group is an error that names it. A value whose group
---is the place before the first (0 in Lua, -1 in C) belongs to none. Summed in double.
---@param x pofit.Tensor|number|table
---@param group pofit.Tensor|integer[]
---@param n integer
---@return pofit.Tensor
function pf.mean_by(x, group, n) end
---Means of x[T] by group[T], for n groups; result [n]. An empty group is an error that names it. A value whose group
---is the place before the first (0 in Lua, -1 in C) belongs to none. Summed in double.
---@param group pofit.Tensor|integer[]
---@param n integer
---@return pofit.Tensor
function Tensor:mean_by(group, n) end
---The smallest value of x over dimension dim, or of everything; keep leaves the dimension with size 1. The gradient
---goes to the first of equal ones. NaN wins. Of nothing it is an error.
---@param x pofit.Tensor|number|table
---@param dim? integer
---@param keep? boolean
---@return pofit.Tensor
function pf.min(x, dim, keep) end
---The smallest value of x over dimension dim, or of everything; keep leaves the dimension with size 1. The gradient
---goes to the first of equal ones. NaN wins. Of nothing it is an error.
---@param dim? integer
---@param keep? boolean
---@return pofit.Tensor
function Tensor:min(dim, keep) end
---The smaller of x and y, element by element; of two equal ones the gradient goes to x. NaN wins. Sizes equal or 1.
---@param x pofit.Tensor|number|table
---@param y pofit.Tensor|number|table
---@return pofit.Tensor
function pf.minimum(x, y) end
---The smaller of x and y, element by element; of two equal ones the gradient goes to x. NaN wins. Sizes equal or 1.
---@param y pofit.Tensor|number|table
---@return pofit.Tensor
function Tensor:minimum(y) end
---x * y, element by element. Sizes equal or 1 (broadcast).
---@param x pofit.Tensor|number|table
---@param y pofit.Tensor|number|table
---@return pofit.Tensor
function pf.mul(x, y) end
---x * y, element by element. Sizes equal or 1 (broadcast).
---@param y pofit.Tensor|number|table
---@return pofit.Tensor
function Tensor:mul(y) end
---length values of dimension dim from position start on; a negative start counts from the end. Shares storage with
---x.
---@param x pofit.Tensor|number|table
---@param dim integer
---@param start integer
---@param length integer
---@return pofit.Tensor
function pf.narrow(x, dim, start, length) end
---length values of dimension dim from position start on; a negative start counts from the end. Shares storage with
---x.
---@param dim integer
---@param start integer
---@param length integer
---@return pofit.Tensor
function Tensor:narrow(dim, start, length) end
----x, element by element. x any shape.
---@param x pofit.Tensor|number|table
---@return pofit.Tensor
function pf.neg(x) end
----x, element by element. x any shape.
---@return pofit.Tensor
function Tensor:neg() end
---x ^ y, element by element. Sizes equal or 1 (broadcast). The gradient of y exists where x > 0, and is 0 at x = 0.
---@param x pofit.Tensor|number|table
---@param y pofit.Tensor|number|table
---@return pofit.Tensor
function pf.pow(x, y) end
---x ^ y, element by element. Sizes equal or 1 (broadcast). The gradient of y exists where x > 0, and is 0 at x = 0.
---@param y pofit.Tensor|number|table
---@return pofit.Tensor
function Tensor:pow(y) end
---x where it is above 0, else 0; the gradient at 0 is 0. x any shape.
---@param x pofit.Tensor|number|table
---@return pofit.Tensor
function pf.relu(x) end
---x where it is above 0, else 0; the gradient at 0 is 0. x any shape.
---@return pofit.Tensor
function Tensor:relu() end
---The same values in another shape; one size may be -1. Shares storage with x.
---@param x pofit.Tensor|number|table
---@param shape integer|integer[]
---@return pofit.Tensor
function pf.reshape(x, shape) end
---The same values in another shape; one size may be -1. Shares storage with x.
---@param shape integer|integer[]
---@return pofit.Tensor
function Tensor:reshape(shape) end
---x / sqrt(mean(x^2) + eps) * (w + offset), the mean over the last dimension, offset 0 if not given. x[..., C],
---w[C]; result like x.
---@param x pofit.Tensor|number|table
---@param w pofit.Tensor|number|table
---@param eps? number
---@param offset? number
---@return pofit.Tensor
function pf.rms_norm(x, w, eps, offset) end
---x / sqrt(mean(x^2) + eps) * (w + offset), the mean over the last dimension, offset 0 if not given. x[..., C],
---w[C]; result like x.
---@param w pofit.Tensor|number|table
---@param eps? number
---@param offset? number
---@return pofit.Tensor
function Tensor:rms_norm(w, eps, offset) end
---Rotary position embedding, the layout of Hugging Face's Llama. x[T, H, D], position[T]: channels j and j + R/2
---turn by position * base^(-2j/R) with R = D, or by position * inv_freq[j] with inv_freq[R/2] and R <= D, and are
---multiplied by factor; channels from R on stay as they are.
---@param x pofit.Tensor|number|table
---@param position pofit.Tensor|integer[]
---@param base? number
---@param inv_freq? pofit.Tensor|number|table
---@param factor? number
---@return pofit.Tensor
function pf.rope(x, position, base, inv_freq, factor) end
---Rotary position embedding, the layout of Hugging Face's Llama. x[T, H, D], position[T]: channels j and j + R/2
---turn by position * base^(-2j/R) with R = D, or by position * inv_freq[j] with inv_freq[R/2] and R <= D, and are
---multiplied by factor; channels from R on stay as they are.
---@param position pofit.Tensor|integer[]
---@param base? number
---@param inv_freq? pofit.Tensor|number|table
---@param factor? number
---@return pofit.Tensor
function Tensor:rope(position, base, inv_freq, factor) end
---Angles of a rotary position embedding, to turn many tensors by: cosines and sines [2, T, R/2] of position[T] *
---inv_freq[R/2], times factor. No gradient.
---@param inv_freq pofit.Tensor|number|table
---@param position pofit.Tensor|integer[]
---@param factor? number
---@return pofit.Tensor
function pf.rope_angles(inv_freq, position, factor) end
---Rotary position embedding by given angles[2, T, R/2], as rope_angles makes them: channels j and j + R/2 of x[T, H,
---D] turn; channels from R on stay as they are.
---@param x pofit.Tensor|number|table
---@param angles pofit.Tensor|number|table
---@return pofit.Tensor
function pf.rope_turn(x, angles) end
---Rotary position embedding by given angles[2, T, R/2], as rope_angles makes them: channels j and j + R/2 of x[T, H,
---D] turn; channels from R on stay as they are.
---@param angles pofit.Tensor|number|table
---@return pofit.Tensor
function Tensor:rope_turn(angles) end
---1 / (1 + e^-x), element by element. x any shape.
---@param x pofit.Tensor|number|table
---@return pofit.Tensor
function pf.sigmoid(x) end
---1 / (1 + e^-x), element by element. x any shape.
---@return pofit.Tensor
function Tensor:sigmoid() end
---x / (1 + e^-x), element by element. x any shape.
---@param x pofit.Tensor|number|table
---@return pofit.Tensor
function pf.silu(x) end
---x / (1 + e^-x), element by element. x any shape.
---@return pofit.Tensor
function Tensor:silu() end
---cap tanh(x / cap): x, held softly within -cap to cap. x any shape.
---@param x pofit.Tensor|number|table
---@param cap number
---@return pofit.Tensor
function pf.softcap(x, cap) end
---cap tanh(x / cap): x, held softly within -cap to cap. x any shape.
---@param cap number
---@return pofit.Tensor
function Tensor:softcap(cap) end
---e^x / sum(e^x) along dimension dim (the last if left out); result like x. Does not overflow.
---@param x pofit.Tensor|number|table
---@param dim? integer
---@return pofit.Tensor
function pf.softmax(x, dim) end
---e^x / sum(e^x) along dimension dim (the last if left out); result like x. Does not overflow.
---@param dim? integer
---@return pofit.Tensor
function Tensor:softmax(dim) end
---log(1 + e^x); finite wherever x is. x any shape.
---@param x pofit.Tensor|number|table
---@return pofit.Tensor
function pf.softplus(x) end
---log(1 + e^x); finite wherever x is. x any shape.
---@return pofit.Tensor
function Tensor:softplus() end
---Square root, element by element. x any shape.
---@param x pofit.Tensor|number|table
---@return pofit.Tensor
function pf.sqrt(x) end
---Square root, element by element. x any shape.
---@return pofit.Tensor
function Tensor:sqrt() end
---x - y, element by element. Sizes equal or 1 (broadcast).
---@param x pofit.Tensor|number|table
---@param y pofit.Tensor|number|table
---@return pofit.Tensor
function pf.sub(x, y) end
---x - y, element by element. Sizes equal or 1 (broadcast).
---@param y pofit.Tensor|number|table
---@return pofit.Tensor
function Tensor:sub(y) end
---Sum of x over dimension dim, or over everything. keep leaves the dimension with size 1. Summed in double. An empty
---sum is 0.
---@param x pofit.Tensor|number|table
---@param dim? integer
---@param keep? boolean
---@return pofit.Tensor
function pf.sum(x, dim, keep) end
---Sum of x over dimension dim, or over everything. keep leaves the dimension with size 1. Summed in double. An empty
---sum is 0.
---@param dim? integer
---@param keep? boolean
---@return pofit.Tensor
function Tensor:sum(dim, keep) end
---Sums of x[T] by group[T], for n groups; result [n]. An empty group sums to 0. A value whose group is the place
---before the first (0 in Lua, -1 in C) belongs to none. Summed in double.
---@param x pofit.Tensor|number|table
---@param group pofit.Tensor|integer[]
---@param n integer
---@return pofit.Tensor
function pf.sum_by(x, group, n) end
---Sums of x[T] by group[T], for n groups; result [n]. An empty group sums to 0. A value whose group is the place
---before the first (0 in Lua, -1 in C) belongs to none. Summed in double.
---@param group pofit.Tensor|integer[]
---@param n integer
---@return pofit.Tensor
function Tensor:sum_by(group, n) end
---silu(gate) * up = gate / (1 + e^-gate) * up. Both of one shape, the result too.
---@param gate pofit.Tensor|number|table
---@param up pofit.Tensor|number|table
---@return pofit.Tensor
function pf.swiglu(gate, up) end
---silu(gate) * up = gate / (1 + e^-gate) * up. Both of one shape, the result too.
---@param up pofit.Tensor|number|table
---@return pofit.Tensor
function Tensor:swiglu(up) end
---Hyperbolic tangent, element by element. x any shape.
---@param x pofit.Tensor|number|table
---@return pofit.Tensor
function pf.tanh(x) end
---Hyperbolic tangent, element by element. x any shape.
---@return pofit.Tensor
function Tensor:tanh() end
---Log-probability of token target[e] under softmax(h[node[e]] w^T), nats; with softcap c > 0 the logits z become c
---tanh(z / c) first. h[T,C], w[V,C], node[E], target[E]; result [E].
---@param h pofit.Tensor|number|table
---@param w pofit.Tensor|number|table
---@param node pofit.Tensor|integer[]
---@param target pofit.Tensor|integer[]
---@param softcap? number
---@return pofit.Tensor
function pf.token_logp(h, w, node, target, softcap) end
---Log-probability of token target[e] under softmax(h[node[e]] w^T), nats; with softcap c > 0 the logits z become c
---tanh(z / c) first. h[T,C], w[V,C], node[E], target[E]; result [E].
---@param w pofit.Tensor|number|table
---@param node pofit.Tensor|integer[]
---@param target pofit.Tensor|integer[]
---@param softcap? number
---@return pofit.Tensor
function Tensor:token_logp(w, node, target, softcap) end
---For each entry of token_logp: entropy in nats, 1 if the target is the likeliest token, mean logit, log of the sum
---of squared probabilities; softcap as there. h[T,C], w[V,C], node[E], target[E]; result [E,4], constant.
---@param h pofit.Tensor|number|table
---@param w pofit.Tensor|number|table
---@param node pofit.Tensor|integer[]
---@param target pofit.Tensor|integer[]
---@param softcap? number
---@return pofit.Tensor
function pf.token_stats(h, w, node, target, softcap) end
---For each entry of token_logp: entropy in nats, 1 if the target is the likeliest token, mean logit, log of the sum
---of squared probabilities; softcap as there. h[T,C], w[V,C], node[E], target[E]; result [E,4], constant.
---@param w pofit.Tensor|number|table
---@param node pofit.Tensor|integer[]
---@param target pofit.Tensor|integer[]
---@param softcap? number
---@return pofit.Tensor
function Tensor:token_stats(w, node, target, softcap) end
---x with dimensions dim1 and dim2 (the last two if left out) exchanged. Shares storage with x.
---@param x pofit.Tensor|number|table
---@param dim1? integer
---@param dim2? integer
---@return pofit.Tensor
function pf.transpose(x, dim1, dim2) end
---x with dimensions dim1 and dim2 (the last two if left out) exchanged. Shares storage with x.
---@param dim1? integer
---@param dim2? integer
---@return pofit.Tensor
function Tensor:transpose(dim1, dim2) end
---x where mask is not 0, y where it is; sizes equal or 1 (broadcast).
---@param mask pofit.Tensor|number|table
---@param x pofit.Tensor|number|table
---@param y pofit.Tensor|number|table
---@return pofit.Tensor
function pf.where(mask, x, y) end
pf.loss = {}
---@class pofit.loss.advantage
---@field logp pofit.Tensor|number|table
---@field step pofit.Tensor|integer[]
---@field advantage pofit.Tensor|number|table
---@field temperature number
---@field w_max? number
---@field sequences? integer
---@field reduction? "mean"|"none"
---Per-step advantage, weighted form. logp[T]: log-probabilities of tokens in nats. step[T]: the token's place in
---advantage (from 0 in C, from 1 in Lua; -1 in C, 0 in Lua: outside any step, not trained). advantage[S]: Q after
---the step minus Q before it, constant. sequences: how many solutions the batch holds. The pair form is dpo on the
---sums of two steps that follow the same prefix. Result: one value.
---Formula: -(1/sequences) sum_t w_step(t) logp_t, w = min(e^(advantage/temperature), w_max)
---Source: Setlur et al. 2024, arXiv 2406.14532, section 6 (advantage-weighted form of theorem 6.1)
---@param args pofit.loss.advantage
---@return pofit.Tensor, table<string, number>
function pf.loss.advantage(args) end
---@class pofit.loss.align
---@field positive pofit.Tensor|number|table
---@field negative pofit.Tensor|number|table
---@field constraint? "boundary"|"detached"|"none"
---@field beta? number
---@field detach_T? boolean
---@field reduction? "mean"|"none"
---Alignment fine-tuning of one question. positive[P], negative[N]: scores s_p of right and s_n of wrong answers,
---mean log-probabilities per token in nats. boundary stops pushing a wrong answer down once it is beta below the
---weakest right one; T is constant unless detach_T is false. Without right or without wrong answers the loss is 0.
---The paper adds the nll of the reference answer. Result: one value.
---Formula: log(1 + sum_p sum_n [e^(s_n - s_p) + e^(T_p - s_n)]), T_p = 2 min s_p - 2 beta - s_p
---Source: Wang et al. 2023 (AFT), arXiv 2309.02144, section 4.3; none: the first term; detached: the first term, s_n
---constant
---@param args pofit.loss.align
---@return pofit.Tensor, table<string, number>
function pf.loss.align(args) end
---@class pofit.loss.bco
---@field policy pofit.Tensor|number|table
---@field ref pofit.Tensor|number|table
---@field label pofit.Tensor|number|table
---@field weight? pofit.Tensor|number|table
---@field beta? number
---@field delta? number
---@field reduction? "mean"|"none"
---Binary classifier optimisation of single rows. policy[N], ref[N]: log-probabilities in nats, summed over the
---completion. label[N]: 1 desirable, 0 not. delta: running mean of the rewards r, this batch included, kept by the
---caller; constant. weight[N]: constant factors (density ratio of the undesirable rows, TRL clips it to 0.5..10, 1
---for the desirable). Result [N].
---Formula: desirable: -log s(r - delta); undesirable: -log s(delta - r); r = beta (policy - ref)
---Source: Jung et al. 2024, arXiv 2404.04656, eq. 9; TRL BCOTrainer
---@param args pofit.loss.bco
---@return pofit.Tensor, table<string, number>
function pf.loss.bco(args) end
---@class pofit.loss.cpo
---@field policy_chosen pofit.Tensor|number|table
---@field policy_rejected pofit.Tensor|number|table
---@field nll? pofit.Tensor|number|table
---@field beta? number
---@field variant? "sigmoid"|"hinge"|"ipo"
---@field label_smoothing? number
---@field cpo_alpha? number
---@field reduction? "mean"|"none"
---Contrastive preference optimisation, without a reference. policy_chosen[N], policy_rejected[N]: log-probabilities
---in nats, summed over the completion (variant ipo: means per token). variant hinge: max(0, 1 - beta x), ipo: (x -
---1/(2 beta))^2 with x the difference. nll[N], or one value for the batch: negative log-likelihood per token of the
---chosen completion; of a third, gold answer it is TPO. label_smoothing: of variant sigmoid. Result [N].
---Formula: -log s(beta (policy_chosen - policy_rejected)) + cpo_alpha nll
---Source: Xu et al. 2024, arXiv 2401.08417, eq. 3-5; TRL CPOTrainer
---@param args pofit.loss.cpo
---@return pofit.Tensor, table<string, number>
function pf.loss.cpo(args) end
---@class pofit.loss.dpo
---@field policy_chosen pofit.Tensor|number|table
---@field policy_rejected pofit.Tensor|number|table
---@field ref_chosen? pofit.Tensor|number|table
---@field ref_rejected? pofit.Tensor|number|table
---@field len_chosen? pofit.Tensor|number|table
---@field len_rejected? pofit.Tensor|number|table
---@field weight? pofit.Tensor|number|table
---@field beta? number
---@field variant? "sigmoid"|"hinge"|"ipo"|"exo_pair"|"nca_pair"|"robust"|"bco_pair"|"sppo_hard"|"aot"|"aot_unpaired"|"apo_zero"|"apo_down"|"discopop"|"sft"|"sigmoid_norm"|"cdpo"|"ipo_sum"
---@field label_smoothing? number
---@field tau? number
---@field f_divergence? "reverse_kl"|"forward_kl"|"js_divergence"|"alpha_divergence"
---@field alpha? number
---@field reduction? "mean"|"none"
---Direct preference optimisation. policy_chosen[N], policy_rejected[N], ref_chosen[N], ref_rejected[N]:
---log-probabilities of N pairs in nats, summed over the completion; the reference is constant and may be left out
---(0). variant is TRL's loss_type (semantics of TRL 1.10), or cdpo (sigmoid with label smoothing) or ipo_sum (ipo
---without averaging). len_chosen[N], len_rejected[N]: tokens; ipo and sigmoid_norm divide scores by them, sft
---averages over the batch's tokens. label_smoothing: for cdpo, exo_pair, robust, aot, aot_unpaired. tau: of
---discopop. f_divergence, alpha: S(l) is l, -exp(-l), log s(l) or exp((alpha - 1) l) / (alpha - 1), exponents at
---most 80; aot, aot_unpaired, apo_zero, apo_down's first term and sft use l itself. weight[N]: constant factors of
---the pairs (WPO). Result [N]; for aot one value a slot of the sorted batch. Per-step preferences: pass sums over
---the steps that follow the same prefix. LD-DPO: pass sums made by ld_sum.
---Formula: -log s(u), u = beta (sc - sr), sc = S(lc), lc = policy_chosen - ref_chosen; sr likewise of rejected.
---hinge: max(0, 1 - u); ipo: (sc/len_c - sr/len_r - 1/(2 beta))^2; ipo_sum: without lengths; cdpo: (1-e) f(u) + e
---f(-u), f = -log s; robust: ((1-e) f(u) - e f(-u)) / (1-2e); exo_pair: s(u) (log s(u) - log(1-e)) + s(-u) (log
---s(-u) - log e); nca_pair: f(beta sc) + f(-beta sc)/2 + f(-beta sr)/2; bco_pair: f(beta sc) + f(-beta sr);
---sppo_hard: (sc - 1/(2 beta))^2 + (sr + 1/(2 beta))^2; apo_zero: s(-beta lc) + s(beta lr); apo_down: s(beta lc) +
---s(-u); discopop: (1-m) f(u) + m e^-u, m = s(u/tau); sigmoid_norm: f(beta (sc/len_c - sr/len_r)); aot: cdpo of
---sorted policy_chosen - policy_rejected against sorted ref_chosen - ref_rejected; aot_unpaired: of sorted lc
---against sorted lr; sft: -policy_chosen / mean len_c
---Source: Rafailov et al. 2023, arXiv 2305.18290, eq. 7; variants: TRL 1.10 DPOTrainer loss_type; cdpo, ipo_sum: the
---DPO authors' trainers.py; f-divergences: Wang et al. 2023, arXiv 2309.16240
---@param args pofit.loss.dpo
---@return pofit.Tensor, table<string, number>
function pf.loss.dpo(args) end
---@class pofit.loss.kto
---@field policy pofit.Tensor|number|table
---@field ref pofit.Tensor|number|table
---@field label pofit.Tensor|number|table
---@field kl? pofit.Tensor|number|table
---@field beta? number
---@field weight_desirable? number
---@field weight_undesirable? number
---@field reduction? "mean"|"none"
---Kahneman-Tversky optimisation of single rows. policy[N], ref[N]: log-probabilities in nats, summed over the
---completion. label[N]: 1 desirable, 0 not. kl: one value, the mean of policy - ref over completions that belong to
---other prompts; clamped at 0 here, constant; left out it is 0, which is TRL's apo_zero_unpaired. Result [N].
---Formula: desirable: w_D (1 - s(beta (l - z))); undesirable: w_U (1 - s(beta (z - l))); l = policy - ref, z =
---max(0, kl)
---Source: Ethayarajh et al. 2024, arXiv 2402.01306, eq. 7; TRL KTOTrainer
---@param args pofit.loss.kto
---@return pofit.Tensor, table<string, number>
function pf.loss.kto(args) end
---@class pofit.loss.mml
---@field logp pofit.Tensor|number|table
---@field beta? number
---@field reduction? "mean"|"none"
---Maximum marginal likelihood of K right solutions of one question. logp[K]: log-probabilities in nats, summed over
---the solution. beta 1 is MML; a smaller one spreads the weight over the solutions. Result: one value.
---Formula: -(1/beta) log sum_i e^(beta logp_i)
---Source: Ni et al. 2023, arXiv 2205.14318, section 3.3
---@param args pofit.loss.mml
---@return pofit.Tensor, table<string, number>
function pf.loss.mml(args) end
---@class pofit.loss.nll
---@field logp pofit.Tensor|number|table
---@field weight? pofit.Tensor|number|table
---@field reduction? "mean"|"none"
---Negative log-likelihood. logp[N]: log-probabilities in nats; of tokens for the mean over all tokens of the batch,
---or means per sequence for the mean over sequences. weight[N]: constant factors, may be negative; the mean is over
---N whatever their sum. Result [N].
---Formula: -weight logp
---Source: maximum likelihood
---@param args pofit.loss.nll
---@return pofit.Tensor, table<string, number>
function pf.loss.nll(args) end
---@class pofit.loss.orpo
---@field policy_chosen pofit.Tensor|number|table
---@field policy_rejected pofit.Tensor|number|table
---@field nll? pofit.Tensor|number|table
---@field beta? number
---@field reduction? "mean"|"none"
---Odds ratio preference optimisation, without a reference. policy_chosen[N], policy_rejected[N]: mean
---log-probabilities per token in nats, at most 0; beyond -1e-6 the odds stop growing. nll[N], or one value for the
---batch: negative log-likelihood per token of the chosen row (TRL: prompt and completion); left out it is
----policy_chosen. Result [N].
---Formula: nll - beta log s(logit(e^policy_chosen) - logit(e^policy_rejected))
---Source: Hong et al. 2024, arXiv 2403.07691, eq. 4-7 (beta is the paper's lambda); TRL ORPOTrainer
---@param args pofit.loss.orpo
---@return pofit.Tensor, table<string, number>
function pf.loss.orpo(args) end
---@class pofit.loss.pro
---@field scores pofit.Tensor|number|table
---@field rewards pofit.Tensor|number|table
---@field reduction? "mean"|"none"
---Preference ranking optimisation: the ranking term, of K candidates of one question in any order. scores[K]: mean
---log-probabilities per token in nats. rewards[K]: constant. The paper adds the nll of the best candidate. Result:
---one value.
---Formula: sum_k log(e^(s_k t_k) + sum_{j>k} e^(s_j t_kj)) - s_k t_k, best first, t_kj = r_k - r_j, t_k = max_j t_kj
---Source: Song et al. 2023, arXiv 2306.17492, eq. 7-8, and its code
---@param args pofit.loss.pro
---@return pofit.Tensor, table<string, number>
function pf.loss.pro(args) end
---@class pofit.loss.rank
---@field scores pofit.Tensor|number|table
---@field ranks? pofit.Tensor|number|table
---@field constraint? "boundary"|"detached"|"none"
---@field beta? number
---@field detach_T? boolean
---@field reduction? "mean"|"none"
---Alignment fine-tuning on a ranking of K answers of one question. scores[K]: mean log-probabilities per token in
---nats. ranks[K]: 1 is best, equal ranks are not compared; left out, the answers stand best first. constraint, beta,
---detach_T: as in align. Result: one value.
---Formula: log(1 + sum over i better than j of [e^(s_j - s_i) + e^(T_ij - s_j)]), T_ij = 2 min_{l better than j} s_l
---- 2 beta - s_i
---Source: Wang et al. 2023 (AFT), arXiv 2309.02144, ranking version, rebuilt so that two classes give align
---@param args pofit.loss.rank
---@return pofit.Tensor, table<string, number>
function pf.loss.rank(args) end
---@class pofit.loss.rrhf
---@field scores pofit.Tensor|number|table
---@field rewards pofit.Tensor|number|table
---@field reduction? "mean"|"none"
---Rank responses to align: the ranking term, of K candidates of one question. scores[K]: mean log-probabilities per
---token in nats. rewards[K]: constant; equal rewards make no pair. The paper adds the nll of the best candidate.
---Result: one value.
---Formula: sum over rewards_j > rewards_i of max(0, scores_i - scores_j)
---Source: Yuan et al. 2023, arXiv 2304.05302, eq. 2-3, and its code
---@param args pofit.loss.rrhf
---@return pofit.Tensor, table<string, number>
function pf.loss.rrhf(args) end
---@class pofit.loss.rwr
---@field logp pofit.Tensor|number|table
---@field reward pofit.Tensor|number|table
---@field prompt? pofit.Tensor|integer[]
---@field temperature? number
---@field mode? "plain"|"adv"|"center"
---@field clip? boolean
---@field reduction? "mean"|"none"
---Reward-weighted regression. logp[N]: mean log-probabilities per token in nats (RISE: of the last turn). reward[N]:
---constant. prompt[N]: which prompt a row belongs to; the means of adv and center run over its rows. clip: center's
---negative weights become 0. Exponents at most 80. The mean is over N, weights are not normalised. Result [N].
---Formula: -w logp; plain: w = e^(reward/temperature), adv: e^((reward - mean)/temperature), center:
---e^(reward/temperature) - mean of that
---Source: Qu et al. 2024 (RISE), arXiv 2407.18219, and its code (plain, temperature 0.4)
---@param args pofit.loss.rwr
---@return pofit.Tensor, table<string, number>
function pf.loss.rwr(args) end
---@class pofit.loss.simpo
---@field policy_chosen pofit.Tensor|number|table
---@field policy_rejected pofit.Tensor|number|table
---@field beta? number
---@field gamma? number
---@field alpha? number
---@field reduction? "mean"|"none"
---Simple preference optimisation, without a reference. policy_chosen[N], policy_rejected[N]: mean log-probabilities
---per token in nats. gamma shifts the logit: the reward gap asked for is gamma / beta in nats per token. alpha:
---AlphaPO's shape, 0 is SimPO. Result [N].
---Formula: -log s(beta (f(policy_chosen) - f(policy_rejected)) - gamma), f(s) = s or (1 - e^(-alpha s)) / alpha
---Source: Meng et al. 2024, arXiv 2405.14734, eq. 6; alpha: Gupta et al. 2025 (AlphaPO), arXiv 2501.03884; TRL
---CPOTrainer loss_type simpo
---@param args pofit.loss.simpo
---@return pofit.Tensor, table<string, number>
function pf.loss.simpo(args) end
return pf

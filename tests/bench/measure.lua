-- How each one that `make bench` measures is started for a work: measure[who](work) returns a session (ask, close) and
-- its first figures, or nil and what is missing.
local pf = require "pofit"
local here = debug.getinfo(1, "S").source:match "^@(.*/)" or ""
local session, material = dofile(here .. "session.lua"), dofile(here .. "material.lua")

--- opt: dir, layers, threads; program: the pofit to measure.
return function(opt, program)
  local python, preload = os.getenv "POFIT_BENCH_PYTHON" or "python3", os.getenv "POFIT_BENCH_PRELOAD"
  local llama = os.getenv "POFIT_BENCH_LLAMA"
  local build = program:match "^(.*)/" or "."
  local measure = {}

  local function make(work)
    if work.kind == "tokenise" then material.tokenizer(opt.dir) end
    material.model(opt.dir, work, opt.layers)
    collectgarbage()
  end

  --- The pages of a work's model leave memory: who reads it next waits for the disk.
  function measure.forget(work)
    local file = "if=" .. material.model(opt.dir, work, opt.layers) .. "/model.safetensors"
    assert(session.run({ "dd", file, "iflag=nocache", "count=0" }, opt.dir))
  end

  -- ---- pofit ----

  local own = {}

  -- so many starts of a command that says what memory it took
  local function starts(times, words)
    return session.command(function()
      local start, peak = pf.sys.clock(), 0
      for _ = 1, times do
        local out, why = session.run(words, opt.dir)
        if not out then return nil, why end
        peak = math.max(peak, session.peak(out))
      end
      return { seconds = (pf.sys.clock() - start) / times, peak = peak }
    end)
  end

  function own.startup()
    return starts(10, { program, "-e", "for l in io.lines '/proc/self/status' do print(l) end" })
  end

  function own.program()
    local words = { build .. "/examples/embed" }
    local out, peak = session.watch(words, opt.dir)
    if not out then return nil, peak end
    return session.command(function()
      local start = pf.sys.clock()
      local ok, why = session.run(words, opt.dir)
      return ok and { seconds = pf.sys.clock() - start, peak = peak }, why
    end)
  end

  function own.size(work)
    local stripped = opt.dir .. "/stripped"
    return session.command(function()
      local ok, why = session.run({ "strip", "-o", stripped, build .. "/" .. work.file }, opt.dir)
      return ok and { bytes = pf.sys.size(stripped) }, why
    end)
  end

  function measure.pofit(work)
    if own[work.kind] then return own[work.kind](work) end
    make(work) -- here: what that takes is not the worker's
    return session.worker({ program, here .. "ours.lua", "--work", work.name, "--dir", opt.dir, "--layers", opt.layers,
      "--threads", opt.threads }, opt.dir)
  end

  -- ---- the peers ----

  local function job(work)
    local path, text = ("%s/%s.json"):format(opt.dir, work.name:gsub("[^%w]+", "-")), nil
    if work.kind == "tokenise" then
      text = opt.dir .. "/text"
      pf.sys.write(text, table.concat(material.text(work.megabytes), "\n"))
    end
    pf.sys.write(path, pf.json.encode { work = work, rows = material.rows(work), threads = opt.threads,
      model = material.model(opt.dir, work, opt.layers), text = text,
      tokenizer = text and material.tokenizer(opt.dir) })
    return path
  end

  local function with_python(who, environment)
    return function(work)
      if work.kind == "startup" then
        return starts(1, { python, "-c", "import trl; trl.DPOTrainer; print(open('/proc/self/status').read())" })
      end
      return session.worker({ "env", environment or "POFIT=", python, here .. "peer.py", who, job(work) }, opt.dir)
    end
  end
  measure.trl, measure.torch = with_python "trl", with_python "torch"
  measure.tuned = with_python("tuned", preload and "LD_PRELOAD=" .. preload)

  -- generation alone: its prompt is 8 tokens, of which the others' figures hold the time too
  function measure.llama(work)
    if not llama then return nil, "POFIT_BENCH_LLAMA is not set" end
    local model = material.model(opt.dir, work, opt.layers)
    local gguf = model .. ".gguf"
    if not pf.sys.exists(gguf) then
      local ok, why = session.run({ program, "convert", model, "--out", gguf }, opt.dir)
      if not ok then return nil, why end
    end
    return session.command(function()
      local out, peak = session.watch({ "env", "LD_LIBRARY_PATH=" .. llama, llama .. "/llama-batched-bench", "-m", gguf,
        "-c", work.answers * (work.prompt + work.answer), "-npp", work.prompt, "-ntg", work.answer,
        "-npl", work.answers, "--output-format", "jsonl", "-t", opt.threads > 0 and opt.threads or 2 }, opt.dir)
      if not out then return nil, peak end
      local figures = pf.json.decode(out:match '\n({"[^\n]*t_tg[^\n]*})' or out:match '^{"[^\n]*}')
      return { seconds = figures.t_tg, peak = peak, result = work.answers * work.answer }
    end)
  end

  return measure
end

#!/usr/bin/env python3
"""LoRA files that pofit writes, read by llama.cpp: the base as GGUF with the adapter against our merged model; then
random adapters on the models of families.json, whose base pofit writes as GGUF too.

Where a family has GELU, what is left is llama.cpp's: it takes GELU from a table of float16, and for gpt_neox its tanh form
where the models have the exact one. Shown with llama.cpp of llama-cpp-python 0.3.36: logits of gemma, gpt2 and gpt_neox are
3.6e-4, 1.5e-3 and 7.3e-4 apart; without "#define GGML_GELU_FP16" in ggml/src/ggml-cpu/vec.h 1.4e-6, 5.7e-7 and 6.4e-4; with
erff for tanhf in its ggml_gelu_f32 as well, gpt_neox 7.2e-7.

needs   llama.cpp built as shared libraries (LLAMA_CPP names its directory), a C compiler, build/pofit, and the model
        stories260K as Hugging Face directory and as GGUF (POFIT_TESTDATA)
run     LLAMA_CPP=... POFIT_TESTDATA=... python3 tests/golden/compare_llama_cpp.py
"""
import json, os, pathlib, subprocess, sys, tempfile

import numpy as np
from safetensors.numpy import save_file

from compare_families import noise

HERE = pathlib.Path(__file__).resolve().parent
POFIT = HERE.parent.parent / "build/pofit"
LLAMA = pathlib.Path(os.environ["LLAMA_CPP"])
STORIES = pathlib.Path(os.environ["POFIT_TESTDATA"]) / "data/stories260K"
COUNT = 60
CASES = {
    "all-linear": "{rank = 4, alpha = 8}",
    "rslora": "{rank = 3, alpha = 5, rslora = true, targets = {'q_proj', 'k_proj'}}",
    "patterns": "{rank = 2, alpha = 2, rank_pattern = {['down_proj'] = 5}, alpha_pattern = {['k_proj'] = 7}}",
}
LUA = """
local pf = require "pofit"
local m = pf.model.load(arg[1]):adapt(%s)
local tok = m.tokenizer
local rows = { "Once upon a time, the cat ate a dog. The end.", "A tree was sad. It had no leaves, so it sang a song." }
pf.train { model = m, steps = 8, batch = 2, lr = 5e-3, quiet = true, data = { n = 2, batch = function(_, which)
  local list = {}
  for i, k in ipairs(which) do list[i] = { ids = tok:encode(rows[k]) } end
  return pf.batch(nil, list) end },
  loss = function(model, batch) return pf.loss.nll { logp = model:logp(batch) } end }
m:save_adapter(arg[2])
local prompt = tok:encode("Once upon a time")
local opts = { temperature = 0, max_tokens = %d, stop_ids = {} }
local before = pf.model.load(arg[1]):generate(prompt, opts)[1][1]
m:merge()
local logits = pf.no_grad(function() return m:logits(prompt) end)
local got = m:generate(prompt, opts)[1][1]
print(pf.json.encode { prompt = prompt, logits = logits[#prompt]:totable(), ids = got.ids, text = got.text,
  base = before.text })
"""


FAMILIES = ("llama_linear", "qwen2", "qwen3", "llama_llama3", "gemma", "phi3_long", "gpt2", "gpt_neox")
LUA_FAMILY = """
local pf = require "pofit"
local ids = pf.json.decode(arg[2])
pf.model.load(arg[1]):save(arg[1] .. "/base.gguf")
local m = pf.model.load(arg[1])
local function last() return m:logits(ids)[#ids]:totable() end
local base = pf.no_grad(last)
m:adapt { rank = 2, alpha = 3, init = false }:save_adapter(arg[1] .. "/lora.gguf")
print(pf.json.encode { base = base, with = pf.no_grad(last) })
"""


def compare_family(tool, name, figures):
    ids = figures["ids"]
    with tempfile.TemporaryDirectory() as tmp:
        case, tmp = figures["cases"][name], pathlib.Path(tmp)
        (tmp / "config.json").write_text(json.dumps(case["config"]))
        save_file({t["name"]: (t["middle"] + t["spread"] * noise(k, int(np.prod(t["shape"])))).astype(np.float32)
                   .reshape(t["shape"]) for k, t in enumerate(case["tensors"])}, tmp / "model.safetensors")
        (tmp / "a.lua").write_text(LUA_FAMILY)
        out = subprocess.run([POFIT, tmp / "a.lua", tmp, json.dumps(ids)], capture_output=True, text=True)
        if "GGUF file is not written" in out.stderr:
            return print(f"{name:10} base not written: {out.stderr.strip().split('a.lua:4: ')[-1]}")
        assert out.returncode == 0, out.stderr
        ours = {k: np.array(v) for k, v in json.loads(out.stdout).items()}
        out = subprocess.run([tool, tmp / "base.gguf", tmp / "lora.gguf", "1", *map(str, ids)], capture_output=True, text=True)
        assert out.returncode == 0, out.stderr
        theirs = np.array([float(x) for x in out.stdout.splitlines()[0].split()])
    far, moved = np.abs(theirs - ours["with"]).max(), np.abs(ours["with"] - ours["base"]).max()
    print(f"{name:10} logits apart {far:.1e}, the adapter moves them by {moved:.2f}")
    return far > 1e-2 * moved


def main():
    with tempfile.TemporaryDirectory() as tmp:
        tool, lib = f"{tmp}/tool", LLAMA / "build/bin"
        subprocess.run(["cc", HERE / "compare_llama_cpp.c", f"-I{LLAMA}/include", f"-I{LLAMA}/ggml/include", f"-L{lib}",
                        f"-Wl,-rpath,{lib}", "-lllama", "-lggml", "-lggml-base", "-lggml-cpu", "-o", tool], check=True)
        bad = False
        for case, options in CASES.items():
            pathlib.Path(f"{tmp}/a.lua").write_text(LUA % (options, COUNT))
            out = subprocess.run([POFIT, f"{tmp}/a.lua", STORIES, f"{tmp}/a.gguf"], check=True, capture_output=True, text=True)
            ours = json.loads(out.stdout)
            out = subprocess.run([tool, STORIES / "stories260K.gguf", f"{tmp}/a.gguf", str(len(ours["ids"])),
                                  *map(str, ours["prompt"])], check=True, capture_output=True, text=True)
            logits, ids = out.stdout.splitlines()
            far = max(abs(a - float(b)) for a, b in zip(ours["logits"], logits.split()))
            same = ours["ids"] == [int(i) for i in ids.split()]
            print(f"{case:10} logits apart {far:.1e}  greedy {len(ours['ids'])} tokens {'equal' if same else 'DIFFER'}: "
                  f"{ours['text'][:60]!r} (base: {ours['base'][:40]!r})")
            bad = bad or not same or ours["text"] == ours["base"]
        figures = json.loads((HERE / "families.json").read_text())
        for name in FAMILIES: bad = compare_family(tool, name, figures) or bad
        sys.exit(bad)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What pofit writes, read by PEFT and transformers: trains small adapters with build/pofit, compares the logits.

needs   pip install torch transformers peft; build/pofit
run     nice -n 10 python3 tests/golden/compare_peft.py        prints the largest difference of each case; fails above 1e-4
"""
import json, os, pathlib, subprocess, sys, tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
import torch, transformers
from peft import PeftModel
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).resolve().parent
POFIT = HERE.parent.parent / "build/pofit"
IDS = [1, 50, 55, 7, 26, 54, 33, 41, 28, 33, 31, 21]
CASES = {
    "lora": ("llama_a", "{rank = 4, alpha = 8}"),
    "rslora": ("llama_a", "{rank = 4, alpha = 3, rslora = true, targets = {'q_proj', 'down_proj'}}"),
    "dora": ("llama_b", "{rank = 2, dora = true}"),
    "patterns": ("llama_b", "{rank = 2, targets = '.*(q|k|up)_proj', rank_pattern = {['k_proj'] = 3}, "
                            "alpha_pattern = {['layers.1.*'] = 5}}"),
    "saved": ("llama_b", "{rank = 2, save = {'lm_head', 'model.norm'}, layers = {1}, targets = {'v_proj'}}"),
    "gaussian": ("llama_b", "{rank = 3, init = 'gaussian', dropout = 0.1}"),
}
LUA = """
local pf = require "pofit"
local base, out, ids = arg[1], arg[2], pf.json.decode(arg[3])
local m = pf.model.load(base):adapt(%s)
pf.train { model = m, steps = 5, batch = 1, lr = 1e-2, quiet = true, data = { n = 2, batch = function(_, rows)
  return pf.batch(nil, { { ids = ids, scored_from = rows[1] + 1 } }) end },
  loss = function(model, batch) return pf.loss.nll { logp = model:logp(batch) } end }
m:save_adapter(out .. "/adapter")
local function show(model) return model:logits(ids):totable() end
local with = pf.no_grad(show, m)
m:merge():save(out .. "/merged")
print(pf.json.encode { with = with, merged = pf.no_grad(show, m) })
"""


def logits(model):
    with torch.no_grad():
        return model.eval()(torch.tensor([IDS]), use_cache=False).logits[0]


def main():
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    worst = 0.0
    for case, (base, options) in CASES.items():
        with tempfile.TemporaryDirectory() as tmp:
            (pathlib.Path(tmp) / "a.lua").write_text(LUA % options)
            out = subprocess.run([POFIT, f"{tmp}/a.lua", HERE / base, tmp, json.dumps(IDS)], check=True, capture_output=True, text=True)
            ours = {k: torch.tensor(v) for k, v in json.loads(out.stdout).items()}
            plain = AutoModelForCausalLM.from_pretrained(HERE / base, dtype=torch.float32)
            start = logits(plain)
            theirs = logits(PeftModel.from_pretrained(plain, f"{tmp}/adapter"))
            merged = logits(AutoModelForCausalLM.from_pretrained(f"{tmp}/merged", dtype=torch.float32))
            far = [(ours["with"] - theirs).abs().max().item(), (ours["merged"] - merged).abs().max().item(),
                   (ours["with"] - ours["merged"]).abs().max().item(), (theirs - start).abs().max().item()]
            print(f"{case:9} peft {far[0]:.1e}  merged, transformers {far[1]:.1e}  merging {far[2]:.1e}  (learned {far[3]:.2f})")
            worst = max(worst, *far[:3])
            assert far[3] > 1e-2, "the adapter changes nothing"
    print(f"worst {worst:.1e}, {'ok' if worst <= 1e-4 else 'TOO FAR'} at 1e-4")
    sys.exit(worst > 1e-4)


if __name__ == "__main__":
    main()

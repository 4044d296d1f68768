#!/usr/bin/env python3
"""Adapters made by PEFT for models of other families (make_families.py), with the logits that they give.

writes  peft_families/CASE/adapter_config.json, adapter_model.safetensors;  peft_families.json: logits at some places
needs   pip install torch transformers peft safetensors numpy; make_families.py beside it
run     nice -n 10 python3 tests/golden/make_peft_families.py

The base models are those of families.json, whose weights both sides make. Float32, transformers and PEFT as they come.
"""
import json, os, shutil

os.environ["HF_HUB_OFFLINE"] = "1"
import numpy as np
import peft, torch, transformers
from peft import LoraConfig, get_peft_model

from make_families import FULL, IDS, build
from make_llama import HERE, sha256, versions, write_json, write_origin

OUT = HERE / "peft_families"
CASES = {
    "qwen2": dict(r=2, lora_alpha=4, use_dora=True, target_modules=["q_proj", "v_proj", "up_proj"]),  # DoRA beside biases
    "gemma2": dict(r=2, lora_alpha=3, use_rslora=True, target_modules=["o_proj", "down_proj", "k_proj"]),
    "gemma3": dict(r=2, lora_alpha=4, target_modules=r".*language_model.*\.(q_proj|gate_proj)"),
    "phi3": dict(r=2, lora_alpha=4, target_modules="all-linear"),              # products of several parts
    "gpt2": dict(r=2, lora_alpha=4, target_modules="all-linear", fan_in_fan_out=True),
    "gpt2_wide": dict(r=1, lora_alpha=2, use_dora=True, fan_in_fan_out=True),  # PEFT's target for gpt2
    "gpt_neox": dict(r=2, lora_alpha=4, modules_to_save=["final_layer_norm"]),  # PEFT's target for gpt_neox
    "smollm3": dict(r=2, lora_alpha=4, target_modules=["q_proj", "k_proj"]),
}


def make(case, number):
    torch.manual_seed(number)
    _, base, _, _ = build(case)
    rng = np.random.default_rng(200 + number)
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **CASES[case])).eval()
    with torch.no_grad():
        start = base(torch.tensor([IDS]), use_cache=False).logits[0]
        for key, p in sorted(model.named_parameters()):
            if p.requires_grad:
                noise = torch.from_numpy(rng.standard_normal(tuple(p.shape)).astype(np.float32))
                p.add_(noise * (0.3 if "lora_" in key and p.ndim == 2 else 0.1))
        logits = model(torch.tensor([IDS]), use_cache=False).logits[0]
    d = OUT / case
    shutil.rmtree(d, ignore_errors=True)
    model.save_pretrained(d)
    (d / "README.md").unlink(missing_ok=True)
    config = json.loads((d / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = case
    if isinstance(config["target_modules"], list): config["target_modules"].sort()
    (d / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (d / "adapter_model.safetensors").chmod(0o644)
    print(f"{case:10} moved the logits by {(logits - start).abs().max().item():.2f}")
    return {str(t): [float(f"{v:.8g}") for v in logits[t].double().tolist()] for t in FULL}


def main():
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    cases = {case: make(case, i) for i, case in enumerate(CASES)}
    write_json(HERE / "peft_families.json", {
        "about": "logits of the ids of families.json with the adapter of peft_families/CASE on the case of that name",
        "cases": cases})
    write_origin(HERE / "peft_families.origin.json", {
        "made_by": "tests/golden/make_peft_families.py",
        "command": "nice -n 10 python3 tests/golden/make_peft_families.py",
        "versions": versions(torch, transformers, peft, np), "dtype": "float32",
        "sha256": sha256([p for case in sorted(CASES) for p in sorted((OUT / case).iterdir())] +
                         [HERE / "peft_families.json"])})


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Adapters made by Hugging Face PEFT for the small Llamas of make_llama.py, with logits and gradients.

writes  peft/CASE/adapter_config.json, adapter_model.safetensors    as save_pretrained writes them (one case in bfloat16)
        peft/CASE.grad.safetensors    d loss / d adapter parameter, names as in the adapter's file, float32
        peft.json                     per case: logits of the last positions, the DPO loss against the base (adapter off)
needs   pip install torch transformers peft safetensors numpy; llama_a, llama_b beside it (make_llama.py)
run     nice -n 10 python3 tests/golden/make_peft.py        (half a minute; two runs write equal adapters and figures)

Every parameter of an adapter is moved away from its first value, so that B is not 0 and DoRA's magnitudes are not the
norms. Arithmetic is float64 on the stored values, as in make_llama.py. The batch is make_llama.py's.
"""
import json, os, shutil

os.environ["HF_HUB_OFFLINE"] = "1"
import numpy as np
import peft, safetensors, torch, transformers
from peft import LoraConfig, get_peft_model, PeftModel
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from make_llama import HERE, dpo, exact, make_batch, norm, reference_sums, sha256, versions, write_json, write_origin

OUT = HERE / "peft"
LAST = 4  # positions whose logits are kept
CASES = {  # base model, stored type, LoraConfig
    "lora": ("llama_a", torch.float32, dict(r=4, lora_alpha=8)),  # PEFT's targets for llama
    "bf16": ("llama_a", torch.bfloat16, dict(r=2, lora_alpha=3, target_modules=["o_proj", "up_proj"], lora_dropout=0.1)),
    "rslora": ("llama_a", torch.float32, dict(r=3, lora_alpha=5, use_rslora=True,
                                              target_modules=["q_proj", "k_proj", "down_proj"])),
    "dora": ("llama_b", torch.float32, dict(r=2, lora_alpha=4, use_dora=True, target_modules="all-linear")),
    "patterns": ("llama_b", torch.float32, dict(
        r=2, lora_alpha=4, target_modules=r".*\.(q_proj|up_proj|down_proj)", exclude_modules=["layers.1.mlp.up_proj"],
        rank_pattern={"down_proj": 3, r"layers\.0\.self_attn\.q_proj": 1}, alpha_pattern={r".*1.*\.q_proj": 7, "mlp.up_proj": 1})),
    "saved": ("llama_b", torch.float32, dict(r=2, lora_alpha=2, target_modules=["v_proj", "o_proj"], layers_to_transform=[1],
                                             modules_to_save=["lm_head", "post_attention_layernorm"])),
}


def make(case, number):
    base_name, stored, options = CASES[case]
    torch.manual_seed(number)  # PEFT draws the first values
    ids, prompts, pairs = make_batch(base_name)
    base = LlamaForCausalLM.from_pretrained(HERE / base_name, dtype=torch.float32).eval()
    model, rng = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **options)).eval(), np.random.default_rng(100 + number)
    with torch.no_grad():
        for key, p in sorted(model.named_parameters()):
            if not p.requires_grad: continue
            noise = torch.from_numpy(rng.standard_normal(tuple(p.shape)).astype(np.float32))
            scale = 0.3 if "lora_" in key and p.ndim == 2 else 0.1
            p.copy_((noise * scale if "lora_B" in key else p + noise * scale).to(stored).float())
    d = OUT / case
    shutil.rmtree(d, ignore_errors=True)
    model.save_pretrained(d)
    (d / "README.md").unlink(missing_ok=True)
    if stored != torch.float32:
        save_file({k: v.to(stored) for k, v in load_file(d / "adapter_model.safetensors").items()},
                  d / "adapter_model.safetensors", {"format": "pt"})
    config = json.loads((d / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = base_name
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()  # a set in PEFT: in another order each time
    (d / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (d / "adapter_model.safetensors").chmod(0o644)

    fresh = LlamaForCausalLM.from_pretrained(HERE / base_name, dtype=torch.float32).eval()
    model = PeftModel.from_pretrained(fresh, d, is_trainable=True).eval().to(torch.float64)
    with exact():
        with torch.no_grad():
            logits = model(torch.tensor([ids]), use_cache=False).logits[0, -LAST:]
        with model.disable_adapter():
            ref = reference_sums(model, prompts, pairs)
        loss, _, logps, metrics = dpo(model, prompts, pairs, ref)
        named = {k: p for k, p in model.named_parameters() if p.requires_grad}
        grad = dict(zip(named, torch.autograd.grad(loss, list(named.values()))))
    def plain(key):  # the names of the file
        key = key.replace(".default", "").replace(".modules_to_save", "")
        return key.removesuffix(".weight") if "magnitude" in key else key
    grad = {plain(k): g.float().contiguous() for k, g in grad.items()}
    stored_names = load_file(d / "adapter_model.safetensors").keys()
    assert stored_names == grad.keys(), sorted(stored_names ^ grad.keys())
    save_file(grad, OUT / f"{case}.grad.safetensors", {"format": "pt"})
    (OUT / f"{case}.grad.safetensors").chmod(0o644)
    print(f"{case:9} loss {loss.item():.6f}  |grad| {norm(grad.values()):.4f}  {len(grad)} tensors")
    return {"base": base_name, "logits": logits.tolist(), "loss": loss.item(), **metrics, "beta": 0.1,
            "ref": [[x.item() for x in f] for f in ref], "logp_sum": [[y.sum().item() for y in l] for l in logps],
            "grad_norm": norm(grad.values())}


def main():
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    OUT.mkdir(exist_ok=True)
    cases = {case: make(case, i) for i, case in enumerate(CASES)}
    write_json(HERE / "peft.json", {
        "about": "per case: logits at the last positions of the sequence in BASE.json; DPO (sigmoid) on the pairs of BASE.json "
                 "against the base with the adapter off: ref[pair] and logp_sum[pair] are [chosen, rejected], nats",
        "cases": cases})
    write_origin(HERE / "peft.origin.json", {
        "made_by": "tests/golden/make_peft.py", "command": "nice -n 10 python3 tests/golden/make_peft.py",
        "versions": versions(torch, transformers, peft, safetensors, np),
        "dtype": "adapters as stored; arithmetic float64, see make_llama.py; gradients stored as float32",
        "sha256": sha256([p for case in sorted(CASES) for p in sorted((OUT / case).iterdir())] +
                         sorted(OUT.glob("*.safetensors")) + [HERE / "peft.json"])})


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Small random models of every supported family with the figures that transformers computes for them.

Writes families.json and families.origin.json beside itself. Weights are not stored: both sides make them from the name's
place in the list and the element's place in the tensor (see value()), so the file holds, for each case, config.json,
the list of tensors as transformers would save them, and the figures: logits of a sequence at some places and their
projections on a random vector at all, log-probabilities of the answers of four pairs, the DPO loss, and for the gradient
of every tensor its norm and its products with three random tensors. All in float32, transformers as it comes.
"""
import json, math, pathlib, sys

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from transformers import AutoModelForCausalLM, CONFIG_MAPPING

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from make_llama import digits, sha256, versions, write_json, write_origin

V, BETA, FULL, PROBES = 40, 0.5, (0, 6, 13, 21), 3
IDS = [1, 7, 30, 12, 5, 9, 22, 39, 3, 17, 28, 11, 4, 33, 8, 19, 26, 2, 14, 37, 6, 21]
PROMPTS = [[1, 7, 30, 12, 5, 9], [1, 7, 30, 12, 20], [1, 7, 30, 12, 20, 31, 6]]
PAIRS = [(0, [22, 39, 3, 17, 28, 11, 4, 2], [22, 39, 16, 2]), (1, [31, 6, 10, 18, 25], [31, 8, 8, 35, 15, 2]),
         (2, [13, 24, 9], [13, 24, 9, 36, 29, 2]), (0, [22, 39, 3, 17, 28, 11, 4, 2], [22, 39, 27, 34, 0, 23])]
REF = [(-25.0, -14.5), (-18.25, -21.0), (-11.0, -22.5), (-25.0, -22.0)]


# ---- numbers that two programs can make ------------------------------------------------------------------------------

def noise(stream, n):
    """[n] doubles in [-1, 1): a hash of stream and place."""
    h = (np.arange(n, dtype=np.uint64) * 2654435761 + stream * 40503 + 12345) & 0xFFFFFFFF
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        h = ((h ^ (h >> np.uint64(shift))) * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    return (h ^ (h >> np.uint64(16))).astype(np.float64) / 2.0 ** 31 - 1


def value(k, shape, middle, spread):
    """Values of tensor number k of the list, in the order of the file."""
    n = int(np.prod(shape))
    return torch.from_numpy((middle + spread * noise(k, n)).astype(np.float32).reshape(shape))


# ---- the cases -------------------------------------------------------------------------------------------------------

SIZE = dict(vocab_size=V, hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=None)
GEMMA = dict(SIZE, head_dim=8)
WIDE = dict(SIZE, head_dim=16)                                      # eight pairs of rotary channels
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=8, rope_theta=20.0, beta_fast=1.0, beta_slow=0.05)
LONG = dict(rope_type="longrope", rope_theta=10000.0, short_factor=[1.0, 1.25, 1.5], long_factor=[1.5, 3.0, 7.0])
GPT2 = dict(vocab_size=V, n_embd=24, n_layer=2, n_head=3, n_positions=64, bos_token_id=1, eos_token_id=2)

CASES = {
    "llama": ("llama", dict(SIZE, rms_norm_eps=1e-5)),
    "llama_bias": ("llama", dict(SIZE, attention_bias=True, mlp_bias=True, head_dim=8, hidden_act="gelu")),
    "llama_llama3": ("llama", dict(WIDE, tie_word_embeddings=True, rope_parameters=dict(
        rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=32))),
    "llama_linear": ("llama", dict(SIZE, rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0))),
    "llama_dynamic": ("llama", dict(SIZE, rope_parameters=dict(rope_type="dynamic", rope_theta=10000.0, factor=2.0))),
    "llama_yarn": ("llama", dict(WIDE, rope_parameters=YARN)),
    "llama_yarn_plain": ("llama", dict(WIDE, rope_parameters={k: v for k, v in YARN.items() if "beta" not in k})),
    "llama_yarn_mscale": ("llama", dict(WIDE, rope_parameters=dict(YARN, mscale=0.7, mscale_all_dim=1.3,
                                                                 truncate=False))),
    "llama_yarn_factor": ("llama", dict(WIDE, rope_parameters=dict(YARN, attention_factor=0.8))),
    "mistral": ("mistral", dict(SIZE, sliding_window=5)),
    "mistral_plain": ("mistral", dict(SIZE, sliding_window=None, head_dim=10)),
    "qwen2": ("qwen2", dict(SIZE, tie_word_embeddings=True)),
    "qwen2_window": ("qwen2", dict(SIZE, use_sliding_window=True, sliding_window=4, max_window_layers=1)),
    "qwen3": ("qwen3", dict(SIZE, head_dim=10, tie_word_embeddings=True)),
    "qwen3_bias": ("qwen3", dict(SIZE, head_dim=6, attention_bias=True, use_sliding_window=True, sliding_window=6,
                                 layer_types=["sliding_attention", "full_attention"])),
    "smollm3": ("smollm3", dict(SIZE, no_rope_layer_interval=2)),
    "smollm3_list": ("smollm3", dict(SIZE, no_rope_layers=[0, 1], use_sliding_window=True, sliding_window=3,
                                     tie_word_embeddings=False, rope_parameters=YARN)),
    "gemma": ("gemma", dict(GEMMA, num_key_value_heads=1)),
    "gemma_act": ("gemma", dict(GEMMA, hidden_act="silu", hidden_activation="gelu")),     # the first of them counts
    "gemma2": ("gemma2", dict(GEMMA, sliding_window=5, query_pre_attn_scalar=11, attn_logit_softcapping=1.5,
                              final_logit_softcapping=2.0)),
    "gemma2_nocap": ("gemma2", dict(GEMMA, sliding_window=5, attn_logit_softcapping=None, final_logit_softcapping=None)),
    "gemma3_text": ("gemma3_text", dict(GEMMA, sliding_window=4, query_pre_attn_scalar=5, num_hidden_layers=3,
                                        sliding_window_pattern=2, rope_parameters=dict(
                                            full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1000.0),
                                            sliding_attention=dict(rope_type="default", rope_theta=50.0)))),
    "gemma3": ("gemma3", dict(text_config=dict(GEMMA, sliding_window=6, model_type="gemma3_text"), vision_config=dict(
        hidden_size=8, image_size=28, patch_size=14, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        model_type="siglip_vision_model"))),
    "phi3": ("phi3", dict(SIZE, sliding_window=5, rope_parameters=dict(rope_type="default", rope_theta=10000.0,
                                                                      partial_rotary_factor=0.7))),
    "phi3_long": ("phi3", dict(SIZE, original_max_position_embeddings=4, rope_parameters=LONG, tie_word_embeddings=True)),
    "phi3_short": ("phi3", dict(SIZE, original_max_position_embeddings=32, rope_parameters=LONG)),
    "gpt2": ("gpt2", GPT2),
    "gpt2_wide": ("gpt2", dict(GPT2, n_inner=20, scale_attn_weights=False, activation_function="gelu")),
    "gpt_neox": ("gpt_neox", dict(SIZE, rope_parameters=dict(rope_type="default", rope_theta=10000.0,
                                                            partial_rotary_factor=0.34))),
    "gpt_neox_serial": ("gpt_neox", dict(SIZE, use_parallel_residual=False, attention_bias=False, rope_parameters=dict(
        rope_type="linear", factor=2.0, rope_theta=10000.0, partial_rotary_factor=1.0))),
}
for kind, config in CASES.values():
    if kind == "gpt_neox":
        config.pop("num_key_value_heads", None)


def older(kind, config, options):
    """The same configuration as transformers 4 wrote it; None where nothing differs. Lists that follow from other keys
    are left out, as they were once."""
    c = json.loads(json.dumps(config))
    text = c.get("text_config", c)
    rope = text.pop("rope_parameters", None)
    if rope is None: return None
    if "full_attention" in rope:
        text["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    names = {"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"} if kind == "gpt_neox" else {}
    for key in ("rope_theta", "partial_rotary_factor"):
        if key in rope: text[names.get(key, key)] = rope.pop(key)
    rope["type"] = rope.pop("rope_type")
    text["rope_scaling"] = None if rope["type"] == "default" else rope
    if c.get("hidden_act") == "gelu_pytorch_tanh" and kind == "gemma": c.update(hidden_act="gelu", hidden_activation=None)
    if rope.get("truncate") is False: rope["truncate"] = None            # as good as false
    if kind == "gemma3": text["_sliding_window_pattern"] = 1             # what transformers notes for itself: not read
    for key in ("layer_types", "no_rope_layers"):
        if key in text and key not in options: text.pop(key)
    return c


# ---- figures ---------------------------------------------------------------------------------------------------------

def spread_of(name, shape):
    """middle and spread: matrices around 0, norms around their neutral value, biases around 0."""
    if len(shape) > 1: return 0.0, 0.35
    return (0.0, 0.3) if name.endswith("bias") else (1.0, 0.3)


def build(name):
    kind, options = CASES[name]
    config = CONFIG_MAPPING[kind](**options)
    config._attn_implementation = "eager"
    cls = transformers.Gemma3ForConditionalGeneration if kind == "gemma3" else None
    model = (cls(config) if cls else AutoModelForCausalLM.from_config(config, attn_implementation="eager")).eval().float()
    folder = HERE / "families.tmp"
    model.save_pretrained(folder)
    from safetensors.torch import load_file, save_file
    saved = load_file(folder / "model.safetensors")
    tensors = []
    for k, (key, t) in enumerate(sorted(saved.items())):
        middle, spread = spread_of(key, t.shape)
        if kind.startswith("gemma") and middle == 1.0: middle = 0.0
        if "norm" not in key and "ln_" not in key and t.ndim == 1: middle, spread = 0.0, 0.3
        tensors.append({"name": key, "shape": list(t.shape), "middle": middle, "spread": spread})
        saved[key] = value(k, list(t.shape), middle, spread)
    save_file(saved, folder / "model.safetensors", {"format": "pt"})
    written = json.loads((folder / "config.json").read_text())
    load = transformers.Gemma3ForConditionalGeneration if kind == "gemma3" else AutoModelForCausalLM
    model, info = load.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32, output_loading_info=True)
    assert not any(info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    for f in folder.iterdir(): f.unlink()
    folder.rmdir()
    return kind, model.eval(), written, tensors


def token_logps(model, prompt, answer):
    logits = model(torch.tensor([prompt + answer]), use_cache=False).logits[0]
    return logits[len(prompt) - 1:-1].log_softmax(-1).gather(1, torch.tensor(answer)[:, None])[:, 0]


def saved_gradients(model, tensors):
    """Gradients under the names of the file: the model's own names but for a prefix that saving changed."""
    own = dict(model.named_parameters())
    out = {}
    for t in tensors:
        name = t["name"]
        for candidate in (name, name.replace("language_model.model.", "model.language_model."),
                          name.replace("embed_out.", "lm_head."), "model." + name):
            if candidate in own: break
        p = own[candidate]
        assert list(p.shape) == t["shape"], (name, candidate)
        out[name] = p.grad
    return out


def figures(name):
    kind, model, config, tensors = build(name)
    with torch.no_grad():
        logits = model(torch.tensor([IDS]), use_cache=False).logits[0].double()
    logps = [[token_logps(model, PROMPTS[p], y) for y in (c, r)] for p, c, r in PAIRS]
    ratio = torch.stack([l[0].sum() - l[1].sum() - (f[0] - f[1]) for l, f in zip(logps, REF)])
    loss = -F.logsigmoid(BETA * ratio).mean()
    loss.backward()
    gradient = []
    for name_, g in saved_gradients(model, tensors).items():
        if g is None: continue                                      # the eyes
        g = g.double().flatten().numpy()
        gradient.append([name_, float(np.linalg.norm(g))] + [float(g @ noise(1000 + i, len(g))) for i in range(PROBES)])
    short = lambda x: [float(f"{v:.8g}") for v in x]
    out = {"model_type": kind, "config": config, "older": older(kind, config, CASES[name][1]), "tensors": tensors,
           "logits": {str(t): short(logits[t].tolist()) for t in FULL},
           "logit_probe": short((logits.numpy() @ noise(999, V)).tolist()),
           "logps": [[short(y.tolist()) for y in l] for l in logps], "loss": float(f"{loss.item():.8g}"),
           "gradient": [[g[0]] + short(g[1:]) for g in gradient]}
    print(f"{name:20} loss {loss.item():.5f}  logits std {logits.std().item():.3f}  tensors {len(tensors)}")
    return out


def main():
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    only = sys.argv[1:]
    cases = {name: figures(name) for name in CASES if not only or name in only}
    if only: return
    path = HERE / "families.json"
    write_json(path, {"about": __doc__.split("\n\n")[1].replace("\n", " "), "beta": BETA, "ids": IDS, "prompts": PROMPTS,
                      "pairs": [{"prompt": p, "chosen": c, "rejected": r, "ref_chosen": f[0], "ref_rejected": f[1]}
                                for (p, c, r), f in zip(PAIRS, REF)], "cases": cases})
    write_origin(HERE / "families.origin.json", {
        "made_by": "tests/golden/make_families.py", "versions": versions(torch, transformers, np),
        "dtype": "float32, attn_implementation eager, one sequence at a time", "sha256": sha256([path])})


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Small models that llama.cpp's own convert_hf_to_gguf.py turned into GGUF files, and what transformers computes for them.

    LLAMA_CPP=DIRECTORY python3 tests/golden/make_families_gguf.py

The files hold matrices as F16: weights are rounded to that first, so that both sides have the same. Vocabularies are left
out ("none"): the converter's part in question is that of sizes and weights. Writes families_gguf.json beside itself and
the models to families/NAME.gguf.
"""
import json, os, pathlib, shutil, sys

import numpy as np
import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import make_families as families
from make_families import IDS, V, noise
from make_llama import sha256, versions, write_json, write_origin

LLAMA_CPP = pathlib.Path(os.environ["LLAMA_CPP"])
sys.path.insert(0, str(LLAMA_CPP / "gguf-py"))
sys.path.insert(0, str(LLAMA_CPP))

SIZE = dict(vocab_size=V, hidden_size=16, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=None)
HEAD = dict(SIZE, head_dim=12)
CASES = {
    "llama": ("llama", dict(SIZE, num_key_value_heads=2, attention_bias=True, mlp_bias=True)),
    "llama3": ("llama", dict(HEAD, tie_word_embeddings=True, rope_parameters=dict(
        rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=32))),
    "linear": ("llama", dict(SIZE, rope_parameters=dict(rope_type="linear", rope_theta=500.0, factor=4.0))),
    "yarn": ("qwen2", dict(SIZE, rope_parameters=families.YARN)),
    "mistral": ("mistral", dict(HEAD, sliding_window=None)),
    "qwen3": ("qwen3", dict(HEAD, tie_word_embeddings=True)),
    "smollm3": ("smollm3", dict(SIZE, num_hidden_layers=4)),
    "gemma": ("gemma", HEAD),
    "gemma2": ("gemma2", dict(HEAD, num_hidden_layers=2, sliding_window=5, query_pre_attn_scalar=12,
                              attn_logit_softcapping=1.5, final_logit_softcapping=2.0)),
    "gemma3": ("gemma3_text", dict(HEAD, num_hidden_layers=6, sliding_window=4, query_pre_attn_scalar=12,
                                   rope_parameters=dict(
                                       full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1000.0),
                                       sliding_attention=dict(rope_type="default", rope_theta=50.0)))),
    "phi3": ("phi3", dict(SIZE, rope_parameters=dict(rope_type="default", rope_theta=100.0,
                                                     partial_rotary_factor=0.75))),
    "phi3_long": ("phi3", dict(SIZE, original_max_position_embeddings=4, rope_parameters=dict(
        rope_type="longrope", rope_theta=10000.0, short_factor=[1.0, 1.25, 1.5, 2.0], long_factor=[1.5, 3.0, 7.0, 9.0]))),
    "gpt2": ("gpt2", dict(vocab_size=V, n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=2)),
    "gpt_neox": ("gpt_neox", dict({k: v for k, v in SIZE.items() if k != "num_key_value_heads"}, rope_parameters=dict(
        rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5))),
}


def half(k, shape, middle, spread):
    x = middle + spread * noise(k, int(np.prod(shape)))
    return torch.from_numpy((x.astype(np.float16) if len(shape) > 1 else x).astype(np.float32).reshape(shape))


def convert(folder, out, kind):
    import gguf
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class
    hparams = ModelBase.load_hparams(folder, False)
    cls = get_model_class(get_model_architecture(hparams, ModelType.TEXT))
    cls.set_vocab = lambda self: (self.gguf_writer.add_tokenizer_model("none"), self.gguf_writer.add_vocab_size(V)
                                  if "vocab_size" not in str(self.gguf_writer.kv_data[0].keys()) and kind != "llama" else None)
    with torch.inference_mode():
        model = cls(folder, gguf.LlamaFileType.MOSTLY_F16, out)
        for key in ("n_ctx", "rotary_pct"):                         # the converter wants what older files have
            if key not in model.hparams:
                model.hparams[key] = model.hparams.get("n_positions") if key == "n_ctx" else 0.5
        model.write()


def main():
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    families.value, families.CASES = half, CASES
    (HERE / "families").mkdir(exist_ok=True)
    cases, files = {}, []
    for name, (kind, options) in CASES.items():
        folder, out = HERE / "families.tmp", HERE / "families" / f"{name}.gguf"
        kind, model, config, tensors = families.build(name)
        model.save_pretrained(folder)
        tokenizer = {"model": {"vocab": {str(i): i for i in range(V)}}, "added_tokens": []}
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        convert(folder, out, kind)
        shutil.rmtree(folder)
        with torch.no_grad():
            logits = model(torch.tensor([IDS]), use_cache=False).logits[0].double()
        cases[name] = {"last": [float(f"{v:.8g}") for v in logits[-1].tolist()],
                       "probe": [float(f"{v:.8g}") for v in logits.numpy() @ noise(999, V)]}
        files.append(out)
        print(f"{name:12} {out.stat().st_size:7} bytes  logits std {logits.std().item():.3f}")
    path = HERE / "families_gguf.json"
    write_json(path, {"about": "logits of ids after the last, and after each the product with the noise of stream 999",
                      "ids": IDS, "cases": cases})
    write_origin(HERE / "families_gguf.origin.json", {
        "made_by": "tests/golden/make_families_gguf.py", "versions": versions(torch, transformers, np),
        "converter": "llama.cpp convert_hf_to_gguf.py, classes of conversion/, set_vocab left out",
        "sha256": sha256([path, *files])})


if __name__ == "__main__":
    main()

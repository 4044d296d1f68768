#!/usr/bin/env python3
"""Golden figures of two small random Llamas, from Hugging Face transformers and PyTorch.

writes  llama_{a,b}/config.json, model.safetensors   float32 weights, as save_pretrained writes them
        llama_{a,b}.json                             logits of one sequence; a DPO batch: ids, token log-probs, loss
        llama_{a,b}.grad.safetensors                 d loss / d parameter, same tensor names, float32
        llama_a.train.json                           ten AdamW steps on that batch
        llama.origin.json                            versions, seeds, dtype, hashes, what float32 does to the figures
needs   pip install torch transformers safetensors numpy
run     nice -n 10 python3 tests/golden/make_llama.py        (ten seconds; two runs write equal bytes)

Numbers: the arithmetic is float64 on the float32 weights. transformers computes three things in float32 even in a model
of doubles: RMSNorm, the rotary tables, and the softmax of its "eager" attention. `exact()` replaces the first two by the
same formulas in float64, "sdpa" attention stays in float64 by itself. JSON numbers have 12 significant digits.
Sequences are computed one by one, without padding.
"""
import contextlib, datetime, hashlib, json, math, os, pathlib, platform, re

os.environ["HF_HUB_OFFLINE"] = "1"
import numpy as np
import safetensors, torch, transformers
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama import modeling_llama as hf

HERE = pathlib.Path(__file__).resolve().parent
BOS, EOS, BETA = 1, 2, 0.1
CONFIG = {  # seeds: weights of the policy, weights of the reference, token ids; std: of every matrix
    "llama_a": dict(seeds=(11, 12, 13), std=0.25, hidden_size=32, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
                    intermediate_size=48, vocab_size=61, tie_word_embeddings=True, rope_theta=10000.0, rms_norm_eps=1e-5),
    "llama_b": dict(seeds=(21, 24, 23), std=0.20, hidden_size=48, num_attention_heads=6, num_key_value_heads=2, head_dim=16,
                    intermediate_size=80, vocab_size=97, tie_word_embeddings=False, rope_theta=500000.0, rms_norm_eps=1e-6),
}


# ---- models ----------------------------------------------------------------------------------------------------------

def build(name, seed):
    """A Llama in float32 whose weights come from numpy's PCG64, tensor by tensor in the order of the names."""
    c = {k: v for k, v in CONFIG[name].items() if k not in ("seeds", "std", "rope_theta")}
    config = LlamaConfig(**c, num_hidden_layers=2, max_position_embeddings=128, attention_bias=False, mlp_bias=False,
                         bos_token_id=BOS, eos_token_id=EOS, attn_implementation="sdpa",
                         rope_parameters={"rope_type": "default", "rope_theta": CONFIG[name]["rope_theta"]})
    model, rng = LlamaForCausalLM(config).eval(), np.random.default_rng(seed)
    with torch.no_grad():
        for key, p in sorted(model.named_parameters()):
            shape = tuple(p.shape)
            w = rng.uniform(0.8, 1.2, shape) if p.ndim == 1 else CONFIG[name]["std"] * rng.standard_normal(shape)
            p.copy_(torch.from_numpy(w.astype(np.float32)))
    return model


def rmsnorm64(self, x):
    return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))


def rotary64(self, x, position_ids):
    theta, d = self.config.rope_parameters["rope_theta"], self.config.head_dim
    inv_freq = theta ** -(torch.arange(0, d, 2, dtype=torch.float64) / d)
    angle = position_ids[..., None].double() * inv_freq
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos(), angle.sin()


@contextlib.contextmanager
def exact():
    """Inside, models made of doubles are doubles throughout."""
    norm, rotary = hf.LlamaRMSNorm.forward, hf.LlamaRotaryEmbedding.forward
    hf.LlamaRMSNorm.forward, hf.LlamaRotaryEmbedding.forward = rmsnorm64, rotary64
    try:
        yield
    finally:
        hf.LlamaRMSNorm.forward, hf.LlamaRotaryEmbedding.forward = norm, rotary


# ---- the batch -------------------------------------------------------------------------------------------------------

def make_batch(name):
    """A sequence of 24 ids; 3 prompts; 4 pairs (prompt number from 0, chosen, rejected), made so that a prefix forest
    meets every case: prompts that begin alike, a prompt inside another prompt, answers that begin alike, an answer
    inside another answer, the same sequence twice, tokens that are prompt in one sequence and scored in another."""
    V, rng = CONFIG[name]["vocab_size"], np.random.default_rng(CONFIG[name]["seeds"][2])
    some = lambda n: [int(i) for i in rng.integers(3, V, n)]
    ids, stem, start, inner = [BOS] + some(23), some(3), some(2), some(3)
    p0 = [BOS] + stem + some(3)
    p1 = [BOS] + stem + some(2)                                      # begins like p0
    p2 = p1 + some(2)                                                # continues p1
    c0, r0 = start + some(4) + [EOS], start + some(2) + [EOS]        # fork after two tokens
    c1 = p2[len(p1):] + some(3)                                      # scores what is prompt in pair 2; unfinished
    r1 = c1[:1] + some(5) + [EOS]
    c2, r2 = inner, inner + some(3)                                  # chosen is the beginning of rejected; unfinished
    again = c0 if name == "llama_a" else r0                          # pair 3 shares p0 and repeats an answer of pair 0
    pairs = [(0, c0, r0), (1, c1, r1), (2, c2, r2), (0, again, start + some(6))]
    assert c0[2] != r0[2] and c1[1] != r1[1] and p0[4] != p1[4] and pairs[3][2][2] not in (c0[2], r0[2])
    return ids, [p0, p1, p2], pairs


def token_logps(model, prompt, completion):
    """[len(completion)] log-probs of the completion's tokens, nats."""
    logits = model(torch.tensor([prompt + completion]), use_cache=False).logits[0]
    rows = logits[len(prompt) - 1:-1].log_softmax(-1)
    return rows.gather(1, torch.tensor(completion)[:, None])[:, 0]


def reference_sums(model, prompts, pairs):
    with torch.no_grad():
        return [tuple(token_logps(model, prompts[p], y).sum() for y in (c, r)) for p, c, r in pairs]


def dpo(model, prompts, pairs, ref):
    """loss = mean over pairs of -log sigmoid(beta * (log-ratio of chosen - log-ratio of rejected)), sums over tokens."""
    logps = [[token_logps(model, prompts[p], y) for y in (c, r)] for p, c, r in pairs]
    ratio = torch.stack([torch.stack([y.sum() - f for y, f in zip(l, fs)]) for l, fs in zip(logps, ref)])    # [N, 2]
    losses = -F.logsigmoid(BETA * (ratio[:, 0] - ratio[:, 1]))
    reward = BETA * ratio.detach()
    metrics = {"rewards/chosen": reward[:, 0].mean(), "rewards/rejected": reward[:, 1].mean(),
               "rewards/margins": (reward[:, 0] - reward[:, 1]).mean(),
               "rewards/accuracies": (reward[:, 0] > reward[:, 1]).double().mean()}
    return losses.mean(), losses, logps, {k: v.item() for k, v in metrics.items()}


def gradient(model, loss):
    names, params = zip(*model.named_parameters())                  # a tied head appears once, as the embedding
    return dict(zip(names, torch.autograd.grad(loss, params)))


def norm(tensors):
    return math.sqrt(sum(t.double().pow(2).sum().item() for t in tensors))


def train(model, prompts, pairs, ref, steps=10):
    """torch.optim.AdamW on every parameter alike (norm weights decay too), gradient clipped to norm 1 before each step."""
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    begin = {k: p.detach().clone() for k, p in model.named_parameters()}
    rows = []
    for step in range(1, steps + 1):
        opt.zero_grad()
        loss, _, _, metrics = dpo(model, prompts, pairs, ref)
        loss.backward()
        grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)        # the norm before clipping
        opt.step()
        rows.append({"step": step, "loss": loss.item(), "grad_norm": grad_norm.item(), **metrics})
    with torch.no_grad():
        loss, _, logps, metrics = dpo(model, prompts, pairs, ref)
    end = {"loss": loss.item(), **metrics, "logp_sum": [[y.sum().item() for y in l] for l in logps]}
    return {"steps": rows, "after": end,
            "final_norm": {k: norm([p.detach()]) for k, p in model.named_parameters()},
            "moved_norm": {k: norm([p.detach() - begin[k]]) for k, p in model.named_parameters()}}


# ---- files -----------------------------------------------------------------------------------------------------------

def digits(x):
    if isinstance(x, dict): return {k: digits(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)): return [digits(v) for v in x]
    return float(f"{x:.12g}") if isinstance(x, float) else x


def write_json(path, value):
    """Indented; a list of plain values stays on one line."""
    text = json.dumps(digits(value), indent=1)
    text = re.sub(r"\[[^\[\]{}]*\]", lambda m: re.sub(r"\s+", " ", m[0]).replace("[ ", "[").replace(" ]", "]"), text)
    path.write_text(text + "\n")


def write_origin(path, origin, date=None):
    """The date is the day the figures last changed: kept when everything else is as it was."""
    try:
        old = json.loads(path.read_text())
        keep = old.pop("date")
        date = keep if old == json.loads(json.dumps(digits(origin))) else None
    except (OSError, KeyError, ValueError):
        pass
    write_json(path, {"date": date or datetime.date.today().isoformat(), **origin})


def versions(*modules):
    return {"python": platform.python_version(), **{m.__name__: m.__version__ for m in modules}}


def sha256(paths):
    return {str(p.relative_to(HERE)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


# ---- how far float32 is from the figures: architecture.md, "How closeness is measured everywhere" ----------------------

def far_tensors(a, b):
    floor = 1e-3 * max(t.abs().max().item() for t in b.values())
    return max((a[k].double() - b[k]).abs().max().item() / max(b[k].abs().max().item(), floor) for k in b)


def far_scalar(a, b):
    return abs(a - b) / max(abs(b), 1e-3)


def far_logp(a, b):
    return max(((x.double() - y).abs() / y.abs().clamp(min=1)).max().item() for p, q in zip(a, b) for x, y in zip(p, q))


# ---- main ------------------------------------------------------------------------------------------------------------

def save_model(name, model):
    d = HERE / name
    model.save_pretrained(d)
    for f in d.iterdir():
        if f.name not in ("config.json", "model.safetensors"):
            f.unlink()
    (d / "model.safetensors").chmod(0o644)                          # safetensors writes 0600
    back, params = load_file(d / "model.safetensors"), dict(model.named_parameters())
    assert back.keys() == params.keys() and all(torch.equal(back[k], params[k]) for k in back)
    return [d / "config.json", d / "model.safetensors"]


def make(name):
    policy_seed, ref_seed, ids_seed = CONFIG[name]["seeds"]
    ids, prompts, pairs = make_batch(name)
    files = save_model(name, build(name, policy_seed))

    def run(dtype):
        model, reference = build(name, policy_seed).to(dtype), build(name, ref_seed).to(dtype)
        with torch.no_grad():
            logits = model(torch.tensor([ids]), use_cache=False).logits[0]
        ref = reference_sums(reference, prompts, pairs)
        loss, losses, logps, metrics = dpo(model, prompts, pairs, ref)
        grad = gradient(model, loss)
        assert all(t.dtype == dtype for t in (logits, loss, *grad.values()))
        return model, logits, ref, loss, losses, logps, metrics, grad

    with exact():
        model, logits, ref, loss, losses, logps, metrics, grad = run(torch.float64)
        trained = train(model, prompts, pairs, ref) if name == "llama_a" else None
    model32, logits32, ref32, loss32, _, logps32, _, grad32 = run(torch.float32)       # transformers as it comes

    sequences = [prompts[p] + y for p, c, r in pairs for y in (c, r)]
    prefixes = lambda drop: len({tuple(s[:i]) for s in sequences for i in range(1, len(s) + 1 - drop)})
    out = {
        "about": "ids are token ids; pairs[].prompt counts prompts from 0; log-probs in nats; logits[t] follows ids[0..t]; "
                 "*_logps are of the completion's tokens in order; ref_* are sums over the completion; forest counts are "
                 "distinct prefixes over the 8 sequences (4 chosen, 4 rejected), inputs leave out each sequence's last token",
        "sequence": {"ids": ids, "logits": logits.tolist()},
        "dpo": {
            "beta": BETA, "variant": "sigmoid", "prompts": prompts,
            "pairs": [{"prompt": p, "chosen": c, "rejected": r, "chosen_logps": l[0].tolist(), "rejected_logps": l[1].tolist(),
                       "policy_chosen": l[0].sum().item(), "policy_rejected": l[1].sum().item(),
                       "ref_chosen": f[0].item(), "ref_rejected": f[1].item(), "loss": x.item()}
                      for (p, c, r), l, f, x in zip(pairs, logps, ref, losses)],
            "loss": loss.item(), **metrics, "grad_norm": norm(grad.values()),
            "grad_norms": {k: norm([g]) for k, g in grad.items()},
            "forest": {"tokens": sum(map(len, sequences)), "inputs": sum(map(len, sequences)) - len(sequences),
                       "distinct_tokens": prefixes(0), "distinct_inputs": prefixes(1),
                       "scored": sum(len(c) + len(r) for _, c, r in pairs)},
        },
    }
    write_json(HERE / f"{name}.json", out)
    save_file({k: g.float().contiguous() for k, g in grad.items()}, HERE / f"{name}.grad.safetensors", {"format": "pt"})
    (HERE / f"{name}.grad.safetensors").chmod(0o644)
    files += [HERE / f"{name}.json", HERE / f"{name}.grad.safetensors"]

    short = lambda x: float(f"{x:.1e}")
    far = {"logits": short(far_tensors({0: logits32}, {0: logits})), "token_logps": short(far_logp(logps32, logps)),
           "loss": short(far_scalar(loss32.item(), loss.item())), "gradient": short(far_tensors(grad32, grad))}
    if trained:
        write_json(HERE / f"{name}.train.json", {
            "about": "ten steps on the batch of llama_a.json, float64; steps[] are measured before that step's update, "
                     "grad_norm before clipping; after: the same figures once the tenth update is done, logp_sum[pair] = "
                     "[chosen, rejected]; final_norm: L2 norm of each tensor; moved_norm: L2 norm of final - initial",
            "optimizer": {"name": "AdamW", "lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01,
                          "decay_applies_to": "every tensor, norm weights and embedding too", "schedule": "constant",
                          "clip_grad_norm": 1.0, "clip_rule": "grad *= min(1, 1.0 / (grad_norm + 1e-6))"},
            "dpo": {"beta": BETA, "variant": "sigmoid"}, **trained})
        files.append(HERE / f"{name}.train.json")
        again = train(model32, prompts, pairs, ref32)
        far["train"] = {k: short(max(far_scalar(a[k], b[k]) for a, b in zip(again["steps"], trained["steps"])))
                        for k in ("loss", "grad_norm", "rewards/margins")}
        far["train"].update({k: short(max(far_scalar(again[k][n], trained[k][n]) for n in trained[k]))
                             for k in ("final_norm", "moved_norm")})
    print(f"{name}: loss {loss.item():.6f}  |grad| {norm(grad.values()):.4f}  logits std {logits.std().item():.3f}  "
          f"float32 {far}")
    return files, far


def main():
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    files, far = [], {}
    for name in CONFIG:
        made, far[name] = make(name)
        files += made
    write_origin(HERE / "llama.origin.json", {
        "made_by": "tests/golden/make_llama.py", "command": "nice -n 10 python3 tests/golden/make_llama.py",
        "versions": versions(torch, transformers, safetensors, np),
        "seeds": {name: dict(zip(("policy", "reference", "ids"), c["seeds"])) for name, c in CONFIG.items()},
        "dtype": "weights float32; arithmetic float64; gradients stored as float32; JSON rounded to 12 significant digits",
        "rotary": "cos and sin from float64 angles, inv_freq = theta^(-2i/head_dim) in float64. transformers itself makes "
                  "inv_freq, cos and sin (and RMSNorm) in float32 even for a model of doubles: replaced, see exact()",
        "attention": "torch scaled_dot_product_attention, one sequence at a time, no padding",
        "float32_distance": far,
        "float32_distance_note": "transformers unpatched in float32 against these figures, by the measures of "
                                 "architecture.md; worst of the tensors, tokens or steps; train: worst over ten steps",
        "sha256": sha256(files)})


if __name__ == "__main__":
    main()

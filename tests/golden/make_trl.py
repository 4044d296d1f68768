#!/usr/bin/env python3
"""Every loss of TRL's DPOTrainer on the batch of llama_a.json, by TRL's own code.

writes  trl_losses.json     batch loss and gradient norm of each loss type; TRL's metrics; its own origin
needs   pip install trl (with torch, transformers, safetensors, numpy), and make_llama.py beside this file
run     nice -n 10 python3 tests/golden/make_trl.py        (a quarter of a minute; two runs write equal bytes)

How: a real DPOTrainer is built for each case; its collator pads the ids (right, pad id 0) and its compute_loss runs policy,
reference, loss formula and metrics. The trainer wants texts: it gets a word-level tokenizer made here and a throw-away
row; the ids of llama_a.json go straight to the collator. Each case runs twice:
  float64   models of doubles inside make_llama.exact(); TRL takes log-probs in float32 whatever the model (kernels/
            chunked_logprob.py), so that one function is replaced by Head64; torch's default dtype is float64, because
            exo_pair makes torch.tensor(label_smoothing). f_divergence_type "alpha_divergence" refuses doubles: left out
  float32   nothing replaced; only the distance to float64 is kept
"""
import logging, os, pathlib, sys, tempfile, warnings

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", CUDA_VISIBLE_DEVICES="", TQDM_DISABLE="1",
                  HF_DATASETS_DISABLE_PROGRESS_BARS="1")
warnings.filterwarnings("ignore")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import accelerate, datasets, numpy as np, tokenizers, torch, transformers, trl
from transformers import PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer
from trl.trainer import utils as trl_utils

import make_llama as L

MODEL = "llama_a"
CASES = {name: {"loss_type": [name]} for name in (
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "apo_zero",
    "apo_down", "discopop", "sft", "sigmoid_norm")}
CASES["exo_pair"]["label_smoothing"] = 1e-3
CASES["robust"]["label_smoothing"] = 0.1
CASES["discopop"]["discopop_tau"] = 0.05
CASES.update({                                                       # beyond the plain types
    "aot+label_smoothing": {"loss_type": ["aot"], "label_smoothing": 0.1},
    "aot_unpaired+label_smoothing": {"loss_type": ["aot_unpaired"], "label_smoothing": 0.1},
    "sigmoid+forward_kl": {"loss_type": ["sigmoid"], "f_divergence_type": "forward_kl"},
    "sigmoid+js_divergence": {"loss_type": ["sigmoid"], "f_divergence_type": "js_divergence"},
    "sigmoid+ld_alpha": {"loss_type": ["sigmoid"], "ld_alpha": 0.5},
    "sigmoid+wpo": {"loss_type": ["sigmoid"], "use_weighting": True},
    "mpo": {"loss_type": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 1.0]},
})


class Head64:
    """Stands in for trl.kernels.ChunkedLogProbFunction: the same five figures of each position, in the input's type."""

    @staticmethod
    def apply(hidden, weight, bias, labels, temperature, chunk, softcap, scale, outputs):
        assert bias is None and temperature == 1.0 and softcap is None and scale == 1.0
        logits = hidden @ weight.T
        logp = logits.log_softmax(-1)
        with torch.no_grad():
            extra = {"entropy": -(logp.exp() * logp).sum(-1), "log_sum_sq_probs": (2 * logp).logsumexp(-1),
                     "mean_logits": logits.mean(-1), "is_top1": logits.argmax(-1) == labels}
        of = lambda name: extra[name] if name in outputs else None
        return (logp.gather(-1, labels[:, None])[:, 0], of("entropy"), of("log_sum_sq_probs"), of("mean_logits"),
                of("is_top1"))


def word_tokenizer(V):
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({f"w{i}": i for i in range(V)}, unk_token="w0"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="w0", eos_token="w2")


def evaluate(options, dtype, where):
    policy_seed, ref_seed, _ = L.CONFIG[MODEL]["seeds"]
    _, prompts, pairs = L.make_batch(MODEL)
    torch.set_default_dtype(torch.float32)                           # build() wants it
    policy, reference = L.build(MODEL, policy_seed).to(dtype), L.build(MODEL, ref_seed).to(dtype)
    args = DPOConfig(output_dir=where, beta=L.BETA, max_length=None, bf16=False, use_cpu=True, report_to="none", seed=1,
                     gradient_checkpointing=False, disable_tqdm=True, **options)
    row = datasets.Dataset.from_list([{"prompt": "w3", "chosen": " w4", "rejected": " w5"}])
    trainer = DPOTrainer(model=policy, ref_model=reference, args=args, train_dataset=row,
                         processing_class=word_tokenizer(L.CONFIG[MODEL]["vocab_size"]))
    batch = trainer.data_collator([{"prompt_ids": prompts[p], "chosen_ids": c, "rejected_ids": r} for p, c, r in pairs])
    torch.set_default_dtype(dtype)
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, batch)
    torch.set_default_dtype(torch.float32)
    grad = L.gradient(trainer.model, loss)
    assert loss.dtype == dtype and all(g.dtype == dtype for g in grad.values())
    metrics = {k: v[-1] for k, v in trainer._metrics["train"].items()}
    return loss.item(), L.norm(grad.values()), grad, metrics


def main():
    torch.set_num_threads(1)
    for module in (transformers, datasets):
        module.utils.logging.disable_progress_bar()
        module.utils.logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    losses, plain_head = {}, trl_utils._ChunkedLogProbFunction
    short = lambda x: float(f"{x:.1e}")
    with tempfile.TemporaryDirectory() as where:
        for name, options in CASES.items():
            with L.exact():
                trl_utils._ChunkedLogProbFunction = Head64
                loss, norm, grad, figures = evaluate(options, torch.float64, where)
                trl_utils._ChunkedLogProbFunction = plain_head
            loss32, norm32, grad32, _ = evaluate(options, torch.float32, where)
            far = {"loss": short(L.far_scalar(loss32, loss)), "grad_norm": short(L.far_scalar(norm32, norm)),
                   "gradient": short(L.far_tensors(grad32, grad))}
            losses[name] = {"options": options, "loss": loss, "grad_norm": norm, "float32_distance": far}
            if name == "sigmoid":
                metrics = figures
            print(f"{name:30s} {loss:18.12f} {norm:18.12f}  float32 {far}")
    L.write_origin(L.HERE / "trl_losses.json", {
        "made_by": "tests/golden/make_trl.py", "command": "nice -n 10 python3 tests/golden/make_trl.py",
        "versions": L.versions(trl, torch, transformers, accelerate, datasets, np),
        "dtype": "float64; float32_distance: TRL and transformers as they come, in float32, against these figures",
        "about": "weights of llama_a, batch and reference of llama_a.json (ref: the figures ref_chosen, ref_rejected there); "
                 "options: of trl.DPOConfig, beyond beta; loss: what DPOTrainer.compute_loss returns; grad_norm: L2 norm "
                 "over all parameters",
        "beta": L.BETA, "losses": losses, "metrics_of_sigmoid": metrics})


if __name__ == "__main__":
    main()

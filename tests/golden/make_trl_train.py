#!/usr/bin/env python3
"""Ten steps of DPO by TRL's own DPOTrainer on the small Llama of make_llama.py: the whole model, and a LoRA adapter.

writes  trl_train.json      token ids of the pairs, options, and for every step loss, rewards, margins, gradient norm, rate
        peft/start/         the adapter before the first step (B is 0)
needs   pip install torch transformers trl peft datasets accelerate; llama_a beside it (make_llama.py)
run     nice -n 10 python3 tests/golden/make_trl_train.py        (half a minute)

Everything is float32 as TRL computes it. Rows in their order, 4 a step, no dropout. The tokenizer has a word for each id.
"""
import json, os, shutil, tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import accelerate, datasets, numpy as np, peft, torch, transformers, trl
from datasets import Dataset
from peft import LoraConfig
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer

from make_llama import BOS, CONFIG, EOS, HERE, sha256, versions, write_json, write_origin

BASE, ROWS, STEPS, BATCH = "llama_a", 12, 10, 4
COMMON = dict(beta=0.1, adam_beta1=0.9, adam_beta2=0.999, adam_epsilon=1e-8, weight_decay=0.01, max_grad_norm=1.0,
              lr_scheduler_type="linear", warmup_steps=2, max_steps=STEPS)
RUNS = {"full": dict(learning_rate=1e-3), "lora": dict(learning_rate=5e-3)}
KEEP = ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "logps/chosen", "logps/rejected",
        "grad_norm", "learning_rate")


def tokenizer():
    vocab = {"<unk>": 0, "<s>": BOS, "</s>": EOS, **{f"t{i}": i for i in range(3, CONFIG[BASE]["vocab_size"])}}
    t = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    t.add_special_tokens([AddedToken(s, special=True) for s in ("<unk>", "<s>", "</s>")])
    t.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", BOS)])
    return PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<s>", eos_token="</s>", pad_token="<unk>", unk_token="<unk>")


def rows():
    rng = np.random.default_rng(7)
    text = lambda: " ".join(f"t{i}" for i in rng.integers(3, CONFIG[BASE]["vocab_size"], rng.integers(3, 9)))
    return [{"prompt": text() + " ", "chosen": text(), "rejected": text()} for _ in range(ROWS)]


class InOrder(DPOTrainer):
    """Rows in their order; the loss of every step in full."""
    losses = None

    def _get_train_sampler(self, train_dataset=None):
        return torch.utils.data.SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)

    def compute_loss(self, *args, **kwargs):
        out = super().compute_loss(*args, **kwargs)
        self.losses.append((out[0] if isinstance(out, tuple) else out).item())
        return out


def run(name):
    torch.manual_seed(3)
    model = LlamaForCausalLM.from_pretrained(HERE / BASE, dtype=torch.float32)
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear") if name == "lora" else None
    with tempfile.TemporaryDirectory() as tmp:
        args = DPOConfig(output_dir=tmp, per_device_train_batch_size=BATCH, logging_steps=1, save_strategy="no", report_to=[],
                         use_cpu=True, bf16=False, fp16=False, gradient_checkpointing=False, disable_tqdm=True,
                         **COMMON, **RUNS[name])
        trainer = InOrder(model=model, args=args, train_dataset=Dataset.from_list(rows()), processing_class=tokenizer(),
                          peft_config=lora)
    trainer.losses = []
    if lora:
        d = HERE / "peft" / "start"
        shutil.rmtree(d, ignore_errors=True)
        trainer.model.save_pretrained(d)
        (d / "README.md").unlink(missing_ok=True)
        config = json.loads((d / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = BASE
        config["target_modules"].sort()
        (d / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        (d / "adapter_model.safetensors").chmod(0o644)
    trainer.train()
    logged = [row for row in trainer.state.log_history if "grad_norm" in row]
    assert len(logged) == STEPS == len(trainer.losses), (len(logged), len(trainer.losses))
    steps = [{"step": i + 1, "loss": loss, **{k: float(row[k]) for k in KEEP}}
             for i, (loss, row) in enumerate(zip(trainer.losses, logged))]
    data = [{k: list(row[k]) for k in ("prompt_ids", "chosen_ids", "rejected_ids")} for row in trainer.train_dataset]
    for s in steps: print(name, {k: round(v, 6) for k, v in s.items()})
    return data, steps


def main():
    torch.set_num_threads(1)
    out = {name: run(name) for name in RUNS}
    assert out["full"][0] == out["lora"][0]
    write_json(HERE / "trl_train.json", {
        "about": f"rows are token ids, {BATCH} a step in this order, beginning again at the end; steps[] are what TRL logs: "
                 "loss and rewards before the step's update, grad_norm before clipping; no weight decay on norms",
        "base": BASE, "batch": BATCH, "options": COMMON, "rows": out["full"][0],
        "runs": {name: {**RUNS[name], "steps": out[name][1]} for name in RUNS}})
    write_origin(HERE / "trl_train.origin.json", {
        "made_by": "tests/golden/make_trl_train.py", "command": "nice -n 10 python3 tests/golden/make_trl_train.py",
        "versions": versions(torch, transformers, trl, peft, datasets, accelerate, np), "dtype": "float32 throughout",
        "sha256": sha256(sorted((HERE / "peft" / "start").iterdir()) + [HERE / "trl_train.json"])})


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""One measurement of `make bench` by a peer, in a process of its own: prints one line of JSON.

trl    TRL's DPOTrainer as its users run it: rows as text, the reference computed in every step
torch  PyTorch and transformers tuned by hand: reference cached, the head only at scored tokens, one padded batch
run    python3 peer.py trl|torch JOB.json      (the job is written by run.lua: work, rows, model, threads, repeats)
"""
import json, os, sys, time

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaForCausalLM


def peak():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))


def lora_config():
    from peft import LoraConfig
    return LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules="all-linear")


def load(job):
    return LlamaForCausalLM.from_pretrained(job["model"], dtype=getattr(torch, job["work"]["dtype"]))


# ---- TRL ----

def tokenizer(vocab):
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    t = Tokenizer(models.WordLevel({"<eos>": 0, **{f"t{i}": i for i in range(1, vocab)}}, unk_token="t1"))
    t.add_special_tokens([AddedToken("<eos>", special=True)])
    t.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=t, eos_token="<eos>", pad_token="<eos>")


def run_trl(job):
    import tempfile
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import DPOConfig, DPOTrainer
    model, rows = load(job), []
    text = lambda ids: " ".join(f"t{i}" for i in ids)
    for row in job["rows"]:
        a = row["answers"]
        rows += [{"prompt": text(row["prompt"]) + " ", "chosen": text(a[i][:-1]), "rejected": text(a[i + 1][:-1])}
                 for i in range(0, len(a), 2)]  # the trainer adds the last token, EOS

    seconds, cpu, losses, counter = [], [], [], FlopCounterMode(display=False)

    class Clock(TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            if state.global_step == 0: counter.__enter__()
            self.start, self.spent = time.perf_counter(), time.process_time()

        def on_step_end(self, args, state, control, **_):
            if state.global_step == 1: counter.__exit__(None, None, None)
            else:
                seconds.append(time.perf_counter() - self.start)
                cpu.append(time.process_time() - self.spent)

    class Trainer(DPOTrainer):
        def compute_loss(self, *args, **kwargs):
            out = super().compute_loss(*args, **kwargs)
            losses.append((out[0] if isinstance(out, tuple) else out).item())
            return out

    with tempfile.TemporaryDirectory() as tmp:
        args = DPOConfig(output_dir=tmp, per_device_train_batch_size=len(rows), max_steps=1 + job["repeats"], beta=0.1,
                         learning_rate=1e-6, lr_scheduler_type="constant", max_length=None, save_strategy="no",
                         logging_strategy="no", report_to=[], use_cpu=True, bf16=False, fp16=False,
                         gradient_checkpointing=False, disable_tqdm=True)
        trainer = Trainer(model=model, args=args, train_dataset=Dataset.from_list(rows), callbacks=[Clock()],
                          processing_class=tokenizer(model.config.vocab_size),
                          peft_config=lora_config() if job["work"]["mode"] == "lora" else None)
        trainer.train()
    return seconds, cpu, counter.get_total_flops(), losses[1]


# ---- by hand ----

def padded(job):
    """ids [B, T], mask [B, T], and for every scored token its row, the place before it, and its id"""
    seqs = [(row["prompt"], answer) for row in job["rows"] for answer in row["answers"]]
    width = max(len(p) + len(a) for p, a in seqs)
    ids, mask = torch.zeros(len(seqs), width, dtype=torch.long), torch.zeros(len(seqs), width, dtype=torch.long)
    at, place, target = [], [], []
    for i, (p, a) in enumerate(seqs):
        ids[i, :len(p) + len(a)] = torch.tensor(p + a)
        mask[i, :len(p) + len(a)] = 1
        at += [i] * len(a)
        place += range(len(p) - 1, len(p) + len(a) - 1)
        target += a
    return ids, mask, torch.tensor(at), torch.tensor(place), torch.tensor(target)


def run_torch(job):
    work, base = job["work"], load(job)
    if work["kind"] == "rollouts": return run_generate(job, base)
    model = base
    if work["mode"] == "lora":
        from peft import get_peft_model
        model = get_peft_model(base, lora_config())
    ids, mask, at, place, target = padded(job)
    rows = len(ids)

    def logps():
        hidden = base.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        logits = base.lm_head(hidden[at, place]).float()
        return torch.log_softmax(logits, -1)[torch.arange(len(target)), target]

    def sums(lp): return torch.zeros(rows).index_add(0, at, lp)

    with torch.no_grad(): reference = sums(logps()) if work["kind"] == "dpo" else None
    losses = []

    def loss():
        if work["kind"] == "sft": return -logps().mean()
        lp = sums(logps())
        if work["kind"] == "dpo":
            h = lp - reference
            return -torch.nn.functional.logsigmoid(0.1 * (h[0::2] - h[1::2])).mean()
        mean = lp / torch.bincount(at, minlength=rows)
        return torch.log1p(torch.exp(mean[1::2][None] - mean[0::2][:, None]).sum())

    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6, weight_decay=0) if work["mode"] != "frozen" else None

    def step():
        if not optimizer:
            with torch.no_grad(): return logps().sum().item()
        value = loss()
        losses.append(value.item())
        value.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    with FlopCounterMode(display=False) as counter: step()
    return *timed(job, step), counter.get_total_flops(), losses[1] if losses else 0


def run_generate(job, model):
    work, prompt = job["work"], job["rows"][0]["prompt"]
    cuts = [prompt[:len(prompt) * (k + 1) // work["prefixes"]] for k in range(work["prefixes"])]
    width = max(map(len, cuts))
    ids = torch.tensor([[0] * (width - len(c)) + c for c in cuts]).repeat_interleave(work["answers"], 0)
    mask = torch.tensor([[0] * (width - len(c)) + [1] * len(c) for c in cuts]).repeat_interleave(work["answers"], 0)

    def step():
        with torch.no_grad():
            model.generate(input_ids=ids, attention_mask=mask, do_sample=True, top_k=0, max_new_tokens=work["answer"],
                           min_new_tokens=work["answer"], pad_token_id=0)

    with FlopCounterMode(display=False) as counter: step()
    return *timed(job, step), counter.get_total_flops(), 0


def timed(job, step):
    seconds, cpu = [], []
    for _ in range(job["repeats"]):
        start, spent = time.perf_counter(), time.process_time()
        step()
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - spent)
    return seconds, cpu


def main():
    with open(sys.argv[2]) as f: job = json.load(f)
    torch.manual_seed(1)
    if job["threads"]: torch.set_num_threads(job["threads"])
    seconds, cpu, flops, loss = {"trl": run_trl, "torch": run_torch}[sys.argv[1]](job)
    print(json.dumps({"seconds": seconds, "cpu": cpu, "flops": flops, "peak": peak(), "loss": loss}))


if __name__ == "__main__": main()

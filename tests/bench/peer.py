#!/usr/bin/env python3
"""A work of `make bench` by a peer, in a process of its own. It says that it is ready, and after each line that it gets
does the work once more and says how that went: lines of JSON, as ours.lua prints them.

trl    TRL's DPOTrainer and SFTTrainer as their users run them: rows as text, the reference computed in every step
torch  transformers and tokenizers as their users run them: every sequence whole, logits at every place
tuned  PyTorch by hand: the reference cached, the head only at scored tokens
run    python3 peer.py trl|torch|tuned JOB.json      (the job is written by measure.lua)
"""
import json, os, sys, time

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import torch
from torch.utils.flop_counter import FlopCounterMode

from peer_trl import run_trl

with open(sys.argv[2]) as f: JOB = json.load(f)
WORK, ROWS = JOB["work"], JOB["rows"]
SEQUENCES = [(row["prompt"], answer) for row in ROWS for answer in row["answers"]]


# ---- measuring ----

rate = 0  # of this round


def measure_rate():
    """GFLOP/s of a matrix product: the best of some"""
    global rate
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    rate = 0
    for _ in range(16):
        start = time.perf_counter()
        for _ in range(2): a @ b
        rate = max(rate, 4 * 1024 ** 3 / (time.perf_counter() - start) / 1e9)


def say(**figures):
    with open("/proc/self/status") as f:
        peak = next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))
    print(json.dumps({**figures, "peak": peak, "rate": rate}), flush=True)


def wait():
    """for the next line; ends the process if there is none"""
    if not sys.stdin.readline(): os._exit(0)
    measure_rate()


def measure(run):
    """run() does the work once and returns what came of it: a number, or a function that gives it"""
    with FlopCounterMode(display=False) as counter: result = run()
    say(flops=counter.get_total_flops(), result=result() if callable(result) else result)
    while True:
        wait()
        start, spent = time.perf_counter(), time.process_time()
        result = run()
        seconds, cpu = time.perf_counter() - start, time.process_time() - spent
        say(seconds=seconds, cpu=cpu, result=result() if callable(result) else result)


# ---- models ----

def load():
    from transformers import LlamaForCausalLM
    return LlamaForCausalLM.from_pretrained(JOB["model"], dtype=getattr(torch, WORK["dtype"]))


def padded():
    """ids [B, T], mask [B, T], and for every scored token its row, the place before it, and its id"""
    width = max(len(p) + len(a) for p, a in SEQUENCES)
    ids, mask = (torch.zeros(len(SEQUENCES), width, dtype=torch.long) for _ in range(2))
    at, place, target = [], [], []
    for i, (p, a) in enumerate(SEQUENCES):
        ids[i, :len(p) + len(a)] = torch.tensor(p + a)
        mask[i, :len(p) + len(a)] = 1
        at += [i] * len(a)
        place += range(len(p) - 1, len(p) + len(a) - 1)
        target += a
    return ids, mask, torch.tensor(at), torch.tensor(place), torch.tensor(target)


def scoring(base, ids, mask, at, place, target):
    """a function that gives the log-probs of all scored tokens"""
    def tuned():
        hidden = base.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        return torch.log_softmax(base.lm_head(hidden[at, place]).float(), -1)[torch.arange(len(target)), target]

    def everywhere():
        logits = base(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        return torch.log_softmax(logits.float(), -1).gather(-1, ids[:, 1:, None])[at, place, 0]

    return tuned if sys.argv[1] == "tuned" else everywhere


# ---- works ----

def training():
    base = load()
    model = base
    if WORK["mode"] == "lora":
        from peft import PeftModel
        model = PeftModel.from_pretrained(base, JOB["model"] + "/adapter", is_trainable=True)
    ids, mask, at, place, target = padded()
    rows, logps = len(ids), scoring(base, ids, mask, at, place, target)
    sums = lambda lp: torch.zeros(rows).index_add(0, at, lp)
    with torch.no_grad(): reference = sums(logps()) if WORK["kind"] == "dpo" else None

    def loss():
        lp = logps()
        if WORK["kind"] == "sft": return -lp.mean(), lp.mean()
        lp = sums(lp)
        if WORK["kind"] == "dpo":
            h = lp - reference
            return -torch.nn.functional.logsigmoid(0.1 * (h[0::2] - h[1::2])).mean(), lp.mean()
        mean = lp / torch.bincount(at, minlength=rows)
        return torch.log1p(torch.exp(mean[1::2][None] - mean[0::2][:, None]).sum()), mean.mean()

    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=WORK["lr"], weight_decay=0)

    def run():
        for _ in range(WORK["updates"]):
            value, lp = loss()
            value.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return (lp if WORK["compare"] == "logp" else value).item()

    return run


def score():
    logps = scoring(load(), *padded())

    def run():
        with torch.no_grad(): return logps().sum().item()

    return run


def sampling():
    model, prompt, n = load(), ROWS[0]["prompt"], WORK.get("prefixes", 1)
    cuts = [prompt[:len(prompt) * (k + 1) // n] for k in range(n)]
    width = max(map(len, cuts))
    ids = torch.tensor([[0] * (width - len(c)) + c for c in cuts])
    mask = torch.tensor([[0] * (width - len(c)) + [1] * len(c) for c in cuts])

    def run():
        with torch.no_grad():
            out = model.generate(input_ids=ids, attention_mask=mask, num_return_sequences=WORK["answers"],
                                 do_sample=True, top_k=0, max_new_tokens=WORK["answer"],
                                 min_new_tokens=WORK["answer"], pad_token_id=0)
        return out.shape[0] * (out.shape[1] - width)

    return run


def tokenise():
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(JOB["tokenizer"] + "/tokenizer.json")
    with open(JOB["text"], encoding="utf-8") as f: lines = f.read().split("\n")

    def run():
        lists = [e.ids for e in tokenizer.encode_batch(lines, add_special_tokens=False)]

        def checksum():
            total = 0
            for ids in lists:
                for i in ids: total = (total * 31 + i) % 2147483647
            return total

        return checksum

    return run


def loading():
    prompt = torch.tensor([ROWS[0]["prompt"]])

    def run():
        with torch.no_grad(): return load()(input_ids=prompt).logits[0, -1].logsumexp(-1).item()

    return run


def main():
    torch.manual_seed(1)
    if JOB["threads"]: torch.set_num_threads(JOB["threads"])
    if sys.argv[1] == "trl": return run_trl(JOB, say, wait)
    measure({"dpo": training, "sft": training, "aft": training, "score": score, "rollouts": sampling,
             "sampling": sampling, "tokenise": tokenise, "load": loading}[WORK["kind"]]())


if __name__ == "__main__": main()

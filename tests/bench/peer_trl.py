"""TRL's trainers as a peer of `make bench`, at their defaults but for what makes the work the same: one batch of all
rows, a constant rate, float32 not under bfloat16's autocast; and no gradient checkpointing, which would cost time."""
import os, tempfile, time


def word_tokenizer(vocab):
    """text "t5 t7" for the ids 5 and 7"""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    t = Tokenizer(models.WordLevel({"<eos>": 0, **{f"t{i}": i for i in range(1, vocab)}}, unk_token="t1"))
    t.add_special_tokens([AddedToken("<eos>", special=True)])
    t.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=t, eos_token="<eos>", pad_token="<eos>")


def dataset(job):
    """the trainers add the last token, EOS"""
    from datasets import Dataset
    text = lambda ids: " ".join(f"t{i}" for i in ids)
    rows = []
    for row in job["rows"]:
        prompt, answers = text(row["prompt"]) + " ", [text(a[:-1]) for a in row["answers"]]
        if job["work"]["kind"] == "sft": rows += [{"prompt": prompt, "completion": a} for a in answers]
        else: rows += [{"prompt": prompt, "chosen": c, "rejected": r} for c, r in zip(answers[0::2], answers[1::2])]
    return Dataset.from_list(rows)


def run_trl(job, say, wait):
    import torch, trl
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import LlamaForCausalLM, TrainerCallback
    work, data = job["work"], dataset(job)
    updates = work["updates"]
    base, config = ((trl.SFTTrainer, trl.SFTConfig) if work["kind"] == "sft" else (trl.DPOTrainer, trl.DPOConfig))
    counter, results = FlopCounterMode(display=False), []

    class Clock(TrainerCallback):
        """the first updates are counted, not timed; then for every line that comes as many are timed"""

        def on_step_begin(self, args, state, control, **_):
            if state.global_step == 0: counter.__enter__()
            if state.global_step % updates: return
            if state.global_step > 0: wait()
            self.start, self.spent = time.perf_counter(), time.process_time()

        def on_step_end(self, args, state, control, **_):
            if state.global_step % updates: return
            seconds, cpu = time.perf_counter() - self.start, time.process_time() - self.spent
            if state.global_step == updates:
                counter.__exit__(None, None, None)
                say(flops=counter.get_total_flops(), result=results[-1])
            else:
                say(seconds=seconds, cpu=cpu, result=results[-1])

    class Trainer(base):
        def compute_loss(self, *args, **kwargs):
            out = super().compute_loss(*args, **kwargs)
            result = (out[0] if isinstance(out, tuple) else out).item()
            if work["compare"] == "logp":
                of = self._metrics["train"]
                result = (of["logps/chosen"][-1] + of["logps/rejected"][-1]) / 2
            results.append(result)
            return out

    lora = work["mode"] == "lora"
    if lora: from peft import LoraConfig
    with tempfile.TemporaryDirectory() as tmp:
        how = dict(beta=0.1) if work["kind"] == "dpo" else {}
        args = config(output_dir=tmp, per_device_train_batch_size=len(data), max_steps=10 ** 6,
                      learning_rate=work["lr"], lr_scheduler_type="constant", max_length=None, save_strategy="no",
                      logging_strategy="no", report_to=[], use_cpu=True, bf16=False, fp16=False, gradient_checkpointing=False,
                      disable_tqdm=True, **how)
        model = LlamaForCausalLM.from_pretrained(job["model"], dtype=getattr(torch, work["dtype"]))
        trainer = Trainer(model=model, args=args, train_dataset=data, callbacks=[Clock()],
                          processing_class=word_tokenizer(model.config.vocab_size),
                          peft_config=LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16,
                                                 target_modules="all-linear") if lora else None)
        if lora:  # begin as all others do
            from peft import set_peft_model_state_dict
            from safetensors.torch import load_file
            set_peft_model_state_dict(trainer.model, load_file(job["model"] + "/adapter/adapter_model.safetensors"))
        trainer.train()
    os._exit(0)

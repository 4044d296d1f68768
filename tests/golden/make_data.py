#!/usr/bin/env python3
"""What TRL's trainers make of rows of every kind: ids and what of them is scored, with the tokenizer of stories260K.

writes  data_trl.json       cases of rows, options and the sequences of TRL's own _prepare_dataset; its origin
needs   pip install trl (with torch, transformers, datasets); the directory of stories260K, as first argument
run     nice -n 10 python3 tests/golden/make_data.py STORIES260K

DPOTrainer, KTOTrainer and SFTTrainer are built for each case with a model of one layer, and their train_dataset is read.
DPO cuts to max_length in its collator, which is done here as there: the first max_length tokens.
"""
import json, logging, os, pathlib, sys, tempfile, warnings

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", CUDA_VISIBLE_DEVICES="", TQDM_DISABLE="1",
                  HF_DATASETS_DISABLE_PROGRESS_BARS="1")
warnings.filterwarnings("ignore")
import datasets, torch, transformers, trl

HERE = pathlib.Path(__file__).resolve().parent
logging.disable(logging.WARNING)
datasets.disable_progress_bars()

MARKED = """{{- bos_token }}
{%- if tools %}{{ '<tools>' + (tools | tojson) + '</tools>\\n' }}{% endif %}
{%- for m in messages %}
{%- if m.role == 'assistant' %}
{{- 'bot: ' }}{% generation %}{{ m.content + eos_token }}{% endgeneration %}{{ '\\n' }}
{%- else %}
{{- m.role + ': ' + m.content + '\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ 'bot: ' }}{% endif %}
{%- if style %}{{ style }}{% endif %}
"""
# writes an empty thought into the prompt for an answer, which a finished conversation does not have
REWRITING = """{{- bos_token }}
{%- for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ 'assistant: (thinks)' }}{% endif %}
"""

U = lambda text: {"role": "user", "content": text}
A = lambda text: {"role": "assistant", "content": text}
S = lambda text: {"role": "system", "content": text}

STANDARD = [
    {"prompt": "Once upon a time", "chosen": ", there was a cat.", "rejected": " the end"},
    {"prompt": "The boundary is in", "chosen": "side a token", "rejected": "deed"},
    {"prompt": "Lily sa", "chosen": "w a dog", "rejected": "id no"},
    {"prompt": "The end. ", "chosen": "Really.</s>", "rejected": " \u65e5\u672c \U0001f600\n\n"},
    {"prompt": "A", "chosen": "b", "rejected": "c"},
]
CHAT = [
    {"prompt": [U("Hi there")], "chosen": [A("Hello!")], "rejected": [A("Go away")]},
    {"prompt": [S("Be kind"), U("One"), A("Two"), U("Three?")], "chosen": [A("Four")], "rejected": [A(" no\n")]},
]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"x": "\u00e9"}}}]
TALKS = [[U("Hi"), A("Hello you"), U("And?"), A("Bye")], [S("Sys"), U("x y z"), A("The cat sat on the mat.")],
         [U("no answer"), A("")]]


def completions(rows):
    return [{"prompt": r["prompt"], "completion": r["chosen"]} for r in rows]


def unpaired(rows):
    return [{"prompt": r["prompt"], "completion": r[k], "label": k == "chosen"} for r in rows
            for k in ("chosen", "rejected")]


def implicit(rows):
    return [{"chosen": r["prompt"] + r["chosen"], "rejected": r["prompt"] + r["rejected"]} for r in rows]


TEXTS = [{"text": "Once upon a time there was"}, {"text": "x</s>"}, {"text": " \u65e5 y"}]
CASES = [
    ("preference", "dpo", STANDARD, {}), ("preference, implicit prompt", "dpo", implicit(STANDARD[:1] + STANDARD[4:]), {}),
    ("preference, cut", "dpo", STANDARD, {"max_length": 12}),
    ("preference, conversational", "dpo", CHAT, {"template": MARKED}),
    ("preference, conversational, implicit prompt", "dpo", implicit(CHAT), {"template": MARKED}),
    ("preference, conversational, with tools", "dpo", [dict(CHAT[0], tools=json.dumps(TOOLS)), dict(CHAT[1], tools="[]")],
     {"template": MARKED}),
    ("preference, conversational, variables", "dpo", [dict(r, chat_template_kwargs={"style": "!"}) for r in CHAT],
     {"template": MARKED}),
    ("preference, conversational, rewriting template", "dpo", CHAT, {"template": REWRITING}),
    ("unpaired", "kto", unpaired(STANDARD), {}),
    ("unpaired, conversational", "kto", unpaired(CHAT), {"template": MARKED}),
    ("unpaired, cut", "kto", unpaired(STANDARD), {"max_length": 10}),
    ("completion", "sft", completions(STANDARD), {}), ("completion, cut", "sft", completions(STANDARD), {"max_length": 11}),
    ("completion, conversational", "sft", completions(CHAT), {"template": MARKED}),
    ("language", "sft", TEXTS, {}), ("language, cut", "sft", TEXTS, {"max_length": 7}),
    ("language, conversational", "sft", [{"messages": m} for m in TALKS], {"template": MARKED}),
    ("language, assistant only", "sft", [{"messages": m} for m in TALKS], {"template": MARKED, "assistant_only": True}),
    ("language, assistant only, cut", "sft", [{"messages": m} for m in TALKS[:2]],
     {"template": MARKED, "assistant_only": True, "max_length": 30}),
]


def tokenizer(directory, template):
    # tokenizer.json as it is: AutoTokenizer of transformers 5 builds a Llama tokenizer of its own from it
    tok = transformers.PreTrainedTokenizerFast(tokenizer_file=directory + "/tokenizer.json", bos_token="<s>",
                                               eos_token="</s>", unk_token="<unk>", pad_token="</s>")
    tok.chat_template = template
    return tok


def model(tok):
    torch.manual_seed(1)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=len(tok),
        bos_token_id=tok.bos_token_id, eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id))


def run(kind, rows, options, directory, out):
    tok = tokenizer(directory, options.get("template"))
    common = dict(output_dir=out, report_to=[], use_cpu=True, bf16=False, max_length=options.get("max_length"))
    data = datasets.Dataset.from_list(rows)
    if kind == "dpo":
        t = trl.DPOTrainer(model(tok), ref_model=model(tok), args=trl.DPOConfig(**common), train_dataset=data, processing_class=tok)
        n = options.get("max_length")
        return [[{"ids": (r["prompt_ids"] + r[k])[:n], "prompt": len(r["prompt_ids"])}
                 for k in ("chosen_ids", "rejected_ids")] for r in t.train_dataset]
    if kind == "kto":
        t = trl.KTOTrainer(model(tok), ref_model=model(tok), args=trl.KTOConfig(**common), train_dataset=data, processing_class=tok)
        n = options.get("max_length")
        return [[{"ids": (r["prompt_ids"] + r["completion_ids"])[:n], "prompt": len(r["prompt_ids"])}]
                for r in t.train_dataset]
    args = trl.SFTConfig(**common, assistant_only_loss=options.get("assistant_only", False))
    t = trl.SFTTrainer(model(tok), args=args, train_dataset=data, processing_class=tok)
    return [[{"ids": r["input_ids"], "scored": [int(x != -100) for x in r["labels"]]}] for r in t.train_dataset]


def main():
    cases = []
    with tempfile.TemporaryDirectory() as out:
        for name, kind, rows, options in CASES:
            cases.append({"name": name, "rows": rows, "options": options,
                          "want": run(kind, rows, options, sys.argv[1], out)})
            print(name, [len(r) for r in cases[-1]["want"]])
    origin = {"made_by": "make_data.py", "trl": trl.__version__, "transformers": transformers.__version__}
    with open(HERE / "data_trl.json", "w") as f:
        f.write('{"origin": %s,\n"cases": [\n' % json.dumps(origin))
        f.write(",\n".join(json.dumps(c) for c in cases) + "\n]}\n")


main()

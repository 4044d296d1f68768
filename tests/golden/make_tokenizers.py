"""Write tests/golden/tokenizers/NAME.jsonl.zst: a cut-down tokenizer of every family and what the Hugging Face library
makes of texts with it.

usage: make_tokenizers.py DIR     (DIR: the folder of vocabularies, $POFIT_TESTDATA/tokenizers)

The first line of a file is a tokenizer.json, every other one an object: "text" with "ids" (without special tokens) and
"all" (with them); or only "all", random ids. "decoded" and "plain" are the ids of "all" as text with and without special
tokens. Needs the Python packages tokenizers and gguf, and the program zstd. Made with tokenizers 0.23.3.
"""
import json
import os
import subprocess
import sys

import tokenizer_families as fam
from compare_tokenizers import latin_added, rows, vocabularies
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
MERGES, TEXTS, CHARACTERS = 500, 240, 500


def cut(vocab, merges):
    """bytes, the most frequent characters, the first merges, and what the merges need; ids from 0 without holes"""
    by_id = sorted(vocab, key=vocab.get)
    keep = {t for t in by_id if t.startswith("<0x")} | {"<unk>", "<s>", "</s>"} & set(vocab)
    keep |= set([t for t in by_id if len(t) == 1][:CHARACTERS])
    out = []
    for a, b in merges:
        if len(out) == MERGES:
            break
        if a in keep and b in keep:
            out.append((a, b))
            keep.add(a + b)
    return {t: i for i, t in enumerate(t for t in by_id if t in keep)}, out


def trained():
    """a small vocabulary with the marks of words' beginnings and ends, from the library's own trainer"""
    tok = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##", end_of_word_suffix="</w>"))
    tok.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tok.train_from_iterator([s.lower() for s in fam.texts(400, [], 5)], trainers.BpeTrainer(
        vocab_size=900, special_tokens=["<unk>"], continuing_subword_prefix="##", end_of_word_suffix="</w>",
        limit_alphabet=150, show_progress=False))
    m = json.loads(tok.to_str())["model"]
    return m["vocab"], [tuple(x) for x in m["merges"]]


def main():
    whole = vocabularies(sys.argv[1])
    small = {"bytes": cut(*whole["bytes"]), "spm": cut(*whole["spm"]), "affixes": trained()}
    os.makedirs(os.path.join(HERE, "tokenizers"), exist_ok=True)
    for seed, (name, f) in enumerate(fam.FAMILIES.items()):
        text = fam.dump(fam.build(name, *small[f["kind"]]))
        tok = Tokenizer.from_str(text)
        latin, lines = latin_added(tok), [text]
        for r in rows(tok, TEXTS, 100 + seed, 7):
            if "text" in r:
                r["ids"] = tok.encode(r["text"], add_special_tokens=False).ids
                r["all"] = tok.encode(r["text"]).ids
            else:
                r = {"all": r["ids"]}
            if not latin & set(r["all"]):
                r["decoded"] = tok.decode(r["all"], skip_special_tokens=False)
                r["plain"] = tok.decode(r["all"], skip_special_tokens=True)
            lines.append(fam.dump(r))
        path = os.path.join(HERE, "tokenizers", name + ".jsonl.zst")
        subprocess.run(["zstd", "-q", "-f", "-19", "-o", path], input=("\n".join(lines) + "\n").encode(), check=True)
        print(name, len(lines) - 1, "cases", os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main()

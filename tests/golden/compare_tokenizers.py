"""Compare pofit's tokenizer with Hugging Face's on generated texts, with whole vocabularies.

usage: compare_tokenizers.py POFIT DIR [--texts N] [FAMILY|FILE ...]

DIR is the folder of vocabularies (gpt2/, qwen2/, pythia/ and the vocab-only GGUF files; $POFIT_TESTDATA/tokenizers). A
FILE is any tokenizer.json. For every family: N texts are encoded with and without what the post-processor adds, and the
ids (as well as random ids) decoded with and without special tokens, by both; every difference is an error.
Needs the Python packages tokenizers and gguf.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

import tokenizer_families as fam
from tokenizers import Tokenizer

LUA = """
local pf = require "pofit"
local tok = pf.tokenizer.load(arg[1])
local out = io.open(arg[3], "w")
for line in io.lines(arg[2]) do
  local row = pf.json.decode(line)
  local r = {}
  if row.text then
    r.ids = tok:encode(row.text, {special = false})
    r.all = tok:encode(row.text)
    row.ids = r.all
  end
  r.text = tok:decode(row.ids)
  r.plain = tok:decode(row.ids, {skip_special = true})
  out:write(pf.json.encode(r), "\\n")
end
out:close()
"""


def merges_txt(path):
    lines = open(path, encoding="utf-8").read().split("\n")
    return [tuple(l.split(" ")) for l in lines if l and not l.startswith("#version")]


def spm_merges(vocab, score):
    """as transformers makes them from a SentencePiece vocabulary"""
    out = []
    for t, s in score.items():
        local = [(t[:i], t[i:]) for i in range(1, len(t)) if t[:i] in vocab and t[i:] in vocab]
        out += [(a, b, s) for a, b in sorted(local, key=lambda x: (vocab[x[0]], vocab[x[1]]))]
    out.sort(key=lambda m: (m[2], len(m[0]), len(m[1])), reverse=True)
    return [(a, b) for a, b, _ in out]


def gguf(path):
    from gguf import GGUFReader
    f = GGUFReader(path).fields
    get = lambda k: f["tokenizer.ggml." + k].contents() if "tokenizer.ggml." + k in f else None
    vocab = {t: i for i, t in enumerate(get("tokens"))}
    if get("merges"):
        return vocab, [tuple(m.split(" ")) for m in get("merges")]
    normal = {t: s for t, s, k in zip(get("tokens"), get("scores"), get("token_type")) if k == 1}
    return vocab, spm_merges(vocab, normal)


def vocabularies(folder):
    p = lambda *a: os.path.join(folder, *a)
    gpt2 = json.load(open(p("gpt2", "gpt2_vocab.json"))), merges_txt(p("gpt2", "gpt2_merges.txt"))
    qwen = json.load(open(p("qwen2", "vocab.json"))), merges_txt(p("qwen2", "merges.txt"))
    spm = gguf(p("ggml-vocab-llama-spm.gguf"))
    phi = gguf(p("ggml-vocab-phi-3.gguf"))
    return {"qwen2": qwen, "smollm3": qwen, "llama3": qwen, "phi4mini": qwen, "phi3": phi,
            "bytes": gpt2, "spm": spm}


def rows(tok, n, seed, most=14):
    t = json.loads(tok.to_str())
    specials = [a["content"] for a in t["added_tokens"] if a["content"].strip()]
    r = random.Random(seed)
    ids = sorted(tok.get_vocab().values())
    out = [{"text": s} for s in fam.texts(n, r.sample(specials, min(len(specials), 40)), seed, most)]
    for _ in range(n // 4):
        out.append({"ids": [r.choice(ids) for _ in range(r.randrange(0, 12))]})
    return out


def latin_added(tok):
    """added tokens that the reference's ByteLevel decoder takes for bytes, and so for broken UTF-8 ("ö")"""
    t = json.loads(tok.to_str())
    bytes_too = "ByteLevel" in json.dumps(t["decoder"])
    return {a["id"] for a in t["added_tokens"] if bytes_too and any("\x7f" < c < "\u0144" for c in a["content"])}


def compare(pofit, path, n, seed):
    tok = Tokenizer.from_file(path)
    want = rows(tok, n, seed)
    with tempfile.TemporaryDirectory() as tmp:
        put = lambda name: os.path.join(tmp, name)
        open(put("run.lua"), "w").write(LUA)
        with open(put("in"), "w", encoding="utf-8") as f:
            f.writelines(json.dumps(w) + "\n" for w in want)
        subprocess.run([pofit, put("run.lua"), path, put("in"), put("out")], check=True)
        got = [json.loads(l) for l in open(put("out"), encoding="utf-8")]
    wrong, lost, latin = 0, 0, latin_added(tok)
    for w, g in zip(want, got):
        ref = {}
        if "text" in w:
            ref["ids"] = tok.encode(w["text"], add_special_tokens=False).ids
            ref["all"] = tok.encode(w["text"]).ids
        ids = ref.get("all", w.get("ids"))
        ref["text"] = tok.decode(ids, skip_special_tokens=False)
        ref["plain"] = tok.decode(ids, skip_special_tokens=True)
        if "\ufffd" in ref["text"] and latin & set(ids):
            lost += 1
            del ref["text"], ref["plain"]
        bad = [k for k in ref if (g[k] or []) != (ref[k] or [])]
        wrong += bool(bad)
        if bad and wrong <= 5:
            for k in bad[:1]:
                print("  %s of %r\n    here      %r\n    reference %r" % (k, w.get("text", w.get("ids")), g[k], ref[k]))
    assert len(got) == len(want)
    return len(want), wrong, lost


def main():
    a = argparse.ArgumentParser()
    a.add_argument("pofit")
    a.add_argument("dir")
    a.add_argument("--texts", type=int, default=2000)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("names", nargs="*")
    a = a.parse_intermixed_args()
    vocab = vocabularies(a.dir)
    total = 0
    for name in a.names or [*(n for n in fam.FAMILIES if n != "affixes"), os.path.join(a.dir, "pythia", "tokenizer.json")]:
        with tempfile.TemporaryDirectory() as tmp:
            path = name
            if name in fam.FAMILIES:
                path = os.path.join(tmp, "tokenizer.json")
                v, m = vocab.get(name) or vocab[fam.FAMILIES[name]["kind"]]
                open(path, "w", encoding="utf-8").write(fam.dump(fam.build(name, v, m)))
            n, wrong, lost = compare(a.pofit, path, a.texts, a.seed)
        print("%-40s %6d texts and lists of ids, %d differ, %d decoded here only" % (name, n, wrong, lost), flush=True)
        total += wrong
    sys.exit(total > 0)


if __name__ == "__main__":
    main()

"""Configurations of tokenizer.json by model family, as Hugging Face publishes them, around any vocabulary.

The families' own files cannot all be had; what distinguishes them is the configuration (normalizer, pre-tokenizer,
post-processor, decoder, flags, added tokens), which is written out here and put around a vocabulary of the same kind.
Used by make_tokenizers.py (cut-down vocabularies, committed) and compare_tokenizers.py (whole ones).
"""
import json

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_WORD = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_END = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = (r"[^\r\n\p{L}\p{N}]?" + _WORD[0] + "*" + _WORD[1] + "+" + _END + r"|[^\r\n\p{L}\p{N}]?" + _WORD[0] + "+"
         + _WORD[1] + "*" + _END + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEKKEN = O200K.replace(_END, "").replace(r"\p{N}{1,3}", r"\p{N}")


def byte_level(prefix=False, regex=True, trim=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": trim, "use_regex": regex}


def split(pattern, behavior="Isolated", kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": False}


def pre(*stages):
    return {"type": "Sequence", "pretokenizers": list(stages)}


def template(*before):
    """before: (token, id) of what stands in front"""
    special = {t: {"id": t, "ids": [i], "tokens": [t]} for t, i in before}
    single = [{"SpecialToken": {"id": t, "type_id": 0}} for t, _ in before] + [{"Sequence": {"id": "A", "type_id": 0}}]
    return {"type": "TemplateProcessing", "single": single, "pair": single + [{"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": special}


def added(content, special=True, normalized=False, **flags):
    return {"content": content, "single_word": flags.get("single_word", False), "lstrip": flags.get("lstrip", False),
            "rstrip": flags.get("rstrip", False), "normalized": normalized, "special": special}


REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
LLAMA2_NORM = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, REPLACE]}
BACK = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
SPM_DECODER = [BACK, {"type": "ByteFallback"}, {"type": "Fuse"}]
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}


def decoder(*stages):
    return {"type": "Sequence", "decoders": list(stages)}


CHAT = [added("<|im_start|>"), added("<|im_end|>")]
ENDS = [added("<s>"), added("</s>"), added("<unk>")]

# name -> kind of vocabulary, normalizer, pre-tokenizer, decoder, model flags, tokens to add, tokens put in front
FAMILIES = {
    "gpt2": dict(kind="bytes", pre=byte_level(), added=[added("<|endoftext|>")]),
    "neox": dict(kind="bytes", norm={"type": "NFC"}, pre=byte_level(),
                 added=[added("<|endoftext|>"), added("<|padding|>")]
                 + [added(" " * n, special=False, normalized=True) for n in range(24, 1, -1)]),
    "llama3": dict(kind="bytes", pre=pre(split(LLAMA3), byte_level(regex=False)), flags={"ignore_merges": True},
                   added=[added("<|begin_of_text|>"), added("<|eot_id|>"), added("<|start_header_id|>"),
                          added("<|end_header_id|>")], before=["<|begin_of_text|>"]),
    "qwen2": dict(kind="bytes", norm={"type": "NFC"}, pre=pre(split(QWEN2), byte_level(regex=False, trim=False)),
                  added=[added("<|endoftext|>")] + CHAT
                  + [added("<think>", special=False), added("</think>", special=False)]),
    "smollm2": dict(kind="bytes", pre=pre({"type": "Digits", "individual_digits": True}, byte_level()),
                    added=[added("<|endoftext|>")] + CHAT + [added("<file_sep>")]),
    "smollm3": dict(kind="bytes", pre=pre(split(LLAMA3), byte_level(regex=False)), flags={"ignore_merges": True},
                    added=CHAT + [added("<think>", special=False), added("</think>", special=False)]),
    "phi4mini": dict(kind="bytes", pre=pre(split(O200K), byte_level(regex=False)),
                     added=[added("<|endoftext|>"), added("<|assistant|>", rstrip=True), added("<|user|>", rstrip=True),
                            added("<|end|>", rstrip=True), added("<|system|>", lstrip=True)]),
    "tekken": dict(kind="bytes", pre=pre(split(TEKKEN), byte_level(regex=False)), flags={"ignore_merges": True},
                   added=ENDS + [added("[INST]"), added("[/INST]")], before=["<s>"]),
    "deepseek_llm": dict(kind="bytes", pre=pre(
        split("[\r\n]"), split(r"\s?[A-Za-zµÀ-ÖØ-öø-ƺΑ-Ωа-я]+"), split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"),
        split(r"\s+$"), split("[一-龥ࠀ-一가-퟿]+"), {"type": "Digits", "individual_digits": True},
        byte_level(regex=False)), added=[added("<｜begin▁of▁sentence｜>"), added("<｜end▁of▁sentence｜>")],
        before=["<｜begin▁of▁sentence｜>"]),
    "llama2": dict(kind="spm", norm=LLAMA2_NORM, decoder=decoder(*SPM_DECODER, STRIP), added=ENDS, before=["<s>"]),
    "mistral": dict(kind="spm", pre=METASPACE, decoder=decoder(*SPM_DECODER, STRIP),
                    added=ENDS + [added("[INST]"), added("[/INST]")], before=["<s>"]),
    "phi3": dict(kind="spm", norm=LLAMA2_NORM, decoder=decoder(*SPM_DECODER, STRIP),
                 added=[added("<s>"), added("</s>", rstrip=True, special=False), added("<unk>")]
                 + [added(t, rstrip=True) for t in ("<|assistant|>", "<|user|>", "<|end|>", "<|system|>")],
                 before=["<s>"]),
    "gemma": dict(kind="spm", norm=REPLACE, pre=split(" ", "MergedWithPrevious", "String"),
                  decoder=decoder(*SPM_DECODER),
                  added=[added("<bos>"), added("<eos>"), added("<unk>"), added("<start_of_turn>"),
                         added("<end_of_turn>")] + [added("\n" * n, special=False) for n in range(2, 8)],
                  before=["<bos>"]),
}

# what no family above uses, in a small vocabulary of their own
FAMILIES.update({
    "affixes": dict(kind="affixes", norm={"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]},
                    pre=pre(split(r"\s+", "Removed"), split(r"[^\s\p{L}\p{N}]", "Contiguous")), decoder={"type": "Fuse"},
                    flags={"unk_token": "<unk>", "continuing_subword_prefix": "##", "end_of_word_suffix": "</w>"},
                    added=[added("<unk>"), added("[MASK]", lstrip=True), added("fox", special=False, single_word=True)]),
    "flags": dict(kind="spm", norm={"type": "Sequence", "normalizers": [
        {"type": "NFD"}, {"type": "StripAccents"}, {"type": "Strip", "strip_left": True, "strip_right": True}]},
        pre={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        decoder={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        flags={"byte_fallback": False, "fuse_unk": False},
        added=ENDS + [added("Hello", special=False, normalized=True, single_word=True), added("é", special=False),
                      added("É", special=False, normalized=True), added("[MASK]", lstrip=True, rstrip=True),
                      added("x", special=False, single_word=True, lstrip=True)]),
    "prefix": dict(kind="bytes", norm={"type": "NFD"}, pre=pre({"type": "Digits", "individual_digits": False},
                                                                byte_level(prefix=True)), added=[]),
})


def build(name, vocab, merges):
    """the tokenizer.json of a family around a vocabulary {token: id} with merges [(a, b)]"""
    f = FAMILIES[name]
    spm = f["kind"] == "spm"
    vocab, ids, tokens = dict(vocab), {}, []
    top = max(vocab.values()) + 1
    for t in f["added"]:
        i = vocab.get(t["content"], top)
        top += i == top
        ids[t["content"]] = i
        tokens.append({"id": i, **t})
    model = {"type": "BPE", "dropout": None, "unk_token": "<unk>" if spm else None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": spm, "byte_fallback": spm, "ignore_merges": False,
             "vocab": vocab, "merges": [list(m) for m in merges], **f.get("flags", {})}
    before = f.get("before", [])
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": sorted(tokens, key=lambda t: t["id"]), "normalizer": f.get("norm"),
            "pre_tokenizer": f.get("pre"),
            "post_processor": template(*((t, ids[t]) for t in before)) if before else
            (byte_level(trim=False) if not spm else None),
            "decoder": f.get("decoder", byte_level()), "model": model}


def dump(obj):
    return json.dumps(obj, ensure_ascii=False, separators=(",", ":"))


# ---- texts ----

_WORDS = """the quick brown fox it's I'LL we'Re don't naïve résumé façade Ünïcödé Straße ǅungla Привет мир как дела Ελληνικά
 ΣΊΣΥΦΟΣ שלום العربية هندी नमस्ते ภาษาไทย ភាសាខ្មែរ 你好世界 汉字漢字 ひらがな カタカナ 한국어 조선말 İstanbul ıslak ﬁne ﬀ ẞ
 def func(x): return x**2 != 0 {"key":[1,2.5e-3]} http://a.b/c?d=e&f=g#h a_b-c.d snake_case camelCaseWORD HTTPServer x86_64
 ½ ¼ Ⅷ ² ③ ٣٤٥ १२३ 𝟘𝟙 3.14159 1,000,000 0x1F 2026-11-28 ... --- === ???!!! «quote» “q” ‘s' 's ’s 'ſ 'S 'RE 'Ve \\n $x^2$ €5 ¥ ₿
 ▁ ▁▁a Ġ Ċ <0x0A> <0xE2> </s> <s> <unk> <| |> <|im_start <|endoftext| [INST [/INST]] ｜ ａｂｃ ①②""".split()
_SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r", " \n", "\n ", "\t\t", "\u00a0", "\u2003", "\u3000", "\u2028",
           "\u0085", "\u1680", "\u200b", "\u200a", "\u202f", "\ufeff", "\v", "\f", "\u180e", " " * 9, "\n" * 5, "    \n\n  "]
_EMOJI = ["😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪🇫🇷", "🦙", "❤️", "☺", "1️⃣", "🧑🏿‍🚀", "⌚", "\U0001faf6", "\u2764"]
_MARKS = ["e\u0301", "A\u030a", "q\u0323\u0307", "n\u0303", "o\u0302\u0300", "\u1100\u1161\u11a8", "\u0915\u093c", "\u0301", "a\u20dd",
          "\u0344", "\u212b", "\u2126", "x\u0327\u0301", "\u0958", "\u0f73", "s\u0323\u0307", "\u0e33", "\ufb2c"]
_EDGE = ["\u007f", "\u0080", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffd", "\uffff", "\U00010000", "\U0010ffff", "\0", "\x01",
         "\x1b", "\u00ad", "\ufdd0", "\U0001d54f", "\U00020000", "\U000e0041", "\u0378"]


def _any(r):
    while True:
        c = r.choice([r.randrange(0x20, 0x250), r.randrange(0x300, 0x3000), r.randrange(0x3000, 0xffff),
                      r.randrange(0x10000, 0x20000)])
        if not 0xd800 <= c < 0xe000:
            return chr(c)


def _part(r, specials):
    k = r.random()
    if k < 0.42:
        return r.choice(_WORDS)
    if k < 0.62:
        return r.choice(_SPACES)
    if k < 0.68:
        return r.choice(_EMOJI)
    if k < 0.74:
        return r.choice(_MARKS)
    if k < 0.80:
        return "".join(r.choice("0123456789") for _ in range(r.choice([1, 2, 3, 4, 7, 20, 60])))
    if k < 0.84:
        return r.choice(_EDGE)
    if k < 0.92 and specials:
        s = r.choice(specials)
        return r.choice([s, s, " " + s, s + " ", s + "\n", s + s, s[:-1], s[1:], s.upper(), "a" + s + "b", s + "\n\n  x"])
    if k < 0.96:
        return "".join(_any(r) for _ in range(r.randrange(1, 6)))
    c = r.choice(["a", "ab", "=", "é", "你", "\u0301", " ", "Aa", "<", "1a", "▁"])
    return c * r.choice([2, 3, 5, 17, 40])


def texts(n, specials, seed=1, most=14):
    """n texts made of words of many scripts, spaces, emoji, marks, digits, special tokens whole and broken, anything"""
    import random
    r = random.Random(seed)
    out = ["", " ", "  ", "a", "\n", "Hello world", " Hello  world ", "Hello, y'all! How are you 😁 ?"]
    while len(out) < n:
        glue = r.choice(["", "", " "])
        out.append(glue.join(_part(r, specials) for _ in range(r.randrange(1, most))))
    return out[:n]

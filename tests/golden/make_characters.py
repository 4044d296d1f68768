"""Print the table of core/text/newer.c: characters that Unicode 16 has and Unicode 14 has not, each range with an older
character of the same class and length in UTF-8, the nearest there is.

The classes are those of the regular expressions of Hugging Face's library (Oniguruma); Python's unicodedata must be of
Unicode 14, as PCRE2 10.42 is. Made with tokenizers 0.23.3 and Python 3.11.
"""
import unicodedata

from tokenizers import Regex, pre_tokenizers

CLASSES = ["Lu", "Ll", "Lt", "Lm", "Lo", "N", "M", "P", "S"]
ALL = [c for c in range(0x110000) if not 0xd800 <= c < 0xe000]


def members(name):
    cut, out = pre_tokenizers.Split(Regex(r"\p{%s}" % name), "removed"), set()
    for i in range(0, len(ALL), 20000):
        text = "".join(map(chr, ALL[i:i + 20000]))
        out |= set(text) - set("".join(p for p, _ in cut.pre_tokenize_str(text)))
    return {ord(c) for c in out}


def main():
    assert unicodedata.unidata_version == "14.0.0"
    rows = []
    for name in CLASSES:
        now = members(name)
        old = {c for c in now if unicodedata.category(chr(c)).startswith(name)}
        for c in sorted(now - old):
            assert unicodedata.category(chr(c)) == "Cn"
            if rows and rows[-1][1] == c - 1 and rows[-1][3] == name:
                rows[-1][1] = c
                continue
            same = [o for o in old if len(chr(o).encode()) == len(chr(c).encode())]
            rows.append([c, c, min(same, key=lambda o: (abs(o - c), o)), name])
    for lo, hi, like, _ in sorted(rows):
        print("{0x%X, 0x%X, 0x%X}," % (lo, hi, like))


if __name__ == "__main__":
    main()

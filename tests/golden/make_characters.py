"""Print the tables of core/text/newer.c. The first: characters that Unicode 16 has and Unicode 14 has not, each range with
an older character of the same class and length in UTF-8, the nearest there is. The second: characters that utf8proc
decomposes or takes for marks, and the normalizers of Hugging Face's library do not.

The classes are those of that library's regular expressions (Oniguruma); Python's unicodedata must be of Unicode 14, as
PCRE2 10.42 is. Made with tokenizers 0.23.3, Python 3.11 and utf8proc 2.8.
"""
import ctypes, unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers

CLASSES = ["Lu", "Ll", "Lt", "Lm", "Lo", "N", "M", "P", "S"]
ALL = [c for c in range(0x110000) if not 0xd800 <= c < 0xe000]


def members(name):
    cut, out = pre_tokenizers.Split(Regex(r"\p{%s}" % name), "removed"), set()
    for i in range(0, len(ALL), 20000):
        text = "".join(map(chr, ALL[i:i + 20000]))
        out |= set(text) - set("".join(p for p, _ in cut.pre_tokenize_str(text)))
    return {ord(c) for c in out}


def decomposed(utf8proc, c, compat):
    out, last = (ctypes.c_int32 * 64)(), ctypes.c_int()
    n = utf8proc.utf8proc_decompose_char(c, out, ctypes.c_ssize_t(64), 2 | 16 | 4 * compat, ctypes.byref(last))
    return "".join(map(chr, out[:n]))


def unknown():
    """what the normalizers leave alone, as ranges"""
    utf8proc = ctypes.CDLL("libutf8proc.so.2")
    utf8proc.utf8proc_decompose_char.restype = ctypes.c_ssize_t
    forms = {0: normalizers.NFD().normalize_str, 1: normalizers.NFKD().normalize_str}
    marks = members("M") | {c for c in ALL if utf8proc.utf8proc_category(c) in (6, 7, 8)}
    found = {c for c in marks if normalizers.StripAccents().normalize_str(chr(c))}
    found |= {c for c in ALL for k in forms if decomposed(utf8proc, c, k) != forms[k](chr(c))}
    rows = []
    for c in sorted(found):
        if rows and rows[-1][1] == c - 1: rows[-1][1] = c
        else: rows.append([c, c])
    return rows


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
    for lo, hi in unknown():
        print("{0x%X, 0x%X, 0}," % (lo, hi))


if __name__ == "__main__":
    main()

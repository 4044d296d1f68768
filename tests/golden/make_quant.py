"""Stored types of weights as ggml reads them: writes tests/golden/quant.gguf with the `gguf` Python package.

For each block type a tensor of random blocks and, as NAME.f32, what the package's dequantize makes of it. For Q8_0 also
the other way: q8_0.from holds the values, q8_0.to what the package's quantize makes of them. The metadata holds a
value of every type. With --ggml LIBGGML_BASE.SO the figures are compared, bit by bit, with those of llama.cpp's C code.

    python tests/golden/make_quant.py [--ggml build/bin/libggml-base.so]
"""
import argparse
import ctypes
import os

import numpy as np
import gguf
from gguf import GGMLQuantizationType as T, GGUFValueType as V

BLOCK_TYPES = [T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q4_K, T.Q5_K, T.Q6_K]
SCALES = {T.Q8_0: [0], T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q4_K: [0, 2], T.Q5_K: [0, 2],
          T.Q6_K: [208]}  # where the half-precision scales are


def random_blocks(rng, kind, n):
    """n blocks: random bits, but finite scales, the first of them subnormal, negative and zero"""
    size = gguf.GGML_QUANT_SIZES[kind][1]
    b = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for at in SCALES[kind]:
        d = (rng.standard_normal(n) * 0.05).astype(np.float16)
        d[:3] = np.array([3e-7, -0.01, 0], np.float16)
        b[:, at:at + 2] = d.view(np.uint8).reshape(n, 2)
    return b


def awkward_values(rng):
    """values for Q8_0: ordinary rows, ties, a row of zeros, tiny ones and large ones"""
    x = (rng.standard_normal((4, 256)) * 0.1).astype(np.float32)
    x[1, :32] = np.arange(32, dtype=np.float32) * 4 + 0.5
    x[1, 31] = 127
    x[1, 32:64] = 0
    x[1, 64:96] *= np.float32(1e-9)
    x[1, 96:128] *= np.float32(1e-34)
    x[1, 128:160] *= np.float32(1e4)
    x[2, :] = np.abs(x[2, :])
    return x


def check_with_ggml(path, kind, blocks, want):
    lib = ctypes.CDLL(path)
    f = getattr(lib, "dequantize_row_" + kind.name.replace("Q", "q"))
    f.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    got = np.empty(want.size, np.float32)
    f(blocks.ctypes.data, got.ctypes.data, want.size)
    same = (got.view(np.uint32) == want.ravel().view(np.uint32)).all()
    print(kind.name, "equal to ggml's C code" if same else "DIFFERS from ggml's C code")


def check_narrow_with_ggml(path, x, want):
    f = ctypes.CDLL(path).quantize_row_q8_0_ref
    f.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    got = np.empty(want.size, np.uint8)
    f(x.ctypes.data, got.ctypes.data, x.size)
    print("to Q8_0", "equal to" if (got == want.ravel()).all() else "DIFFERS from", "ggml's C code")


def metadata(w):
    w.add_key_value("k.u8", 200, V.UINT8)
    w.add_key_value("k.i8", -100, V.INT8)
    w.add_key_value("k.u16", 60000, V.UINT16)
    w.add_key_value("k.i16", -30000, V.INT16)
    w.add_key_value("k.u32", 4000000000, V.UINT32)
    w.add_key_value("k.i32", -2000000000, V.INT32)
    w.add_key_value("k.u64", 2**63, V.UINT64)
    w.add_key_value("k.i64", -2**62, V.INT64)
    w.add_key_value("k.f32", 0.1, V.FLOAT32)
    w.add_key_value("k.f64", 0.1, V.FLOAT64)
    w.add_key_value("k.yes", True, V.BOOL)
    w.add_key_value("k.no", False, V.BOOL)
    w.add_key_value("k.text", "zwölf", V.STRING)
    w.add_key_value("k.words", ["", "a", "é b"], V.ARRAY)
    w.add_key_value("k.ints", [1, -2, 3], V.ARRAY)
    w.add_key_value("k.floats", [0.5, -1.25], V.ARRAY)
    w.add_key_value("k.bools", [True, False], V.ARRAY)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--ggml")
    args = p.parse_args()
    rng = np.random.default_rng(20240607)
    w = gguf.GGUFWriter(os.path.join(os.path.dirname(__file__), "quant.gguf"), "llama")
    metadata(w)
    for kind in BLOCK_TYPES:
        per = gguf.GGML_QUANT_SIZES[kind][0]
        blocks = random_blocks(rng, kind, 1024 // per)
        stored = np.ascontiguousarray(blocks.reshape(2, -1))
        values = gguf.dequantize(stored, kind)
        assert values.shape == (2, 512) and np.isfinite(values).all()
        if args.ggml:
            check_with_ggml(args.ggml, kind, stored, np.ascontiguousarray(values))
        name = kind.name.lower()
        w.add_tensor(name, stored, raw_dtype=kind)
        w.add_tensor(name + ".f32", values)
    x = awkward_values(rng)
    if args.ggml:
        check_narrow_with_ggml(args.ggml, x, gguf.quantize(x, T.Q8_0))
    w.add_tensor("q8_0.from", x)
    w.add_tensor("q8_0.to", gguf.quantize(x, T.Q8_0), raw_dtype=T.Q8_0)
    every = np.arange(65536, dtype=np.uint32).astype(np.uint16)[::97].copy()
    w.add_tensor("half", every.view(np.float16))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


main()

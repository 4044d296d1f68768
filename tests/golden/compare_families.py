#!/usr/bin/env python3
"""What llama.cpp makes of the GGUF files that pofit writes, against pofit's own logits.

    LLAMA_CPP=DIRECTORY python3 tests/golden/compare_families.py [CASE ...]

For every case of families.json, and every file in families/: lets build/pofit load it, save it as GGUF and print its
logits, and runs llama.cpp (built in DIRECTORY/build) on that file. Prints how far they are from each other. llama.cpp
knows no windows for Mistral and Phi-3, computes GELU from a table of float16 and for gpt_neox in its tanh form (shown in
compare_llama_cpp.py), and takes longrope's factors by the context it was given (a multiple of 256) rather than by the
sequence: mistral, phi3 and phi3_short differ.
"""
import json, os, pathlib, subprocess, sys, tempfile

import numpy as np
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).resolve().parent
LLAMA_CPP = pathlib.Path(os.environ["LLAMA_CPP"])
POFIT = HERE.parent.parent / "build" / "pofit"


def noise(stream, n):
    h = (np.arange(n, dtype=np.uint64) * 2654435761 + stream * 40503 + 12345) & 0xFFFFFFFF
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        h = ((h ^ (h >> np.uint64(shift))) * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    return (h ^ (h >> np.uint64(16))).astype(np.float64) / 2.0 ** 31 - 1


def numbers(command):
    r = subprocess.run(command, capture_output=True, text=True)
    if r.returncode: return None, (r.stderr.strip().splitlines() or ["failed"])[-1]
    return np.array([[float(x) for x in line.split()] for line in r.stdout.splitlines()]), None


def main():
    figures = json.loads((HERE / "families.json").read_text())
    ids = figures["ids"]
    with tempfile.TemporaryDirectory() as tmp:
        tmp, lib = pathlib.Path(tmp), LLAMA_CPP / "build" / "bin"
        program = tmp / "compare"
        subprocess.run(["g++", "-O1", "-std=c++17", f"-I{LLAMA_CPP}/include", f"-I{LLAMA_CPP}/ggml/include",
                        HERE / "compare_families.cpp", "-o", program, f"-L{lib}", "-lllama", "-lggml", "-lggml-base",
                        f"-Wl,-rpath,{lib}"], check=True)
        def compare(name, source):
            code = (f'local m = pf.model.load("{source}"); m:save("{tmp}/m.gguf"); for _, row in ipairs(m:logits({{'
                    f'{",".join(map(str, ids))}}}):totable()) do print(table.concat(row, " ")) end')
            ours, why = numbers([POFIT, "-e", code])
            if why: return print(f"{name:20} not written: {why.split('-e:1: ')[-1]}")
            theirs, why = numbers([program, tmp / "m.gguf", *map(str, ids)])
            if why: return print(f"{name:20} llama.cpp: {why}")
            far = np.abs(ours - theirs).max() / max(1, np.abs(ours).max())
            print(f"{name:20} {far:.1e} of the largest logit {np.abs(ours).max():.2f}")

        for name, case in figures["cases"].items():
            if sys.argv[1:] and name not in sys.argv[1:]: continue
            (tmp / "config.json").write_text(json.dumps(case["config"]))
            save_file({t["name"]: (t["middle"] + t["spread"] * noise(k, int(np.prod(t["shape"])))).astype(np.float32)
                       .reshape(t["shape"]) for k, t in enumerate(case["tensors"])}, tmp / "model.safetensors")
            compare(name, tmp)
        for path in sorted((HERE / "families").glob("*.gguf")):
            if not sys.argv[1:] or path.name in sys.argv[1:]: compare(path.name, path)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""hidden.py - hidden states in records, and those of goldens, with numpy and msgpack-numpy only.

    hidden.py prompt DIR             the question that DIR/opt.safetensors answers, as a record
    hidden.py check FILE [ID]        the records on standard input (those of ID) hold hidden_states/*
                                     of FILE, those and no others: max |a-b| / max |b| <= 2e-5
    hidden.py same A B               all records of B hold the states of A's first, bit for bit
"""
import os, sys
import msgpack_numpy as m
import numpy as np
import golden

def states(r):
    n = sum(k.startswith("hidden_states.") for k in r)
    return [r[f"hidden_states.{i}"] for i in range(n)]

def wanted(path, image):
    t = golden.select(path, "hidden_states")
    names = [f"{i}/{image}" if image else str(i) for i in range(len(t))]
    return [t[k] for k in names]

def prompt(d):
    r = {"id": "astronaut.png", "input_ids": golden.load(f"{d}/opt.safetensors")["input_ids"]}
    if os.path.exists(f"{d}/qformer.safetensors"):
        r["language_model_inputs"] = golden.load(f"{d}/qformer.safetensors")[
            "language_model_inputs/astronaut.png"]
    sys.stdout.buffer.write(m.packb(r))

def check(path, image=None):
    seen, want = 0, wanted(path, image)
    for r in golden.records(sys.stdin.buffer):
        if image and r["id"] != image:
            continue
        got = states(r)
        assert len(got) == len(want), (len(got), len(want))
        for a, b in zip(got, want):
            assert a.shape == b.shape and a.dtype == "f4", (a.shape, b.shape)
            assert np.abs(a.astype("f8") - b).max() <= 2e-5 * np.abs(b).max()
        seen += 1
    assert seen and len(want) > 2, (seen, len(want))

def same(a, b):
    want = states(next(golden.records(open(a, "rb"))))
    seen = 0
    for r in golden.records(open(b, "rb")):
        assert all((x == y).all() for x, y in zip(states(r), want)) and len(states(r)) == len(want)
        seen += 1
    assert seen > 1 and want

if __name__ == "__main__":
    {"prompt": prompt, "check": check, "same": same}[sys.argv[1]](*sys.argv[2:])

#!/usr/bin/env python3
"""golden.py - goldens (safetensors) as streams and back, with numpy and msgpack-numpy only.

    golden.py stream FILE.safetensors WHAT FIELD       tensors WHAT/* as records {id, FIELD}
    golden.py check FILE.safetensors WHAT FIELD [TOL]  the stream on stdin holds WHAT/<id> in FIELD:
                                                       max |a-b| / max |b| <= TOL (default 2e-5)
"""
import json, sys
import msgpack_numpy as m
import numpy as np

KIND = {"F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "|u1", "F64": "<f8"}

def load(path):
    raw = open(path, "rb").read()
    n = int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8:8 + n])
    head.pop("__metadata__", None)
    return {k: np.frombuffer(raw[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]],
                             KIND[v["dtype"]]).reshape(v["shape"]) for k, v in head.items()}

def select(path, what):
    return {k[len(what) + 1:]: v for k, v in load(path).items() if k.startswith(what + "/")}

def records(f):
    return (r for r in m.Unpacker(f, max_buffer_size=0) if "stream" not in r and "end" not in r)

def main():
    verb, path, what, field = sys.argv[1:5]
    gold = select(path, what)
    assert gold, f"no {what}/* in {path}"
    if verb == "stream":
        for k, v in gold.items():
            sys.stdout.buffer.write(m.packb({"id": k, field: v}))
        return 0
    tol, seen, bad = float(sys.argv[5]) if len(sys.argv) > 5 else 2e-5, 0, 0
    for r in records(sys.stdin.buffer):
        if r["id"] not in gold:
            continue
        seen += 1
        a, b = r[field].astype("f8"), gold[r["id"]].astype("f8")
        worst = np.abs(a - b).max() / np.abs(b).max() if a.shape == b.shape else np.inf
        if not worst <= tol:
            bad += 1
            print(f"{r['id']}: {field}: {worst:.1e} of the largest value, tolerance {tol:.0e}")
    print(f"{seen} of {len(gold)} compared, {bad} beyond")
    return bad != 0 or seen == 0

if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""generate.py - cases of golden/NAME/generate.json as records for opt-generate, and its answers
compared with transformers', with numpy and msgpack-numpy only.

    generate.py cases NAME [GROUP]          the questions: {id, input_ids, language_model_inputs}
    generate.py check NAME [GROUP]          the answers on standard input: ids, finish, score
    generate.py bad FIELD=EXPR...           one sound record with numpy expressions put into it
    generate.py show FIELD...               those fields of every record, one record a line
"""
import json, os, sys
import msgpack_numpy as m
import numpy as np

FIXTURES = os.environ["VQA_FIXTURES"]
KIND = {"F32": "<f4", "I64": "<i8"}

def tensors(path):
    if not os.path.exists(path):
        return {}
    raw = open(path, "rb").read()
    n = int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8:8 + n])
    head.pop("__metadata__", None)
    return {k: np.frombuffer(raw[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]],
                             KIND[v["dtype"]]).reshape(v["shape"]) for k, v in head.items()}

def cases(name, group=None):
    rows = tensors(f"{FIXTURES}/golden/{name}/qformer.safetensors")
    for i, c in enumerate(json.load(open(f"{FIXTURES}/golden/{name}/generate.json"))["cases"]):
        if c.get("group") == group:
            r = {"id": str(i), "note": "passed on"}
            if c.get("input_ids"):
                r["input_ids"] = np.array(c["input_ids"])
                r["attention_mask"] = np.ones(len(c["input_ids"]), "i8")
            if "image" in c:
                r["language_model_inputs"] = rows["language_model_inputs/" + c["image"]]
            yield r, c

def records(f):
    return (r for r in m.Unpacker(f, max_buffer_size=0) if "stream" not in r and "end" not in r)

def put(r):
    sys.stdout.buffer.write(m.packb(r))

def check(name, group=None):
    got = {}
    for r in records(sys.stdin.buffer):
        got.setdefault(r["id"], []).append(r)
    seen = 0
    for q, c in cases(name, group):
        answers = got[q["id"]]
        if not c["stable"]:
            continue
        assert [r["output_ids"].tolist() for r in answers] == c["generated"], (c.get("id"), answers)
        assert [r["finish"] for r in answers] == c["stop"], c.get("id")
        assert all(r["output_ids"].dtype == "int64" and r["note"] == "passed on" for r in answers)
        for r, want in zip(answers, c.get("sequences_scores") or []):
            assert abs(r["score"] - want) <= 1e-5 * max(1, abs(want)), (c["id"], r["score"], want)
        if len(answers) > 1:
            assert [r["sequence"] for r in answers] == list(range(len(answers)))
        seen += 1
    print(f"{seen} cases")
    return seen == 0

def bad(*fields):
    rows = tensors(f"{FIXTURES}/golden/tiny-blip2-opt-bf16/qformer.safetensors")
    r = {"id": "bad", "input_ids": np.array([600] * 4 + [2, 100, 101]),
         "language_model_inputs": rows["language_model_inputs/astronaut.png"].copy()}
    names = {"np": np, "rows": r["language_model_inputs"], "ids": r["input_ids"]}
    for f in fields:
        key, expr = f.split("=", 1)
        r[key] = eval(expr, names)
    put({k: v for k, v in r.items() if v is not None})

def show(*fields):
    for r in records(sys.stdin.buffer):
        print(*(r[f].tolist() if isinstance(r.get(f), np.ndarray) else r.get(f) for f in fields))

if __name__ == "__main__":
    verb, rest = sys.argv[1], sys.argv[2:]
    if verb == "cases":
        for r, _ in cases(*rest):
            put(r)
    else:
        sys.exit({"check": check, "bad": bad, "show": show}[verb](*rest))

#!/usr/bin/env python3
"""steps.py - opt-generate --explain and --attention beside transformers' generate().

    steps.py make CHECKPOINT GOLDEN_DIR OUT.json   transformers' output_scores and output_attentions
                                                   (needs torch and transformers)
    steps.py question GOLDEN_DIR                   that question as a record
    steps.py options OUT.json CASE                 the options of a case
    steps.py check OUT.json CASE LINES [STREAM]    JSON lines, and the stream's answer_attention
"""
import json
import sys

import numpy as np

CASES = {
    "greedy": {"max_new_tokens": 6, "repetition_penalty": 1.3},
    "beams": {"max_new_tokens": 6, "num_beams": 3, "length_penalty": 0.5, "no_repeat_ngram_size": 2},
}
MOST = 6

def load(path):
    raw = open(path, "rb").read()
    n = int.from_bytes(raw[:8], "little")
    kind = {"F32": "<f4", "I64": "<i8"}
    return {k: np.frombuffer(raw[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]],
                             kind[v["dtype"]]).reshape(v["shape"])
            for k, v in json.loads(raw[8:8 + n]).items() if k != "__metadata__"}

def question(golden):
    ids = load(f"{golden}/opt.safetensors")["input_ids"]
    return ids, load(f"{golden}/qformer.safetensors")["language_model_inputs/astronaut.png"]

def make(checkpoint, golden, out):
    import torch
    from transformers import Blip2ForConditionalGeneration
    m = Blip2ForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32,
                                                      attn_implementation="eager").eval()
    ids, visual = question(golden)
    pixels = load(f"{golden}/vision.safetensors")["pixel_values/astronaut.png"]
    result = {}
    for name, how in CASES.items():
        with torch.no_grad():
            o = m.generate(pixel_values=torch.tensor(pixels)[None], input_ids=torch.tensor(ids)[None],
                           output_scores=True, output_attentions=True, return_dict_in_generate=True, **how)
        steps = []
        for s in o.scores:
            p = torch.softmax(s.double(), -1).topk(MOST, -1)
            steps.append([{"ids": i.tolist(), "p": v.tolist()} for i, v in zip(p.indices, p.values)])
        result[name] = {"options": how, "steps": steps, "output_ids": o.sequences[0, len(ids):].tolist()}
        if "num_beams" not in how:
            maps = [torch.stack(a)[:, 0, :, -1, :len(visual)].mean((0, 1)) for a in o.attentions]
            result[name]["attention"] = torch.stack(maps).tolist()
    json.dump(result, open(out, "w"), indent=0)

def check(gold, case, lines, stream=None):
    gold = json.load(open(gold))[case]
    lines = [json.loads(s) for s in open(lines)]
    steps = [s for s in lines if "step" in s]
    assert len(steps) == len(gold["steps"]) > 2 and "timing" in lines[-1]
    for mine, theirs in zip(steps, gold["steps"]):
        assert len(mine["rows"]) >= 1
        for r in mine["rows"]:
            t = theirs[r["row"]]
            for k, id, p in zip(r["likeliest"], t["ids"], t["p"], strict=True):
                assert abs(k["p"] - p) < 1e-4 * p, (k, id, p)
                assert k["id"] == id or min(abs(p - q) for j, q in zip(t["ids"], t["p"]) if j != id) < 1e-6
    if "num_beams" not in gold["options"]:
        assert [s["taken"][0]["id"] for s in steps] == gold["output_ids"]
        assert all(s["taken"][0]["p"] == s["rows"][0]["likeliest"][0]["p"] for s in steps)
    if stream:
        import msgpack_numpy as m
        r = next(r for r in m.Unpacker(open(stream, "rb"), max_buffer_size=0) if "output_ids" in r)
        assert r["output_ids"].tolist() == gold["output_ids"]
        worst = np.abs(r["answer_attention"] - np.array(gold["attention"])).max()
        assert worst < 1e-5, worst
        print(f"attention: {worst:.1e}")
    print(len(steps), "steps")

verb, *rest = sys.argv[1:]
if verb == "make":
    make(*rest)
elif verb == "question":
    import msgpack_numpy as m
    ids, visual = question(*rest)
    sys.stdout.buffer.write(m.packb({"id": "astronaut.png", "input_ids": ids, "language_model_inputs": visual}))
elif verb == "options":
    print(*(f"--{k.replace('_', '-')}={v}" for k, v in json.load(open(rest[0]))[rest[1]]["options"].items()))
else:
    check(*rest)

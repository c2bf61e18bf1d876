#!/usr/bin/env python3
"""pipeline.py CHECKPOINT GENERATE_JSON IMAGES - runs the golden cases through the real pipe.

Cases with the same arguments run as one pipeline over all their images and prompts. Insists on the text of
every case marked stable and on 95 % of the others; prints what differs.
"""
import collections, json, os, subprocess, sys

ABSENT = {"eos_token_id", "min_length", "max_length"}  # arguments that no option of ours has

def options(kwargs):
    out = []
    for k, v in kwargs.items():
        word = json.dumps(v) if isinstance(v, bool) else str(v)
        out += ["--" + k.replace("_", "-"), word]
    return out

def run(model, images, prompts, kwargs):
    prompts = [w for p in prompts if p is not None for w in ("-p", p)]
    stages = [["img-encode", "-m", model, "--resize", "torchvision", "--alpha", "white", "--no-exif", *images],
              ["qformer", "-m", model], ["tokenize", "-m", model, *prompts],
              ["opt-generate", "-m", model, "-b", "4", *options(kwargs)],
              ["tokenize", "-m", model, "-d", "-f", "jsonl"]]
    data = None
    for argv in stages:
        done = subprocess.run(argv, input=data, stdout=subprocess.PIPE)
        if done.returncode:
            sys.exit(f"status {done.returncode}: {argv}")
        data = done.stdout
    return [json.loads(line) for line in data.splitlines()]

def main():
    model, path, images = sys.argv[1:]
    groups = collections.defaultdict(list)
    for case in json.load(open(path))["cases"]:
        if case["image"] and os.path.exists(f"{images}/{case['image']}") and not ABSENT & set(case["kwargs"]):
            groups[json.dumps(case["kwargs"], sort_keys=True), case["prompt"] is None].append(case)
    count, bad = collections.Counter(), 0
    for (kwargs, bare), cases in groups.items():
        got = collections.defaultdict(list)
        for r in run(model, sorted({f"{images}/{c['image']}" for c in cases}), sorted({c["prompt"] for c in cases} - {None}),
                     json.loads(kwargs)):
            got[r["id"].rsplit("/", 1)[-1], r.get("prompt")].append(r["text"])
        for c in cases:
            same = got[c["image"], c["prompt"]] == c["text_generated"]
            count[bool(c["stable"]), same] += 1
            if c["stable"] and not same:
                bad += 1
                print(c["id"], kwargs, got[c["image"], c["prompt"]], "expected", c["text_generated"])
    others = count[False, True] + count[False, False]
    print(f"stable: {count[True, True]} of {count[True, True] + count[True, False]}; "
          f"others: {count[False, True]} of {others}")
    return bad != 0 or count[True, True] == 0 or count[False, False] > 0.05 * others

sys.exit(main())

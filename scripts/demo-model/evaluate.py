#!/usr/bin/env python3
"""evaluate - zero-shot answers of the model through transformers: easy-VQA's test questions, and new scenes of our own.

    evaluate.py share/demo-model [--limit N] [--scenes N] [--verbose]
    evaluate.py share/demo-model --write DIR     the same questions as files, for evaluate-vqa
"""
import argparse
import json
import os
import random
import re
import time
from collections import defaultdict

import torch
from PIL import Image
from transformers import Blip2ForConditionalGeneration, Blip2Processor

from language import KINDS, Asker
from scenes import draw_scene, scenes

TEMPLATE = "Question: {} Answer:"
HELD_OUT_SEED = 71117  # evaluated once, after the last choice; 20260 was looked at while choosing


def easy_kind(question):
    return "shape" if re.match(r"what shape|what is the \w+ shape", question) else "color" if question.startswith("what") else \
        "exists not" if re.search(r" not? ", question) else "exists"


def easy_items(limit):
    """(kind, image, question, answer) of easy-VQA's test split."""
    import easy_vqa
    paths = easy_vqa.get_test_image_paths()
    triples = list(zip(*easy_vqa.get_test_questions()))
    for question, answer, image in triples[:limit]:
        yield easy_kind(question), paths[image], question, answer


def own_items(count, questions=8):
    """New scenes of one to five objects, with questions of every kind."""
    rng = random.Random(HELD_OUT_SEED)
    kinds = [k for k in KINDS if k not in ("stranger", "it")]
    for scene in scenes(HELD_OUT_SEED, count, "grid"):
        image = draw_scene(scene)
        for _ in range(questions):
            kind, question, answer = Asker(scene, rng).ask([rng.choice(kinds)] * 3 + kinds)
            yield kind, image, question, answer


def opened(image):
    return Image.open(image).convert("RGB") if isinstance(image, str) else image


def answers(model, processor, items, batch=64):
    for i in range(0, len(items), batch):
        part = items[i:i + batch]
        inputs = processor(images=[opened(x[1]) for x in part], text=[TEMPLATE.format(x[2]) for x in part], padding=True, return_tensors="pt")
        out = model.generate(**inputs, max_new_tokens=32, do_sample=False)
        yield from (t.strip() for t in processor.batch_decode(out[:, inputs["input_ids"].shape[1]:], skip_special_tokens=True))


def score(name, model, processor, items, verbose):
    start, right, total = time.time(), defaultdict(int), defaultdict(int)
    for (kind, image, question, answer), said in zip(items, answers(model, processor, items)):
        total[kind] += 1
        right[kind] += said == answer
        if verbose and said != answer:
            print(f"  {kind}: {image if isinstance(image, str) else ''} {question} {answer} | {said}")
    for kind in sorted(total):
        print(f"{name:10} {kind:12} {right[kind]:5} of {total[kind]:5}  {100 * right[kind] / total[kind]:6.2f} %")
    print(f"{name:10} {'all':12} {sum(right.values()):5} of {sum(total.values()):5}  {100 * sum(right.values()) / sum(total.values()):6.2f} %"
          f"  ({time.time() - start:.0f} s)", flush=True)


def write(out, name, items):
    """questions.jsonl: kind, image, question, answer; pictures that are not files yet are written beside it."""
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    seen = {}
    with open(os.path.join(folder, "questions.jsonl"), "w") as f:
        for kind, image, question, answer in items:
            if not isinstance(image, str):
                path = seen.setdefault(id(image), os.path.join(folder, f"{len(seen) + 1:04d}.png"))
                if not os.path.exists(path):
                    image.save(path)
                image = path
            f.write(json.dumps({"kind": kind, "image": image, "question": question, "answer": answer}) + "\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--limit", type=int, help="only so many of easy-VQA's questions")
    p.add_argument("--scenes", type=int, default=400, help="new scenes of our own")
    p.add_argument("--verbose", action="store_true", help="print wrong answers")
    p.add_argument("--write", help="write the questions under this folder and stop")
    a = p.parse_args()
    sets = {"easy-vqa": list(easy_items(a.limit)), "scenes": list(own_items(a.scenes))}
    if a.write:
        for name, items in sets.items():
            write(a.write, name, items)
        return
    torch.set_num_threads(1)
    model = Blip2ForConditionalGeneration.from_pretrained(a.model, dtype=torch.float32).eval()
    processor = Blip2Processor.from_pretrained(a.model)
    with torch.no_grad():
        for name, items in sets.items():
            score(name, model, processor, items, a.verbose)


if __name__ == "__main__":
    main()

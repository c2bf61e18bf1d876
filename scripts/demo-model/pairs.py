#!/usr/bin/env python3
"""pairs - pictures with captions for qformer-train: new scenes, and easy-VQA's train pictures with their known content.

    pairs.py --count 20000 --seed 2 --out DIR     DIR/*.png, DIR/description.jsonl, DIR/caption.jsonl

Of each picture the description, in the words that the language model reads in the picture's place, and the short caption.
"""
import argparse
import json
import os

from PIL import Image

from data import easy_train
from language import caption, description
from scenes import draw_scene, scenes


def pictures(count, seed, easy):
    for scene in scenes(seed, count, None):
        yield draw_scene(scene), scene
    if easy:
        for pixels, scene in zip(*easy_train()):
            yield Image.fromarray(pixels), scene


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--count", type=int, required=True)
    p.add_argument("--seed", type=int, default=2)
    p.add_argument("--no-easy", action="store_true", help="own scenes only")
    p.add_argument("--out", required=True)
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    with open(os.path.join(a.out, "description.jsonl"), "w") as long, open(os.path.join(a.out, "caption.jsonl"), "w") as short:
        for i, (image, scene) in enumerate(pictures(a.count, a.seed, not a.no_easy)):
            name = f"{i:06d}.png"
            image.save(os.path.join(a.out, name), compress_level=1)
            for f, say in ((long, description), (short, caption)):
                f.write(json.dumps({"image": name, "caption": say(scene)}) + "\n")


main()

#!/usr/bin/env python3
"""make-scenes - draw scenes: a folder of PNGs with scenes.jsonl, or one .npz of model-sized pixels for training.

    make-scenes.py --count 50 --seed 7 --kind grid --out DIR
    make-scenes.py --count 40000 --seed 1 --npz pool.npz
"""
import argparse
import json
import os

import numpy as np
from PIL import Image

from scenes import draw_scene, scenes

SIDE = 64


def write_folder(items, out):
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "scenes.jsonl"), "w") as f:
        for i, scene in enumerate(items):
            draw_scene(scene).save(os.path.join(out, f"scene-{i + 1:03d}.png"), optimize=True)
            f.write(json.dumps({"file": f"scene-{i + 1:03d}.png", **scene}) + "\n")


def write_pool(items, path):
    pixels, specs = [], []
    for scene in items:
        pixels.append(np.asarray(draw_scene(scene).resize((SIDE, SIDE), Image.BICUBIC)))
        specs.append(json.dumps(scene))
    np.savez(path, pixels=np.stack(pixels), scenes=np.array(specs))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--count", type=int, required=True)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--kind", choices=["grid", "single", "easy"], help="default: the training mixture")
    p.add_argument("--out", help="folder of PNGs and scenes.jsonl")
    p.add_argument("--npz", help=f"pixels resized to {SIDE} x {SIDE}, with the scenes")
    a = p.parse_args()
    if a.out:
        write_folder(scenes(a.seed, a.count, a.kind), a.out)
    if a.npz:
        write_pool(scenes(a.seed, a.count, a.kind), a.npz)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""make-examples - the pictures of share/examples, drawn from one line each; photo.jpg is stored turned, with EXIF.

    make-examples.py share/examples
"""
import json
import os
import random
import sys

from PIL import Image

from scenes import BACKGROUNDS, COLORS, COLS, ROWS, draw_scene

PICTURES = {
    "scene-1.png": (320, 320, "plain", "On white: large red circle top left, small blue rectangle top right, "
                    "large green triangle middle center, small yellow star bottom left"),
    "scene-2.png": (400, 300, "gradient", "On navy: small yellow star top left, small yellow star top right, "
                    "large orange circle middle center, small yellow star bottom left, small red cross bottom right"),
    "scene-3.png": (256, 256, "stripes", "On pink: large blue ring top center, small black cross middle left, "
                    "large teal rectangle bottom right"),
    "photo.jpg": (1024, 768, "noise", "On cream: large purple star top left, small green circle middle right, "
                  "large brown triangle bottom center"),
}
JITTER = 0.025


def parse(line, rng):
    """A scene's background and objects from 'On white: large red circle top left, ...'."""
    background, rest = line[3:].split(": ")
    objects = []
    for part in rest.split(", "):
        size, color, shape, row, col = part.split()
        half = (5.0 if size == "small" else 9.0) / 64
        x = (COLS.index(col) + 0.5) / 3 + rng.uniform(-JITTER, JITTER)
        y = (ROWS.index(row) + 0.5) / 3 + rng.uniform(-JITTER, JITTER)
        objects.append({"size": size, "color": color, "shape": shape, "row": row, "col": col, "x": x, "y": y, "rx": half,
                        "ry": half * (0.65 if shape == "rectangle" else 1), "angle": 0.0, "rgb": COLORS[color][0]})
    return {"background": background, "background_rgb": BACKGROUNDS[background], "objects": objects}


def save(image, path):
    if not path.endswith(".jpg"):
        return image.save(path, optimize=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # show turned a quarter clockwise: stored is the picture turned counter-clockwise
    return image.transpose(Image.ROTATE_90).save(path, quality=88, exif=exif)


def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "scenes.jsonl"), "w") as f:
        for seed, (name, (width, height, texture, line)) in enumerate(PICTURES.items(), 5):
            scene = {"width": width, "height": height, "texture": texture, "seed": seed, **parse(line, random.Random(seed))}
            save(draw_scene(scene), os.path.join(out, name))
            facts = [{k: o[k] for k in ("size", "color", "shape", "row", "col")} for o in scene["objects"]]
            f.write(json.dumps({"file": name, "background": scene["background"], "objects": facts, "description": line}) + "\n")


if __name__ == "__main__":
    main()

"""Training data as arrays: pixels, and for every patch what covers it."""
import json

import numpy as np
from PIL import Image

from scenes import COLORS, COLS, EASY_COLORS, EASY_SHAPES, ROWS, SHAPES, SIZES, cell

SIDE, PATCH = 64, 8
GRID = SIDE // PATCH
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
# Labels of a patch: which object covers it (0 none, else its place in reading order), then that object's attributes.
KINDS = {"rank": 6, "color": len(COLORS) + 1, "shape": len(SHAPES) + 1, "size": 3, "row": 4, "col": 4}


def load_pool(path):
    z = np.load(path)
    return z["pixels"], [json.loads(s) for s in z["scenes"]]


def normalise(pixels):
    """uint8 (N, 64, 64, 3) to f32 (N, 3, 64, 64), as the image processor does."""
    return ((pixels.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)).transpose(0, 3, 1, 2)


def codes(obj, rank):
    """-100: not known."""
    color = list(COLORS).index(obj["color"]) + 1 if obj["color"] else -100
    shape = SHAPES.index(obj["shape"]) + 1 if obj["shape"] else -100
    return [rank, color, shape, SIZES.index(obj["size"]) + 1, ROWS.index(obj["row"]) + 1, COLS.index(obj["col"]) + 1]


def patch_labels(scene):
    """(64 patches, 6 kinds): the object that covers most of a patch, if more than a tenth or its centre is there."""
    at = (np.arange(SIDE) + 0.5) / SIDE
    labels = np.zeros((GRID * GRID, len(KINDS)), np.int8)
    best = np.full(GRID * GRID, PATCH * PATCH / 10)
    for rank, obj in enumerate(scene["objects"], 1):
        inside = (((at[None, :] - obj["x"]) / obj["rx"]) ** 2 + ((at[:, None] - obj["y"]) / obj["ry"]) ** 2) <= 1
        area = inside.reshape(GRID, PATCH, GRID, PATCH).sum((1, 3)).ravel().astype(float)
        area[min(GRID - 1, int(obj["y"] * GRID)) * GRID + min(GRID - 1, int(obj["x"] * GRID))] += PATCH * PATCH
        labels[area > best] = codes(obj, rank)
        best = np.maximum(best, area)
    return labels


def known_words(questions):
    """What easy-VQA's answers tell about each image: {id: (color or None, shape or None)}."""
    known = {}
    for text, answer, image in zip(*questions):
        words = text.replace("?", "").split()
        fact = known.setdefault(image, {})
        told = [answer]
        if answer in ("yes", "no"):
            told = words if (answer == "yes") != (" not " in text or " no " in text) else []
        elif answer in EASY_SHAPES or answer in EASY_COLORS:
            told = [answer] + words
        fact.update({w: True for w in told if w in EASY_COLORS or w in EASY_SHAPES})
    return {i: (next((c for c in EASY_COLORS if c in f), None), next((s for s in EASY_SHAPES if s in f), None))
            for i, f in known.items()}


def color_of(rgb):
    exact = [c for c in EASY_COLORS if COLORS[c][1] == tuple(rgb)]
    return exact[0] if exact else None


def easy_scene(pixels, shape):
    """One shape on a plain pale ground: the object from the pixels that differ from the corner with the most company."""
    values, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    background = values[counts.argmax()]
    ys, xs = np.nonzero((pixels != background).any(2))
    x, y = (xs.min() + xs.max() + 1) / 2 / SIDE, (ys.min() + ys.max() + 1) / 2 / SIDE
    rx, ry = (xs.max() - xs.min() + 1) / 2 / SIDE, (ys.max() - ys.min() + 1) / 2 / SIDE
    inner = pixels[ys, xs]
    colors, n = np.unique(inner, axis=0, return_counts=True)
    obj = {"size": SIZES[int(max(rx, ry) > 6.5 / 64)], "color": color_of(colors[n.argmax()]), "shape": shape,
           "row": ROWS[cell(y)], "col": COLS[cell(x)], "x": x, "y": y, "rx": rx, "ry": ry}
    return {"background": "white", "objects": [obj]}


def easy_train():
    """easy-VQA's train images with their known content; images of unknown content are left out."""
    import easy_vqa
    words = known_words(easy_vqa.get_train_questions())
    paths = easy_vqa.get_train_image_paths()
    pixels, scenes = [], []
    for i in sorted(paths):
        image = np.asarray(Image.open(paths[i]).convert("RGB"))
        scene = easy_scene(image, words.get(i, (None, None))[1])
        if scene["objects"][0]["color"] and scene["objects"][0]["shape"]:
            pixels.append(image)
            scenes.append(scene)
    return np.stack(pixels), scenes

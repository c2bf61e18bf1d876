"""Scenes of coloured shapes: what is in them (a plain dict) and how they look (a PIL image).

A scene is {"width", "height", "background", "texture", "objects": [...]}; an object has size, color, shape, row, col (its
cell of the 3 x 3 grid) and its exact place: x, y, rx, ry as fractions of the canvas, angle in radians, rgb. Objects are in
reading order: by row, then column. No two objects share a cell.
"""
import math
import random

import numpy as np
from PIL import Image, ImageDraw

SIZES = ["small", "large"]
SHAPES = ["circle", "rectangle", "triangle", "star", "cross", "ring"]
ROWS = ["top", "middle", "bottom"]
COLS = ["left", "center", "right"]
# Two variants of each colour: ours, and the pure one that easy-VQA draws.
COLORS = {
    "red": [(222, 30, 34), (255, 0, 0)], "green": [(30, 178, 52), (0, 255, 0)], "blue": [(32, 64, 224), (0, 0, 255)],
    "yellow": [(248, 222, 28), (255, 255, 0)], "black": [(14, 14, 16), (0, 0, 0)],
    "gray": [(128, 128, 128), (128, 128, 128)], "brown": [(140, 74, 32), (165, 42, 42)],
    "teal": [(4, 128, 128), (0, 128, 128)], "orange": [(250, 140, 20), (255, 140, 0)],
    "purple": [(140, 40, 170), (128, 0, 160)],
}
EASY_COLORS = ["red", "green", "blue", "yellow", "black", "gray", "brown", "teal"]
EASY_SHAPES = ["circle", "rectangle", "triangle"]
BACKGROUNDS = {
    "white": (246, 246, 246), "cream": (250, 230, 168), "pink": (250, 178, 202), "mint": (168, 236, 204),
    "azure": (164, 206, 248), "lilac": (204, 180, 240), "navy": (24, 28, 84), "black": (20, 20, 22),
}
TEXTURES = ["plain", "plain", "gradient", "noise", "stripes"]
CANVAS = [64, 64, 80, 96, 112, 128, 160, 200, 224, 256, 320]


def near(rng, rgb, spread):
    return tuple(max(0, min(255, c + rng.randint(-spread, spread))) for c in rgb)


def distance(a, b):
    return math.dist(a, b)


def cell(v):
    return min(2, int(v * 3))


def half_extent(rng, size):
    """Half the larger side, as a fraction of the canvas: small 4-5.5, large 7.5-10 of 64 pixels."""
    return rng.uniform(4.0, 5.6) / 64 if size == "small" else rng.uniform(7.4, 10.2) / 64


def extents(rng, shape, half):
    if shape != "rectangle":
        return half, half
    other = half * rng.uniform(0.5, 1.0)
    return (half, other) if rng.random() < 0.5 else (other, half)


def place(rng, x, y, half, size, background_rgb, easy):
    shape = rng.choice(EASY_SHAPES if easy else SHAPES)
    while True:
        color = rng.choice(EASY_COLORS if easy else list(COLORS))
        rgb = COLORS[color][1] if easy else near(rng, rng.choice(COLORS[color]), 14)
        if distance(rgb, background_rgb) > 100:
            break
    rx, ry = extents(rng, shape, half)
    tilt = 0.0 if easy or rng.random() < 0.4 else rng.uniform(-0.5, 0.5)
    return {"size": size, "color": color, "shape": shape, "row": ROWS[cell(y)], "col": COLS[cell(x)],
            "x": x, "y": y, "rx": rx, "ry": ry, "angle": tilt, "rgb": rgb}


def grid_objects(rng, background_rgb, count):
    objects = []
    for k in sorted(rng.sample(range(9), count)):
        size = rng.choice(SIZES)
        half = half_extent(rng, size)
        room = min(0.09, max(0.015, 1 / 6 - half - 0.01))
        x = (k % 3 + 0.5) / 3 + rng.uniform(-room, room)
        y = (k // 3 + 0.5) / 3 + rng.uniform(-room, room)
        objects.append(place(rng, x, y, half, size, background_rgb, False))
    return objects


def single_object(rng, background_rgb, easy):
    """One object anywhere, of any size; on the border of two cells its position words are a matter of taste."""
    half = rng.uniform(2.2, 15.0) / 64
    x, y = rng.uniform(half, 1 - half), rng.uniform(half, 1 - half)
    return [place(rng, x, y, half, SIZES[half > 6.5 / 64], background_rgb, easy)]


def canvas_size(rng):
    width = rng.choice(CANVAS)
    return width, max(64, round(width * rng.choice([1, 1, 1, 0.75, 1.25])))


def make_scene(rng, kind="grid", count=None):
    """kind: grid (1-5 objects in cells), single (one anywhere), easy (as easy-VQA draws them, 64 x 64)."""
    easy = kind == "easy"
    width, height = (64, 64) if easy else canvas_size(rng)
    background = "white" if easy else rng.choice(list(BACKGROUNDS))
    pale = tuple(rng.randint(230, 255) for _ in range(3))
    rgb = pale if easy or (background == "white" and rng.random() < 0.5) else near(rng, BACKGROUNDS[background], 8)
    scene = {"width": width, "height": height, "background": background, "background_rgb": rgb,
             "texture": "plain" if easy else rng.choice(TEXTURES), "seed": rng.randrange(2**31)}
    scene["objects"] = (grid_objects(rng, rgb, count or rng.randint(1, 5)) if kind == "grid"
                        else single_object(rng, rgb, easy))
    return scene


def corners(shape, rx, ry):
    """The outline of a polygon around 0, 0."""
    if shape == "rectangle":
        return [(-rx, -ry), (rx, -ry), (rx, ry), (-rx, ry)]
    if shape == "triangle":
        return [(0, -ry), (rx, ry * 0.73), (-rx, ry * 0.73)]
    if shape == "star":
        ring = [(1.0 if k % 2 == 0 else 0.42, k * math.pi / 5 - math.pi / 2) for k in range(10)]
        return [(rx * r * math.cos(a), ry * r * math.sin(a)) for r, a in ring]
    w = 0.34
    plus = [(-w, -1), (w, -1), (w, -w), (1, -w), (1, w), (w, w), (w, 1), (-w, 1), (-w, w), (-1, w), (-1, -w), (-w, -w)]
    return [(rx * x, ry * y) for x, y in plus]


def object_mask(obj, width, height, smooth):
    """Coverage 0..255 of the object and the corner where it goes."""
    rx, ry = obj["rx"] * width, obj["ry"] * height
    pad = max(rx, ry) * 1.3 + 2
    x0, y0 = int(obj["x"] * width - pad), int(obj["y"] * height - pad)
    n = int(2 * pad) + 2
    s = 4 if smooth else 1
    mask = Image.new("L", (n * s, n * s), 0)
    draw = ImageDraw.Draw(mask)
    cx, cy = (obj["x"] * width - x0) * s, (obj["y"] * height - y0) * s
    rx, ry = rx * s, ry * s
    if obj["shape"] in ("circle", "ring"):
        draw.ellipse((cx - rx, cy - ry, cx + rx, cy + ry), fill=255)
        if obj["shape"] == "ring":
            draw.ellipse((cx - rx * 0.52, cy - ry * 0.52, cx + rx * 0.52, cy + ry * 0.52), fill=0)
    else:
        c, d = math.cos(obj["angle"]), math.sin(obj["angle"])
        # The tilt is taken in units of the extents, so that a shape keeps its look on a canvas that is not square.
        points = [(x / rx, y / ry) if obj["shape"] != "rectangle" else (x / max(rx, ry), y / max(rx, ry))
                  for x, y in corners(obj["shape"], rx, ry)]
        ux, uy = (rx, ry) if obj["shape"] != "rectangle" else (max(rx, ry), max(rx, ry))
        draw.polygon([(cx + ux * (x * c - y * d), cy + uy * (x * d + y * c)) for x, y in points], fill=255)
    return (mask.resize((n, n), Image.BOX) if smooth else mask), (x0, y0)


def draw_background(scene, gen):
    width, height = scene["width"], scene["height"]
    base = np.array(scene["background_rgb"], np.float32)
    field = np.zeros((height, width, 1), np.float32)
    if scene["texture"] == "gradient":
        gx, gy = gen.uniform(-12, 12, 2)
        field += (np.linspace(-1, 1, width)[None, :, None] * gx + np.linspace(-1, 1, height)[:, None, None] * gy)
    elif scene["texture"] == "noise":
        field = gen.normal(0, gen.uniform(2, 9), (height, width, 3)).astype(np.float32)
    elif scene["texture"] == "stripes":
        period = gen.uniform(0.06, 0.25) * width
        wave = np.arange(width)[None, :] * gen.uniform(-1, 1) + np.arange(height)[:, None] * gen.uniform(-1, 1)
        field = (gen.uniform(3, 9) * np.sign(np.sin(2 * np.pi * wave / period)))[:, :, None]
    return Image.fromarray(np.clip(base + field, 0, 255).astype(np.uint8))


def draw_scene(scene):
    gen = np.random.default_rng(scene["seed"])
    image = draw_background(scene, gen)
    smooth = scene["width"] > 64 or gen.random() < 0.5
    for obj in scene["objects"]:
        mask, at = object_mask(obj, scene["width"], scene["height"], smooth)
        image.paste(obj["rgb"], at, mask)
    return image


def random_scene(rng):
    """The training mixture."""
    kind = rng.choices(["grid", "single", "easy"], [0.74, 0.13, 0.13])[0]
    return make_scene(rng, kind)


def scenes(seed, count, kind=None):
    rng = random.Random(seed)
    for _ in range(count):
        yield make_scene(rng, kind) if kind else random_scene(rng)

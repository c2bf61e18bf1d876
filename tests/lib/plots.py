"""plots.py [PICTURE] - tests/golden/plots.json: what matplotlib draws of the processor tour's tensors.

The picture is read by Pillow and processed by transformers, so that nothing of ours is in it. With
PICTURE, the same plots by matplotlib and by tensor-plot (from PATH) side by side, to look at, and how
the counts of single-precision edges differ. Needs matplotlib, numpy, Pillow, torch, transformers.
"""
import io
import json
import pathlib
import subprocess
import sys

import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageOps
from transformers import AutoImageProcessor

root = pathlib.Path(__file__).resolve().parents[2]
photo = root / "share/examples/photo.jpg"
image = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
processor = AutoImageProcessor.from_pretrained(root / "share/demo-model", backend="pil")
tensors = {"image": np.asarray(image).transpose(2, 0, 1),
           "pixel_values": np.asarray(processor(image, return_tensors="np")["pixel_values"][0])}


def hist(x, **how):
    """Heights and edges of plt.hist() over the channels; stacked ones are sums so far."""
    n, edges, _ = plt.hist([c.ravel() for c in x], 100, **how)
    return n, edges


def golden():
    out = {"matplotlib": matplotlib.__version__, "hist": []}
    for name, x in tensors.items():
        for how in ({}, {"density": True}, {"stacked": True}, {"stacked": True, "density": True}):
            n, edges = hist(x.astype("f8"), **how)
            out["hist"].append({"field": name, **how, "n": n.tolist(), "edges": edges.tolist()})
    return out


def side_by_side(to):
    figure, axes = plt.subplots(2, 4, figsize=(22, 9))
    pixels = subprocess.run(["img-encode", "--pixels", photo], check=True, stdout=-1).stdout
    plots = [(["--hist"], "image"), (["--hist"], "pixel_values"), (["--hist", "--stack", "--density"], "pixel_values"),
             (["--channel", "0"], "pixel_values")]
    for (options, name), above, below in zip(plots, *axes):
        raw = name == "image"
        png = subprocess.run(["tensor-plot", *options, *([photo] if raw else [])], input=None if raw else pixels, check=True, stdout=-1)
        above.imshow(Image.open(io.BytesIO(png.stdout)))
        above.axis("off")
        x = tensors[name]
        if options[0] == "--hist":
            more = len(options) > 1
            below.hist([c.ravel() for c in x], 100, stacked=more, density=more, histtype="stepfilled",
                       color=["#d62728", "#2ca02c", "#1f77b4"], alpha=1 if more else .6)
        else:
            figure.colorbar(below.imshow(x[0], cmap="viridis"), ax=below)
    figure.savefig(to)


if __name__ == "__main__":
    data = golden()
    if len(sys.argv) > 1:
        for name, x in tensors.items():
            exact, single = hist(x.astype("f8"))[0], hist(x)[0]
            print(f"{name}: {int(np.abs(exact - single).sum() / 2)} of {x.size} values are in another bin with {x.dtype} edges")
        side_by_side(sys.argv[1])
    else:
        (root / "tests/golden/plots.json").write_text(json.dumps(data) + "\n")

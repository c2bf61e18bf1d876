#!/usr/bin/env python3
"""train-vision - the image encoder, on scenes with the attributes of what covers each patch; no text.

    train-vision.py --pool pool.npz --steps 6000 --out vision.pt
"""
import argparse
import math
import time

import numpy as np
import torch
from torch import nn
from transformers import Blip2VisionConfig, Blip2VisionModel

from data import KINDS, easy_train, load_pool, normalise, patch_labels
from scenes import BACKGROUNDS

CONFIG = dict(hidden_size=128, intermediate_size=384, num_hidden_layers=5, num_attention_heads=4, image_size=64,
              patch_size=8, layer_norm_eps=1e-6, qkv_bias=True, initializer_range=0.02)


class Heads(nn.Module):
    """Linear readers of the encoder's output, thrown away after training."""

    def __init__(self, width):
        super().__init__()
        self.patch = nn.Linear(width, sum(KINDS.values()))
        self.whole = nn.Linear(width, len(BACKGROUNDS) + 6)

    def losses(self, states, labels, background, count):
        patch = self.patch(states[:, 1:]).float().split(list(KINDS.values()), -1)
        weight = torch.where(labels[..., 0] > 0, 1.0, 0.15).flatten()
        loss = 0
        for k, logits in enumerate(patch):
            ce = nn.functional.cross_entropy(logits.flatten(0, 1), labels[..., k].flatten(), reduction="none", ignore_index=-100)
            loss = loss + (ce * weight).sum() / weight.sum()
        ground, number = self.whole(states[:, 0]).float().split([len(BACKGROUNDS), 6], -1)
        return loss + 0.3 * nn.functional.cross_entropy(ground, background) + 0.3 * nn.functional.cross_entropy(number, count)

    def accuracy(self, states, labels):
        """Over patches that are covered."""
        patch = self.patch(states[:, 1:]).float().split(list(KINDS.values()), -1)
        on = labels[..., 0] > 0
        return {k: round((p.argmax(-1) == labels[..., i])[on].float().mean().item(), 4) for i, (k, p) in enumerate(zip(KINDS, patch))}


def load_data(path, easy_share):
    pixels, scenes = load_pool(path)
    easy_pixels, easy_scenes = easy_train()
    repeat = max(1, round(easy_share * len(scenes) / len(easy_scenes)))
    pixels = np.concatenate([pixels] + [easy_pixels] * repeat)
    scenes = scenes + easy_scenes * repeat
    labels = np.stack([patch_labels(s) for s in scenes])
    names = list(BACKGROUNDS)
    return (pixels, torch.from_numpy(labels), torch.tensor([names.index(s["background"]) for s in scenes]),
            torch.tensor([len(s["objects"]) for s in scenes]))


def jitter(x, gen):
    """A little brightness, contrast and noise (in normalised units)."""
    n = x.shape[0]
    gain = 1 + 0.05 * torch.randn(n, 1, 1, 1, generator=gen)
    shift = 0.05 * torch.randn(n, 3, 1, 1, generator=gen)
    noise = torch.rand(n, 1, 1, 1, generator=gen) ** 3 * 0.15
    return x * gain + shift + noise * torch.randn(x.shape, generator=gen)


def schedule(step, steps, peak, warmup=200):
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--pool", required=True)
    p.add_argument("--steps", type=int, default=6000)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--stop", type=int, help="end after so many steps, before the schedule does")
    p.add_argument("--resume", help="weights to start from")
    p.add_argument("--out", required=True)
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    gen = torch.Generator().manual_seed(a.seed)
    pixels, labels, background, count = load_data(a.pool, 0.12)
    held = 1000
    model, heads = Blip2VisionModel(Blip2VisionConfig(**CONFIG, attn_implementation="eager")), Heads(CONFIG["hidden_size"])
    nn.init.normal_(model.embeddings.position_embedding, std=0.02)
    nn.init.normal_(model.embeddings.class_embedding, std=0.02)
    if a.resume:
        saved = torch.load(a.resume)
        model.load_state_dict(saved["model"])
        heads.load_state_dict(saved["heads"])
    params = [*model.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(params, lr=a.lr, betas=(0.9, 0.98), weight_decay=0.02)
    start = time.time()
    for step in range(a.stop or a.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule(step, a.steps, a.lr)
        i = torch.randint(held, len(pixels), (a.batch,), generator=gen)
        x = jitter(torch.from_numpy(normalise(pixels[i.numpy()])), gen)
        with torch.autocast("cpu", torch.bfloat16):
            states = model(pixel_values=x).last_hidden_state
            loss = heads.losses(states, labels[i].long(), background[i], count[i])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        if step % 250 == 249 or step + 1 == (a.stop or a.steps):
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                model.eval()
                states = model(pixel_values=torch.from_numpy(normalise(pixels[:held]))).last_hidden_state
                model.train()
                print(step + 1, round(time.time() - start), round(loss.item(), 4), heads.accuracy(states, labels[:held].long()), flush=True)
            torch.save({"model": model.state_dict(), "heads": heads.state_dict(), "config": CONFIG}, a.out)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""attention.py - makes tests/golden/attention/NAME.safetensors: what attention looks at according
to transformers (output_attentions), and rollout from those in numpy, written down a second time.

    attention.py CHECKPOINT PIXELS.safetensors OUT.safetensors

PIXELS holds pixel_values/NAME (a golden vision.safetensors). Needs torch and transformers; the
tests need only the result.
"""
import sys

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from transformers import Blip2ForConditionalGeneration

def self_rollout(maps):
    r = np.eye(maps.shape[-1])
    for a in maps.astype("f8").mean(1):
        r = (0.5 * np.eye(len(a)) + 0.5 * a) @ r
    return r / r.sum(-1, keepdims=True)

def query_rollout(own, cross, base):
    """own, cross: (H, Q, Q) and (H, Q, S) or None for each layer."""
    r = np.zeros((own[0].shape[1], base.shape[1]))
    for a, c in zip(own, cross):
        r = 0.5 * r + 0.5 * a.astype("f8").mean(0) @ r
        if c is not None:
            r = 0.5 * r + 0.5 * c.astype("f8").mean(0) @ base
    return r / r.sum(-1, keepdims=True)

def main(checkpoint, pixels, out):
    m = Blip2ForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32,
                                                      attn_implementation="eager").eval()
    gold = {}
    seen = []
    for layer in m.qformer.encoder.layer:
        seen.append({})
        for kind in ("attention", "crossattention"):
            part = getattr(layer, kind, None)
            if part is not None:
                part.attention.register_forward_hook(
                    lambda mod, args, o, at=seen[-1], kind=kind: at.update({kind: o[1][0].numpy()}))
    for key, px in load_file(pixels).items():
        if not key.startswith("pixel_values/"):
            continue
        name = key.split("/", 1)[1]
        with torch.no_grad():
            v = m.vision_model(torch.from_numpy(px)[None], output_attentions=True)
            maps = torch.stack(v.attentions)[:, 0].numpy()
            m.qformer(query_embeds=m.query_tokens, encoder_hidden_states=v.last_hidden_state,
                      output_attentions=True)
        own = [s["attention"] for s in seen]
        cross = [s.get("crossattention") for s in seen]
        image = self_rollout(maps)
        for what, x in {
            "vision_attentions": maps, "cls_attentions": maps[:, :, 0], "vision_rollout": image,
            "cross_attentions": np.stack([c for c in cross if c is not None]),
            "attention_rollout": query_rollout(own, cross, np.eye(maps.shape[-1])),
            "through_rollout": query_rollout(own, cross, image),
        }.items():
            gold[f"{what}/{name}"] = np.ascontiguousarray(x.astype("f4"))
    save_file(gold, out)
    print({k: v.shape for k, v in gold.items()})

main(*sys.argv[1:])

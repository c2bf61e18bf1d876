#!/usr/bin/env python3
"""train-qformer - query tokens, Q-Former and language projection, on pictures with captions; encoder and language model frozen.

Two losses, both from the captions alone: the projected rows are classified, by their distance to the language model's own token
rows, as the tokens of the full caption; and the language model must say the short caption after reading them (BLIP-2's stage 2).

    train-qformer.py --pool pool2.npz --vision vision.pt --lm lm.pt --tokenizer DIR/tokenizer.json --steps 6000 --out qformer.pt
"""
import argparse
import math
import time

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import Blip2QFormerConfig, Blip2QFormerModel, Blip2VisionConfig, Blip2VisionModel, OPTConfig, OPTForCausalLM

from data import easy_train, load_pool, normalise
from dialogs import BOS, PAD, ROWS, description_rows
from language import caption

CONFIG = dict(hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=256, encoder_hidden_size=128,
              cross_attention_frequency=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, vocab_size=32,
              max_position_embeddings=32)
SHORT = 32  # tokens of the short caption with its newline


class QFormer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.query_tokens = nn.Parameter(torch.randn(1, ROWS, CONFIG["hidden_size"]) * 0.5)
        self.qformer = Blip2QFormerModel(Blip2QFormerConfig(**CONFIG, attn_implementation="eager"))
        self.language_projection = nn.Linear(CONFIG["hidden_size"], width)
        nn.init.normal_(self.language_projection.weight, std=0.02)
        nn.init.zeros_(self.language_projection.bias)

    def forward(self, image_embeds):
        queries = self.query_tokens.expand(len(image_embeds), -1, -1)
        states = self.qformer(query_embeds=queries, encoder_hidden_states=image_embeds).last_hidden_state
        return self.language_projection(states)


def stored(state):
    """Weights as the checkpoint stores them: rounded to f16."""
    return {k: v.half().float() for k, v in state.items()}


def load_frozen(vision_path, lm_path):
    saved = torch.load(vision_path)
    vision = Blip2VisionModel(Blip2VisionConfig(**saved["config"], attn_implementation="eager"))
    vision.load_state_dict(stored(saved["model"]))
    saved = torch.load(lm_path)
    lm = OPTForCausalLM(OPTConfig(**saved["config"], attn_implementation="eager"))
    lm.load_state_dict(stored(saved["model"]))
    for model in (vision, lm):
        model.requires_grad_(False).eval()
    return vision, lm


def features(vision, pixels):
    out = np.zeros((len(pixels), 65, vision.config.hidden_size), np.float16)
    with torch.no_grad():
        for i in range(0, len(pixels), 256):
            with torch.autocast("cpu", torch.bfloat16):
                states = vision(pixel_values=torch.from_numpy(normalise(pixels[i:i + 256]))).last_hidden_state
            out[i:i + 256] = states.half().numpy()
    return torch.from_numpy(out)


def caption_ids(tokenizer, scene):
    ids = [BOS] + tokenizer.encode(caption(scene) + "\n", add_special_tokens=False).ids
    return (ids + [PAD] * SHORT)[:SHORT]


def load_pairs(pool, vision, tokenizer, easy_share=0.06):
    pixels, scenes = load_pool(pool)
    easy_pixels, easy_scenes = easy_train()
    repeat = max(1, round(easy_share * len(scenes) / len(easy_scenes)))
    pixels = np.concatenate([pixels] + [easy_pixels] * repeat)
    scenes = scenes + easy_scenes * repeat
    rows = torch.tensor([description_rows(tokenizer, s) for s in scenes], dtype=torch.int16)
    short = torch.tensor([caption_ids(tokenizer, s) for s in scenes], dtype=torch.int16)
    return features(vision, pixels), rows, short


def readout(rows, target, table):
    """Cross entropy over tokens by distance to their rows, plus the distance itself; both relative to the captions' own rows
    (those of tokens that no text uses are several times as long)."""
    aim = table[target]
    scale = aim.pow(2).sum(-1).mean()
    logits = (rows @ table.T - 0.5 * table.pow(2).sum(-1)) / scale * 12
    gap = (rows - aim).pow(2).sum(-1).mean() / scale
    return cross_entropy(logits.flatten(0, 1), target.flatten()) + 2 * gap, logits.argmax(-1)


def spoken(lm, rows, short, table):
    """The language model's loss on the short caption after the rows and </s>."""
    x = torch.cat([rows, table[short[:, :-1]]], 1)
    with torch.autocast("cpu", torch.bfloat16):
        logits = lm(inputs_embeds=x).logits[:, ROWS:]
    target = short[:, 1:]
    on = target != PAD
    return cross_entropy(logits[on].float(), target[on])


def schedule(step, steps, peak, warmup=200):
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--pool", required=True)
    p.add_argument("--vision", required=True)
    p.add_argument("--lm", required=True)
    p.add_argument("--tokenizer", required=True)
    p.add_argument("--steps", type=int, default=6000)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--lr", type=float, default=1.5e-3)
    p.add_argument("--spoken-from", type=float, default=0.7, help="from this part of the steps the language model's loss counts too")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--resume", help="weights to start from")
    p.add_argument("--out", required=True)
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    gen = torch.Generator().manual_seed(a.seed)
    vision, lm = load_frozen(a.vision, a.lm)
    table = lm.get_input_embeddings().weight
    start = time.time()
    embeds, rows, short = load_pairs(a.pool, vision, Tokenizer.from_file(a.tokenizer))
    print(f"{len(embeds)} pairs, {time.time() - start:.0f} s", flush=True)
    model, held = QFormer(table.shape[1]), 1000
    if a.resume:
        model.load_state_dict(torch.load(a.resume)["model"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=a.lr, betas=(0.9, 0.98), weight_decay=0.02)
    for step in range(a.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule(step, a.steps, a.lr)
        i = torch.randint(held, len(embeds), (a.batch,), generator=gen)
        with torch.autocast("cpu", torch.bfloat16):
            y = model(embeds[i].float())
        loss, _ = readout(y.float(), rows[i].long(), table)
        if step >= a.spoken_from * a.steps:
            loss = loss + 0.3 * spoken(lm, y.float(), short[i].long(), table)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 250 == 249 or step + 1 == a.steps:
            with torch.no_grad():
                held_loss, best = readout(model(embeds[:held].float()), rows[:held].long(), table)
            right = best == rows[:held].long()
            print(step + 1, round(time.time() - start), round(loss.item(), 4), round(held_loss.item(), 4),
                  "tokens", round(right.float().mean().item(), 4), "whole", round(right.all(1).float().mean().item(), 4), flush=True)
            torch.save({"model": model.state_dict(), "config": CONFIG}, a.out)


if __name__ == "__main__":
    main()

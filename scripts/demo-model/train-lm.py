#!/usr/bin/env python3
"""train-lm - the language model, on text only: descriptions, captions, questions and answers about described scenes.

The description's 32 rows get noise and are mixed with rows of other tokens, so that the model learns to read rows that are
only nearly those of words: what a Q-Former will later put in their place.

    train-lm.py --tokenizer DIR/tokenizer.json --steps 6000 --out lm.pt
"""
import argparse
import math
import time

import torch
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from transformers import OPTConfig, OPTForCausalLM

from dialogs import ANSWERED, ROWS, corpus

TARGET_WEIGHT = torch.tensor([0.0, 0.05, 1.0])


def config(vocabulary, newline):
    return dict(vocab_size=vocabulary, hidden_size=160, num_hidden_layers=4, num_attention_heads=5, ffn_dim=640, word_embed_proj_dim=160,
                max_position_embeddings=512, dropout=0.0, attention_dropout=0.0, do_layer_norm_before=True, bos_token_id=2, pad_token_id=1,
                eos_token_id=newline, init_std=0.04)


def disturbed(rows, table, gen):
    """Embedded rows (B, 32, D), noisy: up to a third of their own size, some of them mixed with another token's row."""
    b, n, d = rows.shape
    scale = table.detach().norm(dim=-1).mean() / math.sqrt(d)
    sigma = 0.33 * torch.rand(b, 1, 1, generator=gen)
    other = table.detach()[torch.randint(4, len(table), (b, n), generator=gen)]
    share = 0.35 * torch.rand(b, n, 1, generator=gen) * (torch.rand(b, n, 1, generator=gen) < 0.15)
    return rows * (1 - share) + other * share + sigma * scale * torch.randn(b, n, d, generator=gen)


def embed(model, ids, rows, gen):
    table = model.get_input_embeddings().weight
    # Not the module: its padding row would stay zero, ours is the filler of short descriptions.
    x = table[ids]
    if gen is not None and rows.any():
        x = torch.cat([torch.where(rows[:, None, None], disturbed(x[:, :ROWS], table, gen), x[:, :ROWS]), x[:, ROWS:]], 1)
    return x


def losses(model, ids, weights, rows, gen):
    """Per target: the loss, whether it was right, its weight class."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(inputs_embeds=embed(model, ids, rows, gen)).logits[:, ROWS // 2:-1]
    target, kind = ids[:, ROWS // 2 + 1:], weights[:, ROWS // 2 + 1:].long()
    on = kind > 0
    logits, target, kind = logits[on].float(), target[on], kind[on]
    return cross_entropy(logits, target, reduction="none"), logits.argmax(-1) == target, kind



def schedule(step, steps, peak, warmup=200):
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))))


def evaluate(model, held):
    with torch.no_grad():
        loss, right, kind = losses(model, *held, None)
        noisy = losses(model, *held, torch.Generator().manual_seed(0))
    on = kind == ANSWERED
    return [round(v, 4) for v in (loss[on].mean().item(), right[on].float().mean().item(), noisy[1][on].float().mean().item())]


def batches(path, seed, batch, chunk=20000):
    """Fresh text for ever."""
    while True:
        ids, weights, rows = (torch.from_numpy(x) for x in corpus(path, seed, chunk))
        for i in range(0, chunk - batch + 1, batch):
            yield ids[i:i + batch].long(), weights[i:i + batch], rows[i:i + batch]
        seed += 1


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tokenizer", required=True)
    p.add_argument("--steps", type=int, default=16000)
    p.add_argument("--batch", type=int, default=24)
    p.add_argument("--lr", type=float, default=7e-4)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--resume", help="weights to start from")
    p.add_argument("--keep-table", action="store_true", help="leave the token rows as they are: a Q-Former already aims at them")
    p.add_argument("--out", required=True)
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    gen = torch.Generator().manual_seed(a.seed)
    tokenizer = Tokenizer.from_file(a.tokenizer)
    settings = config(math.ceil(tokenizer.get_vocab_size() / 64) * 64, tokenizer.token_to_id("Ċ"))
    model = OPTForCausalLM(OPTConfig(**settings, attn_implementation="eager"))
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=0.04)
    if a.resume:
        model.load_state_dict(torch.load(a.resume)["model"])
    model.get_input_embeddings().weight.requires_grad_(not a.keep_table)
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=a.lr, betas=(0.9, 0.98), weight_decay=0.02)
    ids, weights, rows = corpus(a.tokenizer, 10**6 + a.seed, 300)
    held = torch.from_numpy(ids).long(), torch.from_numpy(weights), torch.from_numpy(rows)
    start = time.time()
    for step, batch in zip(range(a.steps), batches(a.tokenizer, 1000 * a.seed, a.batch)):
        for group in optimizer.param_groups:
            group["lr"] = schedule(step, a.steps, a.lr)
        loss, _, kind = losses(model, *batch, gen)
        weight = TARGET_WEIGHT[kind]
        loss = (loss * weight).sum() / weight.sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        if step % 250 == 249 or step + 1 == a.steps:
            print(step + 1, round(time.time() - start), round(loss.item(), 4), *evaluate(model, held), flush=True)
            torch.save({"model": model.state_dict(), "config": settings}, a.out)


if __name__ == "__main__":
    main()

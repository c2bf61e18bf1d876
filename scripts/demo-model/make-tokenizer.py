#!/usr/bin/env python3
"""make-tokenizer - a byte-level BPE vocabulary in OPT's scheme, learned from our own text.

Ids: <s> 0, <pad> 1, </s> 2, <unk> 3, the 256 bytes, the merges; <image> is added last. The newline ends an answer.

    make-tokenizer.py --seed 1 --out DIR
"""
import argparse
import json
import os
import random

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from language import Asker, PREFIXES, UNKNOWN, caption, description, long_caption, styled
from scenes import make_scene

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
ROUND = 64


def text(seed, count):
    rng = random.Random(seed)
    for _ in range(count):
        scene = make_scene(rng)
        yield f"{description(scene)}."
        yield f"{rng.choice(PREFIXES)} {caption(scene)}\n"
        yield f" {long_caption(scene)}. Caption: Context: {rng.choice(UNKNOWN)}"
        for _ in range(4):
            _, question, answer = Asker(scene, rng).ask()
            yield f"Question: {styled(question, rng)} Answer: {answer}\n Question:"
            yield answer


def learn(seed):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=1000, special_tokens=SPECIAL, min_frequency=20,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    tokenizer.train_from_iterator(text(seed, 20000), trainer)
    return json.loads(tokenizer.to_str())["model"]


def build(model):
    """The tokenizer as transformers writes it for OPT: </s> in front, <image> never split."""
    merges = [tuple(m) for m in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=model["vocab"], merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=True) for t in SPECIAL[1:3]])
    tokenizer.add_special_tokens([AddedToken("<image>", special=True, normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(single="</s> $A", pair="</s> $A </s> $B", special_tokens=[("</s>", 2)])
    return tokenizer, merges


def write_json(path, value):
    with open(path, "w") as f:
        json.dump(value, f, indent=1, ensure_ascii=False)
        f.write("\n")


def settings(image):
    def entry(content, normalized):
        return {"content": content, "lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False, "special": True}
    return {"add_bos_token": True, "add_prefix_space": False, "additional_special_tokens": ["<image>"],
            "added_tokens_decoder": {"1": entry("<pad>", True), "2": entry("</s>", True), str(image): entry("<image>", False)},
            "bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>", "clean_up_tokenization_spaces": False,
            "errors": "replace", "model_max_length": 256, "padding_side": "left", "processor_class": "Blip2Processor",
            "tokenizer_class": "GPT2Tokenizer"}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--out", required=True)
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    tokenizer, merges = build(learn(a.seed))
    image = tokenizer.token_to_id("<image>")
    tokenizer.save(os.path.join(a.out, "tokenizer.json"))
    vocab = {t: i for t, i in sorted(tokenizer.get_vocab().items(), key=lambda x: x[1]) if t != "<image>"}
    write_json(os.path.join(a.out, "vocab.json"), vocab)
    write_json(os.path.join(a.out, "added_tokens.json"), {"<image>": image})
    with open(os.path.join(a.out, "merges.txt"), "w") as f:
        f.write("#version: 0.2\n" + "".join(f"{x} {y}\n" for x, y in merges))
    write_json(os.path.join(a.out, "tokenizer_config.json"), settings(image))
    write_json(os.path.join(a.out, "special_tokens_map.json"),
               {"additional_special_tokens": ["<image>"], "bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "</s>"})
    print(f"{len(vocab)} tokens, <image> {image}, newline {tokenizer.token_to_id('Ċ')}")


if __name__ == "__main__":
    main()

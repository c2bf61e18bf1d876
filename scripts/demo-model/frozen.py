#!/usr/bin/env python3
"""frozen - what qformer-train begins with: the shipped model without all that is learned from pictures and captions.

    frozen.py MODEL OUT     OUT/stage1, an image-text retrieval model of the encoder alone; OUT/stage2, encoder and language model
"""
import json
import os
import shutil
import sys

from language import BACKGROUNDS, COLORS, COLS, ROWS, SHAPES, SIZES

LEARNED = ("qformer.", "query_tokens", "language_projection.")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def read(path):
    """Header and data of a safetensors file."""
    with open(path, "rb") as f:
        n = int.from_bytes(f.read(8), "little")
        return json.loads(f.read(n)), f.read()


def write(path, header, data, keep):
    """The tensors whose names pass, one behind the other."""
    kept, parts, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, t in header.items():
        if name == "__metadata__" or not keep(name):
            continue
        a, b = t["data_offsets"]
        kept[name] = {**t, "data_offsets": [at, at + b - a]}
        parts.append(data[a:b])
        at += b - a
    text = json.dumps(kept).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text + b"".join(parts))


def dump(value, *path):
    with open(os.path.join(*path), "w") as f:
        json.dump(value, f, indent=2)


def words():
    """The word pieces that captions are made of: whole words, and single letters for the rest."""
    known = {"on", ":", ",", "a", "an", "and", "at", "the", "ground", "of", "with", "background", *COLORS, *SHAPES, *SIZES, *ROWS, *COLS, *BACKGROUNDS}
    letters = [chr(c) for c in range(97, 123)]
    return SPECIAL + sorted(known) + [x for x in letters if x not in known] + ["##" + x for x in letters]


def retrieval(config):
    q = {**config["qformer_config"], "use_qformer_text_input": True, "vocab_size": len(words()) + 1, "max_position_embeddings": 64}
    return {**config, "architectures": ["Blip2ForImageTextRetrieval"], "image_token_index": None, "image_text_hidden_size": 64,
            "qformer_config": q}


def main():
    model, out = sys.argv[1:]
    header, data = read(os.path.join(model, "model.safetensors"))
    with open(os.path.join(model, "config.json")) as f:
        config = json.load(f)
    one, two = os.path.join(out, "stage1"), os.path.join(out, "stage2")
    os.makedirs(one, exist_ok=True)
    os.makedirs(two, exist_ok=True)
    write(os.path.join(one, "model.safetensors"), header, data, lambda n: n.startswith("vision_model."))
    dump(retrieval(config), one, "config.json")
    shutil.copy(os.path.join(model, "preprocessor_config.json"), one)
    with open(os.path.join(one, "vocab.txt"), "w") as f:
        f.write("\n".join(words()) + "\n")
    dump({"tokenizer_class": "BertTokenizer", "do_lower_case": True, "bos_token": "[DEC]"}, one, "tokenizer_config.json")
    dump({"[DEC]": len(words())}, one, "added_tokens.json")
    for name in os.listdir(model):
        if name not in ("model.safetensors", "README.md"):
            shutil.copy(os.path.join(model, name), two)
    write(os.path.join(two, "model.safetensors"), header, data, lambda n: not n.startswith(LEARNED))


main()

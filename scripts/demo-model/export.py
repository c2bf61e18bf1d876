#!/usr/bin/env python3
"""export - the three trained parts as one Hugging Face directory: f16 where frozen, f32 for what was trained last.

    export.py --vision vision.pt --lm lm.pt --qformer qformer.pt --tokenizer DIR --out share/demo-model
"""
import argparse
import json
import os
import shutil

import torch
from safetensors.torch import save_file
from transformers import Blip2Config, Blip2ForConditionalGeneration

from data import MEAN, SIDE, STD
from dialogs import ROWS

TOKENIZER_FILES = ["tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"]


def write_json(path, value):
    with open(path, "w") as f:
        json.dump(value, f, indent=2)
        f.write("\n")


def tensors(vision, lm, qformer):
    out = {f"vision_model.{k}": v.half() for k, v in vision["model"].items()}
    out |= {f"language_model.{k}": v.half() for k, v in lm["model"].items() if k != "lm_head.weight"}
    out |= {k: v.float() for k, v in qformer["model"].items()}
    return {k: v.contiguous().clone() for k, v in sorted(out.items())}


def config(vision, lm, qformer, image):
    drop = ("dropout", "attention_dropout")
    text = {k: v for k, v in lm["config"].items() if k not in drop} | {"model_type": "opt", "dropout": 0.0, "attention_dropout": 0.0}
    c = Blip2Config(vision_config=vision["config"], qformer_config=qformer["config"], text_config=text, num_query_tokens=ROWS,
                    image_token_index=image, image_text_hidden_size=64)
    c.architectures = ["Blip2ForConditionalGeneration"]
    c.dtype = torch.float32
    return c


def image_processor():
    return {"do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": MEAN, "image_std": STD,
            "image_processor_type": "BlipImageProcessor", "resample": 3,
            "rescale_factor": 1 / 255, "size": {"height": SIDE, "width": SIDE}}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("vision", "lm", "qformer", "tokenizer", "out"):
        p.add_argument(f"--{name}", required=True)
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    parts = [torch.load(x) for x in (a.vision, a.lm, a.qformer)]
    for name in TOKENIZER_FILES:
        shutil.copy(os.path.join(a.tokenizer, name), os.path.join(a.out, name))
    with open(os.path.join(a.out, "added_tokens.json")) as f:
        image = json.load(f)["<image>"]
    settings = config(*parts, image)
    settings.save_pretrained(a.out)
    weights = tensors(*parts)
    save_file(weights, os.path.join(a.out, "model.safetensors"), {"format": "pt"})
    text = settings.text_config
    write_json(os.path.join(a.out, "generation_config.json"),
               {"bos_token_id": text.bos_token_id, "eos_token_id": text.eos_token_id, "pad_token_id": text.pad_token_id})
    write_json(os.path.join(a.out, "preprocessor_config.json"), image_processor() | {"processor_class": "Blip2Processor"})
    write_json(os.path.join(a.out, "processor_config.json"),
               {"image_processor": image_processor(), "num_query_tokens": ROWS, "processor_class": "Blip2Processor"})
    _, info = Blip2ForConditionalGeneration.from_pretrained(a.out, output_loading_info=True)
    print({k: v for k, v in info.items() if v})
    print(f"{sum(v.nbytes for v in weights.values()) / 1e6:.2f} MB, {sum(v.numel() for v in weights.values()) / 1e6:.2f} M parameters")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""make-golden - 50 small scenes and the ids that transformers generates for five prompts each, for tests/cmd/demo-model.bats.

    make-golden.py share/demo-model tests/golden/demo-model
"""
import argparse
import json
import os

import torch
from PIL import Image
from transformers import Blip2ForConditionalGeneration, Blip2Processor, BlipImageProcessorPil

from language import description
from scenes import draw_scene, scenes

PROMPTS = ["", "a photo of", "Question: how many shapes are there? Answer:", "Question: what is at the top left? Answer:",
           "Question: is there a red circle? Answer:"]
SEED, COUNT, WIDEST, NEW = 50505, 50, 128, 32


def small_scenes():
    kept = (s for s in scenes(SEED, 10 * COUNT, "grid") if s["width"] <= WIDEST)
    return [next(kept) for _ in range(COUNT)]


def generate(model, processor, image, prompt):
    """The new ids, and the smallest lead of a chosen token over the next best."""
    inputs = processor(images=image, text=prompt, return_tensors="pt")
    out = model.generate(**inputs, max_new_tokens=NEW, do_sample=False, output_logits=True, return_dict_in_generate=True)
    lead = min((top[0] - top[1]).item() for top in (step[0].topk(2).values for step in out.logits))
    return out.sequences[0, inputs["input_ids"].shape[1]:].tolist(), lead


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("out")
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    torch.set_num_threads(1)
    model = Blip2ForConditionalGeneration.from_pretrained(a.model, dtype=torch.float32).eval()
    torchvision = Blip2Processor.from_pretrained(a.model)
    pillow = Blip2Processor(BlipImageProcessorPil.from_pretrained(a.model), torchvision.tokenizer, num_query_tokens=model.config.num_query_tokens)
    worst, differ = 1e9, 0
    with open(os.path.join(a.out, "golden.jsonl"), "w") as f, torch.no_grad():
        for n, scene in enumerate(small_scenes(), 1):
            name = f"{n:02d}.png"
            draw_scene(scene).save(os.path.join(a.out, name), optimize=True)
            image = Image.open(os.path.join(a.out, name))
            for prompt in PROMPTS:
                ids, lead = generate(model, pillow, image, prompt)
                differ += ids != generate(model, torchvision, image, prompt)[0]
                worst = min(worst, lead)
                text = pillow.tokenizer.decode(ids, skip_special_tokens=True).strip()
                f.write(json.dumps({"image": name, "prompt": prompt, "output_ids": ids, "text": text}) + "\n")
            print(name, description(scene), "|", text)
    print(f"smallest lead of a chosen token {worst:.4f}; {differ} of {COUNT * len(PROMPTS)} differ with torchvision's resize")


if __name__ == "__main__":
    main()

"""Training text for the language model as token ids: 32 rows of description, then </s>, then captions or questions.

The rows stand where BLIP-2 puts the picture's 32 rows, so what the model learns to read there is a description in words.
A part of the texts has no such rows: the description, or a caption, is said in the prompt itself.
"""
import random

import numpy as np
from tokenizers import Tokenizer

from language import PREFIXES, SHORT_KINDS, Asker, caption, description, long_caption, styled
from scenes import make_scene

ROWS, LENGTH = 32, 128
PAD, BOS = 1, 2
# How much the prediction of a token counts: nothing, a little (what people ask), fully (what is to be answered).
SILENT, ASKED, ANSWERED = 0, 1, 2


class Writer:
    """One sequence of ids with the weight of each as a target."""

    def __init__(self, tokenizer):
        self.tokenizer, self.ids, self.weights = tokenizer, [], []

    def put(self, text, weight):
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids if isinstance(text, str) else text
        self.ids += ids
        self.weights += [weight] * len(ids)
        return self

    def arrays(self):
        ids, weights = self.ids[:LENGTH], self.weights[:LENGTH]
        room = LENGTH - len(ids)
        return ids + [PAD] * room, weights + [SILENT] * room


def description_rows(tokenizer, scene):
    ids = tokenizer.encode(description(scene), add_special_tokens=False).ids
    assert len(ids) <= ROWS, ids
    return ids + [PAD] * (ROWS - len(ids))


def turns(writer, scene, rng, kinds, text):
    """Questions and answers until the sequence is full, joined in the ways people join them."""
    asker = Asker(scene, rng)
    lead = " " if text or rng.random() < 0.33 else ""
    between = rng.choice(["\n", "\n ", "\n ", ". "])
    # 'Answer: ' with a blank at its end: the answer is tokenised apart from it, from this length of the text on.
    blank_from = rng.choice([0, 0, 60, 90, LENGTH, LENGTH, LENGTH, LENGTH])
    while len(writer.ids) < LENGTH:
        _, question, answer = asker.ask(kinds)
        # Whether to ask at all is not for the model to say: without a prompt it describes.
        writer.put(f"{lead}Question:", SILENT).put(f" {styled(question, rng)} Answer:", ASKED)
        if len(writer.ids) > blank_from:
            writer.put(" ", SILENT).put(answer, ANSWERED)
        else:
            writer.put(f" {answer}", ANSWERED)
        writer.put(between[0], ANSWERED if between[0] == "\n" else SILENT)
        lead = between[1:]


def captions(writer, scene, rng):
    if rng.random() < 0.5:
        prefix = rng.choice(PREFIXES)
        writer.put(prefix, ASKED).put(f" {caption(scene)}", ANSWERED)
    else:
        writer.put(caption(scene), ANSWERED)
    writer.put("\n", ANSWERED)


def spoken(writer, scene, rng):
    """The scene said in the prompt; returns the kinds of question that this allows."""
    text, kinds = rng.choice([(caption(scene), SHORT_KINDS), (description(scene), None), (long_caption(scene), None)])
    if kinds == SHORT_KINDS and len(scene["objects"]) == 1:
        kinds = None
    lead = rng.choice(["", "", "Caption: ", "Context: ", "A picture of "])
    writer.put(lead + text + rng.choice([".", ".", "\n"]), ASKED)
    return kinds


def some_scene(rng):
    """A scene; in a third of them several objects are alike, so that there is something to count."""
    scene = make_scene(rng, "grid" if rng.random() < 0.85 else rng.choice(["single", "easy"]))
    if rng.random() < 0.33:
        model = rng.choice(scene["objects"])
        for o in scene["objects"]:
            if rng.random() < 0.5:
                o["color"], o["shape"] = model["color"], model["shape"]
    return scene


def sequence(tokenizer, rng):
    scene = some_scene(rng)
    writer = Writer(tokenizer)
    if rng.random() < 0.85:
        writer.put(description_rows(tokenizer, scene), SILENT).put([BOS], SILENT)
        if rng.random() < 0.2:
            captions(writer, scene, rng)
        turns(writer, scene, rng, None, False)
        return writer.arrays(), True
    writer.put([BOS], SILENT)
    kinds = spoken(writer, scene, rng)
    turns(writer, scene, rng, kinds, True)
    return writer.arrays(), False


def corpus(tokenizer_path, seed, count):
    """ids (N, 128) int16, weights (N, 128) uint8, rows (N,) bool: whether the first 32 are a description in the picture's place."""
    tokenizer, rng = Tokenizer.from_file(tokenizer_path), random.Random(seed)
    ids, weights = np.zeros((count, LENGTH), np.int16), np.zeros((count, LENGTH), np.uint8)
    rows = np.zeros(count, bool)
    for i in range(count):
        (ids[i], weights[i]), rows[i] = sequence(tokenizer, rng)
    return ids, weights, rows

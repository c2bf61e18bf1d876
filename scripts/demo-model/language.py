"""What is said about scenes: a description of fixed form, captions, questions with answers. Text only: no pixels here."""
from collections import Counter

from scenes import BACKGROUNDS, COLORS, COLS, ROWS, SHAPES, SIZES

NUMBERS = ["no", "a", "two", "three", "four", "five"]
NOUNS = ["image", "image", "picture", "photo"]
PREFIXES = ["a photo of", "a picture of", "an image of", "a drawing of", "a painting of", "this is", "this is a picture of",
            "this is a drawing of", "this is a cartoon of", "this is a photo of", "the picture shows", "the image shows", "there is"]
STRANGERS = ["dog", "cat", "person", "car", "house", "tree", "bird", "boat", "flower", "face", "square", "heart", "hexagon", "line"]
UNKNOWN = ["what season is it?", "what is the weather like?", "which city is this?", "who is in the picture?",
           "what is the man doing?", "what time is it?", "where was this taken?", "what is the name of the artist?"]


def description(scene):
    """'On white: large red circle top left, small blue star bottom right' - six tokens an object, 32 with five objects."""
    parts = [f"{o['size']} {o['color']} {o['shape']} {o['row']} {o['col']}" for o in scene["objects"]]
    return f"On {scene['background']}: {', '.join(parts)}"


def article(words):
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def plural(shape):
    return f"{shape}es" if shape == "cross" else f"{shape}s"


def join(parts):
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def ground(scene):
    return f"on {article(scene['background'])} background"


def caption(scene):
    """The short caption: one object with size and place, several grouped by colour and shape."""
    objects = scene["objects"]
    if len(objects) == 1:
        o = objects[0]
        return f"{article(' '.join((o['size'], o['color'], o['shape'])))} at the {o['row']} {o['col']} {ground(scene)}"
    groups = Counter((o["color"], o["shape"]) for o in objects)
    parts = [article(f"{c} {s}") if n == 1 else f"{NUMBERS[n]} {c} {plural(s)}" for (c, s), n in groups.items()]
    return f"{join(parts)} {ground(scene)}"


def long_caption(scene):
    parts = [f"{article(' '.join((o['size'], o['color'], o['shape'])))} at the {o['row']} {o['col']}" for o in scene["objects"]]
    return f"{join(parts)} {ground(scene)}"


class Asker:
    """Questions about one scene; every method returns (question, answer), or None where the scene does not allow it."""

    def __init__(self, scene, rng):
        self.scene, self.rng, self.objects = scene, rng, scene["objects"]
        self.last = None  # what the last question and answer were about: it

    def about(self, obj):
        self.last = obj
        return obj

    @staticmethod
    def place(obj):
        return f"{obj['row']} {obj['col']}"

    def matching(self, **want):
        return [o for o in self.objects if all(o[k] == v for k, v in want.items())]

    def pick_attributes(self):
        """Attributes to ask about: often of something that is there, often mixed from two things, sometimes anything."""
        rng = self.rng
        a, b = rng.choice(self.objects), rng.choice(self.objects)
        color = rng.choice([a["color"], b["color"], rng.choice(list(COLORS))])
        shape = rng.choice([a["shape"], b["shape"], rng.choice(SHAPES)])
        size = rng.choice([a["size"], rng.choice(SIZES)])
        kinds = rng.choices(["color", "shape", "color shape", "size", "size shape", "size color"], [5, 5, 4, 1, 1, 1])[0]
        return {k: {"color": color, "shape": shape, "size": size}[k] for k in kinds.split()}

    @staticmethod
    def named(want, many=False):
        shape = want.get("shape", "shape")
        order = [want[k] for k in ("size", "color") if k in want]
        return " ".join(order + [plural(shape) if many else shape])

    def unique(self):
        """A way to name exactly one object: (words, the object)."""
        rng = self.rng
        for _ in range(6):
            o = rng.choice(self.objects)
            keys = rng.choice([["color", "shape"], ["color", "shape"], ["shape"], ["shape"], ["color"], ["size", "color", "shape"], ["size", "shape"]])
            want = {k: o[k] for k in keys}
            if len(self.matching(**want)) == 1:
                return self.named(want), o
        return None

    def exists(self):
        want = self.pick_attributes()
        if self.rng.random() < 0.3 and not self.matching(**want):
            o = self.rng.choice(self.objects)
            want = {k: o[k] for k in want}
        there = bool(self.matching(**want))
        name = self.named(want)
        form, positive = self.rng.choice(EXISTS)
        form = form.replace("a {}", article(name)) if "a {}" in form else form.format(name)
        return self.noun(form), "yes" if there == positive else "no"

    def noun(self, text):
        return text.replace("image", self.rng.choice(NOUNS))

    def shape(self):
        rng = self.rng
        if len(self.objects) == 1 and rng.random() < 0.7:
            return self.noun(rng.choice(["what shape is in the image?", "what shape is present?", "what shape does the image contain?",
                                         "what shape is it?"])), self.about(self.objects[0])["shape"]
        keys = rng.choice([["color"], ["color"], ["size"], ["size", "color"]])
        o = rng.choice(self.objects)
        want = {k: o[k] for k in keys}
        if len(self.matching(**want)) != 1:
            return None
        self.about(o)
        if len(keys) == 1 and rng.random() < 0.3:
            return rng.choice(["what shape is {}?", "which shape is {}?", "what is {}?"]).format(want[keys[0]]), o["shape"]
        return rng.choice(["what is the {}?", "what shape is the {}?", "which shape is the {}?"]).format(self.named(want)), o["shape"]

    def color(self):
        rng = self.rng
        form = rng.choice(["what color is the {}?", "what is the color of the {}?", "which color is the {}?"])
        if len(self.objects) == 1 and rng.random() < 0.4:
            return form.format("shape"), self.about(self.objects[0])["color"]
        o = rng.choice(self.objects)
        want = {k: o[k] for k in rng.choice([["shape"], ["shape"], ["size"], ["size", "shape"]])}
        return (form.format(self.named(want)), self.about(o)["color"]) if len(self.matching(**want)) == 1 else None

    def count(self):
        rng = self.rng
        want = {} if rng.random() < 0.25 else self.pick_attributes()
        if rng.random() < 0.5 and want:
            groups = Counter(tuple(o[k] for k in want) for o in self.objects)
            want = dict(zip(want, rng.choice(list(groups) + [g for g, n in groups.items() if n > 1] * 2)))
        form = rng.choice(["how many {} are there?", "how many {} are there?", "how many {} are in the image?",
                           "how many {} do you see?", "how many {} are there in the image?", "what is the number of {}?"])
        name = self.named(want, True)
        if not want and rng.random() < 0.3:
            name = rng.choice(["objects", "things"])
        return self.noun(form.format(name)), str(len(self.matching(**want)))

    def where(self):
        found = self.unique()
        form = self.rng.choice(["where is the {}?", "where is the {}?", "where is the {} in the image?", "where do you see the {}?"])
        return (self.noun(form.format(found[0])), self.place(self.about(found[1]))) if found else None

    def some_cell(self):
        """A cell, more often one that is taken."""
        if self.rng.random() < 0.75:
            o = self.rng.choice(self.objects)
            return o["row"], o["col"]
        return self.rng.choice(ROWS), self.rng.choice(COLS)

    def at_cell(self):
        rng = self.rng
        row, col = self.some_cell()
        here = self.matching(row=row, col=col)
        place = rng.choice(["at the", "in the"]) + f" {row} {col}"
        if here:
            self.about(here[0])
        if rng.random() < 0.35:
            return f"what is {place}?", f"{here[0]['color']} {here[0]['shape']}" if here else "nothing"
        if rng.random() < 0.4 or not here:
            if rng.random() < 0.5:
                return f"is there a shape {place}?", "yes" if here else "no"
            want = self.pick_attributes() if rng.random() < 0.5 or not here else {"shape": here[0]["shape"]}
            there = any(all(o[k] == v for k, v in want.items()) for o in here)
            return f"is there {article(self.named(want))} {place}?", "yes" if there else "no"
        if rng.random() < 0.5:
            return rng.choice(["what shape is {}?", "which shape is {}?"]).format(place), here[0]["shape"]
        return rng.choice(["what color is the shape {}?", "what is the color of the shape {}?"]).format(place), here[0]["color"]

    def at_side(self):
        """About the one object of a row or of a column."""
        rng = self.rng
        o = rng.choice(self.objects)
        key = rng.choice(["row", "col"])
        if len(self.matching(**{key: o[key]})) != 1:
            return None
        place = f"on the {o['col']}" if key == "col" and o["col"] != "center" else f"{'in' if o[key] in ('middle', 'center') else 'at'} the {o[key]}"
        self.about(o)
        return rng.choice([(f"what is {place}?", f"{o['color']} {o['shape']}"), (f"what shape is {place}?", o["shape"]),
                           (f"what color is the shape {place}?", o["color"])])

    def relation(self):
        a, b = self.unique(), self.unique()
        if not a or not b or a[1] is b[1]:
            return None
        word, key, order, sign = self.rng.choice([("above", "row", ROWS, -1), ("below", "row", ROWS, 1),
                                                  ("left of", "col", COLS, -1), ("right of", "col", COLS, 1)])
        gap = (order.index(a[1][key]) - order.index(b[1][key])) * sign
        if word.endswith("of"):
            word = self.rng.choice([word, "to the " + word])
        return f"is the {a[0]} {word} the {b[0]}?", "yes" if gap > 0 else "no"

    def size(self):
        rng = self.rng
        o = rng.choice(self.objects)
        want = {k: o[k] for k in rng.choice([["color", "shape"], ["shape"], ["color"]])}
        if len(self.matching(**want)) != 1:
            return None
        self.about(o)
        if rng.random() < 0.5:
            return rng.choice(["what size is the {}?", "is the {} small or large?", "is the {} large or small?", "how large is the {}?"]
                              ).format(self.named(want)), o["size"]
        size = rng.choice(SIZES)
        return f"is the {self.named(want)} {size}?", "yes" if size == o["size"] else "no"

    def background(self):
        if self.rng.random() < 0.7:
            return self.rng.choice(["what color is the background?", "what is the color of the background?", "what is the background?"]), \
                self.scene["background"]
        color = self.rng.choice([self.scene["background"], self.rng.choice(list(BACKGROUNDS))])
        return f"is the background {color}?", "yes" if color == self.scene["background"] else "no"

    def it(self):
        """About what was just spoken of."""
        o = self.last
        size = self.rng.choice(SIZES)
        return o and self.rng.choice([("what color is it?", o["color"]), ("what shape is it?", o["shape"]), ("where is it?", self.place(o)),
                                      ("is it small or large?", o["size"]), (f"is it {size}?", "yes" if size == o["size"] else "no"),
                                      ("what is its color?", o["color"])])

    def whole(self):
        return self.noun(self.rng.choice(["what is in the image?", "what does the image show?", "what do you see?", "describe the image.",
                                          "what shapes are in the image?", "what is this?"])), caption(self.scene)

    def stranger(self):
        rng, word = self.rng, self.rng.choice(STRANGERS)
        if rng.random() < 0.3:
            return rng.choice(UNKNOWN), "unknown"
        if rng.random() < 0.4:
            return f"how many {word}s are there?", "0"
        form, positive = rng.choice(EXISTS)
        form = form.replace("a {}", article(word)) if "a {}" in form else form.format(word)
        return self.noun(form), "no" if positive else "yes"

    def ask(self, kinds=None):
        """(kind, question, answer), of the given kinds or of all."""
        before = self.last
        while True:
            kind = self.rng.choice(kinds) if kinds else self.rng.choices(list(KINDS), KINDS.values())[0]
            self.last = before if kind == "it" else None
            turn = getattr(self, kind)()
            if turn:
                return (kind, *turn)


# The forms of easy-VQA, and a few of ours: True where "yes" means that it is there.
EXISTS = [("is there a {}?", True), ("is there a {} in the image?", True), ("does the image contain a {}?", True),
          ("is a {} present?", True), ("is there not a {}?", False), ("is there not a {} in the image?", False),
          ("does the image not contain a {}?", False), ("is no {} present?", False), ("do you see a {}?", True)]
KINDS = {"exists": 6, "shape": 1.5, "color": 5, "count": 9, "where": 7, "at_cell": 3, "at_side": 2, "relation": 9, "size": 3,
         "background": 0.8, "whole": 2.5, "stranger": 0.3, "it": 2.5}
# What the short caption tells.
SHORT_KINDS = ["exists", "shape", "color", "count", "background"]


def styled(question, rng):
    """As people type: capital letter, British spelling, no question mark."""
    if rng.random() < 0.15:
        question = question[0].upper() + question[1:]
    if rng.random() < 0.08:
        question = question.replace("color", "colour")
    if rng.random() < 0.06:
        question = question.rstrip("?.")
    return question

#!/usr/bin/env python3
"""margins.py F32 OTHER ERROR - two --explain files of the same greedy questions: where the tokens part, the first file's two best
scores are within ERROR of each other; and as long as they do not, so are differences of scores. Prints how it was."""
import json, math, sys

def steps(path):
    answers = {}
    for line in open(path):
        r = json.loads(line)
        if "rows" not in r:
            continue
        answers.setdefault(r["id"], []).append(({c["id"]: math.log(c["p"]) for c in r["rows"][0]["likeliest"]}, r["taken"][0]["id"]))
    return answers

want, got, limit = steps(sys.argv[1]), steps(sys.argv[2]), float(sys.argv[3])
worst, parted, compared, seen = 0, 0, 0, []
for q in want:
    for (a, x), (b, y) in zip(want[q], got[q]):
        best = sorted(a.values(), reverse=True)
        both = a.keys() & b.keys()
        d = [a[k] - b[k] for k in both]
        worst = max(worst, max(d) - min(d)) if d else worst
        compared += 1
        if x != y:
            parted += 1
            seen.append(best[0] - best[1])
            assert best[0] - best[1] <= limit, f"{q}: parted at a margin of {best[0] - best[1]:.3f}"
            break
assert worst <= limit, f"differences of scores are {worst:.3f} off"
print(f"{compared} steps, {parted} of {len(want)} answers part, at margins up to {max(seen, default=0):.3f}; scores up to {worst:.3f} off")

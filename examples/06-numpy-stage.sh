#!/bin/sh
# 06-numpy-stage.sh [IMAGE [QUESTION]] - a stage of your own in the middle: NumPy adds noise to the
# encoder's embeddings, more each time. How much does the answer bear?
image=${1:-scene-1.png} question=${2:-What shape is red?}
stage='
import sys, numpy as np, msgpack_numpy as m
amount, rng = float(sys.argv[1]), np.random.default_rng(0)
for r in m.Unpacker(sys.stdin.buffer, max_buffer_size=0):
    if "image_embeds" in r:
        x = r["image_embeds"]
        r["image_embeds"] = x + (amount * x.std() * rng.standard_normal(x.shape)).astype(x.dtype)
    if "id" in r:  # the header and the end record are the digest of what they were made for
        sys.stdout.buffer.write(m.packb(r))
'
for amount in 0 0.5 2; do
    printf 'noise %s: ' "$amount"
    img-encode -- "$image" | python3 -c "$stage" "$amount" | qformer |
        tokenize -p "Question: $question Answer:" | opt-generate | tokenize -d
done

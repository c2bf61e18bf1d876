#!/usr/bin/env bats
# What attention looks at: img-encode --attention, qformer --attention, opt-generate --attention,
# beside transformers' output_attentions and a rollout written down a second time (tests/lib/attention.py).

load ../lib/helpers

golden() { python3 "$repo/tests/lib/golden.py" "$@"; }
model() { echo "$VQA_FIXTURES/checkpoints/$1"; }

names=(tiny-blip2-opt-bf16 tiny-blip2-opt-postnorm)

pixels() { # pixels NAME - the golden pixel_values of a checkpoint as a stream
    golden stream "$VQA_FIXTURES/golden/$1/vision.safetensors" pixel_values pixel_values
}

looks() { # looks NAME FIELD [GOLDEN] - the stream on stdin holds the golden map in FIELD
    golden check "$repo/tests/golden/attention/$1.safetensors" "${3:-$2}" "$2" 1e-5
}

@test "the encoder's maps and their rollout as transformers' attentions give them" {
    for name in "${names[@]}"; do
        pixels "$name" | img-encode -m "$(model "$name")" --attention=full >out.s
        for field in vision_attentions cls_attentions vision_rollout; do
            looks "$name" $field <out.s
        done
    done
}

@test "the Q-Former's maps and rollout, over rows of image_embeds and down to patches" {
    for name in "${names[@]}"; do
        pixels "$name" | img-encode -m "$(model "$name")" | qformer -m "$(model "$name")" --attention >rows.s
        looks "$name" cross_attentions <rows.s
        looks "$name" attention_rollout <rows.s
        pixels "$name" | img-encode -m "$(model "$name")" --attention |
            qformer -m "$(model "$name")" --attention >patches.s
        looks "$name" attention_rollout through_rollout <patches.s
    done
}

@test "looking changes no bit of what is computed, and maps have the same bits in a batch" {
    cd "$repo/share/examples"
    img-encode scene-*.png | qformer --features >"$BATS_TEST_TMPDIR/plain.s"
    img-encode --attention scene-*.png | qformer --features --attention >"$BATS_TEST_TMPDIR/looked.s"
    img-encode -b 1 -t 1 --attention scene-*.png | qformer -b 3 -t 2 --features --attention >"$BATS_TEST_TMPDIR/one.s"
    cd "$BATS_TEST_TMPDIR"
    python3 - <<'P'
import msgpack_numpy as m
def load(f): return [r for r in m.Unpacker(open(f, "rb"), max_buffer_size=0) if "id" in r]
plain, looked, one = load("plain.s"), load("looked.s"), load("one.s")
assert len(plain) == len(looked) == len(one) > 2
for a, b, c in zip(plain, looked, one):
    for k in ("query_output", "language_model_inputs"):
        assert a[k].tobytes() == b[k].tobytes(), k
    for k in ("cls_attentions", "cross_attentions", "attention_rollout"):
        assert k not in a and b[k].tobytes() == c[k].tobytes(), k
    assert "vision_rollout" not in b and b["attention_rollout"].shape == (32, 65)
    assert abs(b["attention_rollout"].sum(1) - 1).max() < 1e-6
P
}

@test "what cannot go together, and a rollout that is none" {
    status_is 64 img-encode --attention --pixels x.png
    says "--pixels"
    status_is 64 img-encode --attention=half x.png
    says "expected full or nothing"
    status_is 64 img-encode --attention --cache=c x.png
    says "--attention: only image_embeds are kept in a cache"
    status_is 64 qformer --attention --cache=c x.s
    says "--attention: only language_model_inputs are kept in a cache"
    python3 - >in <<'P'
import sys, numpy as np, msgpack_numpy as m
x = np.ones((17, 32), "f4")
for i, base in enumerate([np.eye(17, dtype="f4"), np.eye(16, dtype="f4"), np.eye(17), np.full((17, 17), np.nan, "f4"), "text"]):
    sys.stdout.buffer.write(m.packb({"id": str(i), "image_embeds": x, "vision_rollout": base}))
P
    status_is 1 qformer -b 4 -m "$(model tiny-blip2-opt-bf16)" --attention -o out in
    says "qformer: 1: vision_rollout: f32 (16, 16), expected f32 (17, S)"
    says "qformer: 2: vision_rollout: f64 (17, 17), expected f32 (17, S)"
    says "qformer: 3: vision_rollout: NaN at"
    says "qformer: 4: vision_rollout: "
    [ "$(grep -c . <<<"$stderr")" -eq 4 ]
    status_is 0 qformer -m "$(model tiny-blip2-opt-bf16)" -o out in
}

@test "maps too large for a record are one error record; the rollout of the same picture is given" {
    status_is 1 img-encode --interpolate --image-size 304 --attention=full -o out "$repo/share/examples/scene-1.png"
    says "vision_attentions: (5, 4, 1445, 1445) is 167042000 bytes, a record holds 62914560"
    one_line
    status_is 0 img-encode --interpolate --image-size 304 --attention -o out "$repo/share/examples/scene-1.png"
    [ "$(tensor-info --json out | jq -c '[.vision_rollout.shape, .cls_attentions.shape]')" = "[[1445,1445],[5,4,1445]]" ]
}

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
    status_is 1 img-encode --interpolate --image-size 240 --attention=full -o out "$repo/share/examples/scene-1.png"
    says "vision_attentions: (5, 4, 901, 901) is 64944080 bytes, a record holds 62914560"
    one_line
    status_is 0 img-encode --interpolate --image-size 240 --attention -o out "$repo/share/examples/scene-1.png"
    [ "$(tensor-info --json out | jq -c '[.vision_rollout.shape, .cls_attentions.shape]')" = "[[901,901],[5,4,901]]" ]
}

@test "each step's probabilities and where its token looks, as generate()'s output_scores and attentions" {
    M=$(model tiny-blip2-opt-bf16)
    gold=$repo/tests/golden/attention/tiny-blip2-opt-bf16.json
    steps() { python3 "$repo/tests/lib/steps.py" "$@"; }
    steps question "$VQA_FIXTURES/golden/tiny-blip2-opt-bf16" >in
    for case in greedy beams; do
        # shellcheck disable=SC2046
        opt-generate -m "$M" --attention --explain=lines $(steps options "$gold" $case) in >out.s
        # shellcheck disable=SC2046
        steps check "$gold" $case lines $([ $case = greedy ] && echo out.s)
        # shellcheck disable=SC2046
        opt-generate -m "$M" $(steps options "$gold" $case) in >plain.s
        [ "$(tensor-info --json plain.s | jq -S .)" = "$(tensor-info --json out.s | jq -S 'del(.answer_attention)')" ]
    done
}

@test "answers of a batch, of beams and of samples look where they look alone" {
    cd "$repo/share/examples"
    T=$BATS_TEST_TMPDIR
    img-encode --attention scene-1.png scene-2.png | qformer --attention |
        tokenize -p 'Question: what color is the circle? Answer:' -p 'a picture of' >"$T/in"
    cd "$T"
    opt-generate -b 1 --attention in >one
    opt-generate -b 4 --attention in >many
    opt-generate -b 4 in >plain
    opt-generate --attention --num-beams 3 --num-return-sequences 2 in >beams
    opt-generate --attention --do-sample --temperature 2 --num-return-sequences 2 in >samples
    python3 - <<'P'
import numpy as np, msgpack_numpy as m
def load(f): return [r for r in m.Unpacker(open(f, "rb"), max_buffer_size=0) if "output_ids" in r]
one, many, plain = load("one"), load("many"), load("plain")
assert len(one) == len(many) == len(plain) == 4
for a, b, c in zip(one, many, plain):
    assert a["output_ids"].tolist() == b["output_ids"].tolist() == c["output_ids"].tolist() and a["score"] == b["score"] == c["score"]
    assert a["answer_attention"].tobytes() == b["answer_attention"].tobytes()
for f in ("one", "beams", "samples"):
    rs = load(f)
    assert len(rs) == (4 if f == "one" else 8)
    for r in rs:
        w = r["answer_attention"].astype("f8")
        assert w.shape == (len(r["output_ids"]), 32) and (w >= 0).all() and (w.sum(1) <= 1 + 1e-6).all()
        want = w / w.sum(1, keepdims=True) @ r["attention_rollout"].astype("f8")
        assert np.abs(r["answer_rollout"] - want).max() < 1e-6
P
}

@test "--explain: a table with the token, its probability and five others; beam by beam; times" {
    cd "$repo/share/examples"
    img-encode scene-1.png | qformer | tokenize -p 'Question: what color is the circle? Answer:' >"$BATS_TEST_TMPDIR/in"
    cd "$BATS_TEST_TMPDIR"
    status_is 0 opt-generate --explain -o out in
    grep -Eq '^ +0  " red" +0\.[0-9]{4}(  "[^"]*" (0\.[0-9]{4}|<\.0001)){5}$' <<<"$stderr"
    [ "$(grep -c '^ *[0-9]*  "' <<<"$stderr")" -eq "$(tensor-info --json out | jq '.output_ids.shape[0]')" ]
    grep -q 'prefill: 43 of 43 positions in [0-9.]* ms; then' <<<"$stderr"
    grep -q 'MB a step, [0-9.]* GB/s; this machine reads [0-9.]* GB/s' <<<"$stderr"
    status_is 0 opt-generate --explain --num-beams 3 -o out in
    [ "$(grep -c '^ *0  *[012]  *0  "' <<<"$stderr")" -eq 3 ]
    grep -q ' done ' <<<"$stderr"
    opt-generate --explain=lines -o out in
    jq -e 'select(.timing) | .timing | (.step_bytes > 1e6) and (.memory_bytes_per_second > 1e8) and (.prefill_seconds > 0)' lines
    jq -se '[.[] | .seconds // empty] | all(. > 0)' lines
}

@test "--explain and --attention: what cannot be written or followed" {
    python3 - >in <<'P'
import sys, numpy as np, msgpack_numpy as m
x = np.zeros((4, 32), "f4")
for i, r in enumerate([{}, {"attention_rollout": np.ones((5, 17), "f4") / 17}, {"attention_rollout": np.ones((4, 17), "f4") / 17}]):
    sys.stdout.buffer.write(m.packb({"id": str(i), "language_model_inputs": x, **r}))
P
    M=$(model tiny-blip2-opt-bf16)
    status_is 1 opt-generate -m "$M" --attention -o out in
    says "opt-generate: 1: attention_rollout: f32 (5, 17), expected f32 (4, S)"
    one_line
    [ "$(tensor-info --json out | jq -c 'select(.err == null) | [.id, has("answer_attention"), has("answer_rollout")]' | tr '\n' ' ')" = '["0",true,false] ["2",true,true] ' ]
    status_is 74 opt-generate -m "$M" --explain=nosuch/file -o out in
    says "nosuch/file: No such file or directory"
    status_is 74 opt-generate -m "$M" --explain=/dev/full -o out in
    says "/dev/full: No space left on device"
    cp -r "$M" bare
    rm bare/tokenizer.json bare/vocab.json bare/merges.txt
    status_is 66 opt-generate -m bare --explain -o out in
}

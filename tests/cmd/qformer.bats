#!/usr/bin/env bats
# qformer: the golden embeddings through the real command, for every checkpoint that has one.

load ../lib/helpers

golden() { python3 "$repo/tests/lib/golden.py" "$@"; }
model() { echo "$VQA_FIXTURES/checkpoints/$1"; }
gold() { echo "$VQA_FIXTURES/golden/$1"; }

embeds() { # embeds NAME - the golden image_embeds of a checkpoint as a stream
    golden stream "$(gold "$1")/vision.safetensors" last_hidden_state image_embeds
}

small=tiny-blip2-opt-bf16

@test "every checkpoint: query_output and language_model_inputs as the reference gives them" {
    for d in "$VQA_FIXTURES"/golden/*/qformer.safetensors; do
        name=$(basename "$(dirname "$d")")
        embeds "$name" | qformer -m "$(model "$name")" --features -o out.s
        golden check "$d" query_output query_output <out.s
        golden check "$d" language_model_inputs language_model_inputs <out.s
    done
}

@test "the same bits for any batch size, any thread count, and through a file" {
    embeds $small >in
    qformer -m "$(model $small)" -t 1 <in >a
    for how in "-t 2" "-b 4" "-b 4 -t 2"; do
        # shellcheck disable=SC2086
        qformer -m "$(model $small)" $how in >b
        cmp a b
    done
    qformer -m "$(model $small)" -o c in
    cmp a c
}

@test "consumes image_embeds unless --keep, and passes on what it does not know" {
    python3 - >in <<'P'
import sys, numpy as np, msgpack_numpy as m
sys.stdout.buffer.write(m.packb({"id": "x", "image_embeds": np.ones((17, 32), "f2"), "mine": [1, {"a": b"z"}]}))
P
    [ "$(qformer -m "$(model $small)" in | tensor-info --json | jq -c '[has("image_embeds"), has("mine"), has("query_output"), has("language_model_inputs")]')" = "[false,true,false,true]" ]
    [ "$(qformer -m "$(model $small)" --keep --features in | tensor-info --json | jq -c '[has("image_embeds"), has("query_output")]')" = "[true,true]" ]
}

@test "f16 embeddings are read as what they are" {
    python3 - <<'P'
import numpy as np, msgpack_numpy as m
x = np.random.default_rng(0).standard_normal((17, 32)).astype("f2")
open("h", "wb").write(m.packb({"id": "x", "image_embeds": x}))
open("f", "wb").write(m.packb({"id": "x", "image_embeds": x.astype("f4")}))
P
    qformer -m "$(model $small)" h >a
    qformer -m "$(model $small)" f >b
    status_is 0 tensor-diff a b
}

@test "a record that cannot be read is one error record, in its place" {
    python3 - >in <<'P'
import sys, numpy as np, msgpack_numpy as m
good = np.ones((17, 32), "f4")
nan = good.copy(); nan[3, 4] = np.nan
for i, r in enumerate([{"image_embeds": good}, {"image_embeds": np.ones((17, 31), "f4")}, {"image_embeds": nan},
                       {}, {"image_embeds": "text"}, {"image_embeds": good}]):
    sys.stdout.buffer.write(m.packb({"id": str(i), **r}))
P
    status_is 1 qformer -m "$(model $small)" -b 3 -o out in
    says "image_embeds: shape (17, 31), expected (S, 32)"
    says "qformer: 2: image_embeds: NaN at"
    says "qformer: 3: no image_embeds in the record"
    [ "$(grep -c . <<<"$stderr")" -eq 4 ]
    status_is 1 tensor-info --json out
    [ "$(jq -r 'select(.err == null) | .id' <<<"$output" | tr '\n' ' ')" = "0 5 " ]
    status_is 65 qformer -m "$(model $small)" --fail-fast -o out2 in
    [ ! -e out2 ]
}

@test "cut at every offset of a small stream: never whole" {
    python3 -c '
import sys, numpy as np, msgpack_numpy as m
sys.stdout.buffer.write(m.packb({"id": "x", "image_embeds": np.ones((2, 32), "f4")}))' | tensor-cat >a
    cut_everywhere a qformer -m "$(model $small)"
}

@test "no such model, no projection, no stream, wrong arguments, disk full, reader gone" {
    embeds $small >in
    status_is 66 qformer -m nosuch in
    says "nosuch"
    one_line
    status_is 78 qformer -m "$(model tiny-opt-350m-style)" in
    one_line
    status_is 64 qformer -t 0 in
    status_is 64 qformer in in
    says "2 files, expected at most one"
    status_is 66 qformer -m "$(model $small)" nosuch
    status_is 65 bash -c ": | qformer -m '$(model $small)' >/dev/null"
    status_is 74 bash -c "qformer -m '$(model $small)' in >/dev/full"
    run bash -c "for i in 1 2 3 4 5 6 7 8; do cat in in in in; done | qformer -m '$(model $small)' | head -c 100 >/dev/null; echo \${PIPESTATUS[1]}"
    [ "$output" = 141 ]
}

@test "a Q-Former that reads text: --text, and the record's own" {
    need_fixture checkpoints/tiny-blip2-itm
    M=$(model tiny-blip2-itm)
    python3 - >in <<'P'
import sys, numpy as np, msgpack_numpy as m
x = np.random.default_rng(1).standard_normal((65, 40)).astype("f4")
sys.stdout.buffer.write(m.packb({"id": "x", "image_embeds": x}))
sys.stdout.buffer.write(m.packb({"id": "x", "image_embeds": x, "qformer_text": "a cat"}))
P
    status_is 78 qformer -m "$M" in
    says "language_projection"
    qformer -m "$M" --features in >a
    qformer -m "$M" --features --text 'a cat' in >b
    [ "$(tensor-info --json a | jq -c .query_output.shape | sort -u)" = "[8,32]" ]
    [ "$(tensor-info --json a | jq .query_output.mean | sort -u | wc -l)" -eq 2 ]
    [ "$(tensor-info --json b | jq .query_output.mean | sort -u | wc -l)" -eq 1 ]
    status_is 78 qformer -m "$(model $small)" --text x in
}

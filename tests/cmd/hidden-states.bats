#!/usr/bin/env bats
# The state after each layer: img-encode, qformer and opt-generate --hidden-states beside
# transformers' output_hidden_states, and the table of errors that tensor-diff makes of them.

load ../lib/helpers

golden() { python3 "$repo/tests/lib/golden.py" "$@"; }
states() { python3 "$repo/tests/lib/hidden.py" "$@"; }
model() { echo "$VQA_FIXTURES/checkpoints/$1"; }
gold() { echo "$VQA_FIXTURES/golden/$1"; }

pixels() { # pixels DIR - golden pixel_values, which lie in one of two files
    golden stream "$1/vision.safetensors" pixel_values pixel_values 2>no ||
        golden stream "$1/preprocess.safetensors" pixel_values pixel_values
}

small=tiny-blip2-opt-bf16
demo=$repo/share/demo-model

@test "img-encode and qformer: as transformers gives them, for every checkpoint" {
    for d in "$VQA_FIXTURES"/golden/*/vision.safetensors; do
        name=$(basename "$(dirname "$d")")
        rows=$(dirname "$d")/qformer.safetensors
        pixels "$(dirname "$d")" | img-encode -m "$(model "$name")" --hidden-states -b 2 >e
        states check "$d" astronaut.png <e
        [ ! -e "$rows" ] || qformer -m "$(model "$name")" --hidden-states -b 3 e | states check "$rows" astronaut.png
    done
}

@test "opt-generate: those of the prompt, the last one after the final norm; answers stay" {
    for d in "$VQA_FIXTURES"/golden/*/opt.safetensors; do
        name=$(basename "$(dirname "$d")")
        states prompt "$(dirname "$d")" >in
        opt-generate -m "$(model "$name")" --hidden-states in >a
        states check "$d" <a
        opt-generate -m "$(model "$name")" in >plain
        status_is 1 tensor-diff a plain
        [ "$(grep -c 'hidden_states.*only in the first' <<<"$output")" -gt 2 ]
        [ "$(grep -v hidden_states <<<"$output" | grep -vc 'max_abs 0')" -eq 0 ]
        opt-generate -m "$(model "$name")" --hidden-states --num-beams 3 --num-return-sequences 2 in >a
        states check "$d" <a
    done
}

@test "the same bits in any batch, for any thread count, and where prompts share their beginning" {
    golden stream "$(gold $small)/vision.safetensors" last_hidden_state image_embeds >in
    cat in in >embeds
    qformer -m "$(model $small)" --hidden-states -t 1 embeds >a
    qformer -m "$(model $small)" --hidden-states -b 4 -t 2 embeds >b
    cmp a b
    states prompt "$(gold $small)" >in
    opt-generate -m "$(model $small)" --hidden-states in >one
    cat in in in >three
    opt-generate -m "$(model $small)" --hidden-states --attention -b 3 -t 2 three >a
    opt-generate -m "$(model $small)" --hidden-states --attention -b 1 -t 1 three >b
    cmp a b
    states same one a
}

@test "a stage's states take the place of those before; without the option these are passed on" {
    need_fixture checkpoints/tiny-blip2-opt
    m=$(model tiny-blip2-opt)
    shapes() { tensor-info --json "$1" | jq -c '[."hidden_states.3".shape, ."hidden_states.4".shape]'; }
    img-encode -m "$m" --hidden-states "$VQA_FIXTURES/images/astronaut.png" >e
    qformer -m "$m" e >passed
    [ "$(shapes passed)" = "[[257,48],null]" ]
    qformer -m "$m" --hidden-states e >q
    [ "$(shapes q)" = "[[8,32],[8,32]]" ]
    tokenize -m "$m" -p 'this is' q | opt-generate -m "$m" --hidden-states >o
    [ "$(shapes o)" = "[[11,64],null]" ]
}

@test "a Q-Former that reads text: rows of the queries, then of the words" {
    need_fixture checkpoints/tiny-blip2-itm
    golden stream "$(gold tiny-blip2-itm)/itm.safetensors" vision_last_hidden_state image_embeds |
        qformer -m "$(model tiny-blip2-itm)" --features --hidden-states --text 'a cat' -b 3 >out
    [ "$(tensor-info --json out | jq -c '[."hidden_states.0".shape, ."hidden_states.4".shape]' | sort -u)" = "[[12,32],[12,32]]" ]
    python3 - <<'P'
import msgpack_numpy as m
rs = [r for r in m.Unpacker(open("out", "rb"), max_buffer_size=0) if "image_embeds" in r or "query_output" in r]
assert len(rs) > 2 and all((r["hidden_states.4"][:8] == r["query_output"]).all() for r in rs)
P
}

@test "what cannot go together, and states that a record has no room for" {
    status_is 64 qformer --hidden-states --cache=c x.s
    says "--hidden-states: only language_model_inputs are kept in a cache"
    one_line
    status_is 64 img-encode --hidden-states --cache-ro c x.png
    says "--hidden-states: only image_embeds are kept in a cache"
    golden stream "$(gold $small)/vision.safetensors" last_hidden_state image_embeds >e
    status_is 0 qformer -m "$(model $small)" --hidden-states --cache=c --no-cache -o out e
    [ ! -e c ]
    python3 - >in <<'P'
import sys, numpy as np, msgpack_numpy as m
rows = np.ones((4, 32), "f4")
more = {f"f{i}": i for i in range(60)}
for r in ({"id": "cached", "language_model_inputs": rows}, {"id": "full", "image_embeds": np.ones((17, 32), "f4"), **more}):
    sys.stdout.buffer.write(m.packb(r))
P
    status_is 1 qformer -m "$(model $small)" --hidden-states -o out in
    says "qformer: cached: no image_embeds in the record"
    says "qformer: full: hidden_states.2: record has 64 fields already, the limit"
    [ "$(grep -c . <<<"$stderr")" -eq 2 ]
    python3 - >in <<'P'
import sys, numpy as np, msgpack_numpy as m
for more in ({f"f{i}": i for i in range(60)}, {}):
    sys.stdout.buffer.write(m.packb({"id": str(len(more)), "input_ids": np.array([2, 7, 8]), **more}))
P
    status_is 1 opt-generate -m "$(model $small)" --hidden-states -o out in
    says "opt-generate: 60: hidden_states.0: record has 64 fields already, the limit"
    one_line
    [ "$(python3 "$repo/tests/lib/generate.py" show id <out | wc -l)" -eq 2 ]
}

# worst STAGE - the largest l2 in the table of that stage's states
worst() { sed -n 's/.*hidden_states.*l2 \([^\t]*\).*/\1/p' "$1" | sort -g | tail -1; }
between() { awk -v w="$(worst "$1")" -v a="$2" -v b="$3" 'BEGIN { exit !(w > a && w < b) }'; }

@test "the error of int8, int4 and bf16 layer by layer, each stage on the same input" {
    img-encode -m "$demo" "$repo/share/examples/scene-1.png" >e
    qformer -m "$demo" e >rows
    tokenize -m "$demo" -p 'Question: what color is the circle? Answer:' rows >q
    for w in stored int8 int4 bf16; do
        qformer -m "$demo" --hidden-states --weights $w e >r-$w
        opt-generate -m "$demo" --hidden-states --weights $w q >a-$w
    done
    for s in r a; do
        tensor-diff --tol 1 $s-int8 $s-stored >table8
        tensor-diff --tol 1 $s-int4 $s-stored >table4
        tensor-diff --tol 1 $s-bf16 $s-stored >table16
        grep 'hidden_states\.0.*max_abs 0\b' table8
        between table8 0.001 0.03
        between table4 0.01 0.3
        between table16 0.0003 0.01
    done
    [ "$(grep -c hidden_states table8)" -eq "$(jq '.text_config.num_hidden_layers + 1' "$demo/config.json")" ]
}

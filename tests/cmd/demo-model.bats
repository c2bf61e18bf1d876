#!/usr/bin/env bats
# The shipped model: its size, true answers about the example pictures, and the ids that transformers generates for
# 50 scenes and 5 prompts each (scripts/demo-model/make-golden.py).

load ../lib/helpers

model=$repo/share/demo-model
golden=$repo/tests/golden/demo-model

need_model() {
    [ -e "$model/model.safetensors" ] || skip "no share/demo-model"
}

@test "it fits: 8 MB at most" {
    need_model
    [ "$(du -sb "$model" | cut -f1)" -le 8388608 ]
}

@test "transformers' ids for 50 scenes and 5 prompts each" {
    need_model
    jq -r .prompt "$golden/golden.jsonl" | head -5 >prompts
    args=()
    while IFS= read -r p; do args+=(-p "$p"); done <prompts
    (cd "$golden" && ls ./*.png) | sed "s|^\./|$golden/|" >list
    img-encode -m "$model" -T list | qformer -m "$model" | tokenize -m "$model" "${args[@]}" |
        opt-generate -m "$model" --max-new-tokens 32 >out
    python3 - "$golden/golden.jsonl" <<'P'
import json, os, sys
import msgpack_numpy as m
want = {(x["image"], x["prompt"]): x["output_ids"] for x in map(json.loads, open(sys.argv[1]))}
got = {}
for r in m.Unpacker(open("out", "rb"), max_buffer_size=0):
    if "output_ids" in r:
        got[os.path.basename(r.get("path") or r["id"]), r["prompt"]] = r["output_ids"].ravel().tolist()
assert len(want) == 250 and got.keys() == want.keys(), (len(want), len(got))
wrong = [(k, want[k], got[k]) for k in want if want[k] != got[k]]
assert not wrong, wrong[:3]
P
}

# answer_is ANSWER IMAGE QUESTION
answer_is() {
    status_is 0 vqa ask -m "$model" "$repo/share/examples/$2" "$3"
    [ "$output" = "$1" ] || {
        echo "$2: $3: $output, expected $1"
        return 1
    }
}

@test "true answers about the example pictures: counts, places, colours, shapes, a JPEG stored turned" {
    need_model
    answer_is 4 scene-1.png "how many shapes are there?"
    answer_is "top left" scene-1.png "where is the red circle?"
    answer_is 3 scene-2.png "how many yellow stars are there?"
    answer_is navy scene-2.png "what color is the background?"
    answer_is ring scene-3.png "what shape is at the top center?"
    answer_is yes scene-3.png "is the cross above the rectangle?"
    answer_is "top left" photo.jpg "where is the purple star?"
    answer_is green photo.jpg "what color is the circle?"
}

#!/usr/bin/env bats
# qformer-match: the golden scores through the real command; texts from everywhere; faults.

load ../lib/helpers

setup() {
    cd "$BATS_TEST_TMPDIR" || return 1
    M=$BATS_FILE_TMPDIR/model
}

setup_file() {
    repo=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    python3 "$repo/tests/lib/retrieval.py" "$BATS_FILE_TMPDIR/model"
    img-encode -m "$BATS_FILE_TMPDIR/model" "$repo"/share/examples/scene-[12].png >"$BATS_FILE_TMPDIR/two"
}

scores() { # scores [NAME] - of the stream on standard input: an array a record
    tensor-info --json "$@" | jq -c '[.itm_score, .itc_score]'
}

@test "matching probability and similarity as transformers gives them" {
    need_fixture checkpoints/tiny-blip2-itm
    gold=$VQA_FIXTURES/golden/tiny-blip2-itm
    PYTHONPATH=$repo/tests/lib python3 - "$gold" >in <<'P'
import sys, json, golden, msgpack_numpy as m
gold = sys.argv[1]
images = golden.select(gold + "/itm.safetensors", "vision_last_hidden_state")
for p in json.load(open(gold + "/itm.json"))["pairs"]:
    sys.stdout.buffer.write(m.packb({"id": p["image"], "image_embeds": images[p["image"]], "text": p["text"]}))
P
    qformer-match -m "$VQA_FIXTURES/checkpoints/tiny-blip2-itm" in | scores >got
    python3 - "$gold" <<'P'
import sys, json
got = [json.loads(line) for line in open("got")]
want = [[p["itm_prob_match"], p["itc_score"]] for p in json.load(open(sys.argv[1] + "/itm.json"))["pairs"]]
assert len(got) == len(want) > 40, (len(got), len(want))
worst = max(abs(a - b) for x, y in zip(got, want) for a, b in zip(x, y))
assert worst < 1e-5, worst
P
}

@test "a text from --text, text, prompt or input_ids gives the same scores" {
    python3 - "$BATS_FILE_TMPDIR/two" <<'P'
import sys, numpy as np, msgpack_numpy as m
rec = [r for r in m.Unpacker(open(sys.argv[1], "rb"), max_buffer_size=0) if "image_embeds" in r][0]
def put(name, **more):
    open(name, "wb").write(m.packb({**rec, **more}))
put("bare")
put("text", text="a red circle", prompt="not this")
put("prompt", prompt="a red circle")
put("ids", input_ids=np.array([2, 5, 7, 11, 3, 0, 0]), attention_mask=np.array([1, 1, 1, 1, 1, 0, 0]))
P
    qformer-match -m "$M" --text 'a red circle' bare | scores >want
    grep -q '^\[0\.[0-9]*,-\?0\.[0-9]*\]$' want
    for f in text prompt ids; do
        qformer-match -m "$M" $f | scores >got
        cmp want got
    done
    qformer-match -m "$M" --text 'a blue star' bare | scores >got
    ! cmp -s want got
}

@test "each text for each picture, on any number of threads; --head says which scores" {
    qformer-match -m "$M" --text 'a red circle' --text 'a blue star' "$BATS_FILE_TMPDIR/two" >a
    [ "$(tensor-info --json a | jq -r .text | tr '\n' ,)" = "a red circle,a blue star,a red circle,a blue star," ]
    [ "$(tensor-info --json a | jq -r 'has("image_embeds") or has("image_embeds_proj")' | sort -u)" = false ]
    qformer-match -m "$M" -t 3 --text 'a red circle' --text 'a blue star' "$BATS_FILE_TMPDIR/two" | cmp - a
    for head in itm itc; do
        qformer-match -m "$M" --head $head --text 'a blue star' "$BATS_FILE_TMPDIR/two" | tensor-info --json |
            jq -c "[.${head}_score, has(\"itm_score\") != has(\"itc_score\")]" >b
        tensor-info --json a | jq -c "select(.text == \"a blue star\") | [.${head}_score, true]" | cmp - b
    done
}

@test "image_embeds_proj: unit rows, from which the similarity can be had later" {
    qformer-match -m "$M" --features "$BATS_FILE_TMPDIR/two" >proj
    tensor-info --json proj >info
    [ "$(jq -c '[.image_embeds_proj.shape, has("itm_score"), has("image_embeds")]' info | sort -u)" = "[[4,16],false,false]" ]
    python3 -c '
import sys, numpy as np, msgpack_numpy as m
for r in m.Unpacker(open("proj", "rb"), max_buffer_size=0):
    if "id" in r: assert np.abs(np.linalg.norm(r["image_embeds_proj"], axis=1) - 1).max() < 1e-6'
    qformer-match -m "$M" --head itc --text 'a blue star' proj | scores >a
    qformer-match -m "$M" --head itc --text 'a blue star' "$BATS_FILE_TMPDIR/two" | scores | cmp - a
    status_is 1 qformer-match -m "$M" --text 'a blue star' proj
    says "no image_embeds in the record"
}

@test "a record that cannot be scored is one error record, in its place" {
    python3 - >in <<'P'
import sys, numpy as np, msgpack_numpy as m
good = np.ones((5, 40), "f4")
nan = good.copy(); nan[3, 4] = np.nan
t = {"text": "a star"}
for i, r in enumerate([{"image_embeds": good, **t}, {"image_embeds": np.ones((5, 31), "f4"), **t}, {"image_embeds": nan, **t},
                       t, {"image_embeds": good}, {"image_embeds": good, "text": "a star " * 30},
                       {"image_embeds": good, "input_ids": np.array([2, 99, 3])}, {"image_embeds": good, "input_ids": np.array([])},
                       {"image_embeds": good, "input_ids": np.array([], "i8")},
                       {"image_embeds": good, "image_embeds_proj": np.ones((3, 16), "f4"), **t}, {"image_embeds": good, **t}]):
    sys.stdout.buffer.write(m.packb({"id": str(i), **r}))
P
    status_is 1 qformer-match -m "$M" -o out in
    says "1: image_embeds: shape (5, 31), expected (S, 40)"
    says "2: image_embeds: NaN at"
    says "3: no image_embeds in the record"
    says "4: no text: expected --text, or text, prompt or input_ids in the record"
    says "5: input_ids: 62 word pieces, expected at most 24"
    says "6: input_ids: id 99 at 1, expected 0 to 22"
    says "7: input_ids, attention_mask: expected i64 (T)"
    says "8: input_ids: empty"
    says "9: image_embeds_proj: shape (3, 16), expected (4, 16)"
    [ "$(grep -c . <<<"$stderr")" -eq 9 ]
    status_is 1 tensor-info --json out
    [ "$(jq -r 'select(.err == null) | .id' <<<"$output" | tr '\n' ' ')" = "0 10 " ]
    status_is 65 qformer-match -m "$M" --fail-fast -o out2 in
    [ ! -e out2 ]
}

@test "cut at every offset of a small stream: never whole" {
    python3 -c '
import sys, numpy as np, msgpack_numpy as m
sys.stdout.buffer.write(m.packb({"id": "x", "text": "a", "image_embeds": np.ones((2, 40), "f4")}))' | tensor-cat >a
    cut_everywhere a qformer-match -m "$M"
}

@test "a checkpoint without the heads, or without words; no model; wrong arguments; disk full" {
    two=$BATS_FILE_TMPDIR/two
    status_is 78 qformer-match --text x "$two"
    says "has no heads for matching, expected Blip2ForImageTextRetrieval"
    one_line
    cp -r "$M" mute
    sed -i 's/"use_qformer_text_input": true/"use_qformer_text_input": false/' mute/config.json
    status_is 78 qformer-match -m mute --text x "$two"
    says "use_qformer_text_input is false, expected true"
    cp -r "$M" wide
    sed -i 's/"image_text_hidden_size": 16/"image_text_hidden_size": 17/' wide/config.json
    status_is 78 qformer-match -m wide --text x "$two"
    says "vision_projection.weight: shape (16, 32), expected (17, 32)"
    status_is 66 qformer-match -m nosuch --text x "$two"
    status_is 66 qformer-match -m "$M" --text x nosuch
    status_is 64 qformer-match -m "$M" --head both,itm "$two"
    status_is 64 qformer-match "$two" "$two"
    status_is 74 bash -c "qformer-match -m '$M' --text x '$two' >/dev/full"
}

@test "8-bit weights: near the stored ones, and the same at the start as once for all" {
    qformer-match -m "$M" --text 'a red circle' "$BATS_FILE_TMPDIR/two" >stored
    qformer-match -m "$M" --weights int8 --text 'a red circle' "$BATS_FILE_TMPDIR/two" >a
    model-quantize "$M" small
    qformer-match -m small --text 'a red circle' "$BATS_FILE_TMPDIR/two" >b
    [ "$(scores <a)" = "$(scores <b)" ]
    [ "$(scores <a)" != "$(scores <stored)" ]
    paste <(scores <a | jq '.[]') <(scores <stored | jq '.[]') >both
    [ "$(wc -l <both)" -eq 4 ]
    awk '{ d = $1 - $2; if (d * d > 0.0025) exit 1 }' both
}

#!/usr/bin/env bats
# qformer-train: both stages, whatever stops them, and whatever data they are given.

load ../lib/helpers

setup_file() {
    repo=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    python3 "$repo/tests/lib/retrieval.py" "$BATS_FILE_TMPDIR/model"
    cp "$repo"/share/examples/scene-[123].png "$repo"/share/examples/photo.jpg "$BATS_FILE_TMPDIR"
    cat >"$BATS_FILE_TMPDIR/pairs.jsonl" <<'J'
{"image": "scene-1.png", "caption": "a red circle and a blue star"}
{"image": "scene-1.png", "caption": "a photo of a red circle"}
{"image": "scene-2.png", "caption": "a green square"}
{"image": "scene-3.png", "caption": "a yellow triangle on blue"}
{"image": "photo.jpg", "caption": "a photo of squares"}
J
}

setup() {
    cd "$BATS_TEST_TMPDIR" || return 1
    D=$BATS_FILE_TMPDIR
    export VQA_CACHE=$D/cache
}

# train DIR [OPTION...] - twelve steps of stage 1
train() {
    local out=$1
    shift
    ${exec_it:-} qformer-train -m "$D/model" -d "$D/pairs.jsonl" -o "$out" --max-steps 12 -b 4 --lr 1e-3 --warmup-steps 2 --save-every 5 "$@"
}

# whole DIR - every checkpoint in it can be opened, and says what it should
whole() {
    local c
    for c in "$1"/checkpoint-*; do
        [ -e "$c" ] || continue
        PYTHONPATH=$repo/tests/lib python3 -c 'import golden, sys; [golden.load(f) for f in sys.argv[1:]]' "$c"/*.safetensors
        jq -e --arg n "$((10#${c##*-}))" '.step == ($n | tonumber)' "$c/training_state.json" >/dev/null
    done
}

same() { # DIR DIR - the last checkpoints hold the same
    for f in model-00002-of-00002.safetensors training_state.safetensors training_state.json; do
        cmp "$1/checkpoint-000012/$f" "$2/checkpoint-000012/$f"
    done
}

@test "stage 1: learns, says so, and leaves a checkpoint that the other commands read" {
    base=$(sha256sum "$D/model/model.safetensors")
    status_is 0 qformer-train -m "$D/model" -d "$D/pairs.jsonl" -o out --max-steps 60 -b 4 --lr 3e-3 --warmup-steps 2 --min-lr 1e-3 --dropout 0 \
        --log log --log-every 5 --eval "$D/pairs.jsonl" --eval-every 30
    [ "$output" = out/checkpoint-000060 ]
    [ "$(find out -maxdepth 1 -name 'checkpoint-*' | wc -l)" -eq 1 ]
    [ "$(sha256sum "$D/model/model.safetensors")" = "$base" ]
    jq -e -s 'map(select(.loss)) | length == 12 and (map(.step) == [range(5; 61; 5)])
        and .[-1].loss < .[0].loss * 0.8 and .[-1].itc < .[0].itc and .[-1].itg < .[0].itg
        and all(.[]; .itm > 0 and .lr > 0 and .grad_norm > 0 and .tokens_per_second > 0)' log
    jq -e -s 'map(select(.image_to_text)) | length == 2 and .[1].text_to_image[2] == 1 and .[1].text_to_image[0] >= 0.6
        and all(.[]; .eval_itm_accuracy >= 0 and .eval_itm_accuracy <= 1)' log
    img-encode -m out/checkpoint-000060 "$D/scene-2.png" |
        qformer-match -m out/checkpoint-000060 --text 'a green square' --text 'a yellow triangle on blue' | tensor-info --json >scores
    jq -e -s '.[0].itc_score > .[1].itc_score' scores
    python3 - "$repo/tests/lib" <<'P'
import sys, json
sys.path.insert(0, sys.argv[1])
import golden
d = "out/checkpoint-000060/"
index = json.load(open(d + "model.safetensors.index.json"))["weight_map"]
held = {f: golden.load(d + f) for f in set(index.values())}
assert all(k in held[f] for k, f in index.items()) and len(index) == sum(map(len, held.values()))
state = golden.load(d + "training_state.safetensors")
assert {"temp", "cls.predictions.bias", "exp_avg.query_tokens"} <= set(state), sorted(state)[:5]
assert "vision_model.post_layernorm.weight" in held["model-00002-of-00002.safetensors"]
P
}

@test "the same bits on any number of threads, and resumed after any step" {
    train a -t 1 --keep 100 --save-every 1
    train b -t 3
    same a b
    [ "$(find b -maxdepth 1 -name 'checkpoint-*' | sort | tr '\n' ' ')" = "b/checkpoint-000010 b/checkpoint-000012 " ]
    for step in 1 6 11; do
        mkdir r$step
        cp -r a/checkpoint-0000$(printf %02d $step) r$step
        train r$step --resume -t 2
        same a r$step
    done
    train fresh --resume
    same a fresh
}

@test "accumulated batches, sets with weights, chosen losses" {
    head -2 "$D/pairs.jsonl" >"$D/two.jsonl"
    qformer-train -m "$D/model" -d "$D/pairs.jsonl" -d "$D/two.jsonl" --weight 1 --weight 5 -o a --max-steps 6 -b 2 --accumulate 3 --loss itc,itg \
        --log log --log-every 1 --save-every 4 --seed 7
    jq -e -s 'length == 6 and all(.[]; .itc and .itg and (has("itm") | not))' log
    jq -e '.draws == 36 and (.drawn | add == 36 and .[1] > .[0])' a/checkpoint-000006/training_state.json
    rm -r a/checkpoint-000006
    qformer-train -m "$D/model" -d "$D/pairs.jsonl" -d "$D/two.jsonl" --weight 1 --weight 5 -o a --max-steps 6 -b 2 --accumulate 3 --loss itc,itg \
        --log log --log-every 1 --save-every 4 --seed 7 --resume
    jq -e -s 'map(.step) == [1, 2, 3, 4, 5, 6]' log
}

@test "LAVIS's quirks are choices: each changes the result, and the temperature stays where it is told" {
    train lavis
    for how in "--gather attached" "--no-temp-decay --weight-decay 0.5" "--temp-min 0.06 --temp-max 0.061" "--cosine step" "--label-smoothing 0" \
        "--dropout 0" "--image-ids" "--preset paper --min-lr 1e-5 --cosine epoch" "--clip 0.1" "--seed 1"; do
        # shellcheck disable=SC2086 # several words
        train other $how
        ! cmp -s lavis/checkpoint-000012/model-00002-of-00002.safetensors other/checkpoint-000012/model-00002-of-00002.safetensors
        if [[ $how == *temp-min* ]]; then
            PYTHONPATH=$repo/tests/lib python3 -c '
import golden
t = golden.load("other/checkpoint-000012/training_state.safetensors")["temp"]
assert 0.0599 <= t <= 0.0611, t'
        fi
        rm -r other
    done
    train micro --micro-batch 2
}

@test "stage 2 with a frozen OPT, from the result of stage 1 or not; what is frozen stays" {
    M=$VQA_DATADIR/demo-model
    base=$(cat "$M"/*.safetensors | sha256sum)
    qformer-train --stage 2 -m "$M" -d "$D/pairs.jsonl" -o out --max-steps 6 -b 4 --lr 1e-3 --warmup-steps 1 --log log --log-every 1
    jq -e -s 'length == 6 and .[-1].lm < .[0].lm and (.[0] | has("itc") | not)' log
    [ "$(cat "$M"/*.safetensors | sha256sum)" = "$base" ]
    PYTHONPATH=$repo/tests/lib python3 - "$M" <<'P'
import sys, golden, numpy as np
a = golden.load(sys.argv[1] + "/model.safetensors")
b = {**golden.load("out/checkpoint-000006/model-00001-of-00002.safetensors"), **golden.load("out/checkpoint-000006/model-00002-of-00002.safetensors")}
assert set(a) == set(b)
moved = {k for k in a if a[k].astype("f4").tobytes() != b[k].astype("f4").tobytes()}
assert not [k for k in moved if k.startswith(("language_model.", "vision_model.")) and "post_layernorm" not in k]
assert {"query_tokens", "language_projection.weight", "vision_model.post_layernorm.weight"} <= moved
P
    qformer-train --stage 2 -m "$M" -d "$D/pairs.jsonl" -o drawn --max-steps 6 -b 4 --lr 1e-3 --warmup-steps 1 --log log --log-every 1 --loss lm,align
    jq -e -s 'length == 6 and .[-1].align < .[0].align and all(.[]; .lm > 0)' log
    [ -n "$(vqa caption -m out/checkpoint-000006 "$D/scene-1.png")" ]
    qformer-train --stage 2 -m "$M" -d "$D/pairs.jsonl" -o more --from out/checkpoint-000006 --max-steps 1 -b 4 --prompt 'a photo of ' --split
    status_is 78 qformer-train --stage 2 -m "$D/model" -d "$D/pairs.jsonl" -o x --max-steps 1 -b 4
    status_is 78 qformer-train -m "$M" -d "$D/pairs.jsonl" -o x --max-steps 1 -b 4
}

# lavis DIR NEW - the checkpoint with the names LAVIS gives to what is not the encoder
lavis() {
    mkdir "$2"
    cp -r "$1"/* "$2"
    PYTHONPATH=$repo/tests/lib python3 - "$2/model.safetensors" <<'P'
import golden, retrieval, sys
HEADS = [("vision_model.post_layernorm.", "ln_vision."), ("qformer.layernorm.", "Qformer.bert.embeddings.LayerNorm."),
         ("qformer.", "Qformer.bert."), ("embeddings.", "Qformer.bert.embeddings."), ("vision_projection.", "vision_proj."),
         ("text_projection.", "text_proj."), ("language_projection.", "opt_proj."), ("language_model.", "opt_model.")]
def lavis(name):
    for ours, theirs in HEADS:
        if name.startswith(ours):
            return theirs + name[len(ours):].replace("attention.attention.", "attention.self.")
    return name
t = golden.load(sys.argv[1])
retrieval.save(sys.argv[1], {lavis(k): v.astype("f4") for k, v in t.items()})
P
    [ -z "$(grep -ao '"\(qformer\|language_projection\|vision_projection\)\.' "$2/model.safetensors")" ]
    grep -q '"Qformer.bert.encoder.layer.0.crossattention.self.query.weight"' "$2/model.safetensors"
}

@test "LAVIS's names of tensors are read: the same scores, queries and training as with Hugging Face's" {
    lavis "$D/model" itm
    img-encode -m "$D/model" "$D"/scene-[12].png >e
    img-encode -m itm "$D"/scene-[12].png | tensor-diff - e
    qformer-match -m "$D/model" --text 'a red circle' e >want
    qformer-match -m itm --text 'a red circle' e | tensor-diff - want
    train a
    qformer-train -m itm -d "$D/pairs.jsonl" -o b --max-steps 12 -b 4 --lr 1e-3 --warmup-steps 2 --save-every 5
    cmp {a,b}/checkpoint-000012/model-00002-of-00002.safetensors

    M=$VQA_DATADIR/demo-model
    lavis "$M" opt
    img-encode -m "$M" "$D/scene-1.png" >e
    qformer -m "$M" e >want
    qformer -m opt e | tensor-diff - want
    for m in "$M" opt; do
        qformer-train --stage 2 -m "$m" -d "$D/pairs.jsonl" -o "two-$(basename "$m")" --max-steps 3 -b 4 --lr 1e-3 --warmup-steps 1
    done
    cmp two-{demo-model,opt}/checkpoint-000003/model-00002-of-00002.safetensors
}

@test "records with features: the same as pictures" {
    img-encode -m "$D/model" --no-post-layernorm "$D"/scene-[123].png "$D/photo.jpg" >e
    python3 - "$D" <<'P'
import sys, json, msgpack_numpy as m
d = sys.argv[1]
rec = {r["id"]: r for r in m.Unpacker(open("e", "rb"), max_buffer_size=0) if "id" in r}
with open("s", "wb") as f:
    for line in open(d + "/pairs.jsonl"):
        p = json.loads(line)
        f.write(m.packb({**rec[d + "/" + p["image"]], "text": p["caption"]}))
P
    train a
    qformer-train -m "$D/model" -d s -o b --max-steps 12 -b 4 --lr 1e-3 --warmup-steps 2 --save-every 5
    same a b
    train c --no-cache
    same a c
}

@test "SIGTERM, SIGINT and SIGHUP: saved, status 75, resumed to the same bits" {
    train a
    for sig in TERM INT HUP; do
        qformer-train -m "$D/model" -d "$D/pairs.jsonl" -o $sig --max-steps 100000 -b 4 --lr 1e-3 --log log 2>err &
        pid=$!
        for _ in $(seq 200); do [ -s log ] && break; sleep 0.05; done
        kill -$sig $pid
        st=0
        wait $pid || st=$?
        [ $st -eq 75 ]
        grep -q 'stopped by a signal after step [0-9]* of 100000; --resume goes on' err
        [ "$(find $sig -maxdepth 1 -name 'checkpoint-*' | wc -l)" -ge 1 ]
        whole $sig
        rm -f log
    done
}

# kills RUNS THREADS - kill -9 at random moments, resumed each time: whole at every moment, and the same bits at the end
kills() {
    local i pid want=$1
    for ((i = 0; i < want; i++)); do
        (exec_it=exec && train out --resume --save-every 1 -t "$2") >/dev/null 2>&1 &
        pid=$!
        sleep "0.$(printf %03d $((RANDOM % 250)))"
        kill -9 $pid 2>/dev/null || true
        wait $pid 2>/dev/null || true
        whole out
        [ ! -e out/checkpoint-000012 ] || { same ref out && rm -r out/checkpoint-0000*; }
    done
    train out --resume --save-every 1
    same ref out
    [ -z "$(find out -name '*.tmp*' -o -name '*.old')" ]
}

@test "kill -9 at random moments: nothing published is lost, and the same bits at the end" {
    train ref
    kills "${VQA_KILLS:-6}" 1
    rm -r out
    kills "${VQA_KILLS:-6}" 2
}

@test "bad pairs: file, line and reason; --skip-bad goes on without them" {
    bad() { # LINES WHAT STATUS
        printf '%s\n' "$1" >"$D/bad.jsonl"
        status_is "${3:-65}" qformer-train -m "$D/model" -d "$D/bad.jsonl" -o x --max-steps 1 -b 2
        says "$2"
        one_line
        [ -z "$(find x -name 'checkpoint*')" ]
    }
    good='{"image": "scene-1.png", "caption": "a"}'
    bad "$good
{\"image\": \"nosuch.png\", \"caption\": \"a\"}" "bad.jsonl:2: $D/nosuch.png: no such file" 66
    bad '{"image": "scene-1.png", "caption": "  "}' "bad.jsonl:1: caption: empty"
    bad "$good

$good" "bad.jsonl:3: the image has this caption already in line 1"
    bad "$(for i in 1 2 3 4 5 6; do echo "{\"image\": \"scene-1.png\", \"caption\": \"$i\"}"; done)
{\"image\": \"scene-1.png\", \"caption\": " "bad.jsonl:7: not JSON at byte"
    bad '{"image": "scene-1.png"}' 'bad.jsonl:1: no "caption"'
    bad '{"image": 3, "caption": "a"}' 'bad.jsonl:1: "image": expected a string'
    bad '[1]' 'bad.jsonl:1: not an object'
    bad '' "no pairs in it"
    echo 'no picture' >"$D/text.png"
    bad "$good
{\"image\": \"text.png\", \"caption\": \"a\"}" "bad.jsonl:2: $D/text.png: "
    printf '%s\n' '{' "$good" "$good" '{"image": "scene-2.png", "caption": "b"}' >"$D/bad.jsonl"
    status_is 0 qformer-train -m "$D/model" -d "$D/bad.jsonl" -o y --max-steps 1 -b 2 --skip-bad
    says "bad.jsonl:1: not JSON"
    says "bad.jsonl:3: the image has this caption already in line 2; left out"
    [ "$(grep -c . <<<"$stderr")" -eq 2 ]
}

@test "features of another width, or that make no finite loss: the record is named" {
    python3 - <<'P'
import numpy as np, msgpack_numpy as m
def put(name, *arrays):
    open(name, "wb").write(b"".join(m.packb({"id": str(i), "text": "a star", "image_embeds": a}) for i, a in enumerate(arrays)))
g = np.random.default_rng(0).standard_normal
put("width", g((5, 40)).astype("f4"), g((5, 39)).astype("f4"))
put("rows", g((5, 40)).astype("f4"), g((4, 40)).astype("f4"))
nan = g((5, 40)).astype("f4"); nan[2, 3] = np.nan
put("nan", g((5, 40)).astype("f4"), nan)
put("huge", g((5, 40)).astype("f4"), (g((5, 40)) * 1e38).astype("f4"), g((5, 40)).astype("f4"))
P
    status_is 65 qformer-train -m "$D/model" -d width -o x --max-steps 1 -b 2
    says "width:2: image_embeds: shape (5, 39), expected (5, 40)"
    status_is 65 qformer-train -m "$D/model" -d rows -o x --max-steps 1 -b 2
    says "rows:2: image_embeds: shape (4, 40), expected (5, 40)"
    status_is 65 qformer-train -m "$D/model" -d nan -o x --max-steps 1 -b 2
    says "nan:2: image_embeds: NaN"
    status_is 65 qformer-train -m "$D/model" -d huge -o x --max-steps 1 -b 3
    says "step 1: the loss is not a finite number, from huge:2 (a star); there is no checkpoint yet"
}

@test "a loss that stops being finite leaves the last good checkpoint" {
    train out --save-every 2 --keep 100 --max-steps 4
    sum=$(cat out/checkpoint-000004/*.safetensors | sha256sum)
    rm -r out/checkpoint-000002
    status_is 65 qformer-train -m "$D/model" -d "$D/pairs.jsonl" -o out2 --max-steps 40 -b 4 --lr 1e9 --warmup-steps 0 --save-every 1
    said='step ([0-9]+): the loss is not a finite number, (from|in the batch that begins with) [^ ]*pairs.jsonl:[1-5] \(a [a-z ]+\); checkpoint-0*([0-9]+) is good$'
    [[ $stderr =~ $said ]]
    [ "${BASH_REMATCH[3]}" -eq $((BASH_REMATCH[1] - 1)) ]
    [ -d "out2/checkpoint-$(printf %06d "${BASH_REMATCH[3]}")" ]
    whole out2
    train out --save-every 2 --max-steps 4 --resume
    [ "$(cat out/checkpoint-000004/*.safetensors | sha256sum)" = "$sum" ]
}

@test "disk full during a checkpoint: said, and the last one stays whole" {
    train out --save-every 3 --max-steps 3
    st=0
    (ulimit -f 150 && train out --resume --save-every 3 --max-steps 3) || st=$?
    [ $st -eq 0 ] # nothing left to do, nothing to write
    st=0
    (ulimit -f 150 && train new --save-every 3 2>err) || st=$?
    [ $st -eq 74 ]
    grep -q 'File too large' err
    [ -z "$(find new -name '*checkpoint-*')" ]
    unshare -m mount -t tmpfs -o size=64k t /mnt 2>/dev/null || skip "no mount namespaces here"
    export D
    export -f train whole
    export repo
    unshare -m bash -c 'mount -t tmpfs -o size=1200k t /mnt && cd /mnt && { st=0; train run --save-every 1 --keep 100 2>/tmp/err.$$ || st=$?
        cat /tmp/err.$$; rm /tmp/err.$$; ls run; [ $st -eq 74 ] && [ -e run/checkpoint-000001 ] && whole run; }'
}

@test "--resume of another run, a run in the way, and wrong arguments" {
    train out
    status_is 64 train out
    says "out: holds checkpoints, expected --resume or another directory"
    status_is 64 qformer-train -m "$D/model" -d "$D/pairs.jsonl" -o out --max-steps 12 -b 3 --lr 1e-3 --warmup-steps 2 --resume
    says "--resume: batch-size: 3, but the run began with 4"
    head -4 "$D/pairs.jsonl" >"$D/four.jsonl"
    status_is 64 qformer-train -m "$D/model" -d "$D/four.jsonl" -o out --max-steps 12 -b 4 --lr 1e-3 --warmup-steps 2 --resume
    says "--resume: pairs: 4, but the run began with 5"
    truncate -s -1 out/checkpoint-000012/training_state.safetensors
    status_is 65 train out --resume
    status_is 64 qformer-train -d "$D/pairs.jsonl"
    status_is 64 qformer-train -m "$D/model" -d "$D/pairs.jsonl" -o z -b 100
    says "--batch-size: 100, but there are 5 pairs"
    status_is 64 qformer-train -d a -o z --loss itc,lm
    status_is 64 qformer-train -d a -o z --weight 1 --weight 2
    status_is 64 qformer-train -d a -o z --stage 2 --loss itc
    says "--loss: 'itc', expected some of lm,align"
    status_is 64 qformer-train -d a -o z --temp-min 2 --temp-max 1
    status_is 64 qformer-train -d a -o z --prompt x
    status_is 64 qformer-train -d a -o z --plot p.png
    status_is 64 train z --weight nought
    status_is 66 qformer-train -m "$D/model" -d nosuch -o z -b 2
    status_is 66 qformer-train -m nosuch -d "$D/pairs.jsonl" -o z -b 2
}

@test "a quantised model is refused, in either stage and to begin from" {
    M=$VQA_DATADIR/demo-model
    model-quantize "$D/model" one
    model-quantize --weights int4 "$M" two
    refused() { # OPTION...
        status_is 78 qformer-train -d "$D/pairs.jsonl" -o x --max-steps 1 -b 2 "$@"
        says "_scale: a quantised model, expected one of floats to train"
        one_line
    }
    refused -m one
    refused --stage 2 -m two
    refused --stage 2 -m "$M" --from two
    jq 'del(.quantization_config)' one/config.json >config
    mv config one/config.json
    refused -m one
    [ -z "$(find x -name 'checkpoint*')" ]
}

# ranks N OPTION... - that many processes, each with its id in pid-RANK. What Open MPI leaves behind at
# its end is not ours to count.
ranks() {
    local n=$1
    shift
    # shellcheck disable=SC2016 # for the inner shell
    ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0 timeout 100 mpirun --allow-run-as-root --oversubscribe --bind-to none \
        --mca btl self,vader -q -n "$n" bash -c 'echo $$ >pid-$OMPI_COMM_WORLD_RANK; exec qformer-train "$@"' - "$@"
}

need_ranks() {
    command -v mpirun >/dev/null || skip "no mpirun"
    [[ $(qformer-train --version) != *"no MPI"* ]] || skip "built without MPI"
}

# near BASE A B LIMIT - how far weights A and B are apart, as a part of how far A is from BASE. Biases of
# keys aside: their gradient is nought but for rounding, of which AdamW makes steps of full size.
near() {
    PYTHONPATH=$repo/tests/lib python3 - "$@" <<'P'
import golden, sys
base, a, b = map(golden.load, sys.argv[1:4])
keys = [k for k in b if k in base and "key.bias" not in k]
far = lambda x, y: sum(float(((x[k].astype("f8") - y[k].astype("f8")) ** 2).sum()) for k in keys) ** 0.5
print(len(keys), far(a, b) / far(a, base))
assert len(keys) > 60 and far(a, b) <= float(sys.argv[4]) * far(a, base)
P
}

@test "two processes with half a batch each learn what one does" {
    need_ranks
    M=$VQA_DATADIR/demo-model
    one=(-d "$D/pairs.jsonl" -m "$D/model" --max-steps 12 --lr 1e-3 --warmup-steps 2)
    two=(-d "$D/pairs.jsonl" -m "$M" --stage 2 --max-steps 6 --lr 1e-3 --warmup-steps 1 --split)
    qformer-train "${one[@]}" -b 4 -o a
    status_is 0 ranks 2 "${one[@]}" -b 2 -o b --log log --log-every 1
    [ "$output" = b/checkpoint-000012 ]
    [ "$(wc -l <log)" -eq 12 ]
    near "$D/model/model.safetensors" {a,b}/checkpoint-000012/model-00002-of-00002.safetensors 1e-4
    qformer-train "${two[@]}" -b 4 -o c
    status_is 0 ranks 2 "${two[@]}" -b 2 -o d
    near "$M/model.safetensors" {c,d}/checkpoint-000006/model-00002-of-00002.safetensors 1e-3
    # half of each batch alone is another result
    qformer-train "${two[@]}" -b 2 -o e
    run near "$M/model.safetensors" {c,e}/checkpoint-000006/model-00002-of-00002.safetensors 1e-3
    [[ $status -ne 0 && $output == *AssertionError* ]]
    status_is 64 qformer-train "${one[@]}" -b 2 -o b --resume
    says "--resume: processes: 1, but the run began with 2"
}

@test "a signal to one of two processes: both stop after the same step, saved, status 75" {
    need_ranks
    for rank in 0 1; do
        ranks 2 -d "$D/pairs.jsonl" -m "$D/model" -b 2 --lr 1e-3 --max-steps 100000 -o out$rank --log log 2>err &
        pid=$!
        for _ in $(seq 400); do [ -s log ] && break; sleep 0.05; done
        kill -TERM "$(cat pid-$rank)"
        st=0
        wait $pid || st=$?
        [ $st -eq 75 ]
        [ "$(grep -c '^qformer-train: ' err)" -eq 1 ]
        grep -q 'stopped by a signal after step [0-9]* of 100000; --resume goes on' err
        [ "$(find out$rank -maxdepth 1 -name 'checkpoint-*' | wc -l)" -ge 1 ]
        whole out$rank
        rm log
    done
}

# hosts COMMAND... - rank 0 in one network namespace, rank 1 in another, with names of their own: what
# they have in common besides files is TCP.
hosts() {
    cat >agent <<'A'
#!/bin/bash
shift
exec ip netns exec "$NET-b" unshare --uts bash -c 'hostname "$NET-b"; exec bash -c "$1"' agent "$*"
A
    chmod +x agent
    printf '10.77.0.%d slots=1\n' 1 2 >hostfile
    # shellcheck disable=SC2016 # for the inner shell
    ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0 timeout 100 ip netns exec "$NET-a" unshare --uts bash -c 'hostname "$NET-a"; exec "$@"' hosts \
        mpirun --allow-run-as-root --bind-to none -q -n 2 --hostfile hostfile --mca plm_rsh_agent "$PWD/agent" --mca btl self,tcp \
        --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 "$@"
}

# two_hosts - the namespaces and a cable between them; teardown takes them away
two_hosts() {
    local n name=train-$$
    ip netns add "$name-a" 2>/dev/null || skip "no network namespaces here"
    export NET=$name
    ip netns add "$NET-b"
    ip link add v1 netns "$NET-a" type veth peer name v2 netns "$NET-b"
    for n in a:1 b:2; do
        ip -n "$NET-${n%:*}" addr add "10.77.0.${n#*:}/24" dev "v${n#*:}"
        ip -n "$NET-${n%:*}" link set "v${n#*:}" up
        ip -n "$NET-${n%:*}" link set lo up
    done
}

teardown() {
    [ -z "${NET:-}" ] || ip netns del "$NET-a"
    [ ! -e "/run/netns/${NET:-}-b" ] || ip netns del "$NET-b"
}

@test "two hosts, over TCP: what one process learns, and a signal on the other stops both" {
    need_ranks
    two_hosts
    one=(-d "$D/pairs.jsonl" -m "$D/model" --lr 1e-3 --warmup-steps 2)
    qformer-train "${one[@]}" --max-steps 12 -b 4 -o a
    # shellcheck disable=SC2016
    status_is 0 hosts bash -c 'hostname >host-$OMPI_COMM_WORLD_RANK; exec qformer-train "$@"' - "${one[@]}" --max-steps 12 -b 2 -o b
    [ "$output" = b/checkpoint-000012 ]
    [ "$(cat host-0 host-1 | tr '\n' ' ')" = "$NET-a $NET-b " ]
    near "$D/model/model.safetensors" {a,b}/checkpoint-000012/model-00002-of-00002.safetensors 1e-4
    # shellcheck disable=SC2016
    hosts bash -c 'echo $$ >pid-$OMPI_COMM_WORLD_RANK; exec qformer-train "$@"' - "${one[@]}" --max-steps 100000 -b 2 -o c --log log 2>err &
    pid=$!
    for _ in $(seq 400); do [ -s log ] && break; sleep 0.05; done
    kill -TERM "$(cat pid-1)"
    st=0
    wait $pid || st=$?
    [ $st -eq 75 ]
    grep -q 'stopped by a signal after step [0-9]* of 100000; --resume goes on' err
    whole c
}

@test "what one of two processes finds ends both: one message, its status" {
    need_ranks
    python3 - <<'P'
import numpy as np, msgpack_numpy as m
g = np.random.default_rng(0).standard_normal
def put(name, *scales):
    open(name, "wb").write(b"".join(m.packb({"id": str(i), "text": "a star", "image_embeds": (g((5, 40)).clip(-3, 3) * s).astype("f4")}) for i, s in enumerate(scales)))
put("huge", 1, 1, 1e38, 1)
P
    ends() { # STATUS MESSAGE OPTION...
        status_is "$1" ranks "${processes:-2}" "${@:3}"
        [ "$(grep -c '^qformer-train: ' <<<"$stderr")" -eq 1 ]
        [[ $stderr == *"$2"* ]]
    }
    ends 65 "step 1: the loss is not a finite number, from huge:3 (a star)" -m "$D/model" -d huge -o x --max-steps 1 -b 2
    ends 66 "nosuch: No such file" -m "$D/model" -d nosuch -o x -b 2
    ends 64 "--batch-size: 3, but there are 5 pairs" -m "$D/model" -d "$D/pairs.jsonl" -o x -b 3
    processes=1 ends 65 "batch of 1 pairs, expected at least 2" -m "$D/model" -d "$D/pairs.jsonl" -o x -b 1
    ends 74 "no/log" -m "$D/model" -d "$D/pairs.jsonl" -o x -b 2 --log no/log
    [ -z "$(find x -name 'checkpoint*')" ]
}

@test "--plot draws the log's curves" {
    command -v gnuplot >/dev/null || skip "no gnuplot"
    train out --log log --log-every 2 --plot p.png
    python3 -c '
raw = open("p.png", "rb").read()
assert raw[:8] == b"\x89PNG\r\n\x1a\n" and len(raw) > 3000'
}

#!/usr/bin/env bats
# opt-generate: transformers' answers, through records; the same bits for any batch, thread count
# and history; what cannot be asked. (tests/unit/generate.c runs every golden case.)

load ../lib/helpers

model() { echo "$VQA_FIXTURES/checkpoints/$1"; }

generate() { python3 "$repo/tests/lib/generate.py" "$@"; }

B=tiny-blip2-opt-bf16

# as_reference NAME GROUP OPTION... - that group's cases in, the reference's answers out
as_reference() {
    local name=$1 group=$2
    shift 2
    need_fixture "golden/$name/generate.json"
    generate cases "$name" ${group:+"$group"} >"q-$group"
    opt-generate -m "$(model "$name")" -o "a-$group" "$@" "q-$group"
    generate check "$name" ${group:+"$group"} <"a-$group"
}

@test "transformers' ids, ends and scores: greedy, beams, penalties; old and new layout" {
    for name in $B tiny-blip2-opt-old tiny-blip2-opt-postnorm tiny-blip2-opt-fp16-sharded; do
        as_reference $name greedy20
        as_reference $name greedy40 --max-new-tokens 40
        as_reference $name greedy_rep1.5 --repetition-penalty 1.5
        as_reference $name beam5_lp1.0_late --num-beams 5
        as_reference $name beam5_lp-1.0_early --num-beams 5 --length-penalty -1 --early-stopping true
    done
}

@test "the other knobs under their names" {
    local name=tiny-blip2-opt-old
    as_reference $name beam5_return3 --num-beams 5 --num-return-sequences 3
    as_reference $name beam5_never --num-beams 5 --early-stopping never --length-penalty 0.6
    as_reference $name beam5_norepeat3 --num-beams 5 --no-repeat-ngram-size 3 --max-new-tokens 30
    as_reference $name beam5_min8 --num-beams 5 --length-penalty -1 --min-new-tokens 8
    as_reference $name greedy_min12 --min-new-tokens 12
    as_reference $name max_new_1 --max-new-tokens 1
}

@test "OPT's real vocabulary" {
    as_reference tiny-blip2-opt default
    as_reference tiny-blip2-opt beam5_lp0.6_late --num-beams 5 --length-penalty 0.6
}

@test "a language model alone, with projections (opt-350m)" {
    need_fixture golden/tiny-opt-350m-style/generate.json
    python3 - <<'P' >q
import json, os, sys, numpy as np, msgpack_numpy as m
for i, c in enumerate(json.load(open(os.environ["VQA_FIXTURES"] + "/golden/tiny-opt-350m-style/generate.json"))["cases"]):
    if list(c["kwargs"]) == ["max_new_tokens"] and c["stable"]:
        sys.stdout.buffer.write(m.packb({"id": str(i), "input_ids": np.array(c["input_ids"]), "want": np.array(c["generated"][0])}))
P
    opt-generate -m "$(model tiny-opt-350m-style)" q | generate show output_ids want >got
    [ "$(wc -l <got)" -ge 2 ]
    python3 -c '
for line in open("got"):
    got, want = line.strip()[1:-1].split("] [")
    assert got == want, line'
}

@test "text alone for a BLIP-2 checkpoint; bos alone is not guessed" {
    generate bad 'language_model_inputs=None' 'input_ids=np.array([2,5,6])' | opt-generate -m "$(model $B)" | generate show output_ids >got
    grep -q '^\[' got
    status_is 1 bash -c "python3 '$repo/tests/lib/generate.py' bad language_model_inputs=None input_ids=None | opt-generate -m '$(model $B)' >/dev/null"
    says "opt-generate: bad: nothing to read: neither input_ids nor language_model_inputs"
    one_line
}

@test "the same bytes for any -t, any -b, from a pipe or a file, whatever was read before" {
    generate cases tiny-blip2-opt-old greedy20 >q
    local m
    m=$(model tiny-blip2-opt-old)
    for how in "" "--num-beams 3 --num-return-sequences 2" "--do-sample --seed 5 --num-return-sequences 2"; do
        # shellcheck disable=SC2086
        {
            opt-generate -m "$m" $how -t 1 -b 1 q >a
            opt-generate -m "$m" $how -t 2 -b 1 <q >b
            opt-generate -m "$m" $how -t 2 -b 8 q >c
            cat q | opt-generate -m "$m" $how -t 1 -b 5 -o d
        }
        cmp a b
        cmp a c
        cmp a d
    done
    # each alone: no neighbours, nothing in the cache
    generate show id output_ids score <c >together
    python3 - <<'P'
import msgpack_numpy as m
for i, r in enumerate(m.Unpacker(open("q", "rb"), max_buffer_size=0)):
    open(f"one-{i:03}", "wb").write(m.packb(r))
P
    opt-generate -m "$m" q | generate show id output_ids score >together
    for f in one-*; do opt-generate -m "$m" "$f" | generate show id output_ids score; done >alone
    cmp together alone
}

@test "questions about one picture read it once; a conversation reads only what is new" {
    python3 - <<'P' >q
import os, sys, numpy as np, msgpack_numpy as m
sys.path.insert(0, os.environ.get("REPO", "."))
rows = np.linspace(-1, 1, 4 * 32, dtype="f4").reshape(4, 32)
for i, n in enumerate([3, 9, 20]):
    ids = [600] * 4 + [2] + [10 + k for k in range(n)]
    sys.stdout.buffer.write(m.packb({"id": f"turn{i}", "language_model_inputs": rows, "input_ids": np.array(ids)}))
sys.stdout.buffer.write(m.packb({"id": "other", "language_model_inputs": rows * 2, "input_ids": np.array(ids)}))
P
    status_is 0 opt-generate -m "$(model $B)" -v -b 1 -o a q
    says "turn0: prefill 8 of 8 positions"
    says "turn1: prefill 6 of 14 positions"
    says "turn2: prefill 11 of 25 positions"
    says "other: prefill 25 of 25 positions"
    status_is 0 opt-generate -m "$(model $B)" -v -b 4 -o b q
    says "turn2: prefill 17 of 25 positions"
    cmp a b
}

@test "a conversation is answered turn by turn: nothing waits for a batch to fill" {
    mkfifo in
    opt-generate -m "$(model $B)" <in | cat >out &
    exec {to}>in
    generate bad 'id="one"' >&"$to"
    for _ in $(seq 100); do [ "$(generate show id <out 2>/dev/null | wc -l)" -ge 1 ] && break; sleep 0.1; done
    [ "$(generate show id <out)" = one ]
    generate bad 'id="two"' >&"$to"
    exec {to}>&-
    wait $!
    [ "$(generate show id <out | tail -1)" = two ]
}

@test "records larger than a pipe that come together are answered together" {
    for i in 1 2 3 4 5 6 7 8; do generate bad "id='$i'" 'extra=np.zeros(1 << 18, "f4")'; done >q
    # tokens of one answer come between those of another; a busy machine may need to try again
    for _ in $(seq 50); do
        { sleep 0.3 && cat q; } | tensor-cat | opt-generate -m "$(model $B)" --stream --min-new-tokens 3 >out
        [ "$(generate show id <out | uniq | wc -l)" -le 8 ] || break
    done
    [ "$(generate show id <out | uniq | wc -l)" -gt 8 ]
    opt-generate -m "$(model $B)" --min-new-tokens 3 -b 1 q | generate show id output_ids score finish >want
    generate show id output_ids score finish <out | grep -v 'None$' | cmp - want
}

@test "int8, int4 and bf16: another token only where the best two scores are closer than the stated error" {
    for name in $B tiny-blip2-opt tiny-blip2-opt-old tiny-blip2-opt-postnorm tiny-blip2-opt-fp16-sharded; do
        need_fixture "golden/$name/generate.json"
        generate cases "$name" greedy20 >q
        for kind in stored int8 int4 bf16; do
            opt-generate -m "$(model "$name")" --weights $kind --explain=$kind.json -o out q
        done
        python3 "$repo/tests/lib/margins.py" stored.json int8.json 0.75
        python3 "$repo/tests/lib/margins.py" stored.json int4.json 3
        python3 "$repo/tests/lib/margins.py" stored.json bf16.json 0.25
    done
}

@test "what was consumed goes, unless --keep" {
    generate bad 'attention_mask=np.ones(7, "i8")' 'extra=np.arange(3)' >q
    fields() { python3 -c '
import sys, msgpack_numpy as m
print(*[list(r) for r in m.Unpacker(sys.stdin.buffer) if "id" in r][0])'; }
    [ "$(opt-generate -m "$(model $B)" q | fields)" = "id extra output_ids score finish" ]
    [ "$(opt-generate -m "$(model $B)" --keep q | fields)" = "id input_ids language_model_inputs attention_mask extra output_ids score finish" ]
}

@test "padding on either side changes nothing; f16 rows and i32 ids are taken" {
    local m
    m=$(model $B)
    want=$(generate bad | opt-generate -m "$m" | generate show output_ids score)
    [ -n "$want" ]
    [ "$(generate bad 'input_ids=np.r_[ids[:4],[1,1],ids[4:]]' 'attention_mask=np.array([1]*4+[0]*2+[1]*3)' | opt-generate -m "$m" | generate show output_ids score)" = "$want" ]
    [ "$(generate bad 'input_ids=np.r_[ids,[1,1]]' 'attention_mask=np.array([1]*7+[0]*2)' | opt-generate -m "$m" | generate show output_ids score)" = "$want" ]
    [ "$(generate bad 'input_ids=ids.astype("i4")' | opt-generate -m "$m" | generate show output_ids score)" = "$want" ]
    half=$(generate bad 'language_model_inputs=rows.astype("f2")' | opt-generate -m "$m" | generate show output_ids)
    [ "$half" = "${want% *}" ]
}

@test "a caption: no ids at all are the picture and bos" {
    local m
    m=$(model $B)
    a=$(generate bad input_ids=None | opt-generate -m "$m" | generate show output_ids score)
    b=$(generate bad 'input_ids=np.array([600]*4+[2])' | opt-generate -m "$m" | generate show output_ids score)
    [ "$a" = "$b" ]
}

# refused MESSAGE FIELD=EXPR... - that record fails with that message, the next one is answered
refused() {
    local message=$1
    shift
    { generate bad "$@"; generate bad 'id="good"'; } >q
    status_is 1 opt-generate -m "$(model $B)" -o a q
    says "opt-generate: bad: $message"
    one_line
    [ "$(generate show id finish <a | tail -1)" = "good eos" ]
    python3 -c '
import sys, msgpack_numpy as m
r = [r for r in m.Unpacker(open("a", "rb")) if r.get("id") == "bad"][0]
assert r["err"]["kind"] == "data" and r["err"]["stage"] == "opt-generate" and r["err"]["message"].startswith(sys.argv[1]), r' "$message"
    status_is 65 opt-generate -m "$(model $B)" --fail-fast -o b q
    [ ! -e b ]
}

@test "records that cannot be answered are said, and the others are answered" {
    refused "language_model_inputs: NaN at index 5, expected finite values" 'language_model_inputs=np.r_[rows.ravel()[:5],[np.nan],rows.ravel()[6:]].reshape(4,32).astype("f4")'
    refused "language_model_inputs: shape (4, 31), expected (4, 32)" 'language_model_inputs=rows[:,:31]'
    refused "language_model_inputs: shape (3, 32), expected (4, 32)" 'language_model_inputs=rows[:3]'
    refused "language_model_inputs: dtype i64, expected f32 or f16" 'language_model_inputs=np.ones((4,32),"i8")'
    refused "input_ids: 3 image tokens, expected 4, one a row of language_model_inputs" 'input_ids=ids[1:]'
    refused "input_ids: 4 image tokens, but no language_model_inputs" 'language_model_inputs=None'
    refused "input_ids: 640 at 4, expected 0 to 639" 'input_ids=np.r_[ids[:4],640]'
    refused "input_ids: -1 at 4, expected 0 to 639" 'input_ids=np.r_[ids[:4],-1]'
    refused "input_ids: f32 (7,), expected i64 (T)" 'input_ids=ids.astype("f4")'
    refused "input_ids: i64 (1, 7), expected i64 (T)" 'input_ids=ids[None]'
    refused "attention_mask: 3 values, expected 7, as in input_ids" 'attention_mask=np.ones(3,"i8")'
    refused "prompt: 129 positions, the model's context has 128" 'input_ids=np.r_[ids,[9]*122]'
}

@test "the end of the context is the end of an answer" {
    generate bad 'input_ids=np.r_[ids,[9]*119]' | opt-generate -m "$(model $B)" --min-new-tokens 20 | generate show finish output_ids >got
    [[ $(cat got) =~ ^length\ \[[0-9]+,\ [0-9]+,\ [0-9]+\]$ ]]
    generate bad 'input_ids=np.r_[ids,[9]*121]' | opt-generate -m "$(model $B)" --num-beams 2 --min-new-tokens 20 | generate show output_ids >got
    [[ $(cat got) =~ ^\[[0-9]+\]$ ]]
}

@test "sampling: a seed gives the same answers again, another one others" {
    generate cases $B greedy20 >q
    answers() { opt-generate -m "$(model $B)" --do-sample "$@" q | generate show id sequence output_ids; }
    answers --seed 1 >a
    answers --seed 1 -b 1 >b
    answers --seed 2 >c
    cmp a b
    ! cmp -s a c
    answers --top-k 1 >greedy
    opt-generate -m "$(model $B)" q | generate show id sequence output_ids | cmp - greedy
    [ "$(answers --num-return-sequences 3 --temperature 0.7 --top-p 0.9 | wc -l)" -eq "$((3 * $(wc -l <a)))" ]
    [ "$(answers --num-beams 3 --num-return-sequences 2 --min-p 0.01 --typical-p 0.9 --top-k 0 | wc -l)" -eq "$((2 * $(wc -l <a)))" ]
}

@test "--stream: a record a token, each the beginning of the next, then the answer" {
    generate bad 'id="a"' >q
    generate bad 'id="b"' 'language_model_inputs=rows*2' >>q
    opt-generate -m "$(model $B)" q >whole
    status_is 0 opt-generate -m "$(model $B)" --stream -o parts q
    python3 - <<'P'
import msgpack_numpy as m
read = lambda f: [r for r in m.Unpacker(open(f, "rb")) if "id" in r]
whole, parts = read("whole"), read("parts")
full = [r for r in parts if "partial" not in r]
assert [(r["id"], r["output_ids"].tolist(), r["score"]) for r in full] == [(r["id"], r["output_ids"].tolist(), r["score"]) for r in whole]
for w in whole:
    said = [r["output_ids"].tolist() for r in parts if r["id"] == w["id"] and r.get("partial")]
    assert said == [w["output_ids"].tolist()[:k + 1] for k in range(len(w["output_ids"]))]
assert all(list(r) == ["id", "partial", "output_ids"] for r in parts if r.get("partial"))
P
}

@test "--stream: tokenize -d prints what is new, and in the end the same text" {
    for name in tiny-blip2-opt-old tiny-blip2-opt-postnorm; do
        local m
        m=$(model $name)
        generate cases $name greedy40 >q
        opt-generate -m "$m" --max-new-tokens 40 q | tokenize -m "$m" -d >whole
        opt-generate -m "$m" --max-new-tokens 40 --stream q | tokenize -m "$m" -d >parts
        [ "$(wc -l <whole)" -ge 6 ]
        cmp whole parts
        opt-generate -m "$m" --max-new-tokens 40 --stream -b 1 --do-sample --num-return-sequences 2 q | tokenize -m "$m" -d >parts
        opt-generate -m "$m" --max-new-tokens 40 -b 1 --do-sample --num-return-sequences 2 q | tokenize -m "$m" -d >whole
        cmp whole parts
        opt-generate -m "$m" --stream q | tokenize -m "$m" -d -f jsonl >parts
        opt-generate -m "$m" q | tokenize -m "$m" -d -f jsonl | cmp - parts
    done
}

@test "--stream: a piece is printed before the next token is there" {
    mkfifo in
    tokenize -m "$(model $B)" -d <in >out &
    exec {to}>in
    part() { python3 -c '
import sys, numpy as np, msgpack_numpy as m
ids = np.array([int(i) for i in sys.argv[2:]])
r = {"id": "x", "output_ids": ids} | ({"partial": True} if sys.argv[1] == "part" else {})
sys.stdout.buffer.write(m.packb(r))' "$@" >&"$to"; }
    shows() {
        for _ in $(seq 100); do [ "$(cat out)" = "$1" ] && return; sleep 0.1; done
        echo "expected '$1', got '$(cat out)'"
        return 1
    }
    read -r -a ids <<<"$(tokenize -m "$(model $B)" --ids 'a cat é')"
    local n=${#ids[@]}
    part part "${ids[@]:1:1}"
    shows a
    part part "${ids[@]:1:n-2}" # without the last byte of é: half a character is not shown
    shows "a cat"
    part whole "${ids[@]:1}"
    shows "a cat é"
    exec {to}>&-
    wait $!
}

@test "wrong arguments" {
    usage() {
        local message=$1
        shift
        status_is 64 opt-generate "$@"
        says "$message"
    }
    usage "num_return_sequences: 2, but greedy search has one answer" --num-return-sequences 2
    usage "num_return_sequences: 4, expected at most num_beams, 3" --num-return-sequences 4 --num-beams 3
    usage "do nothing without do_sample" --temperature 0.7
    usage "do nothing without do_sample" --seed 1
    usage "do nothing without num_beams" --length-penalty 2
    usage "--stream: beams have no answer before the end" --stream --num-beams 2
    usage "early-stopping" --num-beams 2 --early-stopping perhaps
    usage "max-new-tokens" --max-new-tokens 0
    usage "top-p" --do-sample --top-p 1.5
    usage "2 files, expected at most one" a b
    usage "unknown option" --max-length 30
}

@test "models that cannot answer" {
    generate bad >q
    status_is 66 opt-generate -m nosuch q
    one_line
    mkdir clip
    echo '{"architectures": ["CLIPVisionModel"], "model_type": "clip_vision_model"}' >clip/config.json
    status_is 78 opt-generate -m clip q
    one_line
}

@test "cut at every offset, upstream killed, disk full, reader gone" {
    generate bad | tensor-cat >q
    VQA_CUT_STEP=37 cut_everywhere q opt-generate -m "$(model $B)"
    status_is 65 bash -c "(head -c 300 q; kill -9 \$BASHPID) | opt-generate -m '$(model $B)' >/dev/null"
    status_is 74 bash -c "opt-generate -m '$(model $B)' q >/dev/full"
    says "No space left on device"
    run bash -c "for i in \$(seq 200); do cat \"$PWD/q\"; done | opt-generate -m '$(model $B)' --stream | head -c 100 >/dev/null; echo \${PIPESTATUS[1]}"
    [ "$output" = 141 ]
}

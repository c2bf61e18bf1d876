#!/usr/bin/env bats
# tokenize: the reference's ids and texts, through records and as lines; the layout of the input.

load ../lib/helpers

model() { echo "$VQA_FIXTURES/checkpoints/$1"; }

# image_records N - records as qformer would give them (what is in the array does not matter)
image_records() {
    python3 - "$@" <<'P'
import sys, numpy as np, msgpack_numpy as m
for i in range(int(sys.argv[1])):
    sys.stdout.buffer.write(m.packb({"id": f"x{i}", "caption": "kept", "language_model_inputs": np.zeros((4, 8), "f4")}))
P
}

# record JSON - one record of these fields
record() {
    python3 -c 'import json, sys, msgpack; sys.stdout.buffer.write(msgpack.packb(json.loads(sys.argv[1])))' "$1"
}

ids() { # the input_ids of every record on standard input
    python3 -c '
import sys, msgpack_numpy as m
for r in m.Unpacker(sys.stdin.buffer, max_buffer_size=0):
    if "input_ids" in r: print(*r["input_ids"])'
}

# as_reference NAME - every prompt, every answer of the golden generate.json of that checkpoint
as_reference() {
    local golden="$VQA_FIXTURES/golden/$1/generate.json"
    python3 - "$golden" <<'P'
import json, sys, numpy as np, msgpack_numpy as m
prompts, answers = open("prompts", "wb"), open("answers", "wb")
for i, c in enumerate(json.load(open(sys.argv[1]))["cases"]):
    r = {"id": str(i)} | ({"prompt": c["prompt"]} if c["prompt"] is not None else {})
    if "image" in c:
        r["language_model_inputs"] = np.zeros((1, 1), "f4")
    prompts.write(m.packb(r))
    for ids in c["sequences"] if isinstance(c["sequences"][0], list) else [c["sequences"]]:
        answers.write(m.packb({"id": str(i), "output_ids": np.array(ids, "i8")}))
P
    tokenize -m "$(model "$1")" <prompts >asked
    tokenize -m "$(model "$1")" -d -f msgpack <answers >told
    python3 - "$golden" "$1" <<'P'
import json, sys, msgpack_numpy as m
cases = json.load(open(sys.argv[1]))["cases"]
config = json.load(open(sys.argv[1].replace("golden", "checkpoints").replace("generate", "config")))
read = lambda f: [r for r in m.Unpacker(open(f, "rb"), max_buffer_size=0) if "id" in r]
asked, told = read("asked"), read("told")
assert len(asked) == len(cases) > 10 and len(told) >= len(cases), (len(asked), len(told))
image = config.get("image_token_index")
rows = [image] * config["num_query_tokens"] if image else []
for c, r in zip(cases, asked, strict=True):
    want = c["input_ids"] or [rows + [2]]
    want = want[0] if isinstance(want[0], list) else want
    assert r["input_ids"].tolist() == want, (c["prompt"], r["input_ids"], want)
    assert r["attention_mask"].tolist() == [1] * len(want)
    assert r["input_ids"].dtype == r["attention_mask"].dtype == "int64" and r.get("prompt") == c["prompt"]
texts = [t for c in cases for t in (c["text"] if isinstance(c["text"], list) else [c["text"]])]
for want, r in zip(texts, told, strict=True):
    assert r["text"] == want and "output_ids" not in r, (r["text"], want)
print(len(cases), "prompts,", len(texts), "texts")
P
}

@test "ids and texts of every golden case: real OPT vocabulary, image tokens" {
    need_fixture checkpoints/tiny-blip2-opt/tokenizer.json
    as_reference tiny-blip2-opt
}

@test "ids and texts of every golden case: a checkpoint of 2023 without an image token" {
    need_fixture golden/tiny-blip2-opt-old/generate.json
    as_reference tiny-blip2-opt-old
}

@test "ids and texts of every golden case: bf16 and post-norm checkpoints" {
    need_fixture golden/tiny-blip2-opt-postnorm/generate.json
    as_reference tiny-blip2-opt-bf16
    as_reference tiny-blip2-opt-postnorm
}

@test "a language model alone: </s> and text" {
    need_fixture checkpoints/tiny-opt-350m-style/config.json
    record '{"id": "a", "prompt": "this is a picture of"}' >in
    run bash -o pipefail -c 'tokenize -m "$1" <in | tensor-info --json | jq -c .input_ids.shape' - "$(model tiny-opt-350m-style)"
    [ "$output" = "[6]" ]
}

@test "-p: one record out for each prompt and input record, everything else kept" {
    need_fixture checkpoints/tiny-blip2-opt-bf16/config.json
    image_records 2 >in
    tokenize -m "$(model tiny-blip2-opt-bf16)" -p 'a cat' -p '' --prompt 'a red cat' <in >out
    run bash -c 'tensor-info --json out | jq -c "[.id, .prompt, .caption, .input_ids.shape[0], .language_model_inputs.shape]"'
    [ "$output" = '["x0","a cat","kept",7,[4,8]]
["x0","","kept",5,[4,8]]
["x0","a red cat","kept",8,[4,8]]
["x1","a cat","kept",7,[4,8]]
["x1","","kept",5,[4,8]]
["x1","a red cat","kept",8,[4,8]]' ]
    run bash -c 'tensor-info out | head -1; cat out out | tensor-cat | tensor-info --json | wc -l'
    [ "${lines[1]}" = 12 ]
    record '{"id": "own", "prompt": "a dog"}' >own
    run bash -c 'tokenize -m "$1" -p "a cat" <own | tensor-info --json | jq -r .prompt' - "$(model tiny-blip2-opt-bf16)"
    [ "$output" = "a cat" ]
}

@test "a prompt never makes a placeholder; </s> and <pad> are the reference's, or text on request" {
    need_fixture checkpoints/tiny-blip2-opt-bf16/config.json
    m=$(model tiny-blip2-opt-bf16)
    image_records 1 >in
    got=$(tokenize -m "$m" -p 'a <image></s><pad>' <in | ids)
    [ "$(tr ' ' '\n' <<<"$got" | grep -c '^600$')" -eq 4 ]
    [[ $got == "600 600 600 600 2 "*" 2 1" ]]
    got=$(tokenize -m "$m" --split-special-tokens -p '</s><pad>' <in | ids)
    [ "$(tr ' ' '\n' <<<"$got" | grep -cx '[12]')" -eq 1 ]
    [ "$(tokenize -m "$m" --split-special-tokens -p '</s><image> é' <in | tokenize -m "$m" --ids -d <<<"${got#* 2 }")" = "</s><pad>" ]
}

@test "--ids: lines of text to lines of ids and back" {
    need_fixture checkpoints/tiny-blip2-opt-old/config.json
    m=$(model tiny-blip2-opt-old)
    status_is 0 tokenize -m "$m" --ids 'this is a picture of' 'a'
    [ "$output" = $'2 326 270 263 345 305\n2 68' ]
    printf 'a\n\n caf\u00e9 \U1f642\r\nlast <image> </s>' >in
    tokenize -m "$m" --ids <in >out
    [ "$(wc -l <out)" -eq 4 ]
    [ "$(sed -n 2p out)" = 2 ]
    tokenize -m "$m" --ids -d <out >back
    printf 'a\n\n caf\u00e9 \U1f642\r\nlast <image> \n' | cmp - back
    tokenize -m "$m" --ids --split-special-tokens <in | tokenize -m "$m" --ids -d >back
    cmp <(cat in; echo) back
    head -c 300000 /dev/zero | tr '\0' 'a' | tokenize -m "$m" --ids | tokenize -m "$m" --ids -d >back
    [ "$(wc -c <back)" -eq 300001 ]
    status_is 65 bash -c 'printf "2 68\n2 x 68\n" | tokenize -m "$1" --ids -d' - "$m"
    [ "$output" = a ]
    says "tokenize: line 2: 'x', expected ids"
    one_line
}

@test "-d: for people, for programs" {
    need_fixture checkpoints/tiny-blip2-opt-old/config.json
    m=$(model tiny-blip2-opt-old)
    python3 -c '
import sys, numpy as np, msgpack_numpy as m
for i, ids in enumerate([[2, 326, 270, 263], [202, 75, 202, 75, 202, 605], []]):
    sys.stdout.buffer.write(m.packb({"id": f"x{i}", "prompt": "q\u00e9", "finish": "eos", "score": -0.5, "output_ids": np.array(ids, "i4" if i else "i8")}))' >in
    status_is 0 bash -c 'tokenize -m "$1" -d <in | cat -A' - "$m"
    [ "$output" = $'this is a$\nh h$\n$' ]
    status_is 0 tokenize -m "$m" -d -f tsv <in
    [ "$output" = $'x0\tthis is a\nx1\th h\nx2\t' ]
    status_is 0 bash -c 'tokenize -m "$1" --decode --format jsonl <in | jq -c "[.id, .prompt, .text, .finish, .score]"' - "$m"
    [ "$output" = $'["x0","q\u00e9","this is a","eos",-0.5]\n["x1","q\u00e9","h\\nh","eos",-0.5]\n["x2","q\u00e9","","eos",-0.5]' ]
    status_is 0 bash -c 'tokenize -m "$1" -d -f json <in | jq -c "map(.id)"' - "$m"
    [ "$output" = '["x0","x1","x2"]' ]
    tokenize -m "$m" -d -f msgpack --keep -o out <in
    [ "$(tensor-info --json out | jq -c '[.text, .output_ids.shape[0]]' | head -1)" = '["this is a",4]' ]
    [ "$(tokenize -m "$m" -d -f msgpack <in | tensor-info --json | jq -c '[.text, .output_ids]' | head -1)" = '["this is a",null]' ]
}

@test "each record comes out before the next one is read" {
    need_fixture checkpoints/tiny-blip2-opt-old/config.json
    python3 - "$(model tiny-blip2-opt-old)" <<'P'
import subprocess, sys, msgpack_numpy as m, numpy as np
def turn(args, r):
    p = subprocess.Popen(["tokenize", "-m", sys.argv[1], *args], stdin=-1, stdout=-1)
    u = m.Unpacker(max_buffer_size=0)
    for i in range(3):
        p.stdin.write(m.packb(r | {"id": str(i)}))
        p.stdin.flush()
        got = None
        while not got or "id" not in got:
            got = next(u, None)
            if got is None:
                u.feed(p.stdout.read1(65536))
        assert got["id"] == str(i), got
    p.stdin.close()
    assert p.wait(10) == 0
turn([], {"prompt": "a cat"})
turn(["-d", "-f", "msgpack"], {"output_ids": np.array([68, 68])})
P
}

@test "a prompt that the model cannot read is an error record" {
    need_fixture checkpoints/tiny-blip2-opt-old/config.json
    m=$(model tiny-blip2-opt-old) # 128 positions, 6 of them the image's
    python3 - <<'P' >in
import sys, numpy as np, msgpack_numpy as m
lm = {"language_model_inputs": np.zeros((6, 72), "f4")}
for i, r in enumerate([{"prompt": "~" * 121} | lm, {"prompt": "~" * 122} | lm, {"prompt": "~" * 127}, {"prompt": "~" * 128},
                       {"prompt": 7}, {"prompt": b"\xff"}, {"prompt": "~" * 65537}, {"prompt": "ok"}]):
    sys.stdout.buffer.write(m.packb(r | {"id": f"x{i}"}))
P
    status_is 1 bash -c 'tokenize -m "$1" <in >out' - "$m"
    says "tokenize: x1: prompt: 123 tokens and 6 of the image, expected at most 128 together"
    says "tokenize: x3: prompt: 129 tokens and 0 of the image, expected at most 128 together"
    says "tokenize: x4: prompt: int, expected str"
    says "tokenize: x5: prompt: not UTF-8"
    says "tokenize: x6: prompt: 65537 bytes, expected at most 65536"
    [ "$(tensor-info --json out 2>/dev/null | jq -c '[.id, .input_ids.shape[0], (.err // .error).kind]' | tr '\n' ' ')" = \
        '["x0",122,null] ["x1",null,"data"] ["x2",128,null] ["x3",null,"data"] ["x4",null,"data"] ["x5",null,"data"] ["x6",null,"data"] ["x7",3,null] ' ]
    status_is 65 bash -c 'tokenize -m "$1" --fail-fast <in >out' - "$m"
    says "tokenize: x1: prompt: 123 tokens"
    one_line
}

@test "error records pass; the last program counts them" {
    need_fixture checkpoints/tiny-blip2-opt-old/config.json
    m=$(model tiny-blip2-opt-old)
    python3 - <<'P' >in
import sys, numpy as np, msgpack_numpy as m
for r in [{"id": "a", "output_ids": np.array([68])}, {"id": "b", "err": {"kind": "data", "stage": "img-encode", "message": "not an image"}},
          {"id": "c"}, {"id": "d", "output_ids": np.array([0.5])}, {"id": "e", "output_ids": "x"}]:
    sys.stdout.buffer.write(m.packb(r))
P
    status_is 1 tokenize -m "$m" -d -f tsv <in
    [ "$output" = $'a\ta' ]
    says "tokenize: c: no output_ids, expected them of opt-generate"
    says "tokenize: d: output_ids: f64 (1,), expected i64 (N)"
    says "tokenize: e: output_ids: str, expected array"
    says "tokenize: b: img-encode: not an image" # nobody has said it before us
    status_is 1 bash -c 'cat in | tokenize -m "$1" -d' - "$m"
    [[ $stderr != *"not an image"* ]]
    status_is 1 bash -c 'tokenize -m "$1" -d -f jsonl <in 2>/dev/null | jq -c "[.id, .error.stage]" | tr "\n" " "; exit "${PIPESTATUS[0]}"' - "$m"
    [ "$output" = '["a",null] ["b","img-encode"] ["c","tokenize"] ["d","tokenize"] ["e","tokenize"] ' ]
    status_is 1 bash -c 'tokenize -m "$1" -p x <in 2>/dev/null >out' - "$m"
    [ "$(tensor-info --json out 2>/dev/null | wc -l)" -eq 5 ]
}

@test "cut at every offset: never whole, both ways and for people" {
    need_fixture checkpoints/tiny-blip2-opt-old/config.json
    m=$(model tiny-blip2-opt-old)
    record '{"id": "a", "prompt": "x"}' | tokenize -m "$m" >a
    VQA_CUT_STEP=7 cut_everywhere a tokenize -m "$m"
    python3 -c '
import sys, numpy as np, msgpack_numpy as m
sys.stdout.buffer.write(m.packb({"id": "a", "output_ids": np.array([68])}))' | tensor-cat >b
    VQA_CUT_STEP=7 cut_everywhere b tokenize -m "$m" -d
    VQA_CUT_STEP=7 cut_everywhere b tokenize -m "$m" -d -f msgpack
}

@test "a damaged tokenizer, no tokenizer, no model" {
    need_fixture checkpoints/tiny-blip2-opt-old/config.json
    record '{"id": "a"}' >in
    mkdir bad
    status_is 66 bash -c 'tokenize -m bad <in >out'
    says "bad/config.json"
    cp "$(model tiny-blip2-opt-old)/config.json" bad
    status_is 66 bash -c 'tokenize -m bad <in >out'
    says "tokenize: bad: no tokenizer.json and no vocab.json with merges.txt"
    one_line
    head -c 9000 "$(model tiny-blip2-opt-old)/tokenizer.json" >bad/tokenizer.json
    status_is 65 bash -c 'tokenize -m bad <in >out'
    says "tokenize: bad: tokenizer.json: "
    one_line
    status_is 66 bash -c 'tokenize -m ./nosuch <in >out'
    says "./nosuch"
    status_is 66 tokenize -m ./nosuch --ids a
    status_is 66 bash -c 'tokenize -m ./nosuch -d <in'
}

@test "wrong arguments, disk full, reader gone" {
    need_fixture checkpoints/tiny-blip2-opt-old/config.json
    m=$(model tiny-blip2-opt-old)
    status_is 64 tokenize -m "$m" -d -p x
    says "--decode and --prompt: expected one of them"
    status_is 64 tokenize -m "$m" -f text
    says "--format is for --decode"
    status_is 64 tokenize -m "$m" -d -f xml
    says "expected one of text, tsv, jsonl, json, msgpack"
    status_is 64 tokenize -m "$m" --ids -p x
    status_is 64 tokenize -m "$m" -d -o out
    says "--output is for records"
    status_is 64 tokenize -m "$m" one two
    says "2 operands, expected one stream"
    status_is 66 tokenize -m "$m" file
    says "tokenize: file: No such file or directory"
    status_is 66 tokenize -m "$m" -d file
    says "tokenize: file: No such file or directory"
    status_is 64 tokenize -m "$m" -p $'\xff'
    says "--prompt: not UTF-8"
    status_is 0 tokenize --help
    [ -z "$stderr" ]
    record '{"id": "a", "output_ids": 1}' >in
    status_is 74 bash -c 'tokenize -m "$1" <in >/dev/full' - "$m"
    says "No space left on device"
    status_is 74 bash -c 'tokenize -m "$1" --ids a >/dev/full' - "$m"
    run bash -c 'yes | tokenize -m "$1" --ids | head -1 >/dev/null; echo ${PIPESTATUS[1]}' - "$m"
    [ "$output" = 141 ]
    status_is 65 bash -c 'tokenize -m "$1" </dev/null >out' - "$m"
    says "empty, expected a stream of records"
}

@test "--explain -f jsonl: the ids of --ids, bytes that make up the text, words as the pattern cuts them" {
    cat >lines <<'T'
Question: what is alongcompoundword? Answer:
 don't  stop 12ab </s> x</s>y  é☃

T
    for flags in "" "--split-special-tokens"; do
        # shellcheck disable=SC2086
        tokenize --ids $flags <lines >ids
        # shellcheck disable=SC2086
        tokenize --explain $flags -f jsonl <lines >explained
        python3 - "$flags" <<'P'
import json, re, sys
words = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-zé]+| ?[0-9]+| ?[^\sA-Za-z0-9é]+|\s+(?!\S)|\s+")
lines = open("lines").read().split("\n")[:-1]
for text, ids, j in zip(lines, open("ids"), map(json.loads, open("explained")), strict=True):
    t = j["tokens"]
    assert j["text"] == text and [k["id"] for k in t] == [int(i) for i in ids.split()]
    assert j["image"] == {"id": 651, "rows": 32}
    assert [k["at"] for k in t] == list(range(32, 32 + len(t))) and all(k["mask"] == 1 for k in t)
    assert b"".join(bytes.fromhex(k["bytes"]) for k in t).decode() == text
    assert all(k["text"] is None or k["text"].encode() == bytes.fromhex(k["bytes"]) for k in t)
    assert t[0]["special"] and not t[0]["bytes"]
    cuts = ["</s>"] if not sys.argv[1] else []
    runs = re.split("(</s>)", text) if cuts else [text]
    expected = [w for r in runs if r not in cuts for w in words.findall(r)]
    got = {}
    for k in t[1:]:
        assert k["special"] == (k["word"] == -1) == (k["text"] == "</s>" and bool(cuts)), k
        if k["word"] >= 0:
            assert k["first"] == (k["word"] not in got)
            got[k["word"]] = got.get(k["word"], b"") + bytes.fromhex(k["bytes"])
    assert [got[i].decode() for i in range(len(got))] == expected, (got, expected)
P
    done
}

@test "--explain for people: cuts, places, bytes; nothing that a terminal obeys" {
    tokenize --explain $'a alongword\e[31m \xc2\x9b x"' >out
    [[ $(head -1 out) == 'a a|l|on|g|wo|r|d\x1b'* ]]
    ! grep -q $'[\e\x9b]' out
    grep -qx ' 0-31    651     1  <image>             32 times, special: the rows of the picture' out
    grep -q '^   32      2     1  "</s>" .*special: begins every prompt$' out
    grep -q 'part of a word' out
    [ "$(tokenize --explain -m "$(model tiny-opt-350m-style)" x 2>/dev/null | grep -c '<image>')" -eq 0 ]
}

@test "--explain colours a terminal alone, and not with NO_COLOR or TERM=dumb" {
    on_terminal() { script -qec "env $* tokenize --explain 'two words </s>'" /dev/null </dev/null; }
    on_terminal -u NO_COLOR TERM=xterm | grep -q $'\e\[3[36]m'
    ! on_terminal NO_COLOR=1 TERM=xterm | grep -q $'\e'
    ! on_terminal -u NO_COLOR TERM=dumb | grep -q $'\e'
    ! on_terminal -u NO_COLOR -u TERM | grep -q $'\e'
    ! env -u NO_COLOR TERM=xterm tokenize --explain 'two words' | grep -q $'\e'
}

@test "--explain: what cannot go together, and what is no text" {
    status_is 64 tokenize --explain -d x
    status_is 64 tokenize --explain --ids x
    status_is 64 tokenize --explain -p x
    says "--explain takes its text from operands"
    status_is 64 tokenize --explain -f tsv x
    says "--explain prints text or jsonl"
    status_is 64 tokenize --explain -o out x
    status_is 65 bash -c "printf 'a\nb\xff\n' | tokenize --explain"
    says "line 2: prompt: not UTF-8"
}

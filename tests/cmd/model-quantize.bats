#!/usr/bin/env bats
# model-quantize and --weights: the layout by another reader, the same bits both ways, answers that
# stay, and what is refused.

load ../lib/helpers

demo=$repo/share/demo-model
golden=$repo/tests/golden/demo-model

# reader - a Python function of that name: a checkpoint's tensors by name, by the format's description
reader='
import glob, json, numpy as np
def reader(d):
    out = {}
    for path in glob.glob(d + "/*.safetensors"):
        b = open(path, "rb").read()
        n = int.from_bytes(b[:8], "little")
        for name, e in json.loads(b[8:8 + n]).items():
            if name == "__metadata__":
                continue
            i, j = e["data_offsets"]
            t = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "I8": "i1", "I32": "<i4", "I64": "<i8"}[e["dtype"]]
            a = np.frombuffer(b[8 + n + i:8 + n + j], t).reshape(e["shape"])
            out[name] = (a.astype("u4") << 16).view("f4") if e["dtype"] == "BF16" else a
    return out
'

# edit EXPRESSION - changes the checkpoint m: c is config.json, t its tensors by name
edit() {
    chmod -R u+w m
    python3 - "$1" <<P
$reader
import os, sys
c, t = json.load(open("m/config.json")), reader("m")
exec(sys.argv[1])
json.dump(c, open("m/config.json", "w"))
for path in glob.glob("m/*.safetensors*"):
    os.unlink(path)
names = {"f4": "F32", "f2": "F16", "i1": "I8", "i4": "I32", "i8": "I64"}
at, h = 0, {}
for k, a in t.items():
    h[k] = {"dtype": names[a.dtype.str[1:]], "shape": a.shape, "data_offsets": [at, at + a.nbytes]}
    at += a.nbytes
h = json.dumps(h).encode()
open("m/model.safetensors", "wb").write(len(h).to_bytes(8, "little") + h + b"".join(a.tobytes() for a in t.values()))
P
}

# answers MODEL [OPTION...] - ids for 20 pictures and two questions each
answers() {
    local m=$1
    shift
    printf "$golden/%02d.png\n" {1..20} | img-encode -m "$m" "$@" -T - | qformer -m "$m" "$@" |
        tokenize -m "$m" -p 'a photo of' -p 'Question: what is at the top left? Answer:' |
        opt-generate -m "$m" "$@" --max-new-tokens 32
}

# question - a record for opt-generate, in the file in
question() {
    img-encode -m "$demo" "$golden/01.png" | qformer -m "$demo" | tokenize -m "$demo" -p a >in
}

ids() { # ids FILE - the ids alone, a line a record
    python3 -c 'import sys, msgpack_numpy as m
for r in m.Unpacker(open(sys.argv[1], "rb"), max_buffer_size=0):
    if "output_ids" in r: print(r["output_ids"].tolist())' "$1"
}

@test "int8: a byte a weight with a scale a row, the rest as it was" {
    status_is 0 model-quantize "$demo" out
    [ -z "$output$stderr" ]
    python3 - "$demo" <<P
$reader
import sys
a, b, n = reader(sys.argv[1]), reader("out"), 0
for k, w in a.items():
    if b[k].dtype == np.int8:
        s = b[k + "_scale"]
        assert k.endswith(".weight") and s.dtype == np.float32 and s.shape == (len(w), 1), k
        w = w.astype("f8")
        assert np.abs(np.abs(w).max(1) / 127 - s[:, 0]).max() < 1e-7, k
        assert (np.abs(w - b[k] * s.astype("f8")) <= 0.5001 * s).all(), k
        n += 1
    else:
        assert b[k].dtype == w.dtype and b[k].tobytes() == w.tobytes(), k
assert n == 77, n
head = "language_model.model.decoder.embed_tokens.weight"
assert (np.abs(a[head] - b[head + "_int8"] * b[head + "_int8_scale"]) <= 0.5001 * b[head + "_int8_scale"]).all()
turned = [k for k in b if k.endswith("_by_input")]
assert len(turned) == 4 and all(".decoder.layers." in k and ".fc2." in k for k in turned), turned
for k in turned:
    assert b[k].dtype == np.int8 and (b[k].T == b[k[:-len("_by_input")]]).all(), k
assert np.abs(np.abs(a[head].astype("f8")).sum(1) / b[head + "_int8_size"][:, 0] - 1).max() < 1e-5
assert len(b) == len(a) + n + 3 + 4
c = json.load(open("out/config.json"))
q = c.pop("quantization_config")
assert c == json.load(open(sys.argv[1] + "/config.json"))
assert q["quant_method"] == "compressed-tensors" and q["format"] == "int-quantized" and q["ignore"] == ["re:.*lm_head"]
P
    for f in tokenizer.json vocab.json merges.txt preprocessor_config.json processor_config.json README.md; do
        cmp "$demo/$f" out/$f
    done
}

@test "int4: eight weights in 32 bits, low bits first, with a scale for each 32" {
    status_is 0 model-quantize --weights int4 "$demo" out
    status_is 0 model-quantize --weights int4 --group-size 64 --ignore '*.fc1' "$demo" wide
    python3 - "$demo" <<P
$reader
import sys
a = reader(sys.argv[1])
def check(d, group, most):
    b, n, worst = reader(d), 0, 0
    for k in [k[:-7] for k in b if k.endswith("_packed")]:
        w, p, s = a[k].astype("f8"), b[k + "_packed"], b[k + "_scale"]
        assert k not in b and b[k + "_shape"].tolist() == list(w.shape) and s.dtype == np.float16 and p.dtype == np.int32
        q = (p.view("u4")[:, :, None] >> np.arange(0, 32, 4, dtype="u4") & 15).reshape(w.shape).astype("f8") - 8
        e = w - q * np.repeat(s.astype("f8"), group, 1)
        worst = max(worst, np.linalg.norm(e) / np.linalg.norm(w))
        n += 1
    assert worst < most, worst
    return n, json.load(open(d + "/config.json"))["quantization_config"]
n, q = check("out", 32, 0.11)
assert n == 77 and q["format"] == "pack-quantized" and q["config_groups"]["group_0"]["weights"]["group_size"] == 32
n, q = check("wide", 64, 0.13)
assert q["config_groups"]["group_0"]["weights"]["group_size"] == 64
assert n < 77 and "vision_model.encoder.layers.0.mlp.fc1" in q["ignore"] and len(q["ignore"]) == 78 - n, (n, q["ignore"])
P
}

@test "bf16: each weight to the nearest, the rest as it is, and the type in config.json" {
    status_is 0 model-quantize -v --weights bf16 "$demo" out
    says "77 of 223 tensors are bf16 now, in 1 file"
    python3 - "$demo" <<P
$reader
import sys
def kinds(d):
    b = open(d + "/model.safetensors", "rb").read()
    return {k: e["dtype"] for k, e in json.loads(b[8:8 + int.from_bytes(b[:8], "little")]).items() if k != "__metadata__"}
a, b, was, now = reader(sys.argv[1]), reader("out"), kinds(sys.argv[1]), kinds("out")
assert a.keys() == b.keys()
for k, w in a.items():
    if now[k] == was[k]:
        assert b[k].tobytes() == w.tobytes(), k
        continue
    u = w.astype("f4").view("u4").astype("u8")
    assert now[k] == "BF16" and (b[k].view("u4") == (u + 0x7fff + (u >> 16 & 1) & 0xffff0000)).all(), k
assert list(now.values()).count("BF16") == 77
c, want = json.load(open("out/config.json")), json.load(open(sys.argv[1] + "/config.json"))
assert c["dtype"] == "bfloat16" and want["dtype"] == "float32" and "quantization_config" not in c
c["dtype"] = want["dtype"]
assert c == want
P
    # Named otherwise, in sections, and not at all.
    cp -R "$demo" m
    edit 'del c["dtype"]; c["vision_config"]["torch_dtype"] = "float16"; c["text_config"]["dtype"] = None'
    model-quantize --weights bf16 m named
    python3 -c 'import json; c = json.load(open("named/config.json"))
assert (c["torch_dtype"], c["vision_config"]["torch_dtype"], c["text_config"]["dtype"]) == ("bfloat16", "bfloat16", None) and "dtype" not in c'
}

@test "bf16: the same bits from either checkpoint, for any threads and batch; only if asked for" {
    model-quantize --weights bf16 "$demo" m
    answers "$demo" --weights bf16 -t 1 >at-start
    answers m --weights bf16 -t 2 >stored
    tensor-diff at-start stored
    printf "$golden/%02d.png\n" {1..5} >list
    img-encode -m "$demo" --weights bf16 -t 1 -b 1 -T list >a
    img-encode -m m --weights bf16 -t 2 -b 3 -T list >b
    tensor-diff a b
    # Weights as stored are multiplied by f32, as those of any checkpoint in bf16.
    img-encode -m m -T list >c
    status_is 1 tensor-diff -q b c
    # Half a unit of 8 bits, layer after layer.
    img-encode -m "$demo" -T list >plain
    tensor-diff --tol 0.01 a plain
    status_is 1 tensor-diff -q --tol 0.0005 a plain
    for cpu in $(img-encode --version | sed -n 's/.*this processor: \(.*\)).*/\1/p'); do
        VQA_CPU=$cpu img-encode -m m --weights bf16 -T list >d
        tensor-diff --tol 0.01 d b
    done
    # One that is stored so is used as it is, text and heads beside it.
    need_fixture checkpoints/tiny-blip2-itm
    model-quantize --weights bf16 "$VQA_FIXTURES/checkpoints/tiny-blip2-itm" itm
    for m in "$VQA_FIXTURES/checkpoints/tiny-blip2-itm" itm; do
        img-encode -m $m --weights bf16 "$golden/01.png" | qformer-match -m $m --weights bf16 --text 'a dog'
    done >scores
    [ "$(tensor-info --json scores | jq -c 'select(.itm_score) | [.itm_score, .itc_score]' | uniq -c | awk '{ print $1 }')" = 2 ]
}

@test "at the start or once for all: the same bits; the header tells them from the stored" {
    for w in int8 int4; do
        model-quantize --weights $w "$demo" $w
        answers "$demo" --weights $w >at-start
        answers $w >stored-$w
        tensor-diff at-start stored-$w
        img-encode -m "$demo" --weights $w -t 1 "$golden/01.png" >a
        img-encode -m $w -t 2 "$golden/01.png" >b
        tensor-diff a b
    done
    for w in stored int8 int4 bf16; do
        img-encode -m "$demo" --weights $w "$golden/01.png" | head -c 400 | grep -ao '[0-9a-f]\{64\}' | head -1
    done | sort -u >models
    [ "$(wc -l <models)" -eq 4 ]
}

@test "by input or not: the same bits; without a ReLU there is none" {
    question
    model-quantize "$demo" m
    opt-generate -m m --attention -t 2 -o want in
    edit 't = {k: v for k, v in t.items() if not k.endswith("_by_input")}'
    opt-generate -m m --attention -t 1 -o got in
    tensor-diff got want
    rm -rf m
    cp -R "$demo" m
    edit 'c["text_config"]["activation_function"] = "gelu"'
    opt-generate -m m --attention --weights int8 -o want in
    model-quantize m out
    [ "$(grep -c _by_input out/model.safetensors)" -eq 0 ]
    opt-generate -m out --attention -o got in
    tensor-diff got want
}

@test "answers stay: int8, int4 and bf16, f32, f16 and bf16 sources, outlier channels" {
    answers "$demo" >plain
    ids plain >want
    same() { # same N FILE - at least N of the 40 answers
        [ "$(ids "$2" | paste -d'\t' want - | awk -F'\t' '$1 == $2' | wc -l)" -ge "$1" ]
    }
    answers "$demo" --weights int8 >out
    same 39 out
    answers "$demo" --weights int4 >out
    same 37 out
    answers "$demo" --weights bf16 >out
    same 40 out
    # Norms stand out in four channels, or hardly speak there, and what reads them undoes it: the same
    # function, in a form that OPT has from 6.7B on. A norm and its readers are evened out.
    for f in '[20, 35, 60, 200]' '[.05, .03, .02, .005]'; do
        rm -rf m out8
        cp -R "$demo" m
        stand_out "$f"
        answers m >out
        same 40 out
        answers m --weights int8 >out
        same 39 out
        model-quantize m out8
        answers out8 >stored
        tensor-diff out stored
        answers m --weights int4 >out
        same 36 out
    done
}

# stand_out FACTORS - four channels of each norm of m by so much, and what reads them as much the less
stand_out() {
    edit '
f = np.array('"$1"', "f4")
for k in list(t):
    t[k] = t[k].astype("f4")
    if "decoder.layers" in k and "_norm." in k or "layer_norm" in k and "encoder.layers" in k:
        t[k][[3, 40, 77, 101]] *= f
    if "layers." in k and k.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight", "fc1.weight", "qkv.weight")):
        t[k][:, [3, 40, 77, 101]] /= f
'
}

@test "channels that stand out: by powers of two from the norm to what reads it; not from norms that follow" {
    cp -R "$demo" m
    stand_out '[20, 20, .05, 100]'
    model-quantize m out
    cp -R m after
    mv m before
    mv after m
    edit 'c["text_config"]["do_layer_norm_before"] = False'
    model-quantize m after
    status_is 0 model-quantize --ignore '*.q_proj' before plain
    python3 - <<P
$reader
old, new, after, plain = reader("before"), reader("out"), reader("after"), reader("plain")
n = 0
for k, w in old.items():
    if "_norm" in k and ".layers." in k:
        f = w / new[k]
        f = f[new[k] != 0]
        assert (np.exp2(np.rint(np.log2(f))) == f).all() and (np.abs(np.log2(f[f != 1])) >= 2).all(), (k, set(f))
        n += (f != 1).sum() >= 4
        assert "decoder" not in k or (after[k] == w).all(), k
    if k.endswith("layers.1.self_attn.q_proj.weight") and "decoder" in k:
        # The readers that stay floats are multiplied too.
        f = plain[k][:, 3] / w[:, 3]
        assert plain[k].dtype == np.float32 and (f == f[0]).all() and f[0] in (8, 16, 32), f[:3]
        assert (plain[k][:, 4] == w[:, 4]).all()
assert n >= 18, n
P
}

@test "the error layer by layer: --hidden-states for tensor-diff" {
    states() {
        img-encode -m "$demo" -b 2 --hidden-states "$@" "$golden/01.png" "$golden/02.png"
    }
    states -o plain
    states --weights int8 -o a
    states --weights int4 -o b
    for s in a b; do
        tensor-diff --tol 1 $s plain >table
        [ "$(grep -c 'hidden_states\.[0-5].*l2 ' table)" -eq 12 ]
        grep 'hidden_states\.0.*max_abs 0\b' table
    done
    # Halves or doubles of a step would show at once: 1 % and 10 % is what 8 and 4 bits cost here.
    worst() { grep hidden_states table | sed 's/.*l2 \([^\t]*\).*/\1/' | sort -g | tail -1; }
    [ "$(awk -v w="$(worst)" 'BEGIN { print (w > 0.02 && w < 0.2) }')" = 1 ]
    tensor-diff --tol 1 a plain >table
    [ "$(awk -v w="$(worst)" 'BEGIN { print (w > 0.002 && w < 0.02) }')" = 1 ]
    # The last state, normed, is the result; one picture alone has the same.
    img-encode -m "$demo" --hidden-states "$golden/02.png" -o alone
    python3 - <<'P'
import msgpack_numpy as m
read = lambda f: [r for r in m.Unpacker(open(f, "rb"), max_buffer_size=0) if "id" in r]
two, alone = read("plain"), read("alone")
for i in range(6):
    k = f"hidden_states.{i}"
    assert two[1][k].shape == (65, 128) and two[1][k].dtype == "f4"
    assert (two[1][k] == alone[0][k]).all() and (two[0][k] != two[1][k]).any()
h = two[0]["hidden_states.5"].astype("f8")
h = (h - h.mean(1, keepdims=True)) / h.std(1, keepdims=True)
c = [abs(__import__("numpy").corrcoef(h[:, i], two[0]["image_embeds"][:, i])[0, 1]) for i in range(128)]
assert min(c) > 0.999, min(c)
P
    status_is 64 img-encode --hidden-states --pixels "$golden/01.png"
    status_is 64 img-encode --hidden-states --cache=c "$golden/01.png"
}

@test "the cache keeps them apart" {
    img-encode -m "$demo" --cache=c "$golden/01.png" >plain
    img-encode -m "$demo" --cache=c --weights int8 -v "$golden/01.png" >a 2>log
    grep -q '0 from the cache, 1 computed' log
    img-encode -m "$demo" --cache=c --weights int8 -v "$golden/01.png" >b 2>log
    grep -q '1 from the cache, 0 computed' log
    cmp a b
    status_is 1 tensor-diff -q plain a
    img-encode -m "$demo" --cache=c --weights bf16 -v "$golden/01.png" >b 2>log
    grep -q '0 from the cache, 1 computed' log
    for w in int4 bf16; do
        vqa ask -m "$demo" --weights $w --no-cache -v "$golden/01.png" 'how many shapes are there?' 2>log
        [ "$(grep -o -- "--weights $w" log | wc -l)" -eq 3 ]
    done
}

@test "files of a chosen size, with an index; every kind of checkpoint" {
    status_is 0 model-quantize -v --max-shard-size 1M "$demo" out
    says "77 of 223 tensors are int8 now, in 4 files"
    [ "$(ls out/*.safetensors | wc -l)" -eq 4 ]
    [ "$(stat -c %s out/*.safetensors | sort -n | tail -1)" -le 1200000 ]
    img-encode -m out "$golden/01.png" >a
    img-encode -m "$demo" --weights int8 "$golden/01.png" >b
    tensor-diff a b
    vqa models verify out
    for m in "$VQA_FIXTURES"/checkpoints/tiny-*; do
        grep -q '"model_type": "\(blip-2\|opt\|clip_vision_model\|clip\)"' "$m/config.json" || continue
        for w in int8 int4 bf16; do
            rm -rf out
            run --separate-stderr model-quantize --weights $w "$m" out
            # The rows of one of them are no whole groups.
            [ "$status$stderr" = 0 ] || { [ "$status" -eq 78 ] && one_line && says "no linear layer that can be int4, which takes rows of whole groups of 32"; }
        done
    done
}

@test "in place of what is there, quantised twice, nothing to do: refused" {
    model-quantize "$demo" out
    status_is 74 model-quantize "$demo" out
    one_line && says "out: exists, expected a new name"
    status_is 78 model-quantize out again
    one_line && says "out: quantised already"
    status_is 78 img-encode -m out --weights int4 "$golden/01.png"
    says "stored as int8, which cannot become int4"
    status_is 78 img-encode -m out --weights bf16 "$golden/01.png"
    says "stored as int8, which cannot become bf16"
    status_is 0 img-encode -m out --weights int8 -o same "$golden/01.png"
    status_is 66 model-quantize nowhere again
    status_is 74 model-quantize "$demo" no/such/place
    one_line && says "no/such/place: No such file or directory"
    [ ! -e again ] && [ ! -e no ]
    status_is 64 model-quantize --group-size 64 "$demo" again
    says "int8 has no groups"
    status_is 64 model-quantize --weights bf16 --group-size 64 "$demo" again
    says "bf16 has no groups"
    status_is 64 model-quantize --weights int4 --group-size 48 "$demo" again
    says "expected a multiple of 32"
    status_is 64 model-quantize --ignore 'none*' "$demo" again
    one_line && says "--ignore none*: no layer of that name"
    status_is 78 model-quantize --ignore '*' "$demo" again
    says "no linear layer that can be int8"
    status_is 64 model-quantize "$demo"
    says "1 operand, expected"
    status_is 64 img-encode --weights int5 "$golden/01.png"
    status_is 64 img-encode --pixels --weights int8 "$golden/01.png"
    [ ! -e again ]
}

@test "a weight that is not finite, memory that is short, a full disk: one line, nothing left" {
    cp -R "$demo" m
    edit 't["language_model.model.decoder.layers.1.fc1.weight"] = t["language_model.model.decoder.layers.1.fc1.weight"].copy(); t["language_model.model.decoder.layers.1.fc1.weight"][2, 3] = np.nan'
    status_is 65 model-quantize m out
    one_line && says "language_model.model.decoder.layers.1.fc1.weight: row 2: a value that is not finite"
    question
    status_is 78 opt-generate -m m --weights int8 -o out in
    one_line && says "layers.1.fc1.weight: row 2: a value that is not finite"
    [ -z "$(ls -d out* 2>/dev/null)" ]
    status_is 74 bash -c "ulimit -f 1000; model-quantize '$demo' out"
    one_line && says "File too large"
    [ -z "$(ls -d out* 2>/dev/null)" ]
    unshare -m mount -t tmpfs -o size=64k t /mnt 2>/dev/null || skip "no mount namespaces here"
    for size in 4k 1m 3m 5m; do
        status_is 74 unshare -m bash -c "mount -t tmpfs -o size=$size t /mnt && { model-quantize '$demo' /mnt/out; s=\$?; ls -A /mnt; exit \$s; }"
        one_line && says "No space left on device"
        [ -z "$output" ]
    done
}

@test "memory that is short: 71" {
    [[ $BUILD != *san* ]] || skip "a sanitizer wants memory of its own"
    cp -R "$demo" m
    edit '
for i in range(4):
    p = f"language_model.model.decoder.layers.{i}."
    for k, n in (("fc1.weight", (60000, 160)), ("fc1.bias", (60000,)), ("fc2.weight", (160, 60000))):
        t[p + k] = np.full(n, 0.01, "f2")
c["text_config"]["ffn_dim"] = 60000'
    question
    status_is 0 opt-generate -m m --weights int8 -t 1 -o out in
    status_is 71 bash -c 'ulimit -v 200000; opt-generate -m m --weights int8 -t 1 -o out2 in'
    [ ! -e out2 ]
    one_line && says "out of memory"
    status_is 71 bash -c 'ulimit -v 100000; model-quantize -t 1 m out2'
    [ -z "$(ls -d out2* 2>/dev/null)" ]
    one_line && says "Cannot allocate memory"
    model-quantize m out2
    status_is 64 env VQA_CPU=none opt-generate -m out2 in
    one_line && says "VQA_CPU: unknown or unsupported instruction set 'none'"
}

@test "quantised weights of other kinds are told by name" {
    model-quantize "$demo" base8
    model-quantize --weights int4 "$demo" base4
    question
    refused() { # refused BASE EDIT TEXT
        rm -rf m
        cp -R "$1" m
        edit "$2"
        status_is 78 opt-generate -m m -o out in
        one_line && says "$3"
    }
    fc1=language_model.model.decoder.layers.0.fc1.weight
    refused base8 'c["quantization_config"] = {"quant_method": "gptq", "bits": 4}' "quantization_config.quant_method: gptq, expected compressed-tensors"
    refused base8 'c["quantization_config"] = {"quant_method": "bitsandbytes"}' "bitsandbytes, expected compressed-tensors"
    refused base8 'c["quantization_config"]["format"] = "float-quantized"' "format: float-quantized, expected int-quantized or pack-quantized"
    refused base8 'c["quantization_config"]["config_groups"]["group_0"]["weights"]["num_bits"] = 4' "weights.num_bits: 4, expected 8"
    refused base4 'c["quantization_config"]["config_groups"]["group_0"]["weights"]["symmetric"] = False' "weights.symmetric: false, expected true"
    refused base8 "del t['${fc1}_scale']" "${fc1}_scale: no such tensor"
    refused base8 "t['${fc1}_scale'] = t['${fc1}_scale'][1:]" "${fc1}_scale: f32 (639, 1), expected a float (640, 1)"
    words=language_model.model.decoder.embed_tokens.weight
    refused base8 "t['${words}_int8_size'] = t['${words}_int8_size'][1:]" "${words}_int8_size: f32 ("
    refused base8 "t['${words}_int8_size'] = t['${words}_int8']" "${words}_int8_size: i8 ("
    fc2=${fc1/fc1/fc2}
    refused base8 "t['${fc2}_by_input'] = t['${fc2}_by_input'][1:]" "${fc2}_by_input: i8 (639, 160), expected i8 (640, 160)"
    refused base8 "t['$fc1'] = t['$fc1'][:, 1:]" "$fc1: i8 (640, 159), expected i8 of the layer's shape"
    refused base4 "del t['${fc1}_scale']" "${fc1}_scale: no such tensor"
    refused base4 "t['${fc1}_scale'] = t['${fc1}_scale'][:, 1:].copy()" "${fc1}_scale: f16 (640, 4), expected a float for each group"
    refused base4 "t['${fc1}_packed'] = t['${fc1}_packed'][:, 1:]" "${fc1}_packed: i32 (640, 19), expected i32 (640, 20)"
    refused base4 "t['${fc1}_zero_point'] = np.zeros((640, 1), 'i4')" "${fc1}_zero_point: symmetric groups in order are known, not this"
    refused base4 "t['${fc1}_g_idx'] = np.zeros(160, 'i4')" "${fc1}_g_idx: "
}

#!/usr/bin/env bats
# What each stage that computes says of a checkpoint it cannot use: one line and a status, before it
# has written a record.

load ../lib/helpers

tiny=checkpoints/tiny-blip2-opt-bf16
sharded=checkpoints/tiny-blip2-opt-fp16-sharded

# model FIXTURE - a copy to damage, in m; and records that every stage can read
model() {
    need_fixture "$1/config.json"
    rm -rf m
    cp -R "$VQA_FIXTURES/$1" m
    chmod -R u+w m
    python3 - <<'P' >in
import sys, numpy as np, msgpack_numpy as m
sys.stdout.buffer.write(m.packb({"id": "a", "pixel_values": np.zeros((3, 64, 64), "f4"), "image_embeds": np.zeros((17, 32), "f4"),
                                 "language_model_inputs": np.zeros((4, 32), "f4"), "input_ids": np.int64([600] * 4 + [2, 5]),
                                 "attention_mask": np.ones(6, "i8")}))
P
}

# all_say STATUS TEXT [STAGE...] - what the stages (all by default) make of m
all_say() {
    local want=$1 text=$2 stage stages=0
    shift 2
    [ $# -gt 0 ] || set -- img-encode qformer opt-generate
    for stage; do
        command -v "$stage" >/dev/null || continue
        stages=$((stages + 1))
        status_is "$want" bash -c "$stage -m m <in >out" || return 1
        one_line && says "$stage: " && says "$text" || { echo "of $stage"; return 1; }
        ! grep -aq image_embeds out
    done
    [ $stages -gt 0 ] || skip "no such stage yet"
}

# header EXPRESSION - changes the header h of m/model.safetensors, a Python dict
header() {
    python3 - "$1" <<'P'
import json, struct, sys
b = open("m/model.safetensors", "rb").read()
n, = struct.unpack("<Q", b[:8])
h = json.loads(b[8:8 + n])
exec(sys.argv[1])
s = json.dumps(h).encode()
open("m/model.safetensors", "wb").write(struct.pack("<Q", len(s)) + s + b[8 + n:])
P
}

@test "the copy itself is fine" {
    model $tiny
    for stage in img-encode qformer opt-generate; do
        ! command -v $stage || status_is 0 bash -c "$stage -m m <in >out"
    done
}

@test "no directory, no config.json, no weights, .bin alone: 66" {
    model $tiny
    mv m/model.safetensors weights
    all_say 66 "m: no model.safetensors and no model.safetensors.index.json"
    touch m/pytorch_model.bin
    all_say 66 "m: no model.safetensors, only .bin files, which are pickles and never read"
    rm m/config.json
    all_say 66 "m/config.json: No such file"
    rm -r m
    all_say 66 "m: no such model directory"
}

@test "git-lfs pointers in place of files: 65" {
    model $tiny
    printf 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n' >pointer
    cp pointer m/model.safetensors
    all_say 65 "m/model.safetensors: git-lfs pointer"
    cp pointer m/config.json
    all_say 65 "m/config.json: git-lfs pointer"
}

@test "a missing shard: 66; a truncated one: 65" {
    model $sharded
    truncate -s -1 m/model-00002-of-00004.safetensors
    all_say 65 "m/model-00002-of-00004.safetensors: "
    rm m/model-00002-of-00004.safetensors
    all_say 66 "m/model-00002-of-00004.safetensors: missing shard"
}

@test "a truncated or damaged weights file: 65" {
    model $tiny
    cp m/model.safetensors whole
    for n in 0 7 100 5000 $(($(stat -c %s whole) - 1)); do
        head -c "$n" whole >m/model.safetensors
        all_say 65 "m/model.safetensors: "
    done
    cp whole m/model.safetensors
    echo >>m/model.safetensors
    all_say 65 "trailing bytes"
}

@test "a tensor of the wrong shape, of a strange type, or not there: 78, all counted" {
    model $tiny
    cp m/model.safetensors whole
    header 'for k in h:
        if k != "__metadata__" and len(h[k]["shape"]) == 2: h[k]["shape"].reverse()'
    all_say 78 ": shape (" qformer opt-generate
    cp whole m/model.safetensors
    header 'for k in h:
        if k != "__metadata__": h[k]["dtype"] = "I16"'
    all_say 78 "dtype I16"
    cp whole m/model.safetensors
    header 'h = {"_" + k if k != "__metadata__" else k: v for k, v in h.items()}'
    all_say 78 "no such tensor in the checkpoint (and " img-encode qformer
    all_say 78 "tensor" opt-generate
}

@test "config.json that is not one, of another architecture, or beyond its ranges" {
    model $tiny
    cp m/config.json config
    echo '{' >m/config.json
    all_say 65 "m/config.json: JSON at byte"
    jq '.architectures = ["LlamaForCausalLM"] | .model_type = "llama"' config >m/config.json
    all_say 78 "config.json: "
    for key in vision_config qformer_config text_config; do
        case $key in vision_config) stage=img-encode ;; qformer_config) stage=qformer ;; *) stage=opt-generate ;; esac
        command -v $stage || continue
        for bad in -1 0 1000000000 1.5 '"x"'; do
            jq ".$key.hidden_size = $bad" config >m/config.json
            all_say 78 "config.json: $key.hidden_size: $bad, expected an integer from 1 to" $stage
        done
    done
}

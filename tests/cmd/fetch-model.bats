#!/usr/bin/env bats
# scripts/fetch-model: the Hugging Face cache filled from a server that drops, truncates and lies.

load ../lib/helpers
load ../lib/hub

fetch=$repo/scripts/fetch-model
tiny=checkpoints/tiny-blip2-opt-bf16
sharded=checkpoints/tiny-blip2-opt-fp16-sharded

serve() { # starts the hub; $hub is its address, the way it behaves still to be appended
    command -v curl >/dev/null || skip "no curl"
    need_fixture $tiny/config.json
    mkdir -p models/org
    cp -R "$VQA_FIXTURES/$tiny" models/org/tiny
    cp -R "$VQA_FIXTURES/$sharded" models/org/sharded
    chmod -R u+w models
    touch log
    python3 "$repo/tests/lib/hub_server.py" models log >port 2>server.err 3>&- &
    server=$!
    until [ -s port ]; do sleep 0.05; done
    hub=http://127.0.0.1:$(cat port)
    export HF_HUB_CACHE=$PWD/hub HF_ENDPOINT=$hub/ok HF_HOME=$PWD/home
    unset HF_TOKEN HF_HUB_OFFLINE TRANSFORMERS_OFFLINE http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
}

teardown() {
    [ -z "${server:-}" ] || kill "$server"
}

same_files() { # NAME - the snapshot holds the model's files, byte for byte
    local f
    for f in models/$1/*; do
        cmp "$f" "$(snapshot "$1")/${f##*/}" || return 1
    done
}

nothing_published() { # no ref, no snapshot, no blob that is not what its name says
    [ -z "$(find hub -path '*/refs/*' -type f)" ] && [ -z "$(find hub -path '*/snapshots/*')" ]
}

@test "a model arrives whole, in the layout of huggingface_hub; vqa finds and verifies it" {
    serve
    echo junk >models/org/tiny/pytorch_model.bin
    echo junk >models/org/tiny/README.md
    status_is 0 "$fetch" org/tiny
    [ "$output" = "$(snapshot org/tiny)" ]
    [ -z "$stderr" ]
    [ ! -e "$output/pytorch_model.bin" ] && [ ! -e "$output/README.md" ]
    rm models/org/tiny/pytorch_model.bin models/org/tiny/README.md
    same_files org/tiny
    [ -L "$output/config.json" ]
    [ "$(cat hub/models--org--tiny/refs/main)" = $commit ]
    status_is 0 vqa models verify org/tiny
    ! grep -q '^bad\|^unknown' <<<"$output"
    ! ls hub/models--org--tiny/blobs | grep incomplete
}

@test "a second run, another revision and another ref fetch no file again" {
    serve
    status_is 0 "$fetch" org/tiny
    : >log
    status_is 0 "$fetch" org/tiny
    status_is 0 "$fetch" org/tiny@refs/pr/1
    status_is 0 "$fetch" org/tiny@$commit
    ! grep '^GET' log | grep -v '^GET api/models'
    [ "$(cat hub/models--org--tiny/refs/refs/pr/1)" = $commit ]
    [ ! -e hub/models--org--tiny/refs/$commit ]
}

@test "a sharded model: index and every shard" {
    serve
    status_is 0 "$fetch" org/sharded
    same_files org/sharded
}

@test "dropped connections: resumed where they ended, never from the start" {
    serve
    HF_ENDPOINT=$hub/drop status_is 0 "$fetch" org/sharded
    same_files org/sharded
    grep -q '^GET cdn/org/sharded/.* bytes=50000- ' log
    [ "$(grep -c '^GET cdn/org/sharded/model-00001-of.* bytes=0-\|^GET cdn/org/sharded/model-00001-of.* - ' log)" -eq 1 ]
}

@test "a run that was cut off is resumed by the next; a bad half file is started over" {
    serve
    local blob=hub/models--org--tiny/blobs/$(sha256sum <models/org/tiny/model.safetensors | cut -d' ' -f1)
    mkdir -p "${blob%/*}"
    head -c 1000 models/org/tiny/model.safetensors >"$blob.incomplete"
    status_is 0 "$fetch" org/tiny
    grep -q '^GET cdn/org/tiny/model.safetensors bytes=1000- ' log
    same_files org/tiny
    rm -r hub
    mkdir -p "${blob%/*}"
    head -c 1000 /dev/zero >"$blob.incomplete"
    status_is 0 "$fetch" org/tiny
    same_files org/tiny
    rm -r hub
    mkdir -p "${blob%/*}"
    head -c 9999999 /dev/zero >"$blob.incomplete"
    status_is 0 "$fetch" org/tiny
    same_files org/tiny
}

@test "a server that cannot resume: from the start, and it still ends" {
    serve
    HF_ENDPOINT=$hub/norange status_is 0 "$fetch" org/sharded
    same_files org/sharded
    [ "$(grep -c '^GET cdn/org/sharded/model-00001-of.* bytes=50000- ' log)" -eq 1 ]
    [ "$(grep -c '^GET cdn/org/sharded/model-00001-of.* - -$' log)" -eq 2 ]
}

@test "a body that is too short: 69, what came is kept for the next run" {
    serve
    HF_ENDPOINT=$hub/short status_is 69 "$fetch" org/tiny
    one_line
    says "model.safetensors: stopped at "
    nothing_published
    status_is 0 "$fetch" org/tiny
    same_files org/tiny
}

@test "wrong bytes: 65, and they are not kept" {
    serve
    HF_ENDPOINT=$hub/lie status_is 65 "$fetch" org/tiny
    one_line
    says "model.safetensors: hash "
    says ", the server announced "
    nothing_published
    ! ls hub/models--org--tiny/blobs | grep incomplete
    status_is 0 "$fetch" org/tiny
    same_files org/tiny
}

@test "a server that announces no hash, or another commit: 65" {
    serve
    HF_ENDPOINT=$hub/nohash status_is 65 "$fetch" org/tiny
    says "model.safetensors: $hub/nohash announces no hash for it"
    HF_ENDPOINT=$hub/moved status_is 65 "$fetch" org/tiny
    says "expected $commit"
    nothing_published
}

@test "no such model, revision or file: 66; not authorised: 77; each in one line" {
    serve
    status_is 66 "$fetch" org/none
    one_line
    says "org/none@main: not there (HTTP 404) on $hub/ok"
    status_is 66 "$fetch" org/tiny@v9
    HF_ENDPOINT=$hub/401 status_is 77 "$fetch" org/tiny
    one_line
    says "org/tiny@main: not authorised (HTTP 401)"
    HF_ENDPOINT=$hub/403 status_is 77 "$fetch" org/tiny
    rm models/org/tiny/model.safetensors
    touch models/org/tiny/pytorch_model.bin
    status_is 66 "$fetch" org/tiny
    says "no model.safetensors in it (.bin files are never read)"
    rm models/org/tiny/config.json
    status_is 66 "$fetch" org/tiny
    says "no config.json in it"
}

@test "nobody there, busy or silent: 69; busy once is tried again" {
    serve
    HF_ENDPOINT=http://127.0.0.1:1 status_is 69 "$fetch" org/tiny
    one_line
    says "org/tiny@main: http://127.0.0.1:1: Failed to connect"
    HF_ENDPOINT=$hub/busy status_is 69 "$fetch" org/tiny
    says "HTTP 503"
    HF_HUB_DOWNLOAD_TIMEOUT=1 HF_ENDPOINT=$hub/slow status_is 69 timeout 60 "$fetch" org/tiny
    says "org/tiny@main: $hub/slow: "
    nothing_published
    HF_ENDPOINT=$hub/once status_is 0 "$fetch" org/tiny
    same_files org/tiny
}

@test "offline: 69 and no request" {
    serve
    HF_HUB_OFFLINE=YES status_is 69 "$fetch" org/tiny
    one_line
    says "offline"
    TRANSFORMERS_OFFLINE=1 status_is 69 "$fetch" org/tiny
    [ ! -s log ]
}

@test "the token: from HF_TOKEN, a file, or not at all; never to another host" {
    serve
    HF_TOKEN=secret status_is 0 "$fetch" org/tiny
    grep -q '^GET api/models/org/tiny/.* Bearer secret' log
    ! grep '^GET cdn/' log | grep Bearer
    mkdir -p home
    echo fromfile >home/token
    : >log
    status_is 0 "$fetch" org/tiny
    grep -q 'Bearer fromfile' log
    : >log
    HF_HUB_DISABLE_IMPLICIT_TOKEN=1 status_is 0 "$fetch" org/tiny
    ! grep -q Bearer log
}

@test "a cache that cannot be written: 74" {
    serve
    touch file
    HF_HUB_CACHE=$PWD/file/hub status_is 74 "$fetch" org/tiny
    one_line
    says "cannot be written"
}

@test "usage" {
    for bad in "" tiny ../x/y org/../x a/b/c 'a/b@' 'a/b@../c' 'a b/c' .a/b; do
        status_is 64 "$fetch" "$bad"
        says "expected ORG/NAME[@REV]"
    done
    status_is 64 "$fetch"
    status_is 64 "$fetch" a/b c/d
    status_is 0 "$fetch" --help
}

@test "two at once: one fetches, the other finds it done" {
    serve
    "$fetch" org/tiny >one &
    local first=$!
    status_is 0 "$fetch" org/tiny
    wait $first
    [ "$(cat one)" = "$output" ]
    [ "$(grep -c '^GET cdn/org/tiny/model.safetensors' log)" -eq 1 ]
    same_files org/tiny
}
